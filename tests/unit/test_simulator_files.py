"""Files as shops export them say the same as the data set's form, in any dialect, archive and order."""

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from backports import zstd

from simulator.traffic import spool as spool_module
from simulator.traffic.inputs import SourceError
from simulator.traffic.inspection import draft_mapping, inspect
from simulator.traffic.mapping import SHIPPED, Mapping, read, shipped
from simulator.traffic.source import STRAY, Malformed, Source

HEADER = "event_time,event_type,product_id,price,user_id,brand"
ROWS = [
    "2019-10-01 00:00:00 UTC,view,1,33.20,7,aqua",
    "2019-10-01 00:00:01 UTC,cart,2,1.00,7,",
    "2019-10-01 00:00:02 UTC,purchase,2,1.00,8,aqua",
]
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"


class Found:
    """What a source gives."""

    def __init__(self, path: Any, **options: Any) -> None:
        self.malformed: list[Malformed] = []
        self.aside: list[Malformed] = []
        self.source = Source(path, **options)
        self.source.read(self.malformed.append, self.aside.append)
        self.events = list(self.source.events())

    @property
    def ids(self) -> list[str]:
        return [event["product_id"] for event in self.events]


@pytest.fixture
def file(tmp_path: Path):
    def write(content: bytes | str, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def expected(file) -> list[dict[str, Any]]:
    return Found(file(PLAIN, "plain.csv")).events


def reordered(line: str) -> str:
    return ",".join(reversed(line.split(",")))


def quoted(text: str, delimiter: str) -> str:
    return "".join(delimiter.join(f'"{cell}"' for cell in line.split(",")) + "\r\n" for line in text.splitlines())


DIALECTS = {
    "semicolon": PLAIN.replace(",", ";").encode(),
    "tab": PLAIN.replace(",", "\t").encode(),
    "pipe": PLAIN.replace(",", "|").encode(),
    "quoted": quoted(PLAIN, ",").encode(),
    "quoted with semicolons": quoted(PLAIN, ";").encode(),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.replace(",", ";").encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 without mark": PLAIN.encode("utf-16-le"),
    "UTF-32": PLAIN.encode("utf-32"),
    "CRLF": PLAIN.replace(",", ";").replace("\n", "\r\n").encode(),
    "other order": "\n".join(map(reordered, PLAIN.splitlines())).encode(),
    "no header": b"".join(
        f"2019-10-01 00:00:0{n} UTC;{kind};{product};;;{brand};{price};{user};\n".encode()
        for n, kind, product, brand, price, user in [
            (0, "view", 1, "aqua", "33.20", 7),
            (1, "cart", 2, "", "1.00", 7),
            (2, "purchase", 2, "aqua", "1.00", 8),
        ]
    ),
}


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_each_dialect_of_csv_says_the_same(file, expected, content: bytes) -> None:
    found = Found(file(content))
    assert (found.events, found.malformed, found.source.rows) == (expected, [], 3)


def as_json(text: str, **types: Any) -> str:
    names, *rows = (line.split(",") for line in text.splitlines())
    return "".join(
        json.dumps({name: types.get(name, str)(cell) if cell else None for name, cell in zip(names, row, strict=True)})
        + "\n"
        for row in rows
    )


def test_json_lines_say_the_same_whatever_the_types(file, expected) -> None:
    text = as_json(PLAIN, product_id=int, price=float, user_id=int)
    assert Found(file(text, "events.jsonl")).events == expected
    assert Found(file(gzip.compress(text.encode()), "events.json.gz")).events == expected


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_says_the_same_whatever_the_types(tmp_path: Path, expected, packed: bool) -> None:
    frame = pl.read_csv(io.StringIO(PLAIN)).with_columns(
        pl.col("event_time").str.to_datetime("%Y-%m-%d %H:%M:%S UTC", time_zone="UTC"), pl.col("user_id").cast(float)
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path = tmp_path / ("events.parquet.gz" if packed else "events.parquet")
    path.write_bytes(gzip.compress(buffer.getvalue()) if packed else buffer.getvalue())
    assert Found(path).events == expected


class TestArchives:
    def zipped(self, **members: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "."), content)
        return buffer.getvalue()

    def test_all_members_of_a_zip_are_read_in_the_order_of_their_times(self, file, expected) -> None:
        early, late = f"{HEADER}\n{ROWS[0]}\n", "\n".join([HEADER, *ROWS[1:]])
        archive = file(self.zipped(a__csv=late, b__csv=early, readme__md="no data", c__jsonl=""), "archive.zip")
        assert Found(archive).events == expected

    def test_a_member_is_named_with_its_archive(self, file) -> None:
        archive = file(self.zipped(a__csv=f"{PLAIN}no row\n", b__csv=PLAIN), "archive.zip")
        (row,) = Found(archive).malformed
        assert (row.file, row.line_number) == (f"{archive}/a.csv", 5)

    def test_a_zip_without_data_is_refused(self, file) -> None:
        with pytest.raises(SourceError, match=r"archive.zip: it holds no data file; allowed are \.csv"):
            Found(file(self.zipped(readme__md="x"), "archive.zip"))

    @pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
    def test_archives_of_several_members_are_read_whole(self, file, expected, pack) -> None:
        cut = PLAIN.index("cart")  # in the middle of a row
        name = "events.csv.gz" if pack is gzip.compress else "events.csv.zst"
        assert Found(file(pack(PLAIN[:cut].encode()) + pack(PLAIN[cut:].encode()), name)).events == expected

    def test_a_cut_zstd_says_so_and_keeps_what_there_is(self, file) -> None:
        rows = "".join(f"2019-10-01 00:00:00 UTC,view,{Random(n).random()},,,,,7,s\n" for n in range(20_000))
        packed = zstd.compress(rows.encode())
        found = Found(file(packed[: len(packed) // 2], "events.csv.zst"))
        assert "reading ended early: Compressed file ended before" in str(found.source.damage)
        assert found.source.rows == len(found.events) + len(found.malformed)

    def test_a_folder_is_read_with_all_folders_in_it(self, tmp_path: Path, expected) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "in" / "a.csv").write_text(f"{HEADER}\n{ROWS[0]}\n")
        (tmp_path / "in" / "deep" / "b.csv").write_text("\n".join([HEADER, *ROWS[1:]]))
        (tmp_path / "in" / "notes.md").write_text("no data")
        assert Found(tmp_path / "in").events == expected


class TestOrder:
    def rows(self, *days: float) -> str:
        start = datetime(2019, 10, 1, tzinfo=UTC)
        times = (start + timedelta(days=day) for day in days)
        return "".join(f"{at:%Y-%m-%d %H:%M:%S} UTC,view,{n},,,,,7,s\n" for n, at in enumerate(times))

    def test_a_file_in_order_is_left_alone(self, file) -> None:
        found = Found(file(PLAIN))
        assert (found.source.early, found.source.notes) == (0, [])

    @pytest.mark.parametrize("days", [(2, 1, 0), (0, 2, 1), (1, 2, 0)], ids=["newest first", "swapped", "merged"])
    def test_rows_out_of_order_are_sorted_and_counted(self, file, days: tuple[int, ...]) -> None:
        found = Found(file(self.rows(*days)))
        assert [event["event_time"] for event in found.events] == sorted(event["event_time"] for event in found.events)
        early = sum(day < max(days[: n + 1]) for n, day in enumerate(days))
        assert found.source.notes == [f"{early} of 3 events are earlier than one before them: sorted by time"]

    def test_rows_of_one_time_stay_in_their_order(self, file) -> None:
        days = [1] * 500 + [0] * 500
        assert Found(file(self.rows(*days))).ids == [*map(str, range(500, 1000)), *map(str, range(500))]

    def test_the_order_of_the_file_can_be_kept(self, file) -> None:
        found = Found(file(self.rows(2, 1, 0)), sort=False)
        assert found.ids == ["0", "1", "2"]
        assert found.source.notes == [
            "2 of 3 events are earlier than one before them: sent in the file's order (--no-sort)"
        ]

    def test_files_that_overlap_are_merged(self, tmp_path: Path) -> None:
        for name, days in (("a.csv", (0, 2)), ("b.csv", (1, 3))):
            (tmp_path / name).write_text(self.rows(*days))
        times = [event["event_time"][:10] for event in Found(tmp_path).events]
        assert times == ["2019-10-01", "2019-10-02", "2019-10-03", "2019-10-04"]

    @pytest.mark.parametrize("memory_bytes", [0, 5_000, 1 << 30])
    def test_sorting_spans_blocks_in_memory_and_on_the_disk(
        self, file, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
    ) -> None:
        from simulator.traffic import inputs

        monkeypatch.setattr(inputs, "CHUNK_BYTES", 2_000)
        monkeypatch.setattr(spool_module, "SORTED_ROWS", 100)
        monkeypatch.setattr(spool_module, "MEMORY_BYTES", memory_bytes)
        numbers = list(range(1_000))
        Random(1).shuffle(numbers)
        times = [event["event_time"] for event in Found(file(self.rows(*(n / 1000 for n in numbers)))).events]
        assert len(times) == 1_000 and times == sorted(times)

    @pytest.mark.parametrize("stray", [-3_000, 40, 3_000])
    @pytest.mark.parametrize("place", [0, 2, 4])
    def test_a_stray_row_is_set_aside_wherever_it_is(self, file, stray: int, place: int) -> None:
        days = [0.0, 0.1, 0.2, 0.3]
        days.insert(place, stray)
        found = Found(file(self.rows(*days)))
        assert str(place) not in found.ids and len(found.ids) == 4
        ((reason, row),) = [(row.reason, row.row) for row in found.aside]
        assert reason == STRAY and f",{place}," in row
        assert found.source.rows == len(found.events) + len(found.aside)
        assert (found.source.early, found.source.notes) == (0, [])  # the others are in order

    def test_a_longer_run_is_sent_and_the_gap_before_it_is_named_and_closed(self, file) -> None:
        found = Found(file(self.rows(0, 0.5, 30, 30.5)))
        assert len(found.events) == 4 and not found.aside
        assert found.source.notes == ["no event from 2019-10-01 12:00 to 2019-10-31 00:00: the gap is skipped"]
        ms = pl.concat(found.source.blocks())["ms"]
        assert found.source.closed(ms).diff().to_list()[1:] == [43_200_000, 1_000, 43_200_000]

    def test_single_days_far_apart_are_no_strays(self, file) -> None:
        found = Found(file(self.rows(*range(0, 300, 30))))
        assert len(found.events) == 10
        assert len(found.source.notes) == 4
        assert found.source.notes[-1] == "6 more gaps of over 7 days are skipped"


MAPPED = Mapping.model_validate(
    {
        "columns": {
            "event_time": "Zeit",
            "event_type": "Aktion",
            "product_id": ["Nummer", "Name"],
            "price": "Preis",
            "user_id": "Kunde",
            "user_session": {"join": ["Kunde", "Besuch"]},
            "brand": "Marke",
        },
        "constants": {"currency": "EUR"},
        "time": {"format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"},
        "event_types": {"Ansicht": "view", "Kauf": "purchase", "Storno": None},
        "numbers": {"decimal": ",", "thousands": "."},
        "nulls": ["k.A."],
        "nobody": ["gast"],
    }
)
SHOP = """Zeit;Aktion;Nummer;Name;Preis;Kunde;Besuch;Marke
27.10.2019 01:30:00;Ansicht;17;Hose;1.234,50 €;kim;1;None
27.10.2019 04:30:00;Kauf;;Hose;EUR 7,5;gast;2;k.A.
27.10.2019 04:31:00;Storno;17;Hose;7;kim;3;x
27.10.2019 04:32:00;Ansicht;17;Hose;gratis;kim;3;x
27.13.2019 04:32:00;Ansicht;17;Hose;1;kim;3;x
"""


class TestMapping:
    def test_a_shops_words_times_and_numbers_are_read(self, file) -> None:
        found = Found(file(SHOP), mapping=MAPPED)
        view, purchase = found.events
        assert view["event_time"] == "2019-10-26T23:30:00.000Z"  # summer time
        assert purchase["event_time"] == "2019-10-27T03:30:00.000Z"  # no more
        assert (view["event_type"], purchase["event_type"]) == ("view", "purchase")
        assert (view["product_id"], purchase["product_id"]) == ("17", "Hose")
        assert (view["price"], purchase["price"]) == (Decimal("1234.50"), Decimal("7.50"))
        assert (view["user_id"], purchase["user_id"]) == ("kim", None)
        assert (view["user_session"], purchase["user_session"]) == ("kim.1", "gast.2")
        assert (view["brand"], purchase["brand"]) == ("None", None)
        assert view["currency"] == "EUR"

    def test_what_cannot_be_read_is_refused_as_it_is_in_the_file(self, file) -> None:
        found = Found(file(SHOP), mapping=MAPPED)
        price, time = found.malformed
        assert price.line_number == 5 and "price 'gratis' is no decimal number" in price.reason
        assert time.line_number == 6 and "event_time '27.13.2019 04:32:00' is no time" in time.reason
        assert time.row == SHOP.splitlines()[5]
        assert found.source.rows == 5

    def test_types_that_the_mapping_leaves_out_are_set_aside(self, file) -> None:
        (row,) = Found(file(SHOP), mapping=MAPPED).aside
        assert (row.line_number, row.reason) == (4, "the mapping leaves out 'Storno'")

    def test_a_hash_takes_the_place_of_a_persons_address(self, file) -> None:
        mapping = MAPPED.model_copy(update={"hashed": ["user_id"]})
        (event, _) = Found(file(SHOP), mapping=mapping).events
        assert event["user_id"] != "kim" and len(event["user_id"]) == 32

    @pytest.mark.parametrize(
        ("format_", "zone", "text", "wire"),
        [
            ("auto", "UTC", "2020-01-01 10:00:04.059 UTC", "2020-01-01T10:00:04.059Z"),
            ("auto", "UTC", "2020-01-01T10:00:04+02:00", "2020-01-01T08:00:04.000Z"),
            ("auto", "UTC", "2020-01-01 10:00:04 -0130", "2020-01-01T11:30:04.000Z"),
            ("auto", "Europe/Berlin", "2020-01-01T10:00", "2020-01-01T09:00:00.000Z"),
            ("auto", "Europe/Berlin", "2020-07-01 10:00:04.5", "2020-07-01T08:00:04.500Z"),
            ("unix_s", "UTC", "1577872804", "2020-01-01T10:00:04.000Z"),
            ("unix_s", "UTC", "1577872804.0594", "2020-01-01T10:00:04.059Z"),
            ("unix_s", "UTC", "1577872804.5", "2020-01-01T10:00:04.500Z"),
            ("unix_ms", "UTC", "1577872804059", "2020-01-01T10:00:04.059Z"),
            ("unix_us", "UTC", "1577872804059000", "2020-01-01T10:00:04.059Z"),
            ("%m/%d/%Y %H:%M", "America/New_York", "07/01/2020 10:00", "2020-07-01T14:00:00.000Z"),
            ("%Y-%m-%d %H:%M:%S %z", "UTC", "2020-07-01 10:00:00 +0200", "2020-07-01T08:00:00.000Z"),
            # Berlin's clocks go back at 3 o'clock: half past two comes twice.
            ("auto", "Europe/Berlin", "2019-10-27 02:30:00", "2019-10-27T00:30:00.000Z"),
        ],
    )
    def test_forms_of_times(self, file, format_: str, zone: str, text: str, wire: str) -> None:
        mapping = Mapping.model_validate(
            {"columns": {"event_time": "t", "event_type": "e"}, "time": {"format": format_, "zone": zone}}
        )
        (event,) = Found(file(f"t,e\n{text},view\n"), mapping=mapping).events
        assert event["event_time"] == wire

    def test_a_time_that_the_clocks_skip_is_refused(self, file) -> None:
        mapping = Mapping.model_validate(
            {"columns": {"event_time": "t", "event_type": "e"}, "time": {"zone": "Europe/Berlin"}}
        )
        found = Found(file("t,e\n2019-03-31 02:30:00,view\n"), mapping=mapping)
        assert "event_time '2019-03-31 02:30:00' is no time" in found.malformed[0].reason

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("columns: {event_time: a}", "it: event_type is missing; name its column, or a constant"),
            ("columns: {event_time: a, event_type: b, colour: c}", "it: 'colour' is no field; allowed are event_time"),
            ("colums: {}", "colums: Extra inputs are not permitted"),
            ("columns: {event_time: a, event_type: b}\ntime: {zone: Mars}", "time: zone 'Mars' is not known"),
            ("columns: {event_time: a, event_type: b}\ntime: {format: iso}", "time: format 'iso' is none of auto"),
            ("columns: {event_time: a, event_type: b}\nhashed: [price]", "it: price cannot be hashed"),
            ("columns: [", "no YAML"),
        ],
    )
    def test_a_wrong_mapping_says_what_is_wrong(self, file, text: str, problem: str) -> None:
        with pytest.raises(SourceError) as raised:
            read(str(file(text, "shop.yaml")))
        assert problem in str(raised.value)

    def test_a_mapping_that_is_not_there_names_those_that_are(self) -> None:
        with pytest.raises(SourceError, match="--mapping shop: No such file or directory; give a file, or one of cosm"):
            read("shop")

    def test_a_required_column_that_is_not_there_is_named_with_those_that_are(self, file) -> None:
        with pytest.raises(SourceError, match="there is no column 'Zeit' for event_time; its columns are: a, b"):
            Found(file("a,b\n1,2\n"), mapping=MAPPED)

    def test_another_column_that_is_not_there_is_noted(self, file) -> None:
        found = Found(file("Zeit;Aktion\n27.10.2019 01:30:00;Ansicht\n"), mapping=MAPPED)
        (note,) = found.source.notes
        assert note.endswith("there is no column Nummer, Name, Preis, Kunde, Besuch, Marke: nothing is read from it")
        assert len(found.events) == 1


class TestBrokenRows:
    def test_a_quote_that_is_not_closed_costs_its_own_line_only(self, file) -> None:
        text = quoted(PLAIN, ";").replace('"2"', '"2', 1)
        found = Found(file(text))
        assert found.ids == ["1", "2"]
        assert [(row.line_number, "not CSV" in row.reason) for row in found.malformed] == [(3, True)]

    def test_a_cell_may_hold_line_breaks_across_blocks(self, file, monkeypatch: pytest.MonkeyPatch) -> None:
        from simulator.traffic import inputs

        monkeypatch.setattr(inputs, "CHUNK_BYTES", 50)
        text = "t;e;note\n" + '2019-10-01 00:00:00;view;"one\ntwo;\nthree"\n' * 30
        mapping = Mapping.model_validate({"columns": {"event_time": "t", "event_type": "e"}})
        found = Found(file(text), mapping=mapping)
        assert (len(found.events), found.malformed, found.source.rows) == (30, [], 30)

    def test_rows_of_another_length_other_bytes_and_empty_lines(self, file) -> None:
        text = (PLAIN.replace(",", ";") + "\n1;2\n").encode() + b"\xff;;;;;\n"
        found = Found(file(text))
        assert [row.reason.split(";")[0] for row in found.malformed] == [
            "not UTF-8: invalid start byte at byte 0",
            "2 columns, expected 6",
        ]
        assert found.source.rows == 5

    def test_lines_that_are_no_json_objects(self, file) -> None:
        found = Found(file(as_json(PLAIN) + "{broken\n[1]\n\n", "events.jsonl"))
        assert [row.line_number for row in found.malformed] == [4, 5]
        assert found.source.rows == 5

    def test_one_json_array_says_how_to_make_lines(self, file) -> None:
        with pytest.raises(SourceError, match=r"one JSON array; give JSON lines, one object a line: jq"):
            Found(file("[{}]", "events.json"))

    def test_limit_counts_rows_of_all_kinds(self, file) -> None:
        found = Found(file(as_json(PLAIN), "events.jsonl"), limit=2)
        assert (found.source.rows, len(found.events)) == (2, 2)


@pytest.mark.parametrize("word", ["NULL", "null", "\\N", "NaN", "nan", "None", "<NA>"])
def test_words_for_nothing_are_nothing(file, word: str) -> None:
    rows = [
        f"2019-10-01 00:00:00 UTC,view,1,2,,{word},1.00,{word},s",
        f'2019-10-01 00:00:00 UTC,view,1,2,,"{word}",,,s',
    ]
    for event in Found(file("\n".join(rows))).events:
        assert (event["brand"], event["user_id"]) == (None, None)


SHAPES = Path(__file__).parent / "exports"


def test_every_mapping_that_ships_has_an_example() -> None:
    assert {path.stem for path in SHAPES.glob("*.csv")} == {*shipped()}
    assert all(read(name).about for name in shipped())


@pytest.mark.parametrize("name", shipped())
def test_examples_of_shipped_mappings(name: str) -> None:
    found = Found(SHAPES / f"{name}.csv", mapping=name)
    kept = json.loads((SHAPES / f"{name}.json").read_text())
    assert [json.loads(json.dumps(event, default=str)) for event in found.events] == kept["events"]
    assert [row.reason for row in found.malformed] == kept["malformed"]
    assert [row.reason for row in found.aside] == kept["aside"]
    assert not found.source.damage


@pytest.mark.parametrize("name", [name for name in shipped() if name != "cosmetics"])
def test_a_file_that_looks_like_a_known_one_names_its_mapping(name: str) -> None:
    with pytest.raises(SourceError, match=rf"it looks like {name}: give --mapping {name} \(make: MAPPING={name}\)"):
        Found(SHAPES / f"{name}.csv")


class TestInspection:
    def test_one_screen_says_what_is_there(self, file) -> None:
        lines = inspect([str(file(PLAIN + "no row\n"))]).lines()
        text = "\n".join(lines)
        assert len(lines) < 25
        for part in (
            "csv, utf-8, separated by ','",
            "4 rows: 3 events, 1 malformed",
            "line 5: 1 columns, expected 6: no row",
            "from 2019-10-01T00:00:00.000Z to 2019-10-01T00:00:02.000Z",
            "2 users, 0 guests' sessions",
            "never filled: category_id, category_code, user_session",
            '{"event_time":"2019-10-01T00:00:00.000Z"',
        ):
            assert part in text

    @pytest.mark.parametrize("name", ["retail_rocket", "ga4"])
    def test_a_draft_of_a_known_export_reads_its_events(self, tmp_path: Path, name: str) -> None:
        draft = tmp_path / "draft.yaml"
        draft.write_text(draft_mapping([str(SHAPES / f"{name}.csv")]))
        found = Found(SHAPES / f"{name}.csv", mapping=str(draft))
        known = Found(SHAPES / f"{name}.csv", mapping=name)
        assert [event["event_time"] for event in found.events] == [event["event_time"] for event in known.events]
        assert [event["event_type"] for event in found.events] == [event["event_type"] for event in known.events]
        assert found.ids == known.ids

    def test_a_draft_guesses_a_shops_own_form(self, file) -> None:
        draft = draft_mapping([str(file("\n".join(SHOP.replace("Storno", "Kauf").splitlines()[:3])))])
        for part in ("event_time: Zeit", "event_type: Aktion", "%d.%m.%Y %H:%M:%S", "Kauf: purchase", "decimal: ','"):
            assert part in draft


def test_the_mappings_lie_where_the_documents_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
    assert all(f"| `{path.stem}` |" in page for path in SHIPPED.glob("*.yaml"))
