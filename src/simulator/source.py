"""A file of shop events, read row by row in constant memory."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from typing import Any

from simulator.event import COLUMNS, Event, MalformedRow, parse

CHUNK_BYTES = 1 << 18
# A record may have 1 MiB (kinesis.py) and escaping at most doubles a text: a row up to this size always fits.
MAX_ROW_BYTES = 100_000


class SourceError(ValueError):
    """The file cannot be replayed at all; the message says why and what to do."""


@dataclass(frozen=True)
class Malformed:
    """A row that was not sent. The header is line 1; of a row far above MAX_ROW_BYTES, `row` is only the start."""

    line_number: int
    reason: str
    row: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source:
    """The rows of a `.csv` or `.csv.gz`: `events` yields the good ones and hands the others to a callback.

    One line is one row: no field of the contract may hold a line break, so a stray quote spoils only its own row.
    After a pass `rows` counts the rows read, without the header, and `damage` says why reading ended early, if it did.
    """

    def __init__(self, path: Path | str, limit: int | None = None) -> None:
        self.path = Path(path)
        self.limit = limit
        self.rows = 0
        self.damage: str | None = None

    def events(self, malformed: Callable[[Malformed], None] = lambda row: None) -> Iterator[Event]:
        """Good rows in the file's order. Raises SourceError, before the first, if file or header are not usable."""
        self.rows, self.damage = 0, None
        with self._open() as stream:
            lines = self._lines(stream)
            self._check_header(next(lines, None))
            for line_number, line in enumerate(islice(lines, self.limit), start=2):
                self.rows += 1
                try:
                    # Damage is known only when the last line comes: it may look whole, but nobody knows.
                    if self.damage:
                        raise MalformedRow("the file is damaged inside or after this row")
                    event = parse(_fields(line))
                except MalformedRow as error:
                    malformed(Malformed(line_number, str(error), line.decode(errors="backslashreplace")))
                else:
                    yield event

    def _open(self) -> BufferedIOBase:
        if not self.path.name.endswith((".csv", ".csv.gz")):
            raise SourceError(f"{self.path}: not a .csv or .csv.gz file; unpack it or give another path")
        try:
            return gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")
        except OSError as error:
            raise SourceError(f"{self.path}: {error.strerror}; give the path of a .csv or .csv.gz file") from error

    def _lines(self, stream: BufferedIOBase) -> Iterator[bytes]:
        """Lines without their end. Split here, because `readline` loses the start of a line in which gzip fails."""
        rest = b""
        try:
            while chunk := stream.read1(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[: MAX_ROW_BYTES + 1]  # refused in any case: a file without line ends must not fill memory
                for line in lines:
                    yield line.removesuffix(b"\r")
        except (EOFError, OSError, zlib.error) as error:
            self.damage = f"reading ended early: {error}"
        if rest:
            yield rest.removesuffix(b"\r")

    def _check_header(self, line: bytes | None) -> None:
        header = (line or b"").removeprefix(b"\xef\xbb\xbf").decode(errors="backslashreplace")
        if header.split(",") != list(COLUMNS):
            came = self.damage or "the file is empty" if line is None else f"the header is {header[:200]!r}"
            raise SourceError(f"{self.path}: {came}; the only header allowed is {','.join(COLUMNS)!r}")


def _fields(line: bytes) -> list[str]:
    """The columns of one row. Splitting is exact without quotes, and three times as fast as the csv module."""
    if len(line) > MAX_ROW_BYTES:
        raise MalformedRow(f"more than {MAX_ROW_BYTES} bytes")
    try:
        text = line.decode()
        return next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    except UnicodeDecodeError as error:
        raise MalformedRow(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise MalformedRow(f"not CSV: {error}") from error
