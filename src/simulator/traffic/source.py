"""Files of shop events, whatever their form, as events in the order of their times: read once, in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from simulator.aws import ClientFactory, client_from_environment
from simulator.traffic import exports
from simulator.traffic.event import COLUMNS, FIELDS, Event, MalformedRow
from simulator.traffic.inputs import Damaged, Place, SourceError, chunks, open_text, places, split_lines
from simulator.traffic.mapping import LEFT_OUT, Mapping, apply, read
from simulator.traffic.rows import BLOCK, HEADER_ALLOWED, cells_to_block, read_header, readable, to_block, to_events
from simulator.traffic.spool import Run, Spool

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DAMAGED = "the file is damaged inside or after this row"
SHOWN_GAPS = 3
STRAY = "more than 7 days from every other row"


@dataclass(frozen=True)
class Malformed:
    """A row that was not sent. The header, where there is one, is line 1; of an event that was read, the line is 0."""

    file: str
    line_number: int
    reason: str
    row: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Keep = Callable[[Malformed], None]
Watch = Callable[[int], None]


class Source:
    """The events of one or more inputs, in the order of their times.

    Inputs are paths, folders, globs, s3:// objects or prefixes. Files have the contract's columns, the data set's if
    there is no header; a mapping says what others hold. All is read once, into a folder for temporary files. Rows that
    are out of order are sorted there, unless `sort` is false. A row alone, more than 7 days from all others, is set
    aside, and of a longer gap `closed` knows.

    What `read` found: `rows` is the number of rows, without headers, `early` how many were earlier than one before
    them, `damage` says which file could not be read to its end and why, if any, and `notes` what else was noticed.
    """

    def __init__(
        self,
        inputs: Sequence[Path | str] | Path | str,
        limit: int | None = None,
        create_client: ClientFactory = client_from_environment,
        *,
        mapping: Mapping | str | None = None,
        sort: bool = True,
    ) -> None:
        names = [inputs] if isinstance(inputs, str | Path) else inputs
        self.inputs = [str(name) for name in names]
        self.limit = limit
        self.rows = 0
        self.early = 0
        self.damage: str | None = None
        self.notes: list[str] = []
        self.mapping = read(mapping) if isinstance(mapping, str) else mapping
        self._sort = sort
        self._create_client = create_client
        self._spool: Spool | None = None
        self._strays: list[int] = []
        self._runs: list[Run] = []
        self._columns: set[str] = set()
        self._sent = 0

    def read(
        self,
        malformed: Keep = lambda row: None,
        set_aside: Keep = lambda row: None,
        watch: Watch = lambda rows: None,
    ) -> Spool:
        """Read the inputs, the first time. Raise SourceError if an input or a header is not usable, or a
        disk is full.

        `malformed` gets the rows that break the contract, and `set_aside` those that are left out for another reason.
        `watch` is told the number of rows after each block, and may raise.
        """
        if self._spool:
            return self._spool
        spool = Spool()
        self.rows, self.damage, self.notes = 0, None, []
        for file in self._files():
            for block in file.blocks(malformed, set_aside, self.limit and self.limit - self.rows):
                self.rows += file.fresh_rows
                spool.append(block)
                watch(self.rows)
                if self.limit and self.rows >= self.limit:
                    break
            self._columns |= {*file.columns}
            self.notes += file.notes
            if file.damage and not self.damage:
                self.damage = f"{file.name}: {file.damage}"
            if self.limit and self.rows >= self.limit:
                break
        if self.limit and self.rows >= self.limit:
            self.notes.append(f"only the first {self.limit:,} rows were read")
        runs = spool.runs()
        # In a file of single days, none is a stray.
        if len(runs) > 1 and any(run.rows > 1 for run in runs):
            self._strays = [run.first for run in runs if run.rows == 1]
        self._runs = [run for run in runs if run.first not in self._strays]
        if self._strays:
            for event in to_events(pl.concat([self._of_strays(block) for block in spool.blocks()])):
                row = ",".join(str(value) for value in event.values() if value is not None)
                set_aside(Malformed(", ".join(self.inputs), 0, STRAY, row))
        self.early = spool.early_without(self._strays) if spool.early and self._strays else spool.early
        if self.early:
            self.notes.append(self._order(spool))
            if self._sort:
                spool.sort()
        gaps = [
            f"no event from {_day(before.last)} to {_day(run.first)}: the gap is skipped"
            for before, run in pairwise(self._runs)
        ]
        self.notes += gaps[:SHOWN_GAPS]
        if len(gaps) > SHOWN_GAPS:
            self.notes.append(f"{len(gaps) - SHOWN_GAPS:,} more gaps of over 7 days are skipped")
        self._spool = spool
        return spool

    def blocks(self, malformed: Keep = lambda row: None) -> Iterator[pl.DataFrame]:
        """Return the events in blocks (rows.BLOCK). What is not read yet is read first, as `read` does."""
        spool = self.read(malformed)
        self._sent = 0
        for block in spool.blocks():
            self._sent += block.height
            yield block.filter(~pl.col("ms").is_in(self._strays)) if self._strays else block

    def events(self, malformed: Keep = lambda row: None) -> Iterator[Event]:
        """Return the same as events, about ten times as slowly."""
        for block in self.blocks(malformed):
            yield from to_events(block)

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that the files have columns for, in the contract's order, the data set's among them."""
        self.read()
        return tuple(name for name in FIELDS if name in COLUMNS or name in self._columns)

    @property
    def share_read(self) -> float | None:
        """The share of the events that this pass has returned; None before there are any."""
        return self._sent / self._spool.rows if self._spool and self._spool.rows else None

    def closed(self, ms: pl.Series) -> pl.Series:
        """Return times from which the gaps between runs are taken out: the next run begins a second after the last."""
        closed = ms
        for before, run in pairwise(self._runs):
            closed = closed - (ms >= run.first).cast(pl.Int64) * (run.first - before.last - 1000)
        return closed

    def _of_strays(self, block: pl.DataFrame) -> pl.DataFrame:
        return block.filter(pl.col("ms").is_in(self._strays))

    def _order(self, spool: Spool) -> str:
        early = f"{self.early:,} of {spool.rows:,} events are earlier than one before them"
        return f"{early}: sorted by time" if self._sort else f"{early}: sent in the file's order (--no-sort)"

    def _files(self) -> list["_File"]:
        """Return the inputs' files, by their first events. Each is opened once to find it. Raise SourceError."""
        found = places(self.inputs, self._create_client)
        files = [_File(name, place, self.mapping) for name, place in found.items()]
        return files if len(files) == 1 else sorted(files, key=_File.first_ms)


class _File:
    """One file, or one member of an archive, named as the user knows it."""

    def __init__(self, name: str, place: Place, mapping: Mapping | None) -> None:
        self.name = name
        self._place = place
        self._mapping = mapping
        self.columns: tuple[str, ...] = COLUMNS  # once its first line is read
        self.notes: list[str] = []
        self.damage: str | None = None
        self.fresh_rows = 0  # since the block before: events and others

    def blocks(self, malformed: Keep, set_aside: Keep, limit: int | None = None) -> Iterator[pl.DataFrame]:
        """Return the events, block by block, of at most `limit` rows. Raise SourceError."""
        self.damage, self.notes = None, []
        shape = exports.shape_of(self.name, self._place, self._mapping)
        with open_text(*self._place) as stream:
            if self._mapping is None and shape.is_plain:
                yield from self._plain(stream, malformed, limit)
            else:
                yield from self._mapped(stream, shape, malformed, set_aside, limit)

    def first_ms(self) -> float:
        """Return the Unix milliseconds of the first good row; infinite if there is none."""

        def nowhere(row: Malformed) -> None:
            pass

        for block in self.blocks(nowhere, nowhere):
            if block.height:
                return block["ms"][0]
        return float("inf")

    def _plain(self, stream: Any, malformed: Keep, limit: int | None) -> Iterator[pl.DataFrame]:
        """Return the blocks of a file in the data set's form. One line is one row: no field holds a line break."""
        number = 0
        try:
            for lines in split_lines(chunks(stream)):
                if not number:
                    number = 1
                    lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
                    header = self._header(lines[0])
                    self.columns = header or COLUMNS
                    if header:
                        lines, number = lines[1:], 2
                lines = lines if limit is None else lines[:limit]

                def keep(index: int, line: bytes, error: MalformedRow, first: int = number) -> None:
                    malformed(Malformed(self.name, first + index, str(error), readable(line)))

                self.fresh_rows = len(lines)
                yield to_block(lines, keep, self.columns)
                number += len(lines)
                limit = limit and limit - len(lines)
                if limit == 0:
                    return
        except Damaged as error:
            self.damage = str(error)
            if not number:
                self._header(error.last)
            if error.last or not number:
                malformed(Malformed(self.name, number or 1, DAMAGED, readable(error.last)))
                self.fresh_rows = 1
                yield pl.DataFrame(schema=BLOCK)

    def _mapped(
        self, stream: Any, shape: exports.Shape, malformed: Keep, set_aside: Keep, limit: int | None
    ) -> Iterator[pl.DataFrame]:
        """Return the blocks of a file in another form."""
        if shape.form != "csv" and not shape.header:  # an empty file
            return
        mapping = self._mapping
        if mapping is None:
            mapping, shape = exports.fitting(self.name, shape)
        elif shape.form != "jsonl" and (absent := exports.missing(shape.header, mapping, self.name)):
            self.notes.append(f"{self.name}: there is no column {', '.join(absent)}: nothing is read from it")
        self.columns = tuple(name for name in FIELDS if name in (*mapping.columns, *mapping.constants))
        bad_rows = 0

        def bad(number: int, reason: str, row: str) -> None:
            nonlocal bad_rows
            bad_rows += 1
            malformed(Malformed(self.name, number, reason, row))

        try:
            for batch in exports.batches(self.name, stream, chunks(stream), shape, mapping, bad):
                columns = batch.columns if limit is None else batch.columns.head(limit)
                cells = apply(mapping, columns)
                numbers = pl.int_range(cells.height, eager=True)
                out = cells["event_type"].str.starts_with(LEFT_OUT).fill_null(False)
                if out.any():
                    for index in out.arg_true():
                        reason = f"the mapping leaves out {cells['event_type'][index][1:]!r}"
                        set_aside(Malformed(self.name, batch.numbers[index], reason, batch.row(index)))
                    cells, numbers = cells.filter(~out), numbers.filter(~out)

                def keep(
                    index: int, error: MalformedRow, batch: exports.Batch = batch, numbers: pl.Series = numbers
                ) -> None:
                    place = numbers[index]
                    malformed(Malformed(self.name, batch.numbers[place], str(error), batch.row(place)))

                block = cells_to_block(cells, keep)
                self.fresh_rows, bad_rows = columns.height + bad_rows, 0
                yield block
                limit = limit and max(0, limit - columns.height)
                if limit == 0:
                    return
        except Damaged as error:
            self.damage = str(error)
            if error.last:
                bad(0, DAMAGED, readable(error.last))
        if bad_rows:
            self.fresh_rows = bad_rows
            yield pl.DataFrame(schema=BLOCK)

    def _header(self, line: bytes) -> tuple[str, ...] | None:
        try:
            return read_header(line)
        except MalformedRow as error:
            text = readable(line)
            if not text:
                came = self.damage or "the file or its first line is empty"
                raise SourceError(f"{self.name}: {came}: {error}; {HEADER_ALLOWED}") from None
            names = text.replace('"', "").split(",")
            raise SourceError(f"{self.name}: {exports.unknown_header(names, str(error))}") from None


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
