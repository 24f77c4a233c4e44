"""Values of options that several commands share."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer


def parse_day(text: str) -> date:
    """Return the day of a text such as 2019-10-01."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2019-10-01.") from None


def parse_made_file(text: str) -> Path:
    """Return the path of a file of events that a command writes."""
    if not text.endswith((".csv", ".csv.gz")):
        raise typer.BadParameter(f"{text!r} is neither .csv nor .csv.gz; give a name that ends so")
    return Path(text)


MAPPING_HELP = "what the columns of DATA are: a file, or the name of one that ships with the project"
SORT_HELP = "send rows in the order of their times; --no-sort: in that of the files"
MappingOption = Annotated[str | None, typer.Option(metavar="NAME|FILE", help=MAPPING_HELP)]
SortOption = Annotated[bool, typer.Option("--sort/--no-sort", help=SORT_HELP)]
# Arguments of typer.Option for a parameter of type `date | None`.
DAY: dict[str, Any] = {"parser": parse_day, "metavar": "YYYY-MM-DD"}
