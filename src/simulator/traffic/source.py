"""Files of shop events, read block by block in constant memory: local or on S3, plain, gzip or zip."""

import csv
import glob
import gzip
import os
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import asdict, dataclass
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

import polars as pl
import smart_open
from botocore.exceptions import BotoCoreError, ClientError

from simulator.aws import ClientFactory, client_from_environment
from simulator.traffic.event import COLUMNS, EVENT_TYPES, Event, MalformedRow, encode_head, parse, second_of

CHUNK_BYTES = 1 << 22
PIECE_BYTES = 1 << 16
# A record may have 1 MiB (writer.py) and escaping at most doubles a text: a row up to this size always fits.
MAX_ROW_BYTES = 100_000
ENDINGS = (".csv", ".csv.gz", ".csv.zip")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A block: events in the file's order. `head` is the wire record up to where the value of `txn_timestamp` begins.
BLOCK = {
    "second": pl.Int64,  # Unix time
    "user_id": pl.String,
    "category_id": pl.String,
    "head": pl.String,
}

# What reading raises where a file is damaged.
UNREADABLE = (EOFError, OSError, zlib.error, zipfile.BadZipFile)

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

# A row as nearly all are: it is valid, and its texts are those of the wire record. Rows that differ (a quote, a price
# with one decimal, a sign, a time that may not exist) go through `event.parse`, which decides.
_ID = r"(?:0|-?[1-9][0-9]{0,17}|[1-8][0-9]{18})"
_TEXT = r'[^",\\\x00-\x1f\x7f]*'
_DAY = "(?:19[7-9]|2[0-9]{2})[0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_PRICE = r"(?:0|[1-9][0-9]{0,9})\.[0-9]{2}"
PLAIN_ROW = f"^{_DAY} {_TIME} UTC,(?:{'|'.join(EVENT_TYPES)}),{_ID},{_ID},{_TEXT},{_TEXT},{_PRICE},{_ID},{_TEXT}$"


class SourceError(ValueError):
    """An input that cannot be replayed at all. The message says why and what to do."""


@dataclass(frozen=True)
class Malformed:
    """A row that was not sent. The header, where there is one, is line 1."""

    file: str
    line_number: int
    reason: str
    row: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source:
    """The rows of one or more inputs, in the order of their first events.

    Inputs are paths, folders, globs, s3:// objects or prefixes. A file has a header or none. One line is one row: no
    field of the contract may hold a line break, so a stray quote spoils only its own row. After a pass `rows` is the
    number of rows read, without headers; `damage` says which file could not be read to its end and why, if any.
    """

    def __init__(
        self,
        inputs: Sequence[Path | str] | Path | str,
        limit: int | None = None,
        create_client: ClientFactory = client_from_environment,
    ) -> None:
        names = [inputs] if isinstance(inputs, str | Path) else inputs
        self.inputs = [str(name) for name in names]
        self.limit = limit
        self.rows = 0
        self.damage: str | None = None
        self._create_client = create_client
        self._files: list[_File] | None = None

    def events(self, malformed: Callable[[Malformed], None] = lambda row: None) -> Iterator[Event]:
        """Return good rows as events. Raise SourceError, before the first, if an input or a header is not usable."""
        for file, first_line, lines in self._texts(malformed):
            for line_number, line in enumerate(lines, start=first_line):
                try:
                    event = _parse(line)
                except MalformedRow as error:
                    malformed(Malformed(file.name, line_number, str(error), _readable(line)))
                else:
                    yield event

    def blocks(self, malformed: Callable[[Malformed], None] = lambda row: None) -> Iterator[pl.DataFrame]:
        """Return good rows in blocks: the same as `events`, about ten times as fast. Raise SourceError."""
        for file, first_line, lines in self._texts(malformed):

            def keep(
                index: int, line: bytes, error: MalformedRow, file: _File = file, first_line: int = first_line
            ) -> None:
                malformed(Malformed(file.name, first_line + index, str(error), _readable(line)))

            yield to_block(lines, _parse, keep)

    @property
    def files(self) -> list["_File"]:
        """The inputs' files in the order of their first events; each is opened once to find it. Raise SourceError."""
        if self._files is None:
            found = [_File(name, self._create_client) for name in expand(self.inputs, self._create_client)]
            self._files = found if len(found) == 1 else sorted(found, key=lambda file: file.first_second())
        return self._files

    @property
    def share_read(self) -> float | None:
        """The share of the bytes read in this pass; None if a size is not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        if len(sizes) < len(self.files) or not sum(sizes):
            return None
        return sum(file.bytes_read for file in self.files) / sum(sizes)

    def _texts(self, malformed: Callable[[Malformed], None]) -> Iterator[tuple["_File", int, list[bytes]]]:
        """Return (file, number of the first line, lines), without header, up to the limit."""
        self.rows, self.damage = 0, None
        for file in self.files:
            for first_line, lines in file.lines():
                if self.limit is not None:
                    lines = lines[: self.limit - self.rows]
                self.rows += len(lines)
                if file.damage:
                    # Its last line may look whole, but that is not certain.
                    for number, line in enumerate(lines, start=first_line):
                        reason = "the file is damaged inside or after this row"
                        malformed(Malformed(file.name, number, reason, _readable(line)))
                else:
                    yield file, first_line, lines
                if self.rows == self.limit:
                    break
            if file.damage and not self.damage:
                self.damage = f"{file.name}: {file.damage}"
            if self.rows == self.limit:
                return


def to_block(
    lines: list[bytes],
    parse_line: Callable[[bytes], Event],
    malformed: Callable[[int, bytes, MalformedRow], None],
) -> pl.DataFrame:
    """Return a block of the lines' events. `malformed` gets (index, line, error) of each other line."""
    try:
        row = pl.Series("row", b"\n".join(lines).decode().split("\n") if lines else [], pl.String)
    except UnicodeDecodeError:
        is_plain = pl.Series([False] * len(lines))
        row = pl.Series("row", [""] * len(lines), pl.String)
    else:
        exists = row.str.slice(0, 19).str.to_datetime(TIME_FORMAT, strict=False).is_not_null()
        is_plain = row.str.contains(PLAIN_ROW) & exists & (row.str.len_bytes() <= MAX_ROW_BYTES)
    plain = _plain_block(row.filter(is_plain))
    if is_plain.all():
        return plain
    odd: list[tuple[int, Event]] = []
    for index in (~is_plain).arg_true():
        try:
            odd.append((index, parse_line(lines[index])))
        except MalformedRow as error:
            malformed(index, lines[index], error)
    if not odd:
        return plain
    others = from_events(event for _, event in odd)
    position = is_plain.arg_true().cast(pl.Int64).append(pl.Series([index for index, _ in odd], dtype=pl.Int64))
    return plain.vstack(others).with_columns(position=position).sort("position").drop("position")


def from_events(events: Iterable[Event]) -> pl.DataFrame:
    """Return a block of these events."""
    rows = [
        (second_of(event["event_time"]), str(event["user_id"]), str(event["category_id"]), encode_head(event))
        for event in events
    ]
    return pl.DataFrame(rows, schema=BLOCK, orient="row")


def _plain_block(row: pl.Series) -> pl.DataFrame:
    """Return a block of rows that PLAIN_ROW accepts, encoded as `event.encode_head` does."""

    def or_null(name: str) -> pl.Expr:
        quoted = pl.concat_str(pl.lit('"'), name, pl.lit('"'))
        return pl.when(pl.col(name) == "").then(pl.lit("null")).otherwise(quoted)

    fields = row.str.split_exact(",", len(COLUMNS) - 1).struct.rename_fields(list(COLUMNS)).struct.unnest()
    return fields.select(
        pl.col("event_time").str.slice(0, 19).str.to_datetime(TIME_FORMAT).dt.epoch("s").alias("second"),
        "user_id",
        "category_id",
        pl.concat_str(
            pl.lit('{"event_time":"'),
            "event_time",
            pl.lit('","event_type":"'),
            "event_type",
            pl.lit('","product_id":'),
            "product_id",
            pl.lit(',"category_id":'),
            "category_id",
            pl.lit(',"category_code":'),
            or_null("category_code"),
            pl.lit(',"brand":'),
            or_null("brand"),
            pl.lit(',"price":'),
            "price",
            pl.lit(',"user_id":'),
            "user_id",
            pl.lit(',"user_session":'),
            or_null("user_session"),
            pl.lit(',"txn_timestamp":"'),
        ).alias("head"),
    )


class _File:
    """One file, named as the user knows it."""

    def __init__(self, name: str, create_client: ClientFactory) -> None:
        _check_ending(name)
        self.name = name
        self._create_client = create_client
        self.size = None if name.startswith("s3://") else _size(name)
        self.bytes_read = 0
        self.damage: str | None = None

    def lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """Return (number of the first line, lines without their ends), block by block, without the header."""
        self.damage = None
        line_number = 0
        with ExitStack() as stack:
            raw = stack.enter_context(open_raw(self.name, self._create_client))
            for lines in self._split(_unpacked(raw, self.name, stack), raw):
                if not line_number:
                    line_number = 1
                    lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
                    if self._has_header(lines[0]):
                        lines, line_number = lines[1:], 2
                if lines:
                    yield line_number, lines
                    line_number += len(lines)

    def first_second(self) -> float:
        """Return the Unix time of the first good row; infinite if there is none."""
        for _, lines in self.lines():
            for line in lines:
                try:
                    return second_of(_parse(line)["event_time"])
                except MalformedRow:
                    continue
        return float("inf")

    def _split(self, stream: BufferedIOBase, raw: Any) -> Iterator[list[bytes]]:
        """Return lists of lines, the first also if the file is empty.

        Not by `readline`, which loses the start of a line in which gzip fails.
        """
        rest: list[bytes] = []
        rest_bytes = 0
        is_first = True
        try:
            for chunk in _chunks(stream):
                self.bytes_read = raw.tell() if self.size is not None else 0
                head, newline, tail = chunk.rpartition(b"\n")
                if not newline:
                    # A line without end: its start is kept, or a file without line ends would fill the memory.
                    if rest_bytes <= MAX_ROW_BYTES:
                        rest.append(chunk)
                        rest_bytes += len(chunk)
                    continue
                lines = b"".join([*rest, head]).replace(b"\r\n", b"\n").split(b"\n")
                lines[-1] = lines[-1].removesuffix(b"\r")
                rest, rest_bytes = [tail], len(tail)
                yield lines
                is_first = False
        except UNREADABLE as error:
            self.damage = f"reading ended early: {error}"
        last = b"".join(rest)
        if last or is_first:
            yield [last.removesuffix(b"\r")]

    def _has_header(self, line: bytes) -> bool:
        text = _readable(line)
        if text.split(",") == list(COLUMNS):
            return True
        try:
            _parse(line)
        except MalformedRow:
            came = f"the header is {text[:200]!r}" if text else self.damage or "the file or its first line is empty"
            raise SourceError(f"{self.name}: {came}; the only header allowed is {','.join(COLUMNS)!r}") from None
        return False


def open_raw(name: str, create_client: ClientFactory = client_from_environment) -> Any:
    """Return a local file or an S3 object as a stream of its bytes. Raise SourceError."""
    try:
        return smart_open.open(name, "rb", compression="disable", transport_params=transport(name, create_client))
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{name}: {error}; check the address and your access to it") from error
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{name}: {reason}; give the path of a {' or '.join(ENDINGS)} file") from error
    except (NotImplementedError, ValueError, ImportError) as error:  # smart_open, of ftp:// and other addresses
        raise SourceError(f"{name}: no such address; give a local path or an s3:// address") from error


def transport(name: str, create_client: ClientFactory) -> dict[str, Any]:
    """Return smart_open's parameters for a path or an address."""
    return {"client": create_client("s3")} if name.startswith("s3://") else {}


@contextmanager
def open_text(name: str, create_client: ClientFactory = client_from_environment) -> Iterator[Any]:
    """Return a stream of the bytes of a file's text, unpacked. Raise SourceError."""
    _check_ending(name)
    with ExitStack() as stack:
        raw = stack.enter_context(open_raw(name, create_client))
        yield _unpacked(raw, name, stack)


def _check_ending(name: str) -> None:
    if not name.endswith(ENDINGS):
        raise SourceError(f"{name}: not a {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]} file; give another path")


def fields(line: bytes) -> list[str]:
    """Return the columns of one row. Raise MalformedRow."""
    if len(line) > MAX_ROW_BYTES:
        raise MalformedRow(f"more than {MAX_ROW_BYTES} bytes")  # of a longer one not all is kept
    try:
        text = line.decode()
        return next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    except UnicodeDecodeError as error:
        raise MalformedRow(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise MalformedRow(f"not CSV: {error}") from error


def _parse(line: bytes) -> Event:
    return parse(fields(line))


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    """Return chunks of about CHUNK_BYTES, the last also before an error: `read` would lose what came before one."""
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := stream.read1(min(PIECE_BYTES, CHUNK_BYTES)):
            pieces.append(piece)
            size += len(piece)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except UNREADABLE:
        if pieces:
            yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def _unpacked(raw: Any, name: str, stack: ExitStack) -> Any:
    """Return the stream of the file's text; of a zip archive that of its one .csv file, as Kaggle serves it."""
    if name.endswith(".gz"):
        return stack.enter_context(gzip.open(raw))
    if not name.endswith(".zip"):
        return raw
    try:
        archive = stack.enter_context(zipfile.ZipFile(raw))
    except zipfile.BadZipFile as error:
        raise SourceError(f"{name}: {error}; give a whole archive") from error
    members = [member for member in archive.namelist() if member.endswith(".csv") and "__MACOSX" not in member]
    if len(members) != 1:
        raise SourceError(f"{name}: it holds {len(members)} .csv files, allowed is one; unpack it and give their paths")
    member = copy(archive.getinfo(members[0]))
    checksum = member.CRC
    # zipfile would check it itself, but it would lose the piece after which the checksum differs.
    del member.CRC
    try:
        return BufferedReader(_Checked(stack.enter_context(archive.open(member)), checksum, f"{members[0]!r}"))
    except (RuntimeError, zipfile.BadZipFile) as error:  # encrypted, packed in another way, or damaged
        raise SourceError(f"{name}: {error}; unpack it and give the .csv file") from error


class _Checked(RawIOBase):
    """The stream's bytes. At their end it raises BadZipFile if their CRC-32 differs."""

    def __init__(self, stream: Any, checksum: int, name: str) -> None:
        self._stream = stream
        self._checksum = checksum
        self._name = name
        self._found = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read1(len(buffer))
        if not piece and self._found != self._checksum:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._name}")
        self._found = zlib.crc32(piece, self._found)
        buffer[: len(piece)] = piece
        return len(piece)


def split_data(text: str) -> list[str]:
    """Return the inputs that one string names: one path, or several inputs as in a shell, separated by spaces.

    A path that exists is taken whole, even with spaces in it. Raise SourceError if a path or glob matches nothing;
    addresses such as s3:// are checked when they are read.
    """
    if os.path.exists(text):
        return [text]
    try:
        names = shlex.split(text)
    except ValueError as error:
        raise SourceError(f"DATA is {text!r}: {error}; separate inputs by spaces, and quote what holds one") from error
    for name in names or [text]:
        if "://" not in name and not os.path.exists(name) and not glob.glob(name, recursive=True):
            raise SourceError(
                f"DATA is {name!r}, which is no file: give the path of a .csv, .csv.gz or .csv.zip, a folder, a glob "
                "or an s3:// address, or several of them separated by spaces"
            )
    return names


def expand(inputs: Sequence[str], create_client: ClientFactory = client_from_environment) -> list[str]:
    """Return the names of the inputs' files: of a glob, a folder or an S3 prefix all with a known ending.

    Raise SourceError if an input holds none.
    """
    names: list[str] = []
    for given in inputs:
        if given.startswith("s3://") and not given.endswith(ENDINGS):
            found = _list_s3(given, create_client)
        elif os.path.isdir(given):
            found = sorted(str(path) for path in Path(given).iterdir() if path.name.endswith(ENDINGS))
        elif glob.has_magic(given) and not os.path.exists(given):
            found = sorted(glob.glob(given, recursive=True))
        else:
            found = [given]
        if not found:
            raise SourceError(f"{given}: no such file; give the path of a {' or '.join(ENDINGS)} file")
        names += found
    return names


def _list_s3(uri: str, create_client: ClientFactory) -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:
        pages = create_client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{uri}: {error}; check the address and your access to it") from error
    return sorted(f"s3://{bucket}/{key}" for key in keys if key.endswith(ENDINGS))


def _size(name: str) -> int | None:
    try:
        return os.path.getsize(name)
    except OSError:
        return None  # opening it says what is wrong


def _readable(line: bytes) -> str:
    return line.decode(errors="backslashreplace")
