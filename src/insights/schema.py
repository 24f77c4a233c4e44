"""What `sql/insights/<question>.yaml` may hold."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

import pydantic

from insights.formats import UNITS, TemplateError, Unit, check_template, sentence_case

# What the command sets; any other parameter has its default.
GIVEN = ("from_date", "to_date")


def _known_unit(unit: str) -> str:
    if unit not in UNITS:
        raise ValueError(f"{unit!r} is not a unit; use one of {', '.join(UNITS)}.")
    return unit


Text = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
UnitName = Annotated[str, pydantic.AfterValidator(_known_unit)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Parameter(_Model):
    """A value of the statement, `${name}` in the SQL."""

    type: Literal["date", "integer", "text"]
    default: date | int | str | None = None
    meaning: Text

    def accepts(self, value: object) -> bool:
        """Return whether the value is of the parameter's type."""
        kind: type = {"date": date, "integer": int, "text": str}[self.type]
        return isinstance(value, kind) and not isinstance(value, bool)


class Column(_Model):
    """A column of the answer. The label is the heading of the column; by default it is the column's name."""

    unit: UnitName
    meaning: Text
    label: Text | None = None

    @property
    def format(self) -> Unit:
        """How values of the column's unit are shown."""
        return UNITS[self.unit]


class Line(_Model):
    """A line across the bars, at the value that a column has in the first row."""

    column: Name
    note: Text


class Bars(_Model):
    """Horizontal bars, one for each row, in the order of the rows."""

    kind: Literal["bars"]
    # A template over the columns of a row. Two rows with the same name would share a bar.
    name: Text
    name_title: Text
    length: Name
    length_title: Text | None = None
    # A template over the columns of a row: the text at the end of its bar.
    label: Text
    tooltip: tuple[Name, ...] = ()
    line: Line | None = None
    finding: Text

    def columns(self) -> Iterator[tuple[str, str]]:
        """Yield each field that names a column, and the name."""
        yield "length", self.length
        yield from (("tooltip", name) for name in self.tooltip)
        if self.line:
            yield "line.column", self.line.column

    def numbers(self) -> list[str]:
        """Return the columns that must hold numbers."""
        return [self.length, *([self.line.column] if self.line else [])]

    def row_templates(self) -> dict[str, str]:
        """Return the templates over the columns of a row, by field."""
        return {"name": self.name, "label": self.label}


class GroupedBars(_Model):
    """Upright bars, one group for each row and one bar for each measure; with a single row, horizontal bars."""

    kind: Literal["grouped_bars"]
    x: Name
    x_title: Text | None = None
    # One axis for all: their units must be the same.
    measures: Annotated[tuple[Name, ...], pydantic.Field(min_length=1)]
    finding: Text

    def columns(self) -> Iterator[tuple[str, str]]:
        """Yield each field that names a column, and the name."""
        yield "x", self.x
        yield from (("measures", name) for name in self.measures)

    def numbers(self) -> list[str]:
        """Return the columns that must hold numbers."""
        return list(self.measures)

    def row_templates(self) -> dict[str, str]:
        """Return the templates over the columns of a row, by field."""
        return {}


class Grid(_Model):
    """A grid of x and y, each cell shaded by a measure; with a single x, horizontal bars."""

    kind: Literal["grid"]
    x: Name
    x_title: Text | None = None
    y: Name
    y_title: Text | None = None
    shade: Name
    shade_title: Text | None = None
    tooltip: tuple[Name, ...] = ()
    finding: Text

    def columns(self) -> Iterator[tuple[str, str]]:
        """Yield each field that names a column, and the name."""
        yield from (("x", self.x), ("y", self.y), ("shade", self.shade))
        yield from (("tooltip", name) for name in self.tooltip)

    def numbers(self) -> list[str]:
        """Return the columns that must hold numbers."""
        return [self.shade]

    def row_templates(self) -> dict[str, str]:
        """Return the templates over the columns of a row, by field."""
        return {}


Chart = Annotated[Bars | GroupedBars | Grid, pydantic.Field(discriminator="kind")]


class Description(_Model):
    """A question without its SQL. `notes` says how the answer is counted; `columns` are in the statement's order."""

    title: Text
    question: Text
    grain: Text
    notes: Text
    # Order in the report. Questions without a position come last.
    position: int | None = None
    parameters: dict[Name, Parameter]
    columns: Annotated[dict[Name, Column], pydantic.Field(min_length=1)]
    # Without a chart the report shows the table only.
    chart: Chart | None = None

    def label(self, column: str) -> str:
        """Return the heading of a column."""
        return self.columns[column].label or sentence_case(column.replace("_", " "))


def faults(description: Description) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between the fields of a description: the field, and what to change."""
    for name, parameter in description.parameters.items():
        if parameter.default is None:
            if name not in GIVEN:
                yield f"parameters.{name}.default", "missing; only from_date and to_date are always given."
        elif not parameter.accepts(parameter.default):
            yield f"parameters.{name}.default", f"{parameter.default!r} is not of type {parameter.type}."
    chart, columns = description.chart, description.columns
    if chart is None:
        return
    for field, name in chart.columns():
        if name not in columns:
            yield f"chart.{field}", f"no column {name}; columns: {', '.join(columns)}."
    for name in chart.numbers():
        if name in columns and not columns[name].format.is_number:
            yield "chart", f"column {name} must be a number, but its unit is {columns[name].unit}."
    if isinstance(chart, GroupedBars):
        units = {columns[name].unit for name in chart.measures if name in columns}
        if len(units) > 1:
            yield "chart.measures", f"all need the same unit; found {', '.join(sorted(units))}."
    templates: dict[str, tuple[str, Any]] = {"finding": (chart.finding, ["rows"])}
    templates |= {field: (text, columns) for field, text in chart.row_templates().items()}
    for field, (text, known) in templates.items():
        try:
            check_template(text, known)
        except TemplateError as error:
            yield f"chart.{field}", f"{error}."
