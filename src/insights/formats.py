"""How values are written: units of columns, filters and templates of sentences."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import jinja2
import jinja2.meta

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOTHING = "\N{EN DASH}"


class TemplateError(ValueError):
    """A template that cannot be read or filled; the message says why."""


def plain(value: Any) -> str:
    """Return the value for a reader: numbers with thousands separated, null as a dash."""
    match value:
        case None:
            return NOTHING
        case bool() | str() | date():
            return str(value)
        case _:
            return f"{value:,}"


def count(number: float | None, noun: str = "") -> str:
    """Return a whole number, fractions rounded; with a noun also that, in the plural unless the number is 1."""
    if number is None:
        return NOTHING
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.0f}"
    return f"{text} {noun}{'' if number == 1 else 's'}" if noun else text


def money(amount: float | None) -> str:
    """Return an amount with two decimals."""
    return NOTHING if amount is None else f"{amount:,.2f}"


def share(part: float | None) -> str:
    """Return a part of 1 as a percentage with one decimal."""
    return NOTHING if part is None else f"{part:.1%}"


def long_date(day: date | str) -> str:
    """Return a day, also one as ISO text, as in "1 October 2019"."""
    day = date.fromisoformat(str(day))
    return f"{day.day} {day:%B %Y}"


def hour(number: int) -> str:
    """Return an hour of the day as a time, "07:00"."""
    return f"{number:02d}:00"


def weekday(number: int) -> str:
    """Return the name of a weekday; 1 is Monday."""
    return WEEKDAYS[number - 1]


def category(code: str | None) -> str:
    """Return a category as a path: `appliances.kitchen.air_heater` becomes "appliances / kitchen / air heater"."""
    return NOTHING if code is None else code.replace(".", " / ").replace("_", " ")


def last_category(code: str | None) -> str:
    """Return the last part of a category: "air heater" in the example of `category`; empty if there is none."""
    return (code or "").rpartition(".")[2].replace("_", " ")


def sentence_case(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def most_common(values: Iterable[Any]) -> Any:
    """Return the most frequent value; of several, the first in order."""
    values = list(values)
    return max(sorted(set(values)), key=values.count)


@dataclass(frozen=True)
class Unit:
    """How the report shows the values of a unit.

    `text` writes a value in a table, `name` in a chart. `axis` and `tooltip` are number formats of d3, as Vega takes
    them: https://d3js.org/d3-format.
    """

    text: Callable[[Any], str] = str
    name: Callable[[Any], str] = str
    is_number: bool = False
    axis: str = ""
    tooltip: str = ""


UNITS = {
    "category": Unit(name=category),
    "count": Unit(plain, count, is_number=True, axis=",d", tooltip=","),
    "day": Unit(),
    "hour": Unit(hour, hour),
    "id": Unit(),
    "money": Unit(plain, money, is_number=True, axis=",.0f", tooltip=",.2f"),
    "rank": Unit(plain, plain, is_number=True, axis=",d", tooltip=","),
    "share": Unit("{:.2%}".format, share, is_number=True, axis=".0%", tooltip=".1%"),
    "text": Unit(),
    "weekday": Unit(weekday, weekday),
}

FILTERS = (category, count, hour, last_category, long_date, money, most_common, sentence_case, share, weekday)
_TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined)
_TEMPLATES.filters |= {function.__name__: function for function in FILTERS}


def check_template(text: str, known: Iterable[str]) -> None:
    """Check that a Jinja template can be read and uses known variables only. Raise TemplateError if not."""
    try:
        _TEMPLATES.from_string(text)
        used = jinja2.meta.find_undeclared_variables(_TEMPLATES.parse(text))
    except jinja2.TemplateError as error:
        raise TemplateError(f"{error}; filters of our own: {', '.join(f.__name__ for f in FILTERS)}") from error
    known = list(known)
    if unknown := sorted(used - set(known)):
        raise TemplateError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Return the template filled in, on one line. Raise TemplateError if a value does not fit."""
    try:
        return " ".join(_TEMPLATES.from_string(text).render(values).split())
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise TemplateError(str(error)) from error
