"""Every row of a file is an event or a malformed row with line number and reason, whatever state the file is in."""

import gzip
import io
import tracemalloc
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import boto3
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from simulator.traffic import inputs as inputs_module
from simulator.traffic import spool as spool_module
from simulator.traffic.event import (
    COLUMNS,
    FIELDS,
    Event,
    MalformedRow,
    at_ms,
    encode_head,
    ms_of,
    ordering_key,
    parse,
    second_of,
)
from simulator.traffic.inputs import (
    ALLOWED,
    CHUNK_BYTES,
    Damaged,
    SourceError,
    chunks,
    open_text,
    split_data,
    split_lines,
)
from simulator.traffic.rows import (
    BLOCK,
    HEADER_ALLOWED,
    MAX_ROW_BYTES,
    fields,
    from_events,
    plain_row,
    read_header,
)
from simulator.traffic.source import Malformed, Source

REAL = Path(__file__).parents[3] / "shared/data/2019-Oct-head-17k.csv.gz"
HEADER = b"event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def row(product: int = 1, brand: str = "aqua") -> bytes:
    return f"2019-10-01 00:00:00 UTC,view,{product},2,a.b,{brand},33.20,7,s\n".encode()


@pytest.fixture(autouse=True, scope="module")
def no_strays() -> Iterator[None]:
    """Let rows of all times be sent, in the order of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "GAP_MS", 2**60)
        yield


def one_by_one(source: Source) -> Iterator[Event]:
    """Read the source's files without blocks."""
    rows = 0
    for file in source._files():
        columns: Sequence[str] | None = None
        with suppress(Damaged), open_text(*file._place) as stream:
            for lines in split_lines(chunks(stream)):
                for line in lines:
                    if columns is None:
                        line = line.removeprefix(b"\xef\xbb\xbf")
                        header = read_header(line)
                        columns = header or COLUMNS
                        if header:
                            continue
                    if rows == source.limit:
                        return
                    rows += 1
                    with suppress(MalformedRow):
                        yield parse(fields(line), columns)


def both_ways(paths: Any, limit: int | None = None) -> tuple[list[dict[str, Any]], list[Malformed], Source]:
    """Return the events, the malformed rows, and the source after the pass; blocks say the same as events."""
    source = Source(paths, limit, sort=False)
    malformed: list[Malformed] = []
    block = pl.concat([pl.DataFrame(schema=BLOCK), *source.blocks(malformed.append)])
    events = list(one_by_one(source))
    assert block.rows() == [
        (at_ms(event), ordering_key(event), event["category_id"] or ordering_key(event), encode_head(event))
        for event in events
    ]
    assert [(encode_head(event), at_ms(event)) for event in source.events()] == list(block.select("head", "ms").rows())
    return events, malformed, source


def read(path: Any, limit: int | None = None) -> tuple[list[int], list[Malformed], Source]:
    """Return the product ids of the events, the malformed rows, and the source after the pass."""
    events, malformed, source = both_ways(path, limit)
    return [int(event["product_id"]) for event in events], malformed, source


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of these."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def file(tmp_path: Path):
    """Return a function that writes bytes to a file and returns its path."""

    def write(content: bytes, name: str = "events.csv") -> Path:
        path = tmp_path / name
        if name.endswith(".zip"):
            content = zipped({"events.csv": content})
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.csv.zip"])
@pytest.mark.parametrize(
    "content",
    [
        HEADER + row(1) + row(2),
        row(1) + row(2),
        b"\xef\xbb\xbf" + row(1) + row(2),
        (HEADER + row(1) + row(2)).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + HEADER + row(1) + row(2),
        (HEADER + row(1) + row(2)).rstrip(b"\n"),
        (HEADER + row(1) + row(2)).replace(b"\n", b"\r\n").rstrip(b"\n"),
    ],
    ids=[
        "plain",
        "no header",
        "byte order mark without header",
        "CRLF",
        "byte order mark",
        "no line end at the end",
        "half a CRLF at the end",
    ],
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
    assert malformed == [Malformed(source.inputs[0], 3, "8 columns, expected 9", cut.decode())]
    assert (source.rows, source.damage) == (2, None)


def test_line_number_and_reason_of_each_malformed_row(file) -> None:
    rows = [row(1), row(2).replace(b"view", b""), b"\n", row(3), row(4).replace(b"33.20", b"-1")]
    products, malformed, source = read(file(HEADER + b"".join(rows)))
    assert products == [1, 3]
    assert [(bad.line_number, bad.reason) for bad in malformed] == [
        (3, "event_type is empty"),
        (4, "1 columns, expected 9"),
        (6, "price '-1' is no decimal number from 0 to 9999999999.99"),
    ]
    assert malformed[0].row == rows[1].decode().rstrip()
    assert malformed[0].as_dict().keys() == {"file", "line_number", "reason", "row"}
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
    monkeypatch.setattr(inputs_module, "CHUNK_BYTES", len(start))
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
    assert source.damage.startswith(f"{path}: reading ended early: Compressed file ended")
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
    assert source.damage.startswith(f"{path}: reading ended early: {damage}")
    assert malformed == []


def test_row_that_looks_whole_where_a_gzip_breaks_is_not_sent(file) -> None:
    path = file(HEADER + row(1) + row(2).rstrip(), "events.csv.gz")
    path.write_bytes(path.read_bytes()[:-8])  # without checksum and length
    products, malformed, source = read(path)
    assert products == [1]
    assert [(bad.line_number, bad.reason) for bad in malformed] == [(3, "the file is damaged inside or after this row")]
    assert source.damage
    assert source.rows == 2


def test_damage_of_one_file_is_told_and_spoils_no_other(tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv.gz", tmp_path / "2.csv.gz"
    first.write_bytes(gzip.compress(HEADER + row(1))[:-8])
    second.write_bytes(gzip.compress(HEADER + row(2).replace(b"00:00:00", b"00:00:01")))
    products, malformed, source = read([first, second])
    assert (products, malformed) == ([1, 2], [])
    assert source.damage.startswith(f"{first}: reading ended early: ")


def test_limit_that_ends_before_the_damage_does_not_see_it(file) -> None:
    path = file(HEADER + row(1) + row(2).rstrip(), "events.csv.gz")
    path.write_bytes(path.read_bytes()[:-8])
    assert read(path, limit=1)[2].damage is None
    products, malformed, source = read(path, limit=2)
    assert (products, len(malformed), source.rows) == ([1], 1, 2)
    assert source.damage


def test_limit_counts_rows_good_or_bad(file) -> None:
    products, malformed, source = read(file(HEADER + row(1) + b"bad\n" + row(2) + row(3)), limit=3)
    assert (products, len(malformed), source.rows) == ([1, 2], 1, 3)


def test_second_pass_starts_afresh(file) -> None:
    source = Source(file(HEADER + row(1) + b"bad\n"))
    assert len(list(source.events())) == len(list(source.events())) == 1
    assert source.rows == 2


@pytest.mark.parametrize("content", [HEADER, HEADER.rstrip(), HEADER.replace(b"\n", b"\r\n")])
def test_header_alone_is_a_file_without_events(file, content: bytes) -> None:
    products, malformed, source = read(file(content))
    assert (products, malformed, source.rows) == ([], [], 0)


def test_line_numbers_begin_at_one_where_there_is_no_header(file) -> None:
    products, malformed, _ = read(file(row(1) + b"bad\n" + row(2)))
    assert (products, [bad.line_number for bad in malformed]) == ([1, 2], [2])


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (b"", "the file or its first line is empty"),
        (b"\n" + HEADER, "the file or its first line is empty"),
        (row(1).replace(b"view", b""), "the header is '2019-10-01 00:00:00 UTC,,1,"),
        (HEADER.replace(b"brand", b"maker"), "the header is 'event_time,event_type,product_id,category_id,cat"),
        (HEADER.replace(b"brand", b"maker"), ": 'maker' is no field; "),
        (HEADER.replace(b"\n", b",extra\n"), ": 'extra' is no field; "),
        (HEADER.replace(b"brand", b"price"), ": price is there twice; "),
        (b"event_type,product_id\nview,1\n", ": event_time is missing; "),
        (b"event_time,product_id\n2019-10-01T00:00:00Z,1\n", ": event_type is missing; "),
        (b"Event_Time,event_type\n", ": 'Event_Time' is no field; "),
    ],
    ids=[
        *("empty", "blank line", "bad row", "other name", "its name", "another column"),
        *("twice", "no time", "no type", "other case"),
    ],
)
def test_wrong_header_is_refused_and_what_is_allowed_named(file, content: bytes, came: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(file(content))
    assert came in str(raised.value)
    assert HEADER_ALLOWED in str(raised.value) or "it looks like cosmetics" in str(raised.value)
    assert all(name in HEADER_ALLOWED for name in FIELDS)


def test_gz_that_is_no_gzip_is_refused(file) -> None:
    path = file(HEADER + row(1))
    with pytest.raises(SourceError, match=r"events.csv.gz: reading ended early: Not a gzipped file"):
        read(path.rename(path.with_name("events.csv.gz")))


@pytest.mark.parametrize("name", ["missing.csv", "missing.csv.gz"])
def test_missing_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name}: No such file or directory; give the path of a file: .csv, "):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["events.xlsx", "events", "events.csv.bz2"])
def test_other_kinds_of_file_are_refused(file, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name}: not a file of a known form; give .csv, "):
        read(file(HEADER + row(1), name))


@pytest.mark.parametrize("address", ["ftp://host/a.csv", "other://host/a.csv"])
def test_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(SourceError, match=f"{address}: no such address; give a local path or an s3:// address"):
        read(address)


class TestZip:
    @pytest.fixture
    def archive(self, tmp_path: Path):
        """Return a function that writes bytes to a .csv.zip and returns its path."""

        def write(content: bytes) -> Path:
            path = tmp_path / "events.csv.zip"
            path.write_bytes(content)
            return path

        return write

    def test_the_one_csv_file_is_read_whatever_lies_beside_it(self, archive) -> None:
        members = {"2019-Oct.csv": HEADER + row(1), "__MACOSX/._2019-Oct.csv": b"x", "README.txt": b"y"}
        assert read(archive(zipped(members)))[0] == [1]

    @pytest.mark.parametrize("content", [b"", b"no zip", zipped({"a.csv": HEADER + row(1) * 99})[:-30]])
    def test_what_is_no_zip_or_cut_off_is_refused(self, archive, content: bytes) -> None:
        with pytest.raises(SourceError, match=r"events.csv.zip: File is not a zip file; give a whole archive"):
            read(archive(content))

    @pytest.mark.parametrize(("end", "whole"), [(b"\n", 2000), (b"", 1999)])
    def test_archive_with_another_checksum_is_read_to_its_end_and_says_so(
        self, archive, end: bytes, whole: int
    ) -> None:
        chance = Random(1)
        rows = [row(number, chance.randbytes(30).hex()) for number in range(2000)]
        content = bytearray(zipped({"a.csv": HEADER + b"".join(rows).rstrip() + end}))
        content[content.index(b"PK\x01\x02") + 16] ^= 0xFF  # the checksum
        path = archive(bytes(content))
        products, malformed, source = read(path)
        assert products == list(range(whole))
        assert [bad.row for bad in malformed] == [row.decode().rstrip() for row in rows[whole:]], "nobody knows its end"
        assert read(path, limit=1000)[2].damage is None, "so far it is whole"
        assert source.damage.endswith(": reading ended early: Bad CRC-32 for file 'a.csv'")

    def test_archive_that_breaks_inside_yields_what_is_before_and_says_so(self, archive) -> None:
        chance = Random(1)
        rows = [row(number, chance.randbytes(30).hex()) for number in range(2000)]
        content = bytearray(zipped({"a.csv": HEADER + b"".join(rows)}))
        at = content.index(b"PK\x01\x02") - 20_000
        content[at : at + 8] = bytes(8)
        products, _, source = read(archive(bytes(content)))
        assert 500 < len(products) < 2000
        assert source.damage.startswith(str(tmp_name := source.inputs[0]))
        assert ": reading ended early: " in source.damage.removeprefix(tmp_name)

    def test_encrypted_archive_is_refused(self, archive) -> None:
        content = bytearray(zipped({"a.csv": HEADER + row(1)}))
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(signature) + offset] |= 1
        with pytest.raises(SourceError, match=r"encrypted.*; unpack it and give the files$"):
            read(archive(bytes(content)))


class TestSeveralFiles:
    @pytest.fixture
    def days(self, tmp_path: Path) -> list[Path]:
        """Return three files; names, and the order in which they are given, are not the order of their events."""
        paths = []
        for name, day, product in (("c.csv", 1, 1), ("a.csv.gz", 3, 3), ("b.csv.zip", 2, 2)):
            content = HEADER + b"bad\n" + row(product).replace(b"10-01", b"10-0%d" % day)
            packed = {"z": gzip.compress(content), "p": zipped({"x.csv": content})}.get(name[-1], content)
            paths.append(tmp_path / name)
            paths[-1].write_bytes(packed)
        return paths[1:] + paths[:1]

    def test_go_in_the_order_of_their_first_events(self, days: list[Path]) -> None:
        products, malformed, source = read(days)
        assert products == [1, 2, 3]
        assert [(Path(bad.file).name, bad.line_number) for bad in malformed] == [
            ("c.csv", 2),
            ("b.csv.zip", 2),
            ("a.csv.gz", 2),
        ]
        assert source.rows == 6

    def test_limit_counts_over_all_files(self, days: list[Path]) -> None:
        assert read(days, limit=3)[0] == [1]
        assert read(days, limit=4)[0] == [1, 2]

    def test_folder_means_the_files_in_it(self, days: list[Path]) -> None:
        (days[0].parent / "notes.txt").write_text("x")
        assert read(days[0].parent)[0] == [1, 2, 3]

    def test_glob_means_the_files_it_matches(self, days: list[Path]) -> None:
        assert read(f"{days[0].parent}/[bc].csv*")[0] == [1, 2]

    def test_name_with_a_globs_letters_is_a_name_where_it_exists(self, file) -> None:
        path = file(HEADER + row(1), "[1].csv")
        assert read(path)[0] == [1]

    @pytest.mark.parametrize("name", ["*.csv", "folder"])
    def test_glob_or_folder_without_files_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(SourceError, match=r"no such file; give the path of a file: .csv, "):
            read(tmp_path / name)

    def test_one_that_is_missing_or_has_another_header_is_refused_before_the_first_event(
        self, days: list[Path]
    ) -> None:
        with pytest.raises(SourceError, match=r"d\.csv: No such file"):
            next(Source([*days, days[0].with_name("d.csv")]).events())
        days[1].write_bytes(b"a,b\n")
        days[1] = days[1].rename(days[1].with_suffix(".csv"))
        with pytest.raises(SourceError, match="the header is 'a,b'"):
            next(Source(days).events())


class TestS3:
    @pytest.fixture(autouse=True)
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        for name, value in (("ACCESS_KEY_ID", "1"), ("SECRET_ACCESS_KEY", "1"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        with mock_aws():
            s3 = boto3.client("s3")
            s3.create_bucket(Bucket="raw")
            for name, day, product in (
                ("p_month=11/b.csv", 2, 2),
                ("p_month=10/a.csv.gz", 1, 1),
                ("other/c.csv", 3, 3),
            ):
                content = HEADER + row(product).replace(b"10-01", b"10-0%d" % day)
                body = gzip.compress(content) if name.endswith(".gz") else content
                s3.put_object(Bucket="raw", Key=f"activity/{name}", Body=body)
            s3.put_object(Bucket="raw", Key="activity/p_month=10/_SUCCESS", Body=b"")
            s3.put_object(Bucket="raw", Key="activity/z.csv.zip", Body=zipped({"z.csv": HEADER + row(9)}))
            yield s3

    @pytest.mark.parametrize(
        ("address", "products"),
        [
            ("activity/p_month=10/a.csv.gz", [1]),
            ("activity/other/c.csv", [3]),
            ("activity/z.csv.zip", [9]),
            ("activity/p_month=10/", [1]),
            ("activity/p_month=", [1, 2]),
            ("activity/", [1, 9, 2, 3]),
        ],
    )
    def test_object_and_prefix(self, address: str, products: list[int]) -> None:
        read_products, malformed, source = read(f"s3://raw/{address}")
        assert (read_products, malformed) == (products, [])
        assert source.share_read == 1

    @pytest.mark.parametrize(
        "address", ["s3://raw/none/", "s3://raw/none.csv", "s3://nobody/a.csv", "s3://nobody/", "s3://B/a.csv"]
    )
    def test_missing_address_is_refused_in_one_sentence(self, address: str) -> None:
        with pytest.raises(SourceError) as raised:
            read(address)
        assert str(raised.value).startswith(f"{address}: ")
        assert "\n" not in str(raised.value)


IDS = [
    "0",
    "7",
    "-7",
    "007",
    " 1",
    "",
    '""',
    "x",
    "1.0",
    "٣",
    "SKU-1/ä b#7:2",
    '"a,b"',
    'a"b',
    "a\\b",
    "a\x1fb",
    "\x7f",
]
IDS += ["1" * 128, "1" * 129, "é" * 64, "é" * 65, "é" * 128, "é" * 129, str(2**63)]
TYPES = ["view", "View", "search", "", '""', '"a,b"', "x" * 129, "a\tb"]
PRICES = ["33.20", "33", "33.2", "33.205", "0.00", "0", "00.10", "01.00", "-1.00", "+1.00", "1e3", ".50", "5.", ""]
PRICES += ["9999999999.99", "9999999999.995", "10000000000.00", "NaN"]
TEXTS = ["", "aqua", "a b", "кофе ☕", '7" pan', '"a, b"', '"the ""best"""', '"open', "a\\b", "a\x00b", "a\tb", "\x7f"]
TEXTS += ["\x85", "\u2028", "a\rb", "\r", "}", "x" * 300]
QUANTITIES = ["1", "02", "0", "-1", "1.0", "", str(2**63 - 1), str(2**63), "9" * 18]
_INSTANTS = ["2019-10-01 00:00:00", "2020-02-29 23:59:59", "2019-02-29 00:00:00", "1969-12-31 23:59:59"]
_INSTANTS += ["1970-01-01 00:00:00", "2999-12-31 23:59:59", "3000-01-01 00:00:00", "2019-10-01 24:00:00"]
_INSTANTS += ["2019-10-01 00:00:60", "2019-11-31 00:00:00", "2019-10-1 00:00:00", "0000-01-01 00:00:00"]
TIMES = [f"{at} UTC" for at in _INSTANTS] + [f"{at.replace(' ', 'T')}Z" for at in _INSTANTS]
TIMES += [f"2019-10-01T00:00:00{rest}" for rest in ("", ".000Z", ".059Z", ".5Z", ".1234567Z", ".Z", ".5 UTC", "+02:00")]
TIMES += [f"2019-10-01 00:00:00{rest}" for rest in ("Z", ".250 UTC", ".999Z", "-0330", "+18", "+24:00")]
TIMES += ['"2019-10-01 00:00:00 UTC"', '"2019-10-01T00:00:00.007Z"', '"2019-10-01T00:00:00.007Z', ""]


USUAL = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "category_id": "2103807459595387724",
    "price": "33.20",
    "quantity": "2",
    "user_agent": '"Mozilla/5.0 (KHTML, like Gecko)"',
    "txn_timestamp": "2019-10-01T00:00:01.250Z",
}
ODD = {"time": TIMES, "type": TYPES, "id": IDS, "text": TEXTS, "price": PRICES, "quantity": QUANTITIES}


@st.composite
def rows(draw: st.DrawFn, columns: Sequence[str] = COLUMNS) -> bytes:
    """A row, most often whole, as it may lie in a file."""
    more = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8)

    def cell(name: str) -> str:
        kind = draw(st.integers(0, 19))
        if kind < 15:
            return USUAL.get(name, "512")
        return draw(st.sampled_from(ODD[FIELDS[name]])) if kind < 19 else draw(more)

    cells = [cell(name) for name in columns]
    line = ",".join(cells[: draw(st.sampled_from([len(cells)] * 19 + [len(cells) - 1]))]).encode()
    if draw(st.integers(0, 29)) == 0:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from([b"\xe9", b"\xff", b"\x00", b'"', b","])) + line[at:]
    return line + draw(st.sampled_from([b"\n"] * 4 + [b"\r\n"]))


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], list[bytes]]:
    """The columns and the rows of a file with fields in any order."""
    others = [name for name in FIELDS if name not in ("event_time", "event_type")]
    chosen = draw(st.lists(st.sampled_from(others), unique=True))
    columns = draw(st.permutations(["event_time", "event_type", *chosen]))
    return columns, draw(st.lists(rows(columns), min_size=1, max_size=8))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows") / "events.csv"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(lines=st.lists(rows(), min_size=1, max_size=12), header=st.booleans(), chunk_bytes=st.integers(1, 400))
def test_blocks_are_the_same_as_events_wherever_chunks_end(
    scratch: Path, lines: list[bytes], header: bool, chunk_bytes: int
) -> None:
    text = (HEADER if header else row(0)) + b"".join(lines)
    scratch.write_bytes(text)
    whole = both_ways(scratch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs_module, "CHUNK_BYTES", chunk_bytes)
        parts = both_ways(scratch)
    assert parts[:2] == whole[:2]
    assert parts[2].rows == whole[2].rows == len(whole[0]) + len(whole[1]) == len(lines) + (not header)
    starts = list(accumulate(map(len, lines), initial=0))
    for bad in whole[1]:
        index = bad.line_number - 2
        line = text[len(text) - starts[-1] :][starts[index] : starts[index + 1]].rstrip(b"\n").removesuffix(b"\r")
        assert bad.row == line.decode(errors="backslashreplace")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made=files())
def test_blocks_are_the_same_as_events_whatever_the_columns(scratch: Path, made: tuple[list[str], list[bytes]]) -> None:
    columns, lines = made
    scratch.write_bytes(",".join(columns).encode() + b"\n" + b"".join(lines))
    events, malformed, source = both_ways(scratch)
    assert source.rows == len(events) + len(malformed) == len(lines)
    assert set(source.columns) == {*COLUMNS, *columns}


def test_a_header_names_fields_in_any_order(file) -> None:
    content = (
        b'\xef\xbb\xbfuser_session,"event_type",event_time,event_id,quantity,user_agent\r\n'
        b"s1,search,2019-10-01T02:00:00.5+02:00,e1,,\r\n"
        b's2,purchase,2019-10-01T00:00:01.059Z,e2,3,"Mozilla/5.0 (KHTML, like Gecko)"\r\n'
    )
    (first, second), malformed, source = both_ways(file(content))
    nulls: Event = dict.fromkeys(COLUMNS)
    assert malformed == []
    assert first == nulls | {
        **{"event_time": "2019-10-01T00:00:00.500Z", "event_type": "search", "user_session": "s1", "event_id": "e1"}
    }
    assert second == nulls | {
        **{"event_time": "2019-10-01T00:00:01.059Z", "event_type": "purchase", "user_session": "s2", "event_id": "e2"},
        **{"quantity": 3, "user_agent": "Mozilla/5.0 (KHTML, like Gecko)"},
    }
    assert source.columns == (*COLUMNS, "event_id", "quantity", "user_agent")


def test_a_row_that_names_a_field_is_no_header(file) -> None:
    assert read(file(row(1, "brand") + row(2)))[0] == [1, 2]


def test_files_with_different_columns_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"event_type,event_time,product_id\nview,2019-10-01T00:00:01Z,2\n")
    (tmp_path / "2.csv").write_bytes(row(1))
    products, malformed, source = read(tmp_path)
    assert (products, malformed, source.columns) == ([1, 2], [], COLUMNS)


def test_keys_are_never_empty_and_spread(file) -> None:
    lines = [
        b"2019-10-01 00:00:00 UTC,view,1,2,,,,7,s\n",
        b"2019-10-01 00:00:00 UTC,view,1,2,,,,,s\n",
        b"2019-10-01 00:00:00 UTC,view,1,2,,,,,\n",
        b"2019-10-01 00:00:00 UTC,search,,,,,,,\n",
        b"2019-10-01 00:00:01 UTC,search,,,,,,,\n",
    ]
    events, _, source = both_ways(file(b"".join(lines)))
    (block,) = source.blocks()
    *keys, one, other = block["key"]
    assert keys == ["7", "s", "1"]
    assert one != other and len(one) == len(other) == 16
    assert block["category_key"].to_list() == ["2", "2", "2", one, other]
    assert from_events(events).equals(block)


def test_time_of_a_block_is_the_pipelines(file) -> None:
    content = b"event_time,event_type,txn_timestamp\n" + b"".join(
        b"2019-10-01 00:00:00 UTC,view,%s\n" % at
        for at in (b"", b"2026-11-23T12:00:00.250Z", b"2026-11-23 12:00:00 UTC")
    )
    _, _, source = both_ways(file(content))
    (block,) = source.blocks()
    times = ["2019-10-01T00:00:00.000Z", "2026-11-23T12:00:00.250Z", "2026-11-23T12:00:00.000Z"]
    assert block["ms"].to_list() == [ms_of(at) for at in times]


@pytest.mark.parametrize(("column", "values"), [(0, TIMES), (1, TYPES), (2, IDS), (4, TEXTS), (6, PRICES), (7, IDS)])
def test_each_odd_value_is_judged_alike_both_ways(file, column: int, values: list[str]) -> None:
    lines = []
    for value in values:
        cells = row().decode().rstrip().split(",")
        cells[column] = value
        lines.append(",".join(cells))
    events, malformed, _ = both_ways(file(HEADER + "\n".join(lines).encode() + b"\n"))
    assert len(events) + len(malformed) == len(values)
    assert events
    assert malformed


def test_usual_row_goes_the_fast_way() -> None:
    lines = [line.decode().rstrip() for line in (row(), row(10**30, ""), row(brand="кофе"), row(brand='"a, b"'))]
    lines += [line.replace(" UTC", "Z") for line in lines]
    odd = [lines[0].replace("33.20", "33.2"), lines[0].replace("aqua", '"the ""best"""'), lines[0].replace("s", "\\")]
    is_plain = pl.Series([*lines, *odd]).str.contains(plain_row(COLUMNS)).to_list()
    assert is_plain == [True] * len(lines) + [False] * len(odd)


def test_chunk_borders_change_nothing(file, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file((HEADER + row(1) + b"bad\n" + row(2, '"a ""b"""') + row(3)).replace(b"\n", b"\r\n"))
    whole = read(path)[:2]
    for size in (1, 2, 7, 64):
        monkeypatch.setattr(inputs_module, "CHUNK_BYTES", size)
        assert read(path)[:2] == whole


@pytest.mark.skipif(not REAL.exists(), reason=f"the real sample is not at {REAL}")
class TestRealSample:
    def test_has_one_malformed_row_the_last(self) -> None:
        products, malformed, source = read(REAL)
        assert (source.rows, len(products), source.damage) == (17_435, 17_434, None)
        assert [(bad.line_number, bad.reason) for bad in malformed] == [(17_436, "8 columns, expected 9")]

    def test_has_no_user_above_five_in_ten_seconds(self) -> None:
        windows: dict[str, deque[int]] = defaultdict(deque)
        busiest = 0
        for event in Source(REAL).events():
            second, window = second_of(event["event_time"]), windows[event["user_id"]]
            window.append(second)
            while window[0] <= second - 10:
                window.popleft()
            busiest = max(busiest, len(window))
        assert busiest == 5


class TestSplitData:
    """The one string that `make` passes as DATA."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a.csv", "b.csv.gz", "with space.csv", "a.csv b.csv.gz"):
            (tmp_path / name).touch()
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "c.csv").touch()
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("a.csv", ["a.csv"]),
            ("sub", ["sub"]),
            ("*.csv", ["*.csv"]),
            ("**/c.csv", ["**/c.csv"]),
            ("s3://bucket/prefix/", ["s3://bucket/prefix/"]),
            ("a.csv sub s3://bucket/x.csv", ["a.csv", "sub", "s3://bucket/x.csv"]),
            ("with space.csv", ["with space.csv"]),
            ("'with space.csv' a.csv", ["with space.csv", "a.csv"]),
            ("a.csv b.csv.gz", ["a.csv b.csv.gz"]),  # a path that exists is taken whole
        ],
    )
    def test_what_it_names(self, text: str, names: list[str]) -> None:
        assert split_data(text) == names

    @pytest.mark.parametrize(
        ("text", "named"),
        [("missing.csv", "missing.csv"), ("a.csv missing.csv", "missing.csv"), ("*.txt", "*.txt"), ("", "")],
    )
    def test_what_is_not_there_is_named(self, text: str, named: str) -> None:
        with pytest.raises(SourceError) as raised:
            split_data(text)
        assert str(raised.value) == (
            f"DATA is {named!r}, which is no file: give the path of a file ({ALLOWED}), a folder, a glob or an s3:// "
            "address, or several of them separated by spaces"
        )

    def test_quote_without_an_end(self) -> None:
        with pytest.raises(
            SourceError, match="No closing quotation; separate inputs by spaces, and quote what holds one"
        ):
            split_data("a.csv 'b")


def test_objects_are_read_with_the_client_that_is_given() -> None:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="1", aws_secret_access_key="1")
        s3.create_bucket(Bucket="one")
        s3.put_object(Bucket="one", Key="2019/a.csv", Body=b"2019-10-01 00:00:00 UTC,view,1,2,,,3.00,4,s\n")
        asked: list[str] = []

        def create(service: str, **options: Any) -> Any:
            asked.append(service)
            return s3

        assert [event["product_id"] for event in Source("s3://one/2019/", create_client=create).events()] == ["1"]
    assert set(asked) == {"s3"}
