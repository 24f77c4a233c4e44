"""Values of the parameters in the SQL: the rulebook's defaults, or what was set in their place.

Managed Flink imports this module, so it uses the standard library only. A `Book` is the rulebook as plain JSON, as
`rulebook.Rulebook.plain()` gives it: `{name: {"kind", "sql", "subject", "explained_by", "parameters"}}`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from string import Template
from typing import Any

Value = int | float
Book = Mapping[str, Mapping[str, Any]]
# By statement and parameter; a value is a number, or its text as a property group holds it.
Changes = Mapping[str, Mapping[str, Value | str]]

NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def resolve(book: Book, changes: Changes) -> dict[str, dict[str, Value]]:
    """Return the values of each statement by its name: the defaults, with the changes in their place.

    Raise ValueError if a change is for an unknown statement or parameter, or not an allowed value; the message says
    what is allowed.
    """
    own = {name: {key: one["default"] for key, one in each["parameters"].items()} for name, each in book.items()}
    for name, values in changes.items():
        if not own.get(name):
            known = ", ".join(sorted(name for name, values in own.items() if values))
            raise ValueError(f"'{name}' has no values that can be set; these have some: {known}")
        for key, value in values.items():
            own[name][key] = _checked(book, name, key, value)
    for name, values in own.items():
        for key, parameter in book[name]["parameters"].items():
            _check_together(name, key, parameter, values)
    return own


def fill_in(name: str, sql: str, values: Mapping[str, Value | str]) -> str:
    """Return the SQL of a statement with its values in place of the placeholders."""
    try:
        return Template(sql).substitute({key: text(value) for key, value in values.items()})
    except KeyError as missing:
        raise ValueError(f"the SQL of {name} needs the value {missing}: describe it under `parameters`") from None


def text(value: Value | str) -> str:
    """Return a value as SQL, without an exponent."""
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


def allowed(parameter: Mapping[str, Any]) -> str:
    """Return in words which values a parameter may have."""
    kind = "a whole number" if parameter["type"] == "integer" else "a number"
    least, most = parameter["minimum"], parameter.get("maximum")
    limits = f"of {least} or more" if most is None else f"from {least} to {most}"
    return f"{kind} {limits} ({parameter['unit']})"


def _checked(book: Book, name: str, key: str, value: Value | str) -> Value:
    parameters = book[name]["parameters"]
    if key not in parameters:
        raise ValueError(f"{name}.{key} is unknown; {name} has {', '.join(parameters)}")
    parameter, written = parameters[key], str(value)
    whole = parameter["type"] == "integer"
    if NUMBER.fullmatch(written) and not (whole and "." in written):
        number = float(written) if "." in written else int(written)
        most = parameter.get("maximum")
        if number >= parameter["minimum"] and (most is None or number <= most):
            return number
    raise ValueError(f"{name}.{key} is '{written}'; allowed: {allowed(parameter)}")


def _check_together(name: str, key: str, parameter: Mapping[str, Any], values: Mapping[str, Value]) -> None:
    if (parts := parameter.get("at_least_sum_of")) and values[key] < sum(values[part] for part in parts):
        numbers = " + ".join(str(values[part]) for part in parts)
        raise ValueError(f"{name}.{key} is {values[key]}; allowed: at least {' + '.join(parts)}, which is {numbers}")
