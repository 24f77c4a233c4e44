"""Events between reading and sending: on disk, where their order is seen, and mended with bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow

from simulator.traffic.inputs import SourceError
from simulator.traffic.rows import BLOCK

DAY_MS = 86_400_000
# Rows that are further from all others are strays: a clock that was wrong, a wrong month.
GAP_MS = 7 * DAY_MS
# So much stays in memory before the disk is used, some 350,000 events: to write and read blocks costs as much as to
# read rows.
MEMORY_BYTES = 128_000_000
# What DuckDB may take to sort; the rest goes to the disk.
SORT_MEMORY = "400MB"
SORTED_ROWS = 20_000  # in a block after sorting
SCHEMA = pyarrow.schema([("n", pyarrow.int64()), *((name, pyarrow.large_string()) for name in BLOCK if name != "ms")])
SCHEMA = SCHEMA.insert(1, pyarrow.field("ms", pyarrow.int64()))


@dataclass(frozen=True)
class Run:
    """Events with no gap of GAP_MS between two that are neighbours in time. `first` and `last` are Unix ms."""

    first: int
    last: int
    rows: int


class Spool:
    """Blocks of events, the first in memory and the others in a temporary folder, which goes with this object.

    `early` counts the events that are earlier than one before them.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="shopstream-")
        self._kept: list[pl.DataFrame] = []
        self._kept_bytes = 0
        self._blocks = 0  # in the folder
        self._latest: int | None = None
        self._days: dict[int, Run] = {}
        self.rows = 0
        self.early = 0

    def append(self, block: pl.DataFrame) -> None:
        """Keep a block. Raise SourceError, of a full disk for one."""
        if not block.height:
            return
        early, self._latest = _early(block["ms"], self._latest)
        self.early += early
        days = block.group_by(pl.col("ms") // DAY_MS).agg(
            first=pl.col("ms").min(), last=pl.col("ms").max(), rows=pl.len()
        )
        for day, first, last, rows in days.iter_rows():
            known = self._days.get(day)
            if known:
                first, last, rows = min(first, known.first), max(last, known.last), rows + known.rows
            self._days[day] = Run(first, last, rows)
        self._write(block)
        self.rows += block.height

    def early_without(self, strays: Sequence[int]) -> int:
        """Return how many events are earlier than one before them, of those that do not happen at these times."""
        count, latest = 0, None
        for block in self.blocks():
            ms = block["ms"].filter(~block["ms"].is_in(strays))
            if len(ms):
                early, latest = _early(ms, latest)
                count += early
        return count

    def runs(self) -> list[Run]:
        """Return the runs of the events, in their order in time."""
        runs: list[Run] = []
        for _, day in sorted(self._days.items()):
            if runs and day.first - runs[-1].last <= GAP_MS:
                runs[-1] = Run(runs[-1].first, day.last, runs[-1].rows + day.rows)
            else:
                runs.append(day)
        return runs

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Return the blocks, as often as asked for."""
        yield from self._kept
        for number in range(self._blocks):
            yield pl.read_ipc(self._path(number), memory_map=False)

    def disk_bytes(self) -> int:
        """Return how many bytes the blocks take on the disk."""
        return sum(self._path(number).stat().st_size for number in range(self._blocks))

    def sort(self) -> None:
        """Put the events in the order of their times; those of one time stay in their order. Raise SourceError."""
        fresh = Spool()
        with duckdb.connect(
            config={"threads": 1, "memory_limit": SORT_MEMORY, "temp_directory": fresh._folder.name}
        ) as db:
            db.execute("set preserve_insertion_order = false")
            db.register("events", pyarrow.RecordBatchReader.from_batches(SCHEMA, self._numbered()))
            try:
                found = db.sql("select ms, key, category_key, head from events order by ms, n")
                for batch in found.to_arrow_reader(SORTED_ROWS):
                    fresh._write(pl.DataFrame(batch))
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise fresh._failure(error) from error
        self._folder, self._blocks, self._kept = fresh._folder, fresh._blocks, fresh._kept

    def _numbered(self) -> Iterator[pyarrow.RecordBatch]:
        number = 0
        for block in self.blocks():
            table = block.with_row_index("n", number).with_columns(pl.col("n").cast(pl.Int64)).to_arrow()
            yield from table.cast(SCHEMA).to_batches()
            number += block.height

    def _write(self, block: pl.DataFrame) -> None:
        size = int(block.estimated_size())
        if not self._blocks and self._kept_bytes + size <= MEMORY_BYTES:
            self._kept.append(block)
            self._kept_bytes += size
            return
        try:
            block.write_ipc(self._path(self._blocks), compression="lz4")
        except OSError as error:
            raise self._failure(error) from error
        self._blocks += 1

    def _failure(self, error: Exception) -> SourceError:
        return SourceError(f"no room for the events in {self._folder.name}: {error}; name another place with TMPDIR")

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number}.arrow"


def _early(ms: pl.Series, latest: int | None) -> tuple[int, int]:
    """Return (how many times are before one that came before them, the latest time so far)."""
    first = ms[0] if latest is None else latest
    highest = ms.cum_max().clip(lower_bound=first)
    return int((ms < highest.shift(1, fill_value=first)).sum()), highest[-1]
