"""The report: one self-contained HTML page for the shop's owner: a chart per question, alerts, the run's counts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import vl_convert
from markupsafe import Markup

from insights.answer import Answer
from insights.drawing import Drawing, draw
from insights.formats import count, long_date, plain, sentence_case
from insights.question import reading_order
from insights.tables import cell

TABLE_ROWS = 500
FIRST_ROWS = 5

ALERT_COLUMNS = {
    "subject": "Who or what",
    "rule": "Rule",
    "level": "Level",
    "window_start_at": "From (UTC)",
    "window_end_at": "To (UTC)",
    "num_actions_per_watermark": "Count",
    "threshold": "Allowed",
    "explained_by": "May be explained by",
    "declared_crawler": "Declares to be",
    "detected_at": "Detected (UTC)",
    "incident_id": "Incident",
}
ALERT_NUMBERS = ("level", "num_actions_per_watermark", "threshold")
RUN_GROUPS = {
    "From the shop to the lake": {
        "input_rows": "Rows read",
        "malformed_rows": "Malformed",
        "injected_events": "Bot events added",
        "sent_events": "Sent",
        "stream_events": "In the stream",
        "raw_events": "In the raw bucket",
        "curated_rows": "Curated",
        "duplicate_rows": "Duplicates",
        "quarantined_rows": "Quarantined",
        "missing_events": "Missing",
    },
    "From the bot to the notice": {
        "labelled_bursts": "Bots sent",
        "found_bursts": "Bots found",
        "falsely_flagged_users": "Shoppers flagged",
        "alert_records": "Alerts",
        "stored_alerts": "Alerts stored",
        "incidents": "Incidents",
        "told_incidents": "Incidents told",
    },
}


class Column(NamedTuple):
    """The head of a table's column."""

    label: str
    is_number: bool


def render(
    answers: Sequence[Answer],
    alerts: Sequence[Mapping[str, Any]] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> str:
    """Return the page as HTML text. It loads nothing, works offline, and leaves out what is None.

    `alerts`: one mapping per alert, with the keys of ALERT_COLUMNS. `summary`: the run's counts by name, and
    `seconds` by step. All text is escaped: brands, categories and rules come from outside.
    """
    answers = sorted(answers, key=lambda answer: reading_order(answer.question))
    drawings = {answer.question.name: draw(answer) for answer in answers}
    charts = {name: drawing.chart for name, drawing in drawings.items() if drawing}
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    return page.render(
        title="Shopstream: what the shop's events say",
        subtitle=_subtitle(answers),
        highlights=_highlights(summary or {}),
        sections=[_section(answer, drawings[answer.question.name]) for answer in answers],
        first_rows=FIRST_ROWS,
        alerts=None if alerts is None else _alerts(alerts),
        run=_run(summary or {}),
        footer="Made by Shopstream from the SQL in sql/insights. This page loads nothing from the network.",
        charts=_script_json(charts),
        vega=Markup(vl_convert.javascript_bundle()),  # type: ignore[call-arg]  # its stub lacks the default
    )


def _section(answer: Answer, drawing: Drawing | None) -> dict[str, Any]:
    question = answer.question
    rows = [_row(answer, row) for row in answer.rows[:TABLE_ROWS]]
    total = count(len(answer.rows))
    return {
        "name": question.name,
        "title": question.title,
        "question": question.question,
        "grain": sentence_case(question.grain),
        "notes": question.notes,
        "finding": drawing.finding if drawing else "",
        "chart": drawing is not None,
        "columns": _columns(answer),
        "rows": rows,
        "caption": f"The first {FIRST_ROWS} of {total} rows" if len(rows) > FIRST_ROWS else count(len(rows), "row"),
        "more": f"All {total} rows" if len(rows) == len(answer.rows) else f"{len(rows)} of {total} rows",
    }


def _subtitle(answers: Sequence[Answer]) -> str:
    if not answers:
        return "No question was asked."
    parameters = answers[0].parameters
    from_date, to_date = long_date(str(parameters["from_date"])), long_date(str(parameters["to_date"]))
    days = from_date if from_date == to_date else f"{from_date} to {to_date}"
    seconds = sum(answer.seconds for answer in answers)
    return f"{days} (UTC). {count(len(answers), 'question')}, answered in {seconds:.1f} seconds."


def _highlights(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the four numbers that say whether the run is good; each only if the summary has it."""
    tiles = []
    if "curated_rows" in summary:
        tiles.append(("Events analysed", plain(summary["curated_rows"]), ""))
    if "missing_events" in summary:
        tiles.append(("Events lost", plain(summary["missing_events"]), "bad" if summary["missing_events"] else "good"))
    if "labelled_bursts" in summary and "found_bursts" in summary:
        found, sent = summary["found_bursts"], summary["labelled_bursts"]
        tiles.append(("Bots found", f"{plain(found)} of {plain(sent)}", "good" if found == sent else "bad"))
    if "falsely_flagged_users" in summary:
        flagged = summary["falsely_flagged_users"]
        tiles.append(("Shoppers wrongly flagged", plain(flagged), "bad" if flagged else "good"))
    return tiles


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ordered = sorted(alerts, key=lambda alert: (str(alert.get("window_end_at")), str(alert.get("subject"))))
    return {
        "caption": f"{count(len(ordered), 'alert')}, in the order in which they happened",
        "columns": [Column(label, name in ALERT_NUMBERS) for name, label in ALERT_COLUMNS.items()],
        "rows": [[_alert_text(name, alert.get(name)) for name in ALERT_COLUMNS] for alert in ordered],
    }


def _alert_text(name: str, value: Any) -> str:
    if name.endswith("_at") and value is not None:
        return str(value).replace("T", " ").removesuffix("Z").removesuffix("+00:00").removesuffix(".000")
    return str(value).replace("#", " ") if name == "subject" else plain(value)


def _run(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    if not summary:
        return None
    groups = [
        {
            "title": title,
            "tiles": [(label, plain(summary[name]), "") for name, label in names.items() if name in summary],
        }
        for title, names in RUN_GROUPS.items()
    ]
    seconds = [(step, f"{value:,.1f}") for step, value in summary.get("seconds", {}).items()]
    return {"groups": [group for group in groups if group["tiles"]], "seconds": seconds}


def _columns(answer: Answer) -> list[Column]:
    question = answer.question
    return [Column(question.label(name), column.format.is_number) for name, column in question.columns.items()]


def _row(answer: Answer, row: Sequence[Any]) -> list[str]:
    return [cell(column, value) for column, value in zip(answer.question.columns.values(), row, strict=True)]


def _script_json(value: Any) -> Markup:
    """Return JSON that is safe in a script element: without `<`, no end tag and no comment can begin in it."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))
