"""Incidents: what is open, why, and people's answers, which need no deployment."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import Annotated, Any

import typer

from shopstream.app import app
from shopstream.environment import DEFAULT_HOME, Env, Home, open_environment
from shopstream.failure import BAD_INPUT, Failure

PANEL = "Incidents"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="user#<id>, session#<id>, product#<id>, ip#…, site")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="who decides (default: the user of this machine)")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="the reason, for those who ask later")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="for how long, such as 30m, 4h or 7d")]
IncidentId = Annotated[str, typer.Argument(metavar="INCIDENT", help="its id, as in the notice")]


@app.command(rich_help_panel=PANEL)
def incidents(
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    show_all: Annotated[bool, typer.Option("--all", help="also those that are over")] = False,
    as_json: AsJson = False,
) -> None:
    """List the incidents that are open, and why one is muted."""
    from lambda_alert import policy

    with _table(env, home) as (dynamodb, name, store):
        found = store.all_incidents() if show_all else store.open_incidents()
        decided = policy.read(dynamodb, name)
    now, rules = datetime.now(UTC), {one.rule for one in found if not one.closed_at}
    rows = [
        {
            "incident": one.incident_id,
            "state": "over" if one.closed_at else "open",
            "level": one.level,
            "alerts": one.alert_count,
            "subjects": one.subject_count,
            "opened_at": one.opened_at,
            "last_alert_at": one.last_alert_at,
            "told_at": one.told_at or "",
            "due": one.due > one.told,
            "muted_by": one.muted_by(decided, rules, now) or "",
            "acked_by": one.acked_by or "",
            "verdict": one.verdict or "",
        }
        for one in sorted(found, key=lambda one: one.opened_at)
    ]
    _print(rows, as_json, "no incident is open" if not show_all else "there is no incident")


@app.command(rich_help_panel=PANEL)
def explain(
    subject: Subject,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show the alerts about a subject in the order of their windows, and what was decided about it."""
    from lambda_alert import policy

    _check_subject(subject)
    with _table(env, home) as (dynamodb, name, store):
        rows = store.alerts_of(subject)
        until = policy.read(dynamodb, name).allowed.get(subject)
    names = ("rule", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold", "level")
    more = ("explained_by", "declared_crawler", "detected_at", "incident_id", "reprocessed_at")
    shown = [{name: row.get(name, "") for name in (*names, *more)} for row in rows]
    _print(shown, as_json, f"there is no alert about {subject}")
    if until and not as_json:
        print(f"allowed until {until}")


@app.command(rich_help_panel=PANEL)
def ack(
    incident: IncidentId, by: By = "", env: Env = "dev", home: Home = DEFAULT_HOME, as_json: AsJson = False
) -> None:
    """Acknowledge an incident: from now on only a higher level and its end are told."""
    _answer(incident, {"acked_by": by or getuser(), "acked_at": _at()}, env, home, as_json)


@app.command(rich_help_panel=PANEL)
def false_positive(
    incident: IncidentId, by: By = "", env: Env = "dev", home: Home = DEFAULT_HOME, as_json: AsJson = False
) -> None:
    """Say that an incident was no attack: nothing more is told of it."""
    verdict = {"verdict": "false-positive", "verdict_by": by or getuser(), "verdict_at": _at()}
    _answer(incident, verdict, env, home, as_json)


@app.command(rich_help_panel=PANEL)
def silence(
    name: Annotated[str, typer.Argument(metavar="RULE|INCIDENT", help="a rule, or the id of an incident")],
    time: For,
    why: Why,
    by: By = "",
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of a rule or an incident for some time. Alerts go on to count."""
    from lambda_alert.rules import RULES

    with _table(env, home) as (dynamodb, table, store):
        if name not in RULES and store.get(name) is None:
            raise Failure(f"{name!r} is neither a rule nor an incident: use {', '.join(RULES)}, or an id", BAD_INPUT)
        _decide(dynamodb, table, f"silence#{name}", {"until": _until(time), **_who(by, why)}, as_json)


@app.command(rich_help_panel=PANEL)
def allow(
    subject: Subject,
    time: For,
    why: Why,
    by: By = "",
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Allow a subject for some time, such as the shop's own monitoring. Its alerts are stored, and make no incident."""
    _check_subject(subject)
    with _table(env, home) as (dynamodb, table, _):
        _decide(dynamodb, table, f"allow#{subject}", {"until": _until(time), **_who(by, why)}, as_json)


@app.command(rich_help_panel=PANEL)
def observe(
    rule: Annotated[str, typer.Argument(metavar="RULE")],
    why: Why = "",
    off: Annotated[bool, typer.Option("--off", help="tell people of the rule again")] = False,
    by: By = "",
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Only observe a rule: its alerts are stored and counted, and nobody is told."""
    from lambda_alert.rules import RULES

    if rule not in RULES:
        raise Failure(f"the rule is {rule!r}: use one of {', '.join(RULES)}", BAD_INPUT)
    if not off and not why:
        raise Failure('observe needs a reason: give --why "…"', BAD_INPUT)
    with _table(env, home) as (dynamodb, table, _):
        values = {"mode": "tell" if off else "observe", **_who(by, why)}
        _decide(dynamodb, table, f"mode#{rule}", values, as_json)


@app.command(rich_help_panel=PANEL)
def redrive(env: Env = "dev", home: Home = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """Put the records back into stream 2 that the failure queue names by position, and say what else is in the queue.

    Records that are neither alert nor tally stay in the queue: they would come back.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from lambda_alert.dead_letters import redriven

    environment = open_environment(env, home)
    outputs = environment.outputs
    try:
        rows = redriven(
            environment.client("sqs"),
            environment.client("kinesis"),
            outputs["failure_queue_url"],
            outputs["alert_stream_name"],
        )
    except (BotoCoreError, ClientError) as error:
        raise Failure(error) from None
    _print(rows, as_json, "the failure queue is empty")


@contextmanager
def _table(env: str, home: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield a client of DynamoDB, the table's name, and the store. AWS's errors become Failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lambda_alert.settings import DEFAULT_QUIET_S, DEFAULT_RETENTION_DAYS
    from lambda_alert.store import Store

    environment = open_environment(env, home)
    dynamodb, name = environment.client("dynamodb"), environment.outputs["incident_table_name"]
    try:
        yield dynamodb, name, Store(dynamodb, name, DEFAULT_RETENTION_DAYS, DEFAULT_QUIET_S)
    except (BotoCoreError, ClientError) as error:
        raise Failure(error) from None


def _answer(incident: str, values: dict[str, str], env: str, home: Any, as_json: bool) -> None:
    with _table(env, home) as (_, _, store):
        if not store.answer(incident, values):
            raise Failure(f"there is no incident {incident!r}: `shopstream incidents --all` lists them", BAD_INPUT)
    _print([{"incident": incident, **values}], as_json, "")


def _decide(dynamodb: Any, table: str, name: str, values: dict[str, str], as_json: bool) -> None:
    from lambda_alert import policy

    policy.put(dynamodb, table, name, values)
    _print([{"policy": name, **values}], as_json, "")


def _check_subject(subject: str) -> None:
    from lambda_alert.alert import SUBJECT

    if not SUBJECT.fullmatch(subject):
        expected = "user#<id>, session#<id>, product#<id>, ip#<address> or site"
        raise Failure(f"the subject is {subject!r}, expected {expected}", BAD_INPUT)


def _until(time: str) -> str:
    from lambda_alert.alert import iso

    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", time)
    if not found:
        raise Failure(f"the time is {time!r}: give a number and m, h or d, such as 30m, 4h or 7d", BAD_INPUT)
    return iso(datetime.now(UTC) + timedelta(**{UNITS[found[2]]: int(found[1])}))


def _who(by: str, why: str) -> dict[str, str]:
    return {"by": by or getuser(), "why": why, "at": _at()}


def _at() -> str:
    from lambda_alert.alert import iso

    return iso(datetime.now(UTC))


def _print(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    from tabulate import tabulate

    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(tabulate(rows, headers="keys", disable_numparse=True) if rows else nothing)
