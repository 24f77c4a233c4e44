"""The report: one self-contained HTML page for the shop's owner: a chart per question, incidents, the run's counts."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup

from insights.answer import Answer

Record = dict[str, Any]
# A chart shows at most so many bars or rows; the tables hold all.
CHART_ROWS = 15
COUNTS, MONEY, SHARES = ",d", ",.0f", ".0%"
TABLE_ROWS = 500
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

INCIDENT_COLUMNS = {
    "subject": "Who or what",
    "rule": "Rule",
    "level": "Level",
    "window_start_at": "From (UTC)",
    "window_end_at": "To (UTC)",
    "num_actions_per_watermark": "Count",
    "threshold": "Allowed",
    "detected_at": "Detected (UTC)",
    "notified_at": "Notified (UTC)",
}
INCIDENT_NUMBERS = ("level", "num_actions_per_watermark", "threshold")
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
    "From the bot to the message": {
        "labelled_bursts": "Bots sent",
        "found_bursts": "Bots found",
        "falsely_flagged_users": "Shoppers accused",
        "alert_records": "Alerts",
        "incidents": "Incidents",
        "notifications": "Messages",
    },
}


class Drawing(NamedTuple):
    """A chart, and the sentence that says what it shows to those who do not see it."""

    chart: alt.Chart | alt.LayerChart
    finding: str


class Column(NamedTuple):
    label: str
    is_number: bool


def render(
    answers: Sequence[Answer],
    incidents: Sequence[Mapping[str, Any]] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> str:
    """The page as HTML text; it loads nothing, works offline, and leaves out what is None.

    `incidents`: one mapping per incident, with the keys of INCIDENT_COLUMNS. `summary`: the run's counts by name, and
    `seconds` by step. All text is escaped: brands, categories and rules come from outside.
    """
    drawings = {answer.question.name: _draw(answer) for answer in answers}
    charts = {name: drawing.chart.to_dict() for name, drawing in drawings.items() if drawing}
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    return page.render(
        title="Shopstream: what the shop's events say",
        subtitle=_subtitle(answers),
        highlights=_highlights(summary or {}),
        sections=[_section(answer, drawings[answer.question.name]) for answer in _in_order_of_reading(answers)],
        incidents=None if incidents is None else _incidents(incidents),
        run=_run(summary or {}),
        footer="Made by Shopstream from the SQL in sql/insights. This page loads nothing from the network.",
        charts=_script_json(charts),
        vega=Markup(vl_convert.javascript_bundle()),
    )


def text_table(answer: Answer, limit: int) -> str:
    """The first rows as aligned text, as the report shows them, and a line on how many there are."""
    columns = _columns(answer)
    rows = [_row(answer, row) for row in answer.rows[:limit]]
    widths = [max(len(column.label), *(len(row[i]) for row in rows), 0) for i, column in enumerate(columns)]

    def line(values: Sequence[str]) -> str:
        cells = (
            value.rjust(width) if column.is_number else value.ljust(width)
            for value, width, column in zip(values, widths, columns, strict=True)
        )
        return "  ".join(cells).rstrip()

    lines = [line([column.label for column in columns]), line(["-" * width for width in widths]), *map(line, rows)]
    if len(answer.rows) > limit:
        lines.append(f"… {_count(len(answer.rows) - limit, 'more row')}")
    if not rows:
        lines.append("(nothing in this range fits the question)")
    return "\n".join(lines)


def draw_visitors(records: list[Record]) -> Drawing:
    busiest = max(records, key=lambda record: record["visitors"])
    finding = (
        f"On the busiest day, {_long_date(busiest['visit_date'])}, {busiest['visitors']:,} shoppers came "
        f"and {busiest['buyers']:,} of them bought."
    )
    measures = {"visitors": "Visitors", "sessions": "Sessions", "buyers": "Buyers"}
    values = [
        {"day": record["visit_date"], "measure": label, "count": record[name], "label": f"{record[name]:,}"}
        for record in records
        for name, label in measures.items()
    ]
    tooltip = [
        alt.Tooltip("day:O", title="Day"),
        alt.Tooltip("measure:N", title="Count of"),
        alt.Tooltip("count:Q", title="Count", format=","),
    ]
    if len(records) == 1:
        return Drawing(_ranked_bars(values, "measure", "count", _long_date(busiest["visit_date"]), tooltip), finding)
    order = list(measures.values())
    base = alt.Chart(alt.Data(values=values)).encode(
        # A day is a name here, not an instant: no reader's time zone may move it.
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        xOffset=alt.XOffset("measure:N", sort=order),
        y=alt.Y("count:Q", title=None, axis=alt.Axis(tickCount=4, format=COUNTS)),
        tooltip=tooltip,
    )
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        color=alt.Color("measure:N", sort=order, legend=alt.Legend(title=None))
    )
    labels = base.mark_text(dy=-8, fontSize=11).encode(text="label:N")
    chart = bars + labels if len(records) <= 10 else bars
    return Drawing(chart.properties(width="container", height=260), finding)


def draw_carts(records: list[Record]) -> Drawing:
    carts, bought = (sum(record[name] for record in records) for name in ("carts", "bought"))
    value = sum(record["unsold_value"] for record in records)
    finding = f"Of the {carts:,} carts with these products, {carts - bought:,} were not bought: {value:,.2f} unsold."
    values = [
        record
        | {
            "product": _product(record),
            "label": f"{record['unsold_value']:,.2f} in {_count(record['carts'] - record['bought'], 'cart')}",
            # As text: JavaScript's numbers hold 53 bits, ids 64.
            "product_id": str(record["product_id"]),
        }
        for record in records[:CHART_ROWS]
    ]
    tooltip = [
        alt.Tooltip("product:N", title="Product"),
        alt.Tooltip("unsold_value:Q", title="Unsold value", format=",.2f"),
        *(alt.Tooltip(f"{name}:Q", title=_label(name)) for name in ("carts", "bought", "removed", "left_behind")),
    ]
    return Drawing(_ranked_bars(values, "product", "unsold_value", "Unsold value", tooltip, MONEY), finding)


def draw_hours(records: list[Record]) -> Drawing:
    return _draw_categories(records, "event_hour", "hour", _hour)


def draw_weekdays(records: list[Record]) -> Drawing:
    return _draw_categories(records, "event_weekday", "weekday", _weekday)


def draw_brands(records: list[Record]) -> Drawing:
    first = records[0]
    finding = (
        f"{_sentence_case(first['brand'])} sells to {first['conversion']:.1%} of those who see it, against "
        f"{first['shop_conversion']:.1%} across the shop, but only {first['viewers']:,} shoppers saw it; "
        f"the average brand has {first['average_viewers']:,.0f} viewers."
    )
    values = [
        record | {"label": f"{record['buyers']:,} of {record['viewers']:,} viewers bought"}
        for record in records[:CHART_ROWS]
    ]
    tooltip = [
        alt.Tooltip("brand:N", title="Brand"),
        alt.Tooltip("conversion:Q", title="Conversion", format=".1%"),
        *(alt.Tooltip(f"{name}:Q", title=_label(name)) for name in ("viewers", "buyers", "extra_buyers")),
    ]
    bars = _ranked_bars(values, "brand", "conversion", "Conversion: viewers who bought", tooltip, SHARES)
    shop = alt.Chart(alt.Data(values=[{"shop": first["shop_conversion"]}])).encode(x="shop:Q")
    line = shop.mark_rule(strokeDash=[5, 4], strokeWidth=1.5)
    note = shop.mark_text(align="left", dx=5, style="note", baseline="bottom", text="the shop's average").encode(
        y=alt.value(-2)
    )
    return Drawing(bars + line + note, finding)


# In the order of reading. A question that is not here gets its table and no chart: a new SQL file needs no Python.
DRAWINGS: dict[str, Callable[[list[Record]], Drawing]] = {
    "unique_visitors_per_day": draw_visitors,
    "top_categories_per_hour": draw_hours,
    "top_categories_per_weekday": draw_weekdays,
    "carts_not_bought": draw_carts,
    "brands_needing_marketing": draw_brands,
}


def _draw(answer: Answer) -> Drawing | None:
    draw = DRAWINGS.get(answer.question.name)
    return draw(answer.records()) if draw and answer.rows else None


def _draw_categories(records: list[Record], period: str, noun: str, name: Callable[[int], str]) -> Drawing:
    """Where shoppers look, when: a grid of categories by hour or weekday; with one such period only, plain bars."""
    first = [record["category_code"] for record in records if record["category_rank"] == 1]
    leader = max(sorted(set(first)), key=first.count)
    periods = sorted({record[period] for record in records})
    viewers: dict[str, int] = {}
    for record in records:
        viewers[record["category_code"]] = viewers.get(record["category_code"], 0) + record["viewers"]
    shown = sorted(viewers, key=lambda code: (-viewers[code], code))[:CHART_ROWS]
    values = [
        {"period": name(record[period]), "category": _category(record["category_code"])}
        | {key: record[key] for key in ("viewers", "views", "purchases", "revenue")}
        for record in records
        if record["category_code"] in shown
    ]
    tooltip = [
        alt.Tooltip("category:N", title="Category"),
        alt.Tooltip("period:O", title=_label(noun)),
        *(
            alt.Tooltip(f"{key}:Q", title=_label(key), format=",")
            for key in ("viewers", "views", "purchases", "revenue")
        ),
    ]
    if len(periods) == 1:
        count = _count(records[0]["viewers"], "viewer")
        finding = f"{name(periods[0])}: the top category is {_category(leader)}, with {count}."
        values = [value | {"label": f"{value['viewers']:,}"} for value in values]
        return Drawing(_ranked_bars(values, "category", "viewers", "Shoppers who viewed", tooltip), finding)
    finding = f"The top category is {_category(leader)} in {first.count(leader)} of {len(periods)} {noun}s."
    strongest = max(value["viewers"] for value in values)
    grid = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            "period:O",
            title=None,
            sort=[name(number) for number in periods],
            axis=alt.Axis(labelAngle=0, orient="top", labelOverlap=True),
        ),
        y=alt.Y("category:N", title=None, sort=[_category(code) for code in shown]),
        tooltip=tooltip,
    )
    cells = grid.mark_rect(cornerRadius=3, stroke="transparent", strokeWidth=3).encode(
        # Square root, as one category often outshines the rest.
        color=alt.Color("viewers:Q", scale=alt.Scale(type="sqrt", domain=[0, strongest]), legend=None)
    )
    number = grid.encode(text=alt.Text("viewers:Q", format="~s" if strongest >= 10_000 else ","))
    # Where the page's light and dark text are equally easy to read on the colour: two thirds of the way, squared.
    switch = strongest * 0.45
    low = number.mark_text(style="low", fontSize=11).transform_filter(alt.datum.viewers < switch)
    high = number.mark_text(style="high", fontSize=11).transform_filter(alt.datum.viewers >= switch)
    return Drawing((cells + low + high).properties(width="container", height=alt.Step(26)), finding)


def _ranked_bars(
    values: list[Record], name: str, measure: str, title: str, tooltip: list[alt.Tooltip], number_format: str = COUNTS
) -> alt.LayerChart:
    """Horizontal bars in the order given, each with the text in `label` at its end."""
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y(f"{name}:N", title=None, sort=None),
        x=alt.X(
            f"{measure}:Q",
            title=title,
            axis=alt.Axis(format=number_format, tickCount=5),
            # Room for the label behind the longest bar.
            scale=alt.Scale(domain=[0, (max(value[measure] for value in values) or 1) * 1.3], nice=False),
        ),
        tooltip=tooltip,
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.7})
    labels = base.mark_text(align="left", dx=6).encode(text="label:N")
    return (bars + labels).properties(width="container", height=alt.Step(28))


def _in_order_of_reading(answers: Sequence[Answer]) -> list[Answer]:
    order = list(DRAWINGS)
    return sorted(
        answers, key=lambda answer: order.index(answer.question.name) if answer.question.name in order else 99
    )


def _section(answer: Answer, drawing: Drawing | None) -> dict[str, Any]:
    question = answer.question
    rows = [_row(answer, row) for row in answer.rows[:TABLE_ROWS]]
    count = f"{len(answer.rows):,}"
    return {
        "name": question.name,
        "title": question.title,
        "question": question.question,
        "grain": _sentence_case(question.grain),
        "notes": question.notes,
        "finding": drawing.finding if drawing else "",
        "chart": drawing is not None,
        "columns": _columns(answer),
        "rows": rows,
        "caption": f"The first 5 of {count} rows" if len(rows) > 5 else _count(len(rows), "row"),
        "more": f"All {count} rows" if len(rows) == len(answer.rows) else f"{len(rows)} of {count} rows",
    }


def _subtitle(answers: Sequence[Answer]) -> str:
    if not answers:
        return "No question was asked."
    parameters = answers[0].parameters
    from_date, to_date = _long_date(str(parameters["from_date"])), _long_date(str(parameters["to_date"]))
    days = from_date if from_date == to_date else f"{from_date} to {to_date}"
    seconds = sum(answer.seconds for answer in answers)
    return f"{days} (UTC). {_count(len(answers), 'question')}, answered in {seconds:.1f} seconds."


def _highlights(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The four numbers that say whether the run is good; each only if the summary has it."""
    tiles = []
    if "curated_rows" in summary:
        tiles.append(("Events analysed", _text(summary["curated_rows"]), ""))
    if "missing_events" in summary:
        tiles.append(("Events lost", _text(summary["missing_events"]), "bad" if summary["missing_events"] else "good"))
    if "labelled_bursts" in summary and "found_bursts" in summary:
        found, sent = summary["found_bursts"], summary["labelled_bursts"]
        tiles.append(("Bots found", f"{_text(found)} of {_text(sent)}", "good" if found == sent else "bad"))
    if "falsely_flagged_users" in summary:
        accused = summary["falsely_flagged_users"]
        tiles.append(("Shoppers wrongly accused", _text(accused), "bad" if accused else "good"))
    return tiles


def _incidents(incidents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ordered = sorted(incidents, key=lambda incident: (str(incident.get("window_end_at")), str(incident.get("subject"))))
    return {
        "caption": f"{_count(len(ordered), 'incident')}, in the order in which they happened",
        "columns": [Column(label, name in INCIDENT_NUMBERS) for name, label in INCIDENT_COLUMNS.items()],
        "rows": [[_incident_text(name, incident.get(name)) for name in INCIDENT_COLUMNS] for incident in ordered],
    }


def _incident_text(name: str, value: Any) -> str:
    if name.endswith("_at") and value is not None:
        return str(value).replace("T", " ").removesuffix("Z").removesuffix("+00:00").removesuffix(".000")
    return str(value).replace("#", " ") if name == "subject" else _text(value)


def _run(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    if not summary:
        return None
    groups = [
        {
            "title": title,
            "tiles": [(label, _text(summary[name]), "") for name, label in names.items() if name in summary],
        }
        for title, names in RUN_GROUPS.items()
    ]
    seconds = [(step, f"{value:,.1f}") for step, value in summary.get("seconds", {}).items()]
    return {"groups": [group for group in groups if group["tiles"]], "seconds": seconds}


def _columns(answer: Answer) -> list[Column]:
    numbers = [
        any(isinstance(row[i], int | Decimal | float) for row in answer.rows[:TABLE_ROWS])
        and not name.endswith("_id")
        and name not in _NAMES
        for i, name in enumerate(answer.columns)
    ]
    return [Column(_label(name), is_number) for name, is_number in zip(answer.columns, numbers, strict=True)]


def _row(answer: Answer, row: Sequence[Any]) -> list[str]:
    return [_cell(name, value) for name, value in zip(answer.columns, row, strict=True)]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return _text(None)
    if name in _NAMES:
        return _NAMES[name](value)
    if name in _SHARES:
        return f"{value:.2%}"
    return str(value) if name.endswith("_id") else _text(value)


def _hour(number: int) -> str:
    return f"{number:02d}:00"


def _weekday(number: int) -> str:
    return WEEKDAYS[number - 1]


# Columns whose numbers are to be read as something else.
_NAMES = {"event_hour": _hour, "event_weekday": _weekday}
_SHARES = ("conversion", "shop_conversion")


def _text(value: Any) -> str:
    """The value for a reader: thousands separated, null as a dash."""
    match value:
        case None:
            return "\N{EN DASH}"
        case bool() | str() | date():
            return str(value)
        case _:
            return f"{value:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _label(name: str) -> str:
    return "Rank" if name.endswith("_rank") else _sentence_case(name.removeprefix("event_").replace("_", " "))


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _category(code: str) -> str:
    """The category as a path to read: `appliances.kitchen.air_heater` becomes "appliances / kitchen / air heater"."""
    return code.replace(".", " / ").replace("_", " ")


def _product(record: Record) -> str:
    """A product as a shop's owner would call it: brand, kind, and the id that makes it one."""
    kind = (record["category_code"] or "").rpartition(".")[2].replace("_", " ")
    return f"{record['brand'] or ''} {kind} {record['product_id']}".strip()


def _long_date(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day.day} {day:%B %Y}"


def _script_json(value: Any) -> Markup:
    """JSON that can stand in a script element: no `<`, so neither an end tag nor a comment can begin in it."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))
