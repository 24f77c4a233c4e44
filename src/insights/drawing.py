"""The charts of the report, drawn as a question's `chart` says."""

from typing import Any, NamedTuple

import altair as alt

from insights.answer import Answer
from insights.formats import NOTHING, TemplateError, fill, long_date
from insights.question import Question, QuestionError
from insights.schema import Bars, Grid, GroupedBars

Record = dict[str, Any]
# A chart shows at most so many bars or rows; the tables hold all.
CHART_ROWS = 15
# More groups of bars than this leave no room for a label above each bar.
LABELLED_GROUPS = 10
# Fields that charts add to the rows. Columns are in lower case, so none has the same name.
NAME, LABEL, X, Y, MEASURE, VALUE = "Name", "Label", "X", "Y", "Measure", "Value"


class Drawing(NamedTuple):
    """A chart as a Vega-Lite specification, and the sentence that says what it shows."""

    chart: dict[str, Any]
    finding: str


def draw(answer: Answer) -> Drawing | None:
    """Return the chart of an answer; None if its question has no chart or the answer has no rows.

    Raise QuestionError if a template does not fit the rows.
    """
    question = answer.question
    if question.chart is None or not answer.rows:
        return None
    records = answer.records()
    match question.chart:
        case Bars() as bars:
            chart: alt.LayerChart | alt.Chart = _bars(question, bars, records)
        case GroupedBars() as grouped:
            chart = _grouped_bars(question, grouped, records)
        case Grid() as grid:
            chart = _grid(question, grid, records)
    return Drawing(chart.to_dict(), _fill(question, "finding", question.chart.finding, {"rows": records}))


def _bars(question: Question, chart: Bars, records: list[Record]) -> alt.LayerChart:
    values = [
        _chart_values(question, record)
        | {NAME: _fill(question, "name", chart.name, record), LABEL: _fill(question, "label", chart.label, record)}
        for record in records
        if record[chart.length] is not None
    ][:CHART_ROWS]
    tooltip = [alt.Tooltip(f"{NAME}:N", title=chart.name_title), *_tooltips(question, chart.tooltip)]
    title = chart.length_title or question.label(chart.length)
    axis = question.columns[chart.length].format.axis
    bars = _ranked_bars(values, NAME, chart.length, title, tooltip, axis)
    if chart.line is None or records[0][chart.line.column] is None:
        return bars
    at = alt.Chart(alt.Data(values=[{VALUE: records[0][chart.line.column]}])).encode(x=f"{VALUE}:Q")
    line = at.mark_rule(strokeDash=[5, 4], strokeWidth=1.5)
    note = at.mark_text(align="left", dx=5, style="note", baseline="bottom", text=chart.line.note)
    return bars + line + note.encode(y=alt.value(-2))


def _grouped_bars(question: Question, chart: GroupedBars, records: list[Record]) -> alt.LayerChart | alt.Chart:
    unit = question.columns[chart.measures[0]].format
    values = [
        {X: _name(question, chart.x, record[chart.x]), MEASURE: question.label(name)}
        | {VALUE: record[name], LABEL: _name(question, name, record[name])}
        for record in records
        for name in chart.measures
    ]
    counted = question.columns[chart.measures[0]].unit == "count"
    tooltip = [
        alt.Tooltip(f"{X}:O", title=chart.x_title or question.label(chart.x)),
        alt.Tooltip(f"{MEASURE}:N", title="Count of" if counted else "Measure"),
        alt.Tooltip(f"{VALUE}:Q", title="Count" if counted else "Value", format=unit.tooltip),
    ]
    if len(records) == 1:
        [x] = {value[X] for value in values}
        title = long_date(x) if question.columns[chart.x].unit == "day" else x
        return _ranked_bars(values, MEASURE, VALUE, title, tooltip, unit.axis)
    order = [question.label(name) for name in chart.measures]
    base = alt.Chart(alt.Data(values=values)).encode(
        # Ordinal: a day is a name here, not an instant, so no reader's time zone may move it.
        x=alt.X(f"{X}:O", title=None, sort=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        xOffset=alt.XOffset(f"{MEASURE}:N", sort=order),
        y=alt.Y(f"{VALUE}:Q", title=None, axis=alt.Axis(tickCount=4, format=unit.axis)),
        tooltip=tooltip,
    )
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        color=alt.Color(f"{MEASURE}:N", sort=order, legend=alt.Legend(title=None))
    )
    labels = base.mark_text(dy=-8, fontSize=11).encode(text=f"{LABEL}:N")
    both = bars + labels if len(records) <= LABELLED_GROUPS else bars
    return both.properties(width="container", height=260)


def _grid(question: Question, chart: Grid, records: list[Record]) -> alt.LayerChart:
    records = [record for record in records if record[chart.x] is not None and record[chart.shade] is not None]
    totals: dict[Any, float] = {}
    for record in records:
        totals[record[chart.y]] = totals.get(record[chart.y], 0) + record[chart.shade]
    shown = sorted(totals, key=lambda y: (-totals[y], str(y)))[:CHART_ROWS]
    values = [
        _chart_values(question, record)
        | {field: _name(question, column, record[column]) for field, column in ((X, chart.x), (Y, chart.y))}
        for record in records
        if record[chart.y] in shown
    ]
    tooltip = [
        alt.Tooltip(f"{Y}:N", title=chart.y_title or question.label(chart.y)),
        alt.Tooltip(f"{X}:O", title=chart.x_title or question.label(chart.x)),
        *_tooltips(question, chart.tooltip),
    ]
    periods = sorted({record[chart.x] for record in records})
    unit = question.columns[chart.shade].format
    if len(periods) == 1:
        values = [value | {LABEL: _name(question, chart.shade, value[chart.shade])} for value in values]
        title = chart.shade_title or question.label(chart.shade)
        return _ranked_bars(values, Y, chart.shade, title, tooltip, unit.axis)
    strongest = max((value[chart.shade] for value in values), default=0)
    grid = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            f"{X}:O",
            title=None,
            sort=[_name(question, chart.x, period) for period in periods],
            axis=alt.Axis(labelAngle=0, orient="top", labelOverlap=True),
        ),
        y=alt.Y(f"{Y}:N", title=None, sort=[_name(question, chart.y, y) for y in shown]),
        tooltip=tooltip,
    )
    cells = grid.mark_rect(cornerRadius=3, stroke="transparent", strokeWidth=3).encode(
        # Square root, as one row often outshines the rest.
        color=alt.Color(f"{chart.shade}:Q", scale=alt.Scale(type="sqrt", domain=[0, strongest]), legend=None)
    )
    # Five digits do not fit into a cell: 12345 becomes 12k.
    number = grid.encode(text=alt.Text(f"{chart.shade}:Q", format="~s" if strongest >= 10_000 else unit.tooltip))
    # The shade on which the page's light and dark text are equally easy to read: two thirds of the way, squared.
    switch = strongest * 0.45
    low = number.mark_text(style="low", fontSize=11).transform_filter(alt.datum[chart.shade] < switch)
    high = number.mark_text(style="high", fontSize=11).transform_filter(alt.datum[chart.shade] >= switch)
    return (cells + low + high).properties(width="container", height=alt.Step(26))


def _ranked_bars(
    values: list[Record], name: str, measure: str, title: str, tooltip: list[alt.Tooltip], axis: str
) -> alt.LayerChart:
    """Return horizontal bars in the order given, each with the text of LABEL at its end."""
    longest = max((value[measure] for value in values if value[measure] is not None), default=0)
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y(f"{name}:N", title=None, sort=None),
        x=alt.X(
            f"{measure}:Q",
            title=title,
            axis=alt.Axis(format=axis, tickCount=5),
            # Room for the label behind the longest bar.
            scale=alt.Scale(domain=[0, (longest or 1) * 1.3], nice=False),
        ),
        tooltip=tooltip,
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.7})
    labels = base.mark_text(align="left", dx=6).encode(text=f"{LABEL}:N")
    return (bars + labels).properties(width="container", height=alt.Step(28))


def _chart_values(question: Question, record: Record) -> Record:
    """Return the row for a chart: numbers as they are, all else as text. JavaScript's numbers hold 53 bits, ids 64."""
    return {
        name: value if value is None or question.columns[name].format.is_number else _name(question, name, value)
        for name, value in record.items()
    }


def _name(question: Question, column: str, value: Any) -> str:
    return NOTHING if value is None else question.columns[column].format.name(value)


def _tooltips(question: Question, names: tuple[str, ...]) -> list[alt.Tooltip]:
    tooltips = []
    for name in names:
        unit = question.columns[name].format
        if unit.is_number:
            tooltips.append(alt.Tooltip(f"{name}:Q", title=question.label(name), format=unit.tooltip))
        else:
            tooltips.append(alt.Tooltip(f"{name}:N", title=question.label(name)))
    return tooltips


def _fill(question: Question, field: str, template: str, values: dict[str, Any]) -> str:
    try:
        return fill(template, values)
    except TemplateError as error:
        raise QuestionError(f"{question.name}.yaml: chart.{field}: {error}.") from error
