"""A day as an option of a command."""

from datetime import date
from typing import Any

import typer


def parse_day(text: str) -> date:
    """Return the day of a text such as 2019-10-01."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2019-10-01.") from None


# Arguments of typer.Option for a parameter of type `date | None`.
DAY: dict[str, Any] = {"parser": parse_day, "metavar": "YYYY-MM-DD"}
