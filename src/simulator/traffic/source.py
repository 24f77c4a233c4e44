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
from functools import lru_cache
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

import polars as pl
import smart_open
from botocore.exceptions import BotoCoreError, ClientError

from simulator.aws import ClientFactory, client_from_environment
from simulator.traffic.event import (
    COLUMNS,
    FIELDS,
    MAX_ID_CHARACTERS,
    OTHERS,
    REQUIRED,
    Event,
    Kind,
    MalformedRow,
    at_ms,
    encode_head,
    ordering_key,
    parse,
    spread_key,
)

CHUNK_BYTES = 1 << 22
PIECE_BYTES = 1 << 16
# A record may have 1 MiB (writer.py) and escaping at most doubles a text: a row up to this size always fits.
MAX_ROW_BYTES = 100_000
ENDINGS = (".csv", ".csv.gz", ".csv.zip")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A block: events in the file's order. `key` and `category_key` are partition keys: of one user or session, and of one
# category. `head` is the wire record up to where the value of `txn_timestamp` begins.
BLOCK = {
    "ms": pl.Int64,  # Unix time
    "key": pl.String,
    "category_key": pl.String,
    "head": pl.String,
}

# What reading raises where a file is damaged.
UNREADABLE = (EOFError, OSError, zlib.error, zipfile.BadZipFile)

# A row as nearly all are: it is valid, and its texts are those of the wire record. Rows that differ (a quote inside a
# text, a price with one decimal, a time with an offset) go through `event.parse`, which decides.
_DAY = "(?:19[7-9]|2[0-9]{2})[0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_UNFIT = r'"\\\x00-\x1f\x7f'
_PLAIN: dict[Kind, str] = {
    "time": rf"{_DAY}[ T]{_CLOCK}(?:\.[0-9]{{3}})?(?: UTC|Z)",
    "price": r"(?:0|[1-9][0-9]{0,9})\.[0-9]{2}",
    "quantity": "[1-9][0-9]{0,17}",
}
COMMA = "\x1f"  # stands for a comma inside of quotes; no plain row holds it


@lru_cache
def plain_row(columns: Sequence[str]) -> str:
    """Return the pattern of a plain row of these columns. Its length is not limited."""

    def cell(name: str) -> str:
        plain = _PLAIN.get(FIELDS[name])
        bare, quoted = (plain, plain) if plain else (f"[^,{_UNFIT}]+", f"[^{_UNFIT}]+")
        return f'(?:{bare}|"{quoted}")' if name in REQUIRED else f'(?:{bare}|"(?:{quoted})?")?'

    return f"^{','.join(map(cell, columns))}$"


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

    Inputs are paths, folders, globs, s3:// objects or prefixes. A file without a header has the data set's columns. One
    line is one row: no field of the contract may hold a line break, so a stray quote spoils only its own row. After a
    pass `rows` is the number of rows read, without headers; `damage` says which file could not be read to its end and
    why, if any.
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
                    event = parse(fields(line), file.columns)
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

            yield to_block(lines, keep, file.columns)

    @property
    def files(self) -> list["_File"]:
        """The inputs' files in the order of their first events; each is opened once to find it. Raise SourceError."""
        if self._files is None:
            found = [_File(name, self._create_client) for name in expand(self.inputs, self._create_client)]
            self._files = found if len(found) == 1 else sorted(found, key=lambda file: file.first_ms())
        return self._files

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that the files have columns for, in the contract's order, the data set's among them."""
        for file in self.files:
            next(file.lines(), None)
        named = {name for file in self.files for name in file.columns}
        return tuple(name for name in FIELDS if name in COLUMNS or name in named)

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
    malformed: Callable[[int, bytes, MalformedRow], None],
    columns: Sequence[str] = COLUMNS,
) -> pl.DataFrame:
    """Return a block of the lines' events. `malformed` gets (index, line, error) of each other line."""
    row = _rows(lines)
    is_plain = row.str.contains(plain_row(columns)) & (row.str.len_bytes() <= MAX_ROW_BYTES)
    plain, is_whole = _plain_block(row if is_plain.all() else row.filter(is_plain), columns)
    if is_plain.all() and is_whole.all():
        return plain
    is_plain = is_plain.scatter(is_plain.arg_true().filter(~is_whole), False)
    odd: list[tuple[int, Event]] = []
    for index in (~is_plain).arg_true():
        try:
            odd.append((index, parse(fields(lines[index]), columns)))
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
        (at_ms(event), key := ordering_key(event), event["category_id"] or key, encode_head(event)) for event in events
    ]
    return pl.DataFrame(rows, schema=BLOCK, orient="row")


def _rows(lines: list[bytes]) -> pl.Series:
    """Return the lines as texts, an empty one where a line is not UTF-8."""
    try:
        return pl.Series("row", lines, pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series("row", [_text_or_empty(line) for line in lines], pl.String)


def _text_or_empty(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return ""


def _plain_block(row: pl.Series, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """Return (block, mask) of rows that `plain_row` accepts, encoded as `event.encode_head` does.

    The mask says which rows are in the block: those of which no id is too long and each time exists.
    """
    row, has_quotes = _without_quotes(row)
    cells = row.str.split_exact(",", len(columns) - 1).struct.rename_fields(list(columns)).struct.unnest()
    ms = _ms(cells["event_time"])
    is_whole = ms.is_not_null()
    if "txn_timestamp" in columns:
        own_ms = _ms(cells["txn_timestamp"])
        is_whole &= own_ms.is_not_null() | (cells["txn_timestamp"].str.len_bytes() == 0)
        ms = own_ms.fill_null(ms)
    for name in columns:
        if FIELDS[name] in ("id", "type"):
            # Of bytes, which are at least as many: `event.parse` counts the characters.
            is_whole &= cells[name].str.len_bytes() <= MAX_ID_CHARACTERS
    cells = cells.with_columns(ms)
    if not is_whole.all():
        cells = cells.filter(is_whole)
    block = cells.select("ms", *_keys(cells), pl.concat_str(_head(cells)).alias("head"))
    if has_quotes:
        block = block.with_columns(pl.col("key", "category_key", "head").str.replace_all(COMMA, ",", literal=True))
    if block["key"].null_count():
        spread = pl.col("head").map_elements(spread_key, pl.String)
        block = block.with_columns(key=pl.coalesce("key", spread)).with_columns(
            category_key=pl.coalesce("category_key", "key")
        )
    return block, is_whole


def _without_quotes(row: pl.Series) -> tuple[pl.Series, bool]:
    """Return plain rows without quotes, with COMMA for each comma inside of them, and whether there were any."""
    has_quotes = row.str.contains('"', literal=True)
    if not has_quotes.any():
        return row, False
    # All at once: no plain row holds a line break, and its quotes come in pairs.
    parts = "\n".join(row.filter(has_quotes).to_list()).split('"')
    parts[1::2] = [part.replace(",", COMMA) for part in parts[1::2]]
    bare = pl.Series("row", "".join(parts).split("\n"), pl.String)
    return (bare if has_quotes.all() else row.clone().scatter(has_quotes.arg_true(), bare)), True


def _ms(time: pl.Series) -> pl.Series:
    """Return the Unix milliseconds of plain times; null where there is none, such as on the 30th of February."""
    second = time.str.slice(0, 19)
    at = second.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    if at.null_count():
        at = at.fill_null(second.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False))
    ms = at.dt.epoch("ms")
    if time.str.contains(".", literal=True).any():
        fraction = time.str.slice(20, 3).cast(pl.Int64, strict=False)  # `UTC`, or nothing, is none
        ms += fraction.fill_null(0)
    return ms.alias("ms")


def _keys(cells: pl.DataFrame) -> Iterator[pl.Expr]:
    """Yield the partition keys of plain rows, as `event.ordering_key` has them; null where only the head is left."""

    def first_of(*names: str) -> pl.Expr:
        there: list[pl.Expr] = []
        for name in names:
            if name in cells.columns:
                if not _has_empty(cells[name]):
                    there.append(pl.col(name))
                    break
                there.append(pl.when(pl.col(name) != "").then(pl.col(name)))
        return pl.coalesce(there) if there else pl.lit(None, pl.String)

    yield first_of("user_id", "user_session", "product_id").alias("key")
    yield first_of("category_id", "user_id", "user_session", "product_id").alias("category_key")


def _head(cells: pl.DataFrame) -> list[pl.Expr]:
    """Return the parts of the wire records of plain rows: few, because each takes its time."""
    parts: list[pl.Expr | str] = []
    for number, name in enumerate((*COLUMNS, *OTHERS)):
        before = f'{"," if number else "{"}"{name}":'
        quote = "" if FIELDS[name] in ("price", "quantity") else '"'
        if name == "event_time":
            parts += [before, quote, *_wire_time(cells[name]), quote]
        elif name not in cells.columns:
            parts += [f"{before}null"] if name in COLUMNS else []
        elif not _has_empty(cells[name]):
            parts += [before, quote, pl.col(name), quote]
        else:
            whole = pl.concat_str(pl.lit(before + quote), name, pl.lit(quote))
            nothing = f"{before}null" if name in COLUMNS else ""
            parts.append(pl.when(pl.col(name) != "").then(whole).otherwise(pl.lit(nothing)))
    parts.append(',"txn_timestamp":"')
    merged: list[pl.Expr] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            merged += [pl.lit(text), part] if text else [part]
            text = ""
    return [*merged, pl.lit(text)]


def _wire_time(time: pl.Series) -> list[pl.Expr | str]:
    """Return the parts of the plain times as on the wire."""
    value = pl.col(time.name)
    fraction: pl.Expr | str = ".000"
    if time.str.contains(".", literal=True).any():
        has_fraction = value.str.slice(19, 1) == "."
        fraction = pl.when(has_fraction).then(value.str.slice(19, 4)).otherwise(pl.lit(".000"))
    return [value.str.slice(0, 10), "T", value.str.slice(11, 8), fraction, "Z"]


def _has_empty(cell: pl.Series) -> bool:
    return bool((cell.str.len_bytes() == 0).any())


class _File:
    """One file, named as the user knows it."""

    def __init__(self, name: str, create_client: ClientFactory) -> None:
        _check_ending(name)
        self.name = name
        self._create_client = create_client
        self.size = None if name.startswith("s3://") else _size(name)
        self.columns: tuple[str, ...] = COLUMNS  # once its first line is read
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
                    header = self._header(lines[0])
                    self.columns = header or COLUMNS
                    if header:
                        lines, line_number = lines[1:], 2
                if lines:
                    yield line_number, lines
                    line_number += len(lines)

    def first_ms(self) -> float:
        """Return the Unix milliseconds of the first good row; infinite if there is none."""
        for _, lines in self.lines():
            for line in lines:
                try:
                    return at_ms(parse(fields(line), self.columns))
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

    def _header(self, line: bytes) -> tuple[str, ...] | None:
        try:
            return read_header(line)
        except MalformedRow as error:
            text = _readable(line)
            came = f"the header is {text[:200]!r}" if text else self.damage or "the file or its first line is empty"
            raise SourceError(f"{self.name}: {came}: {error}; {HEADER_ALLOWED}") from None


HEADER_ALLOWED = (
    f"a header names each column once, {' and '.join(REQUIRED)} among them; allowed are {','.join(FIELDS)}; "
    f"a file without a header has the first {len(COLUMNS)} of them"
)


def read_header(line: bytes) -> tuple[str, ...] | None:
    """Return the fields that a file's first line names, in its order; None if it is a row. Raise MalformedRow."""
    try:
        parse(fields(line))
    except MalformedRow:
        names = tuple(fields(line))
    else:
        return None
    if unknown := [name for name in names if name not in FIELDS]:
        raise MalformedRow(f"{unknown[0]!r} is no field")
    if missing := [name for name in REQUIRED if name not in names]:
        raise MalformedRow(f"{missing[0]} is missing")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise MalformedRow(f"{repeated[0]} is there twice")
    return names


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
