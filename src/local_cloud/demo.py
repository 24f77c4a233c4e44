"""`make demo`: one run of the whole platform, from files of events to alerts and answers, with every number counted."""

import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from insights import Answer, all_questions, run_all, table_dates
from insights.report import render
from insights.tables import text_table
from local_cloud import counts, steps, trino
from local_cloud.stack import Stack
from simulator.options import ReplayOptions
from simulator.sending.replay import CHECKED_ROWS, Plan, Replay
from simulator.sending.sinks import FileSink
from simulator.traffic.inputs import SourceError
from simulator.traffic.refused import Refused, left_out, shown
from simulator.traffic.source import Source

FIRST_ROWS = 3
# In a process of its own, as people run it.
REPLAY = [str(Path(sys.prefix) / "bin" / "shopstream"), "replay"]


class Demo:
    """One run in a stack of its own.

    `inputs`, `mapping`, `sort` and `limit` are those of a Source. `home`/demo gets summary.json, the files that the
    simulator writes and, in `stack`, the logs; `home`/report gets the page.
    """

    def __init__(
        self,
        home: Path,
        inputs: Sequence[str],
        bursts: int,
        install_s: float = 0,
        mapping: str | None = None,
        sort: bool = True,
        limit: int | None = None,
    ):
        self.directory, self.inputs, self.bursts = home / "demo", list(inputs), bursts
        self.mapping, self.sort, self.limit = mapping, sort, limit
        self.report = home / "report" / "index.html"
        self.seconds: dict[str, float] = {"install": install_s}
        self.summary: dict = {"run_id": str(uuid.uuid4())}

    def run(self, first_port: int | None = None) -> str:
        """Run the platform and return the summary for a person. `faults` is empty afterwards if all went well.

        Whatever happens, everything that was started is stopped.
        """
        started = time.monotonic()
        # Bad input should fail now, and not after minutes.
        self.check()
        all_questions()
        stack = Stack.create(self.directory / "stack", first_port)
        for name in ("summary.json", "malformed.jsonl", "labels.json", "ledger.txt"):
            (self.directory / name).unlink(missing_ok=True)
        try:
            answers, alerts = self.steps(stack)
        finally:
            steps.progress("stopping the local cloud")
            stack.stop()
        self.seconds["total"] = self.seconds["install"] + time.monotonic() - started
        self.summary["seconds"] = {step: round(value, 1) for step, value in self.seconds.items()}
        (self.directory / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n")
        self.report.parent.mkdir(parents=True, exist_ok=True)
        self.report.write_text(render(answers, alerts, self.summary), encoding="utf-8")
        return self.text(answers, alerts)

    def check(self) -> None:
        """Read the first rows as the replay will. Raise RuntimeError or SourceError if that would stop it."""
        refused = Refused()
        plan = Plan(max_malformed=ReplayOptions.max_malformed)
        replay = Replay(
            Source(self.inputs, min(self.limit or CHECKED_ROWS, CHECKED_ROWS), mapping=self.mapping),
            FileSink(),
            plan,
            malformed=refused,
            progress=StringIO(),
        )
        try:
            found = replay.run().sent_events
        except SourceError as error:
            raise RuntimeError("\n".join([str(error), *shown(refused.reasons())])) from error
        if not found:
            raise RuntimeError(f"{self.data} holds no event in the contract's shape: nothing to replay")

    @property
    def data(self) -> str:
        return ", ".join(self.inputs)

    @property
    def faults(self) -> list[str]:
        return faults(self.summary, self.bursts)

    def steps(self, stack: Stack) -> tuple[list[Answer], list[dict]]:
        """Run all steps and return the answers and the stored alerts. Fill the summary in the order of the flow."""
        first_day = datetime.now(UTC).date()
        with self.timed("up"):
            outputs = steps.start(stack)
            notices = counts.Notices(stack)
        kinesis = stack.client("kinesis")
        with self.timed("replay"):
            steps.progress(f"replaying {self.data} with {self.bursts} bursts")
            self.summary |= self.replay(stack, outputs["raw_stream_name"])
            self.summary["stream_events"] = counts.records(kinesis, outputs["raw_stream_name"])
        with self.timed("detect"):
            steps.progress("detecting")
            steps.drain(stack)
        with self.timed("deliver"):
            steps.progress("delivering alerts and raw events")
            alerts = len(counts.alerts(kinesis, outputs["alert_stream_name"]))
            unjudged = counts.unjudged(kinesis, outputs["alert_stream_name"])
            counts.wait_until_handled(stack)
            table = (stack.client("dynamodb"), outputs["incident_table_name"])
            stored, incidents = counts.stored_alerts(*table), counts.incidents(*table)
            self.summary["raw_events"] = steps.wait_until_delivered(stack)
        with self.timed("etl"):
            steps.progress("curating on Spark")
            steps.curate(stack, first_day, datetime.now(UTC).date())
        with self.timed("insights"):
            steps.progress("asking Trino")
            engine = trino.engine(stack)
            self.summary |= counts.lake(engine)
            self.summary["missing_events"] = counts.missing(engine, self.directory / "ledger.txt")
            from_date, to_date = table_dates(engine)
            parameters = {"from_date": from_date, "to_date": to_date, "top_n": 10}
            answers = run_all(engine, parameters, report_progress=steps.progress)
        self.summary |= compare_with_labels(json.loads((self.directory / "labels.json").read_text()), stored)
        self.summary |= {
            "alert_records": alerts,
            "stored_alerts": len(stored),
            "incidents": len(incidents),
            "told_incidents": len({one["incident_id"] for one in notices.receive()} & incidents.keys()),
            "unjudged_events": sum(unjudged.values()),
            "unjudged_reasons": dict(unjudged),
        }
        return answers, stored

    def replay(self, stack: Stack, stream: str) -> dict[str, int]:
        """Replay the files and return the simulator's own counts: rows read, malformed rows, added and sent events."""
        side_files = {name: self.directory / f"{name}.{end}" for name, end in SIDE_FILES.items()}
        command = [*REPLAY, *self.inputs, "--stream", stream, "--json"]
        command += [*(["--mapping", self.mapping] if self.mapping else []), "--sort" if self.sort else "--no-sort"]
        command += ["--limit", str(self.limit)] if self.limit else []
        command += ["--bursts", str(self.bursts), "--time", "original", "--speed", "max"]
        for name, file in side_files.items():
            command += [f"--{name}", str(file)]
        result = stack.run(command, stderr=None)
        if result.returncode:
            raise RuntimeError(f"the simulator ended with {result.returncode}")
        reported = json.loads(result.stdout)
        names = (
            "input_rows",
            "malformed_rows",
            "malformed_reasons",
            "set_aside_rows",
            "set_aside_reasons",
            "early_rows",
        )
        return {name: reported[name] for name in (*names, "notes", "injected_events", "sent_events")}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure how many seconds the step takes."""
        started = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - started

    def text(self, answers: list[Answer], alerts: list[dict]) -> str:
        """Return the summary for a person."""
        s = self.summary
        lines = ["", "SHOPSTREAM DEMO", "", "From file to lake"]
        lines += [f"  {s[name]:>9,}  {meaning}" for name, meaning in FLOW.items()]
        lines += left_out(s["malformed_reasons"], s["set_aside_reasons"], s["notes"])
        lines += ["", "Bots"]
        lines += [f"  {s[name]:>9,}  {meaning}" for name, meaning in BOTS.items()]
        lines += [f"             {reason}: {count:,}" for reason, count in s["unjudged_reasons"].items()]
        for alert in sorted(alerts, key=lambda item: item["window_end_at"]):
            lines.append(
                f"             {alert['subject']}: {alert['rule']}, level {alert['level']}, "
                f"{alert['num_actions_per_watermark']} in the window ending {alert['window_end_at']}"
                + (f" ({alert['explained_by']} may explain this)" if "explained_by" in alert else "")
                + (f" (declares to be {alert['declared_crawler']})" if "declared_crawler" in alert else "")
            )
        for answer in answers:
            lines += ["", answer.question.title, f"  {answer.question.question}"]
            lines += [f"  {line}" for line in text_table(answer, FIRST_ROWS).splitlines()]
        lines += ["", "Seconds: " + ", ".join(f"{step} {value:.0f}" for step, value in s["seconds"].items())]
        lines += [f"Summary: {self.directory / 'summary.json'}", f"Report:  {self.report}"]
        return "\n".join([*lines, "", *verdict(s, self.faults)])


SIDE_FILES = {"malformed": "jsonl", "labels": "json", "ledger": "txt"}

FLOW = {
    "input_rows": "rows in the input",
    "malformed_rows": "malformed, kept in malformed.jsonl",
    "set_aside_rows": "set aside, kept there, too",
    "injected_events": "events of burst bots mixed in",
    "sent_events": "events sent and acknowledged",
    "stream_events": "records in stream 1",
    "raw_events": "lines in the raw bucket",
    "curated_rows": "rows in the curated table",
    "duplicate_rows": "recognised duplicates",
    "quarantined_rows": "records in quarantine",
    "missing_events": "sent events that are nowhere",
}

BOTS = {
    "labelled_bursts": "bots mixed in",
    "found_bursts": "of them found",
    "falsely_flagged_users": "shoppers falsely flagged",
    "alert_records": "alerts in stream 2",
    "stored_alerts": "alerts in DynamoDB",
    "incidents": "incidents that they make",
    "told_incidents": "of them told to a queue behind the topic",
    "unjudged_events": "unjudged events",
}


def compare_with_labels(labels: list[dict], alerts: list[dict]) -> dict[str, int]:
    """Return how many bots were mixed in, how many of them were found and how many others were flagged.

    Each counts once: a burst that doubles is another alert, of the next level.
    """
    bots = {f"user#{label['user_id']}" for label in labels}
    flagged = {alert["subject"] for alert in alerts}
    return {
        "labelled_bursts": len(bots),
        "found_bursts": len(bots & flagged),
        "falsely_flagged_users": len(flagged - bots),
    }


def verdict(summary: dict, faults: list[str]) -> list[str]:
    """Return the last lines: what is wrong, or that all is well and what was left out all the same."""
    if faults:
        return ["FAILED:", *(f"  {fault}" for fault in faults)]
    reasons = summary["unjudged_reasons"]
    most = f", most of them {max(reasons, key=reasons.get)}" if reasons else ""
    left_out = {
        "malformed rows": summary["malformed_rows"],
        "rows set aside": summary["set_aside_rows"],
        "quarantined records": summary["quarantined_rows"],
        f"unjudged events{most}": summary["unjudged_events"],
    }
    named = [f"{count:,} {what}" for what, count in left_out.items() if count]
    return [
        "All events accounted for, all bots found, no shopper flagged.",
        *([f"Left out: {'; '.join(named)}."] if named else []),
    ]


def faults(summary: dict, bursts: int) -> list[str]:
    """Return what is wrong: equalities that do not hold, and events that no rule has judged.

    Nothing is if every event and every bot is accounted for.
    """
    s = summary
    stored = s["curated_rows"] + s["duplicate_rows"] + s["quarantined_rows"]
    equalities = {
        "sent_events = input_rows - malformed_rows - set_aside_rows + injected_events": (
            s["sent_events"],
            s["input_rows"] - s["malformed_rows"] - s["set_aside_rows"] + s["injected_events"],
        ),
        "stream_events = sent_events": (s["stream_events"], s["sent_events"]),
        "raw_events = stream_events": (s["raw_events"], s["stream_events"]),
        "curated_rows + duplicate_rows + quarantined_rows = raw_events": (stored, s["raw_events"]),
        "missing_events = 0": (s["missing_events"], 0),
        "labelled_bursts = BURSTS": (s["labelled_bursts"], bursts),
        "found_bursts = labelled_bursts": (s["found_bursts"], s["labelled_bursts"]),
        "falsely_flagged_users = 0": (s["falsely_flagged_users"], 0),
        "stored_alerts = alert_records": (s["stored_alerts"], s["alert_records"]),
        "told_incidents = incidents": (s["told_incidents"], s["incidents"]),
    }
    found = [f"{rule}: {left:,} is not {right:,}" for rule, (left, right) in equalities.items() if left != right]
    # That no rule uses a type, or that the shop allows a crawler, is as it should be. Of any other event the rules
    # should have said something.
    meant = ("other_type", "allowed_crawler")
    unjudged = {reason: count for reason, count in s["unjudged_reasons"].items() if reason not in meant}
    if unjudged:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in unjudged.items())
        found.append(f"no rule has judged {sum(unjudged.values()):,} events: {reasons}; docs/detection.md says why")
    return found
