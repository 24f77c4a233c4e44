"""Every row of a file is an event or a malformed row with line number and reason, whatever state the file is in."""

import gzip
import tracemalloc
from collections import defaultdict, deque
from pathlib import Path
from random import Random

import pytest

from simulator import source as source_module
from simulator.event import second_of
from simulator.source import CHUNK_BYTES, MAX_ROW_BYTES, Malformed, Source, SourceError

REAL = Path(__file__).parents[3] / "shared/data/2019-Oct-head-17k.csv.gz"
HEADER = b"event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def row(product: int = 1, brand: str = "aqua") -> bytes:
    return f"2019-10-01 00:00:00 UTC,view,{product},2,a.b,{brand},33.20,7,s\n".encode()


def read(path: Path, limit: int | None = None) -> tuple[list[int], list[Malformed], Source]:
    """Returns the product ids of the events, the malformed rows, and the source after the pass."""
    source, malformed = Source(path, limit), []
    return [event["product_id"] for event in source.events(malformed.append)], malformed, source


@pytest.fixture
def file(tmp_path: Path):
    """Returns a function that writes bytes to a file and returns its path."""

    def write(content: bytes, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz"])
@pytest.mark.parametrize(
    "content",
    [
        HEADER + row(1) + row(2),
        (HEADER + row(1) + row(2)).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + HEADER + row(1) + row(2),
        (HEADER + row(1) + row(2)).rstrip(b"\n"),
        (HEADER + row(1) + row(2)).replace(b"\n", b"\r\n").rstrip(b"\n"),
    ],
    ids=["plain", "CRLF", "byte order mark", "no line end at the end", "half a CRLF at the end"],
)
def test_rows_are_events_in_the_files_order(file, content: bytes, name: str) -> None:
    products, malformed, source = read(file(content, name))
    assert (products, malformed, source.rows, source.damage) == ([1, 2], [], 2, None)


def test_crlf_leaves_no_trace_in_the_last_column(file) -> None:
    (event,) = Source(file((HEADER + row()).replace(b"\n", b"\r\n"))).events()
    assert event["user_session"] == "s"


def test_gzip_of_several_members_is_read_whole(file) -> None:
    path = file(b"")
    path = path.rename(path.with_name("events.csv.gz"))
    path.write_bytes(gzip.compress(HEADER + row(1)) + gzip.compress(row(2)))
    assert read(path)[0] == [1, 2]


def test_last_row_that_is_cut_off_is_malformed(file) -> None:
    cut = b"2019-10-01 00:00:00 UTC,view,2,2,a.b,aqua,33.20,7"
    products, malformed, source = read(file(HEADER + row(1) + cut))
    assert products == [1]
    assert malformed == [Malformed(3, "8 columns, expected 9", cut.decode())]
    assert (source.rows, source.damage) == (2, None)


def test_line_number_and_reason_of_each_malformed_row(file) -> None:
    rows = [row(1), row(2).replace(b"view", b"look"), b"\n", row(3), row(4).replace(b"33.20", b"-1")]
    products, malformed, source = read(file(HEADER + b"".join(rows)))
    assert products == [1, 3]
    assert [(bad.line_number, bad.reason) for bad in malformed] == [
        (3, "event_type 'look' is none of view, cart, remove_from_cart, purchase"),
        (4, "1 columns, expected 9"),
        (6, "price '-1' is no decimal number from 0 to 9999999999.99"),
    ]
    assert malformed[0].row == rows[1].decode().rstrip()
    assert malformed[0].as_dict().keys() == {"line_number", "reason", "row"}
    assert source.rows == 5


@pytest.mark.parametrize(
    ("written", "brand"),
    [('"aqua, ltd"', "aqua, ltd"), ('"the ""best"""', 'the "best"'), ('7" pan', '7" pan'), ('""', None)],
)
def test_quoted_fields(file, written: str, brand: str | None) -> None:
    (event,) = Source(file(HEADER + row(brand=written))).events()
    assert event["brand"] == brand


@pytest.mark.parametrize("brand", ['"aqua', '"aqua"x', '"aqua\r"'])
def test_stray_quote_spoils_only_its_own_row(file, brand: str) -> None:
    products, malformed, _ = read(file(HEADER + row(1) + row(2, brand) + row(3)))
    assert products == [1, 3]
    assert [bad.line_number for bad in malformed] == [3]
    assert malformed[0].reason.startswith(("not CSV: ", "brand 'aqua\\r' holds a control character"))


def test_invalid_utf8_is_malformed_and_kept_readable(file) -> None:
    products, malformed, _ = read(file(HEADER + row(1).replace(b"aqua", b"caf\xe9") + row(2)))
    assert products == [2]
    assert malformed[0].reason == "not UTF-8: invalid continuation byte at byte 40"
    assert "caf\\xe9" in malformed[0].row


def test_nul_byte_is_malformed(file) -> None:
    products, malformed, _ = read(file(HEADER + row(1).replace(b"aqua", b"a\x00") + row(2)))
    assert (products, malformed[0].reason) == ([2], "brand 'a\\x00' holds a control character")


def test_longest_row_is_read_and_a_longer_one_is_malformed(file) -> None:
    filler = "x" * (MAX_ROW_BYTES - len(row(1, "").rstrip()))
    products, malformed, _ = read(
        file((HEADER + row(1, filler) + row(2, filler + "x") + row(3)).replace(b"\n", b"\r\n"))
    )
    assert products == [1, 3]
    assert [(bad.line_number, bad.reason) for bad in malformed] == [(3, "more than 100000 bytes")]


def test_row_that_is_too_long_by_one_stays_so_where_a_chunk_ends(file, monkeypatch: pytest.MonkeyPatch) -> None:
    start = HEADER + row(1, "x" * (MAX_ROW_BYTES + 1 - len(row(1, "").rstrip()))).rstrip()
    monkeypatch.setattr(source_module, "CHUNK_BYTES", len(start))
    products, malformed, _ = read(file(start + b"\r\n" + row(2)))
    assert (products, [bad.reason for bad in malformed]) == ([2], ["more than 100000 bytes"])


def test_file_without_line_ends_does_not_fill_memory(file) -> None:
    path = file(HEADER + b"x" * (40 * CHUNK_BYTES) + b"\n" + row(3))
    tracemalloc.start()
    try:
        products, malformed, source = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (products, source.rows) == ([3], 2)
    assert [(bad.line_number, bad.reason) for bad in malformed] == [(2, "more than 100000 bytes")]
    assert peak < 8 * CHUNK_BYTES


def test_truncated_gzip_yields_what_is_whole_and_says_so(file) -> None:
    # Random brands do not compress: what is cut off is many rows.
    chance = Random(1)
    rows = [row(number, chance.randbytes(30).hex()) for number in range(2000)]
    path = file(HEADER + b"".join(rows), "events.csv.gz")
    path.write_bytes(path.read_bytes()[:-20_000])
    products, malformed, source = read(path)
    assert 1000 < len(products) < 1999
    assert products == list(range(len(products)))
    assert source.damage.startswith("reading ended early: Compressed file ended")
    (cut,) = malformed
    assert (cut.line_number, cut.reason) == (len(products) + 2, "the file is damaged inside or after this row")
    assert rows[len(products)].startswith(cut.row.encode())
    assert source.rows == len(products) + 1


@pytest.mark.parametrize(
    ("position", "damage", "whole"),
    [
        (0, "Not a gzipped file", [1]),
        (10, "Error -3 while decompressing data", [1]),
        (-8, "CRC check failed", [1, 2]),
    ],
)
def test_corrupt_gzip_yields_what_is_before_and_says_so(file, position: int, damage: str, whole: list[int]) -> None:
    path = file(HEADER + row(1), "events.csv.gz")
    corrupt = bytearray(gzip.compress(row(2)))
    corrupt[position] ^= 0xFF
    path.write_bytes(path.read_bytes() + corrupt)
    products, malformed, source = read(path)
    assert products == whole
    assert source.damage.startswith(f"reading ended early: {damage}")
    assert malformed == []


def test_row_that_looks_whole_where_a_gzip_breaks_is_not_sent(file) -> None:
    path = file(HEADER + row(1) + row(2).rstrip(), "events.csv.gz")
    path.write_bytes(path.read_bytes()[:-8])  # without checksum and length
    products, malformed, source = read(path)
    assert products == [1]
    assert [(bad.line_number, bad.reason) for bad in malformed] == [(3, "the file is damaged inside or after this row")]
    assert source.damage


def test_limit_counts_rows_good_or_bad(file) -> None:
    products, malformed, source = read(file(HEADER + row(1) + b"bad\n" + row(2) + row(3)), limit=3)
    assert (products, len(malformed), source.rows) == ([1, 2], 1, 3)


def test_second_pass_starts_afresh(file) -> None:
    source = Source(file(HEADER + row(1) + b"bad\n"))
    assert len(list(source.events())) == len(list(source.events())) == 1
    assert source.rows == 2


def test_header_alone_is_a_file_without_events(file) -> None:
    assert read(file(HEADER))[0] == []


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (b"", "the file is empty"),
        (b"\n" + HEADER, "the header is ''"),
        (row(1), "the header is '2019-10-01 00:00:00 UTC,view,1,"),
        (HEADER.replace(b"brand", b"maker"), "the header is 'event_time,event_type,product_id,category_id,cat"),
        (HEADER.replace(b"\n", b",extra\n"), "user_session,extra'"),
        (HEADER.decode().encode("utf-16"), "the header is '\\\\xff\\\\xfe"),
    ],
    ids=["empty", "blank line", "no header", "other name", "another column", "UTF-16"],
)
def test_wrong_header_is_refused_and_the_right_one_named(file, content: bytes, came: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(file(content))
    assert came in str(raised.value)
    assert str(raised.value).endswith(f"the only header allowed is '{HEADER.decode().rstrip()}'")


def test_gz_that_is_no_gzip_is_refused(file) -> None:
    path = file(HEADER + row(1))
    with pytest.raises(SourceError, match=r"events.csv.gz: reading ended early: Not a gzipped file"):
        read(path.rename(path.with_name("events.csv.gz")))


@pytest.mark.parametrize("name", ["missing.csv", "missing.csv.gz"])
def test_missing_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name}: No such file or directory; give the path of a .csv or .csv.gz"):
        read(tmp_path / name)


def test_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "month.csv").mkdir()
    with pytest.raises(SourceError, match=r"month\.csv: Is a directory; give the path of"):
        read(tmp_path / "month.csv")


@pytest.mark.parametrize("name", ["events.zip", "events", "events.json.gz"])
def test_other_kinds_of_file_are_refused(file, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name}: not a .csv or .csv.gz file; unpack it"):
        read(file(HEADER + row(1), name))


def test_chunk_borders_change_nothing(file, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file((HEADER + row(1) + b"bad\n" + row(2, '"a ""b"""') + row(3)).replace(b"\n", b"\r\n"))
    whole = read(path)[:2]
    for size in (1, 2, 7, 64):
        monkeypatch.setattr(source_module, "CHUNK_BYTES", size)
        assert read(path)[:2] == whole


@pytest.mark.skipif(not REAL.exists(), reason=f"the real sample is not at {REAL}")
class TestRealSample:
    def test_has_one_malformed_row_the_last(self) -> None:
        products, malformed, source = read(REAL)
        assert (source.rows, len(products), source.damage) == (17_435, 17_434, None)
        assert [(bad.line_number, bad.reason) for bad in malformed] == [(17_436, "8 columns, expected 9")]

    def test_has_no_user_above_five_in_ten_seconds(self) -> None:
        windows: dict[int, deque[int]] = defaultdict(deque)
        busiest = 0
        for event in Source(REAL).events():
            second, window = second_of(event["event_time"]), windows[event["user_id"]]
            window.append(second)
            while window[0] <= second - 10:
                window.popleft()
            busiest = max(busiest, len(window))
        assert busiest == 5
