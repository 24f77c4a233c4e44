"""Files as shops export them → columns of text: CSV of any dialect, JSON lines, Parquet."""

import codecs
import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import orjson
import polars as pl
import pyarrow
import pyarrow.parquet

from simulator.traffic.event import COLUMNS, FIELDS, REQUIRED, MalformedRow
from simulator.traffic.inputs import UNREADABLE, Place, SourceError, chunks, open_text, split_lines
from simulator.traffic.mapping import Mapping, identity, names_of, read, shipped
from simulator.traffic.rows import HEADER_ALLOWED, MAX_ROW_BYTES, header_of, readable

JSON = (".json", ".jsonl", ".ndjson")
DELIMITERS = (",", ";", "\t", "|")
SNIFFED_BYTES = 1 << 16
PARQUET_ROWS = 20_000
# The longest first: that of UTF-32 begins as UTF-16's does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NEXT_STEP = "`shopstream inspect FILE` shows what is in it, and writes a mapping to start from"

Bad = Callable[[int, str, str], None]  # line number, reason, row


@dataclass(frozen=True)
class Shape:
    """What a file is: its form, and of CSV how it is written. `header` has the names of the columns."""

    form: str  # csv, jsonl, parquet
    encoding: str = "utf-8"
    mark: int = 0  # bytes of its byte order mark
    delimiter: str = ","
    header: tuple[str, ...] = ()
    has_header: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether `rows.to_block` can read it as it is."""
        return self.form == "csv" and self.encoding == "utf-8" and self.delimiter == ","


@dataclass(frozen=True)
class Batch:
    """Some rows: the source columns as texts, and where each row is in the file."""

    columns: pl.DataFrame
    numbers: Sequence[int]  # of the rows' first lines
    row: Callable[[int], str]  # as it is in the file


def shape_of(name: str, place: Place, mapping: Mapping | None) -> Shape:
    """Return the shape of a file, with the names of its columns: of JSON, the first line's. Raise SourceError."""
    with open_text(*place) as stream:
        shape = _sniff(name, stream, mapping)
    if shape.form == "csv":
        return shape
    with open_text(*place) as stream:
        return replace(shape, header=_columns_of_records(name, stream, shape))


def _sniff(name: str, stream: Any, mapping: Mapping | None) -> Shape:
    """Return the shape of a file from its first bytes, which it reads. Raise SourceError."""
    try:
        first = next(chunks(stream), b"")[:SNIFFED_BYTES]
    except UNREADABLE as error:
        raise SourceError(f"{name}: reading ended early: {error}; give a whole file") from error
    form = mapping.form if mapping else "auto"
    if form == "parquet" or (form == "auto" and first.startswith(b"PAR1")):
        return Shape("parquet")
    encoding, mark = _encoding(first)
    if mapping and mapping.encoding != "auto":
        encoding = _known(name, mapping.encoding)
    text = first[mark:].decode(encoding, "replace")
    begin = text.lstrip()[:1]
    if form == "auto" and begin == "[":
        raise SourceError(f"{name}: one JSON array; give JSON lines, one object a line: jq -c '.[]' makes them")
    is_json = begin == "{" or (not begin and name.lower().removesuffix(".gz").removesuffix(".zst").endswith(JSON))
    if form == "jsonl" or (form == "auto" and is_json):
        return Shape("jsonl", encoding, mark)
    line = text.replace("\r\n", "\n").split("\n", 1)[0]
    delimiter = mapping.delimiter if mapping and mapping.delimiter != "auto" else _delimiter(line)
    names = tuple(one.strip() for one in _cells(line, delimiter))
    if mapping and mapping.header:
        return Shape("csv", encoding, mark, delimiter, tuple(mapping.header), has_header=False)
    return Shape("csv", encoding, mark, delimiter, names)


def _encoding(first: bytes) -> tuple[str, int]:
    for mark, encoding in MARKS:
        if first.startswith(mark):
            return encoding, len(mark)
    # A text of mostly ASCII in UTF-16 has a zero byte in each pair.
    head = first[:200]
    if len(head) >= 4 and not any(head[1::2]):
        return "utf-16-le", 0
    if len(head) >= 4 and not any(head[::2]):
        return "utf-16-be", 0
    return "utf-8", 0


def _known(name: str, encoding: str) -> str:
    try:
        found = codecs.lookup(encoding).name
    except LookupError:
        raise SourceError(f"{name}: encoding {encoding!r} is not known; give one such as utf-8 or cp1252") from None
    return "utf-8" if found in ("utf-8", "utf-8-sig") else found


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=lambda delimiter: len(_cells(line, delimiter)))


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def fitting(name: str, shape: Shape) -> tuple[Mapping, Shape]:
    """Return the mapping of a file for which none is given: its columns have the contract's names.

    The shape comes back with the header that counts. Raise SourceError.
    """
    try:
        if shape.form != "csv":
            columns = header_of([one for one in shape.header if one in FIELDS])
            return identity(columns or ()), shape
        columns = header_of(shape.header)
        if columns is None:  # the first line is a row already
            return identity(COLUMNS), replace(shape, header=COLUMNS, has_header=False)
    except (MalformedRow, ValueError) as error:
        raise SourceError(f"{name}: {unknown_header(shape.header, str(error))}") from None
    return identity(columns), shape


def unknown_header(header: Sequence[str], problem: str) -> str:
    """Return what is wrong with a header and what to do: the mapping that fits, if one ships with the project."""
    text = ",".join(header)
    came = f"the header is {text[:200]!r}: {problem}"
    if fits := [one for one in shipped() if {*read(one).source_columns} <= {*header}]:
        return f"{came}; it looks like {fits[0]}: give --mapping {fits[0]} (make: MAPPING={fits[0]})"
    return f"{came}; {HEADER_ALLOWED}; for other columns give a --mapping: {NEXT_STEP}"


def batches(
    name: str, stream: Any, parts: Iterator[bytes], shape: Shape, mapping: Mapping, bad: Bad
) -> Iterator[Batch]:
    """Return the file's rows, the mapping's columns of them. `bad` gets the rows that cannot be read as such.

    `parts` are the stream's bytes, and `stream` can be read instead. Raise SourceError, and Damaged at the end.
    """
    if shape.form == "parquet":
        yield from _parquet(name, stream, mapping)
        return
    lines = split_lines(_utf8(parts, shape))
    if shape.form == "jsonl":
        yield from _json(lines, mapping, bad)
    else:
        yield from _csv(name, lines, shape, mapping, bad)


def missing(shape_columns: Sequence[str], mapping: Mapping, name: str) -> list[str]:
    """Return the mapping's columns that the file does not have. Raise SourceError if it cannot do without one."""
    absent = [one for one in mapping.source_columns if one not in shape_columns]
    for field in REQUIRED:
        column = mapping.columns.get(field)
        names = [] if column is None else names_of(column)
        if names and {*names} <= {*absent}:
            has = ", ".join(shape_columns) or "none"
            raise SourceError(f"{name}: there is no column {names[0]!r} for {field}; its columns are: {has[:500]}")
    return absent


def _utf8(parts: Iterator[bytes], shape: Shape) -> Iterator[bytes]:
    """Return the parts of a text in UTF-8, without its byte order mark."""
    first = next(parts, b"")
    parts = chain([first[shape.mark :]], parts)
    if shape.encoding == "utf-8":
        yield from parts
        return
    decoder = codecs.getincrementaldecoder(shape.encoding)("replace")
    for part in parts:
        yield decoder.decode(part).encode()
    yield decoder.decode(b"", True).encode()


def _texts(lines: list[bytes], first: int, bad: Bad) -> list[str]:
    """Return the lines as texts, an empty one where a line is not UTF-8 or too long."""
    try:
        if max(map(len, lines), default=0) <= MAX_ROW_BYTES:
            return b"\n".join(lines).decode().split("\n") if lines else []
    except UnicodeDecodeError:
        pass
    texts = []
    for number, line in enumerate(lines, first):
        text = ""
        try:
            if len(line) > MAX_ROW_BYTES:
                bad(number, f"more than {MAX_ROW_BYTES} bytes", readable(line))
            else:
                text = line.decode()
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: {error.reason} at byte {error.start}; a mapping can name the encoding"
            bad(number, reason, readable(line))
        texts.append(text)
    return texts


def _csv(name: str, blocks: Iterator[list[bytes]], shape: Shape, mapping: Mapping, bad: Bad) -> Iterator[Batch]:
    absent = missing(shape.header, mapping, name)
    places = {one: shape.header.index(one) for one in mapping.source_columns if one not in absent}
    width, number, carried = len(shape.header), 1, list[str]()
    has_header = shape.has_header
    for lines in chain(blocks, [None]):
        texts = carried if lines is None else [*carried, *_texts(lines, number + len(carried), bad)]
        if has_header:
            texts, has_header, number = texts[1:], False, number + 1
        if '"' in "\n".join(texts):
            rows, numbers, lengths, carried = _with_quotes(texts, number, shape.delimiter, width, lines is None, bad)
            cells = list(zip(*rows, strict=True)) or [()] * width
            columns = pl.DataFrame({one: pl.Series(cells[place], dtype=pl.String) for one, place in places.items()})
        else:
            table, numbers = _without_quotes(texts, number, shape.delimiter, width, bad)
            columns = table.select(pl.col(str(place)).alias(one) for one, place in places.items())
            lengths, carried = None, []
        if numbers:

            def row(
                index: int,
                texts: list[str] = texts,
                numbers: Sequence[int] = numbers,
                lengths: Sequence[int] | None = lengths,
                first: int = number,
            ) -> str:
                begin = numbers[index] - first
                return "\n".join(texts[begin : begin + (lengths[index] if lengths else 1)])

            yield Batch(columns.with_columns(pl.lit(None, pl.String).alias(one) for one in absent), numbers, row)
        number += len(texts) - len(carried)


def _without_quotes(
    texts: list[str], first: int, delimiter: str, width: int, bad: Bad
) -> tuple[pl.DataFrame, list[int]]:
    """Return (cells by number, numbers of the rows' lines). Empty lines are nothing."""
    line = pl.Series("line", texts, pl.String)
    cells = line.str.count_matches(delimiter, literal=True) + 1
    is_row = (cells == width) & (line != "")
    for index in (~is_row).arg_true():
        if texts[index]:
            bad(first + index, f"{cells[index]} columns, expected {width}", texts[index])
    split = line.filter(is_row).str.split_exact(delimiter, width - 1)
    table = split.struct.rename_fields([str(place) for place in range(width)]).struct.unnest()
    return table, (is_row.arg_true().cast(pl.Int64) + first).to_list()


def _with_quotes(
    texts: list[str], first: int, delimiter: str, width: int, is_last: bool, bad: Bad
) -> tuple[list[list[str]], list[int], list[int], list[str]]:
    """Return (rows, numbers of their first lines, how many lines each has, lines of a row that is not yet whole)."""
    rows, numbers, lengths = list[list[str]](), list[int](), list[int]()
    try:
        plain = list(csv.reader(texts, delimiter=delimiter, strict=True))
    except csv.Error:
        plain = []
    if len(plain) == len(texts):  # each line is a row
        for number, (row, text) in enumerate(zip(plain, texts, strict=True), first):
            if len(row) == width:
                rows.append(row)
                numbers.append(number)
            elif text:
                bad(number, f"{len(row)} columns, expected {width}", text)
        return rows, numbers, [1] * len(rows), []
    index = 0
    while index < len(texts):
        lines = _Lines(texts, index)
        problem = None
        try:
            row = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
            if texts[index] and len(row) != width:
                problem = f"{len(row)} columns, expected {width}"
        except csv.Error as error:
            problem = f"not CSV: {error}"
            if lines.are_all and not is_last and "unexpected end" in problem:
                return rows, numbers, lengths, texts[index:]
        if problem:
            # A quote that is not closed would take the next rows with it: reading goes on at the next line.
            bad(first + index, problem, texts[index])
            index += 1
        else:
            if row:
                rows.append(row)
                numbers.append(first + index)
                lengths.append(lines.taken)
            index += lines.taken
    return rows, numbers, lengths, []


class _Lines:
    """Lines for one CSV row: as many as it takes, up to MAX_ROW_BYTES."""

    def __init__(self, texts: list[str], start: int) -> None:
        self._texts = texts
        self._start = start
        self._characters = 0
        self.taken = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.are_all or self._characters > MAX_ROW_BYTES:
            raise StopIteration
        text = self._texts[self._start + self.taken]
        self.taken += 1
        self._characters += len(text)
        return f"{text}\n"

    @property
    def are_all(self) -> bool:
        """Whether it took all lines that there are."""
        return self._start + self.taken == len(self._texts)


def _json(blocks: Iterator[list[bytes]], mapping: Mapping, bad: Bad) -> Iterator[Batch]:
    names = mapping.source_columns
    number = 1
    for lines in blocks:
        texts = _texts(lines, number, bad)
        found, numbers, rows = list[dict[str, Any]](), list[int](), list[str]()
        for one, text in enumerate(texts, number):
            if not text.strip():
                continue
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                bad(one, f"not JSON: {error}", text)
                continue
            if not isinstance(value, dict):
                bad(one, "not a JSON object", text)
                continue
            found.append(value)
            numbers.append(one)
            rows.append(text)
        number += len(lines)
        columns = {name: pl.Series([_text(_at(value, name)) for value in found], dtype=pl.String) for name in names}
        if found:
            yield Batch(pl.DataFrame(columns), numbers, rows.__getitem__)


def _at(value: Any, name: str) -> Any:
    """Return what a name such as `items.0.price` leads to; a member of that very name comes first."""
    if name in value:
        return value[name]
    for part in name.split(".") if "." in name else ():
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value if "." in name else None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
    return str(value) if isinstance(value, int) else orjson.dumps(value).decode()


def _parquet(name: str, stream: Any, mapping: Mapping) -> Iterator[Batch]:
    with tempfile.TemporaryFile() as seekable:
        # Its footer is at the end, and what is unpacked cannot be sought in.
        if not (hasattr(stream, "seekable") and stream.seekable()):
            shutil.copyfileobj(stream, seekable)
            seekable.seek(0)
            stream = seekable
        try:
            file = pyarrow.parquet.ParquetFile(stream)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise SourceError(f"{name}: not a whole Parquet file: {error}") from error
        present = _flat(pl.from_arrow(file.schema_arrow.empty_table())).columns
        absent = missing(present, mapping, name)
        wanted = [one for one in mapping.source_columns if one not in absent]
        number = 1
        for batch in file.iter_batches(PARQUET_ROWS, columns=sorted({one.split(".")[0] for one in wanted}) or None):
            frame = _flat(pl.from_arrow(batch))
            columns = frame.select(_column_text(name, frame[one]) for one in wanted)
            columns = columns.with_columns(pl.lit(None, pl.String).alias(one) for one in absent)

            def row(index: int, frame: pl.DataFrame = frame) -> str:
                return orjson.dumps(frame.row(index, named=True), default=str).decode()

            yield Batch(columns, range(number, number + frame.height), row)
            number += frame.height


def _flat(frame: Any) -> pl.DataFrame:
    """Return the frame with the members of structs as columns, `items.price`."""
    while structs := [one for one in frame.columns if isinstance(frame.schema[one], pl.Struct)]:
        for one in structs:
            fields = [f"{one}.{field.name}" for field in frame.schema[one].fields]
            frame = frame.with_columns(pl.col(one).struct.rename_fields(fields)).unnest(one)
    return frame


def _column_text(name: str, column: pl.Series) -> pl.Series:
    type_ = column.dtype
    if isinstance(type_, pl.Datetime):
        if type_.time_zone:
            return column.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")
        return column.dt.to_string("%Y-%m-%dT%H:%M:%S%.3f")
    if type_.is_float():
        return pl.Series(column.name, [_text(value) for value in column], pl.String)
    if isinstance(type_, pl.List | pl.Array | pl.Binary):
        raise SourceError(f"{name}: column {column.name!r} holds {type_}, not one text or number a row; map another")
    return column.cast(pl.String)


def _columns_of_records(name: str, stream: Any, shape: Shape) -> tuple[str, ...]:
    """Return the names of the columns of a Parquet file, or of the first JSON object."""
    if shape.form == "parquet":
        table = pyarrow.parquet.ParquetFile(stream).schema_arrow.empty_table()
        return tuple(_flat(pl.from_arrow(table)).columns)
    for lines in split_lines(_utf8(chunks(stream), shape)):
        for line in lines:
            if line.strip():
                try:
                    return tuple(orjson.loads(line))
                except orjson.JSONDecodeError as error:
                    raise SourceError(f"{name}: the first line is no JSON: {error}") from error
    return ()
