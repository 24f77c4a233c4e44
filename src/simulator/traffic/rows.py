"""Rows of the data set's form, comma-separated with the contract's columns → blocks of encoded events."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache

import polars as pl

from simulator.traffic.event import (
    COLUMNS,
    FIELDS,
    HEAD_END,
    MAX_ID_CHARACTERS,
    NOTHING,
    OTHERS,
    REQUIRED,
    Event,
    Kind,
    MalformedRow,
    at_ms,
    encode_head,
    ms_of,
    ordering_key,
    parse,
    spread_key,
    wire_time,
)

# A record may have 1 MiB (writer.py) and escaping at most doubles a text: a row up to this size always fits.
MAX_ROW_BYTES = 100_000

# A block: events in the file's order. `key` and `category_key` are partition keys: of one user or session, and of one
# category. `head` is the wire record up to where the value of `txn_timestamp` begins.
BLOCK = {
    "ms": pl.Int64,  # Unix time
    "key": pl.String,
    "category_key": pl.String,
    "head": pl.String,
}

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
# A cell that means nothing, or the end of a longer text: the row is read by `event.parse`.
_NOTHING = rf'(?:^|[,"])(?:{"|".join(map(re.escape, NOTHING))})(?:[,"]|$)'
COMMA = "\x1f"  # stands for a comma inside of quotes; no plain row holds it


@lru_cache
def plain_row(columns: Sequence[str]) -> str:
    """Return the pattern of a plain row of these columns. Its length is not limited, and it may hold NOTHING."""

    def cell(name: str) -> str:
        plain = _PLAIN.get(FIELDS[name])
        bare, quoted = (plain, plain) if plain else (f"[^,{_UNFIT}]+", f"[^{_UNFIT}]+")
        return f'(?:{bare}|"{quoted}")' if name in REQUIRED else f'(?:{bare}|"(?:{quoted})?")?'

    return f"^{','.join(map(cell, columns))}$"


HEADER_ALLOWED = (
    f"a header names each column once, {' and '.join(REQUIRED)} among them; allowed are {','.join(FIELDS)}; "
    f"a file without a header has the first {len(COLUMNS)} of them"
)


def read_header(line: bytes) -> tuple[str, ...] | None:
    """Return the fields that a file's first line names, in its order; None if it is a row. Raise MalformedRow."""
    return header_of(fields(line))


def header_of(cells: Sequence[str]) -> tuple[str, ...] | None:
    """Return the fields that the cells of a first line name; None if they are those of a row. Raise MalformedRow."""
    try:
        parse(cells)
    except MalformedRow:
        names = tuple(cells)
    else:
        return None
    if unknown := [name for name in names if name not in FIELDS]:
        raise MalformedRow(f"{unknown[0]!r} is no field")
    if missing := [name for name in REQUIRED if name not in names]:
        raise MalformedRow(f"{missing[0]} is missing")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise MalformedRow(f"{repeated[0]} is there twice")
    return names


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


def to_block(
    lines: list[bytes],
    malformed: Callable[[int, bytes, MalformedRow], None],
    columns: Sequence[str] = COLUMNS,
) -> pl.DataFrame:
    """Return a block of the lines' events. `malformed` gets (index, line, error) of each other line."""
    row = _rows(lines)
    is_plain = row.str.contains(plain_row(columns)) & (row.str.len_bytes() <= MAX_ROW_BYTES)
    is_plain &= ~row.str.contains(_NOTHING)
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
    return _merged(plain, is_plain, odd)


def cells_to_block(cells: pl.DataFrame, malformed: Callable[[int, MalformedRow], None]) -> pl.DataFrame:
    """Return a block of events whose values are there as texts, empty or null for none; a column for each field.

    `malformed` gets (index, error) of each row that is no event.
    """
    cells = cells.fill_null("")
    is_plain = cells.select(
        pl.all_horizontal(_is_plain(name) for name in cells.columns)
        & (pl.sum_horizontal(pl.all().str.len_bytes()) <= MAX_ROW_BYTES)
    ).to_series()
    plain, is_whole = _encoded(cells if is_plain.all() else cells.filter(is_plain))
    if is_plain.all() and is_whole.all():
        return plain
    is_plain = is_plain.scatter(is_plain.arg_true().filter(~is_whole), False)
    odd: list[tuple[int, Event]] = []
    for index in (~is_plain).arg_true():
        row = cells.row(index)
        try:
            if sum(map(len, row)) > MAX_ROW_BYTES:
                raise MalformedRow(f"more than {MAX_ROW_BYTES} bytes")
            odd.append((index, parse(row, cells.columns, nothing=())))
        except MalformedRow as error:
            malformed(index, error)
    return _merged(plain, is_plain, odd)


def _is_plain(name: str) -> pl.Expr:
    plain = _PLAIN.get(FIELDS[name])
    fits = pl.col(name).str.contains(f"^(?:{plain})$" if plain else f"^[^{_UNFIT}]*$")
    return fits & (pl.col(name) != "") if name in REQUIRED else fits | (pl.col(name) == "")


def _merged(plain: pl.DataFrame, is_plain: pl.Series, odd: list[tuple[int, Event]]) -> pl.DataFrame:
    """Return the block of plain rows and other events, in their order. `is_plain` tells which rows are in the block."""
    if not odd:
        return plain
    others = from_events(event for _, event in odd)
    position = is_plain.arg_true().cast(pl.Int64).append(pl.Series([index for index, _ in odd], dtype=pl.Int64))
    return plain.vstack(others).with_columns(position=position).sort("position").drop("position")


def to_events(block: pl.DataFrame) -> Iterator[Event]:
    """Yield the events of a block. `txn_timestamp` is among their fields where it is not the time of the event."""
    for ms, head in block.select("ms", "head").iter_rows():
        event: Event = json.loads(head.removesuffix(HEAD_END) + "}", parse_float=Decimal)
        if ms_of(event["event_time"]) != ms:
            event["txn_timestamp"] = wire_time(ms)
        yield event


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
    return _encoded(cells, has_quotes)


def _encoded(cells: pl.DataFrame, has_commas: bool = False) -> tuple[pl.DataFrame, pl.Series]:
    """Return (block, mask) of plain cells, as `_plain_block` does. `has_commas`: COMMA may stand for some of them."""
    columns = cells.columns
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
    if has_commas:
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
    parts.append(HEAD_END)
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


def readable(line: bytes) -> str:
    """Return a row for people, whatever bytes it has."""
    return line.decode(errors="backslashreplace")
