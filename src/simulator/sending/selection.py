"""Which events are sent."""

import zlib
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Selection:
    """Events by time and by user.

    `start` and `until` are Unix seconds, `until` excluded. `part` is (i, n): the users and guests of part i of n, by a
    hash of the ordering key, so that n replays send everything once.
    """

    start: int | None = None
    until: int | None = None
    part: tuple[int, int] | None = None

    def in_time(self, block: pl.DataFrame) -> pl.DataFrame:
        """Return the block's rows in the selected time, of all users, in their order."""
        if self.start is not None:
            block = block.filter(pl.col("ms") >= self.start * 1000)
        if self.until is not None:
            block = block.filter(pl.col("ms") < self.until * 1000)
        return block

    def in_part(self, block: pl.DataFrame) -> pl.DataFrame:
        """Return the block's rows of selected users, in their order."""
        if self.part:
            index, parts = self.part
            is_in = [zlib.crc32(key.encode()) % parts == index - 1 for key in block["key"]]
            block = block.filter(pl.Series(is_in, dtype=pl.Boolean))
        return block
