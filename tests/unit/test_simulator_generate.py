"""Look-alike traffic is like the real sample, as long as wanted, the same for the same seed, and breaks no rule."""

import gc
import gzip
import importlib.util
import inspect
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from datetime import date
from itertools import islice, pairwise
from pathlib import Path
from statistics import pvariance
from typing import Any

import polars as pl
import pytest

from simulator.traffic import generate
from simulator.traffic.event import COLUMNS, event_time_at, parse, second_of
from simulator.traffic.generate import (
    HOURS,
    LAST_SECOND,
    WEEKDAYS,
    LookAlike,
    TrafficOptions,
    endless_lines,
    lines,
    write,
)
from simulator.traffic.source import Source

Event = dict[str, Any]

START = second_of("2019-10-01 22:30:00 UTC")
MONDAY = second_of("2019-10-07 00:00:00 UTC")


def parsed(rows: Iterable[str]) -> list[Event]:
    return [parse(row.split(",")) for row in rows]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """Return the demo's 50,000 events over three hours, as `replay` reads them."""
    path = tmp_path_factory.mktemp("generate") / "look-alike.csv.gz"
    write(path, 50_000, 3.0, 1, START)
    malformed = []
    events = list(Source(path).events(malformed.append))
    assert malformed == []
    return events


def busiest(events: list[Event]) -> int:
    """Return the most different events of one user in any (t - 10 s, t]. Take them in time order."""
    windows: dict[str, deque[int]] = defaultdict(deque)
    most = 0
    for event in {tuple(event.values()): event for event in events}.values():
        second, window = second_of(event["event_time"]), windows[event["user_id"]]
        window.append(second)
        while window[0] <= second - 10:
            window.popleft()
        most = max(most, len(window))
    return most


def at_once(events: list[Event], event_type: str) -> Counter[tuple[str, str]]:
    """Return how many different events of a type each session had in each second."""
    different = {tuple(event.values()): event for event in events if event["event_type"] == event_type}
    return Counter((event["user_session"], event["event_time"]) for event in different.values())


class TestLength:
    def test_count_order_and_length_are_as_asked(self, events: list[Event]) -> None:
        assert len(events) == 50_000
        seconds = [second_of(event["event_time"]) for event in events]
        assert seconds == sorted(seconds)
        assert START <= seconds[0] < START + 60
        assert START + 3 * 3600 - 60 < seconds[-1] < START + 3 * 3600

    def test_rows_come_at_random_moments(self) -> None:
        start = MONDAY + 11 * 3600
        by_second = Counter(second_of(row.split(",")[0]) for row in lines(10_000, 1.0, 1, start))
        counts = [by_second[start + second] for second in range(3600)]
        # Of a Poisson process the variance is the mean; here a little less, as visitors come in where others pause.
        assert pvariance(counts) == pytest.approx(10_000 / 3600, rel=0.2)

    @pytest.mark.parametrize(("count", "hours"), [(1, 0.1), (7, 1.0), (5000, 0.1), (3000, 48.0), (100, 1e6)])
    def test_any_count_and_length(self, count: int, hours: float) -> None:
        rows = list(lines(count, hours, 1, START))
        assert len(rows) == count
        assert all(START <= second_of(row.split(",")[0]) < START + hours * 3600 for row in rows)

    @pytest.mark.parametrize("hours", [1.0, 240.0])
    def test_traffic_fills_the_length_also_where_visits_are_rare(self, hours: float) -> None:
        # Rare visits end before the next begins: visitors must not come as if each were one event.
        start = MONDAY + 9 * 3600
        middle = start + hours * 1800
        late = sum(second_of(row.split(",")[0]) >= middle for row in lines(2000, hours, 1, start))
        assert late == pytest.approx(1000, abs=150)

    def test_the_first_row_waits_for_no_other(self) -> None:
        assert next(lines(10**12, 1e6, 1, START)).split(",")[0] == event_time_at(START)

    def test_endless_traffic_goes_on_at_its_rate(self) -> None:
        rows = list(islice(endless_lines(6000, 1, MONDAY), 4_000))
        # The night from Sunday to Monday: far fewer than the week's mean.
        by_hour = Counter((second_of(row.split(",")[0]) - MONDAY) // 3600 for row in rows)
        expected = [6000 * HOURS[hour] * WEEKDAYS[0] / sum(HOURS) / sum(WEEKDAYS) * 168 for hour in range(2)]
        assert [by_hour[hour] for hour in range(2)] == pytest.approx(expected, rel=0.15)

    def test_endless_traffic_ends_with_the_times_that_replay_takes(self) -> None:
        assert 0 < len(list(endless_lines(60_000, 1, LAST_SECOND - 600))) < 10_000

    def test_nothing_is_remembered_but_open_visits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def open_visits() -> int:
            gc.collect()
            return sum(inspect.isgenerator(thing) and thing.__name__ == "visit" for thing in gc.get_objects())

        monkeypatch.setattr("simulator.traffic.generate.KNOWN_VISITORS", 100)
        before = open_visits()
        rows = endless_lines(10_000, 1, MONDAY + 9 * 3600)
        numbers = []
        for _ in range(4):
            list(islice(rows, 5_000))
            numbers.append(open_visits() - before)
        assert 0 < max(numbers) < 2 * min(numbers) < 1000
        (shop,) = [thing for thing in gc.get_objects() if isinstance(thing, generate._Shop)]
        assert 50 < len(shop._known) <= 100


class TestSeed:
    @pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
    def test_same_seed_same_bytes(self, tmp_path: Path, name: str) -> None:
        one, again, other = (tmp_path / folder / name for folder in ("one", "again", "other"))
        for path, seed in ((one, 1), (again, 1), (other, 2)):
            path.parent.mkdir()
            write(path, 2000, 1.0, seed, START)
        assert one.read_bytes() == again.read_bytes()
        assert one.read_bytes() != other.read_bytes()
        if name.endswith(".gz"):  # flags and time: neither a name nor the hour may tell two files apart
            assert one.read_bytes()[3:8] == bytes(5)

    def test_other_seed_other_people_and_categories(self) -> None:
        one, other = (parsed(lines(1000, 1.0, seed, START)) for seed in (1, 2))
        for name in ("category_id", "user_id", "user_session"):
            assert not {event[name] for event in one} & {event[name] for event in other}

    def test_gz_holds_what_the_plain_file_does(self, tmp_path: Path) -> None:
        plain, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz"
        write(plain, 100, 1.0, 1, START)
        write(packed, 100, 1.0, 1, START)
        assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
        assert plain.read_text().splitlines() == [",".join(COLUMNS), *lines(100, 1.0, 1, START)]


class TestBurst:
    def test_no_shopper_of_the_demo_has_more_than_five_events_in_ten_seconds(self, events: list[Event]) -> None:
        assert busiest(events) == 5  # and some do as much as a shopper may: the hardest not to accuse

    @pytest.mark.parametrize("seed", range(2, 6))
    def test_nor_with_another_seed(self, seed: int) -> None:
        assert busiest(parsed(lines(5_000, 0.25, seed, START))) <= 5

    def test_even_the_most_hurried_stay_within_the_rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The worst that the model can draw: everything in tabs and in baskets, nobody pauses, all come back at once.
        for name, value in {
            "THINK": (-9, 0),
            "DECIDE": (-9, 0),
            "BACK_AFTER": (-9, 0),
            "BACK_AT_ONCE_SHARE": 0.8,
            "TABS_SHARE": 0.5,
            "SEVERAL_ITEMS_SHARE": 1.0,
            "PURCHASE_SHARE": 0.2,
        }.items():
            monkeypatch.setattr(generate, name, value)
        assert busiest(parsed(lines(5_000, 1.0, 1, START, TrafficOptions(duplicate_share=0.3, checkout_items=5)))) == 5

    def test_a_returning_visitor_is_not_pressed_by_an_earlier_visit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generate, "KNOWN_VISITORS", 50)
        monkeypatch.setattr(generate, "BACK_AT_ONCE_SHARE", 0.0)
        monkeypatch.setattr(generate, "BACK_LATER_SHARE", 1.0)
        by_user = defaultdict(list)
        for event in parsed(lines(5000, 3.0, 1, START)):
            by_user[event["user_id"]].append((second_of(event["event_time"]), event["user_session"]))
        pauses = [
            later[0] - earlier[0]
            for visits in by_user.values()
            for earlier, later in pairwise(visits)
            if earlier[1] != later[1]
        ]
        assert len(pauses) > 100
        assert min(pauses) >= generate.BACK_LATER_AFTER_S

    def test_larger_checkouts_are_possible_if_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generate, "PURCHASE_SHARE", 0.1)
        sizes = at_once(parsed(lines(5_000, 1.0, 1, START, TrafficOptions(checkout_items=12))), "purchase")
        assert 5 < max(sizes.values()) <= 12

    def test_one_item_a_checkout_if_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generate, "PURCHASE_SHARE", 0.1)
        sizes = at_once(parsed(lines(5_000, 1.0, 1, START, TrafficOptions(checkout_items=1))), "purchase")
        assert set(sizes.values()) == {1}


class TestGuests:
    def test_the_traffic_is_the_same_but_for_the_user_ids(self) -> None:
        without, with_guests = (
            parsed(lines(3_000, 1.0, 1, START, TrafficOptions(guest_share=share))) for share in (0.0, 0.3)
        )
        sessions = {event["user_session"] for event in with_guests}
        guests = {event["user_session"] for event in with_guests if event["user_id"] is None}
        assert len(guests) / len(sessions) == pytest.approx(0.3, abs=0.05)
        for event, other in zip(without, with_guests, strict=True):
            assert other == event | ({"user_id": None} if event["user_session"] in guests else {})

    def test_all_may_be_guests(self) -> None:
        events = parsed(lines(500, 1.0, 1, START, TrafficOptions(guest_share=1.0)))
        assert {event["user_id"] for event in events} == {None}

    def test_no_guests_by_default(self) -> None:
        assert all(event["user_id"] for event in parsed(lines(500, 1.0, 1, START)))


class TestLikeness:
    def test_shares_are_roughly_those_of_the_real_sample(self, events: list[Event]) -> None:
        count = len(events)
        types = Counter(event["event_type"] for event in events)
        users, sessions = ({event[name] for event in events} for name in ("user_id", "user_session"))
        by_session = Counter(event["user_session"] for event in events).values()
        # Real: view 97.8 %, purchase 1.2 %, cart 0.95 %.
        assert types["view"] / count == pytest.approx(0.978, abs=0.005)
        assert types["purchase"] / count == pytest.approx(0.012, abs=0.003)
        assert types["cart"] / count == pytest.approx(0.0095, abs=0.003)
        assert 0 < types["remove_from_cart"] < types["cart"]
        # Real: category_code null 33 %, brand null 14 %, price 0 in 19 of 17,434 rows, 5 exact duplicates.
        assert sum(event["category_code"] is None for event in events) / count == pytest.approx(0.33, abs=0.02)
        assert sum(event["brand"] is None for event in events) / count == pytest.approx(0.14, abs=0.02)
        assert sum(event["price"] == 0 for event in events) / count == pytest.approx(0.0011, abs=0.0007)
        # Real: 5,066 sessions of 17,434 rows and 4,504 users; in three hours more people come back than in its one.
        assert count / len(sessions) == pytest.approx(3.44, abs=0.3)
        assert len(sessions) / len(users) == pytest.approx(1.15, abs=0.05)
        # Real: 40.8 % of the sessions have one event, 1.1 % more than twenty.
        assert sum(size == 1 for size in by_session) / len(sessions) == pytest.approx(0.41, abs=0.02)
        assert sum(size > 20 for size in by_session) / len(sessions) == pytest.approx(0.011, abs=0.006)

    def test_some_views_are_tabs_and_some_checkouts_have_several_items(self, events: list[Event]) -> None:
        assert set(at_once(events, "view").values()) == {1, 2, 3, 4}
        assert set(at_once(events, "purchase").values()) == {1, 2, 3, 4}
        assert set(at_once(events, "cart").values()) == {1}

    def test_what_comes_at_once_is_of_one_session_and_of_different_products(self, events: list[Event]) -> None:
        together = defaultdict(list)
        for event in {tuple(event.values()): event for event in events}.values():
            together[event["user_id"], event["event_time"]].append(event)
        for group in together.values():
            assert len({(event["user_session"], event["event_type"]) for event in group}) == 1
            assert len({event["product_id"] for event in group}) == len(group)

    def test_few_products_get_most_of_the_looks(self, events: list[Event]) -> None:
        counts = [number for _, number in Counter(event["product_id"] for event in events).most_common()]
        # Real: 1.2 %, 6.9 % and 22 % of the events are of the top 1, 10 and 100 products.
        assert [sum(counts[:top]) / 50_000 for top in (1, 10, 100)] == pytest.approx([0.012, 0.069, 0.22], rel=0.2)
        assert len(counts) > 10_000

    def test_a_product_is_the_same_wherever_it_occurs(self, events: list[Event]) -> None:
        products = defaultdict(set)
        codes = defaultdict(set)
        for event in events:
            products[event["product_id"]].add(
                tuple(event[name] for name in ("category_id", "category_code", "brand", "price"))
            )
            codes[event["category_id"]].add(event["category_code"])
        assert {len(values) for values in products.values()} == {1}
        assert {len(values) for values in codes.values()} == {1}

    def test_categories_are_a_tree(self, events: list[Event]) -> None:
        codes = {event["category_code"] for event in events} - {None}
        assert {code.count(".") for code in codes} >= {1, 2}
        assert len({code.split(".")[0] for code in codes}) == 13

    def test_category_ids_have_nineteen_digits(self, events: list[Event]) -> None:
        assert {len(str(event["category_id"])) for event in events} == {19}

    def test_visitors_come_by_hour_and_weekday(self) -> None:
        seconds = [second_of(row.split(",")[0]) - MONDAY for row in lines(40_000, 168.0, 1, MONDAY)]
        by_hour = Counter(second // 3600 % 24 for second in seconds)
        by_day = Counter(second // 86_400 for second in seconds)
        expected = [share / sum(HOURS) * 40_000 for share in HOURS]
        assert [by_hour[hour] for hour in range(24)] == pytest.approx(expected, rel=0.1, abs=60)
        expected = [share / sum(WEEKDAYS) * 40_000 for share in WEEKDAYS]
        assert [by_day[day] for day in range(7)] == pytest.approx(expected, rel=0.02)

    def test_the_curve_is_that_of_the_calendar_whenever_the_traffic_starts(self) -> None:
        noon = second_of("2020-02-29 12:00:00 UTC")
        by_hour = Counter(int(row[11:13]) for row in lines(10_000, 24.0, 1, noon))
        share = sum(by_hour[hour] for hour in (23, 0, 1, 2)) / 10_000
        assert share == pytest.approx(sum(HOURS[hour] for hour in (23, 0, 1, 2)) / sum(HOURS), rel=0.15)

    def test_who_buys_looked_first_and_who_removes_had_put_in(self, events: list[Event]) -> None:
        seen: set[tuple[str, int, str]] = set()
        for event in events:
            place = (event["user_session"], event["product_id"])
            if event["event_type"] != "view":
                assert (*place, "view") in seen
            if event["event_type"] == "remove_from_cart":
                assert (*place, "cart") in seen
            seen.add((*place, event["event_type"]))

    def test_every_question_of_the_demo_has_an_answer(self, events: list[Event]) -> None:
        path = Path(__file__).parents[1] / "e2e" / "insight_reference.py"
        spec = importlib.util.spec_from_file_location("insight_reference", path)
        reference = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reference)
        curated = pl.DataFrame(events).with_columns(
            event_at=pl.col("event_time").str.head(19).str.to_datetime(),
            price=pl.col("price").cast(pl.Decimal(12, 2)),
        )
        for question, compute in reference.REFERENCES.items():
            answer = compute(curated, date(2019, 10, 1), date(2019, 10, 2), top_n=10)
            assert answer.height > 1, question


class TestChosenRates:
    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
    def test_exact_duplicates(self, share: float) -> None:
        rows = list(lines(5_000, 1.0, 1, START, TrafficOptions(duplicate_share=share)))
        assert 1 - len(set(rows)) / len(rows) == pytest.approx(share, rel=0.2)

    def test_tabs_make_no_duplicates(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generate, "TABS_SHARE", 0.3)
        rows = list(lines(5_000, 1.0, 1, START, TrafficOptions(duplicate_share=0)))
        assert len(set(rows)) == len(rows)

    def test_some_rows_come_more_than_twice(self) -> None:
        times = Counter(Counter(lines(5_000, 1.0, 1, START, TrafficOptions(duplicate_share=0.05))).values())
        assert times[2] > times[3] > 0

    @pytest.mark.parametrize(
        ("traffic", "shortest", "longest", "share"),
        [
            (TrafficOptions(unsorted_share=0.2), 1, 5, 0.2),
            (TrafficOptions(unsorted_share=0.2, unsorted_s=2), 1, 2, 0.2),
            (TrafficOptions(late_share=0.02, late_s=120), 6, 120, 0.02),
            (TrafficOptions(late_share=0.02, late_s=30, unsorted_s=20), 21, 30, 0.02),
        ],
    )
    def test_rows_out_of_order(self, traffic: TrafficOptions, shortest: int, longest: int, share: float) -> None:
        ordered = list(lines(5_000, 0.15, 1, START))
        rows = list(lines(5_000, 0.15, 1, START, traffic))
        assert rows != ordered
        assert sorted(rows) == sorted(ordered)  # the same traffic: nothing is lost, nothing else is changed
        newest, delays = 0, []
        for row in rows:
            second = second_of(row.split(",")[0])
            newest = max(newest, second)
            if second < newest:
                delays.append(newest - second)
        assert len(delays) / len(rows) == pytest.approx(share, rel=0.25)
        # A row held until the end of the traffic has no later one to be measured by.
        assert sum(delay < shortest for delay in delays) <= 5
        assert longest * 0.95 <= max(delays) <= longest

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"duplicate_share": 0.6}, "duplicate_share 0.6 is not allowed; give one from 0 to 0.5"),
            ({"late_share": -0.1}, "late_share -0.1 is not allowed; give one from 0 to 0.5"),
            ({"unsorted_share": float("nan")}, "unsorted_share nan is not allowed; give one from 0 to 0.5"),
            ({"guest_share": 1.1}, "guest_share 1.1 is not allowed; give one from 0 to 1"),
            ({"checkout_items": 0}, "checkout_items 0 is not allowed; give one from 1 to 86400"),
            ({"late_s": 5}, "late_s 5 is not allowed; give more than unsorted_s, 5"),
        ],
    )
    def test_nonsense_is_refused(self, arguments: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}$"):
            TrafficOptions(**arguments)


class TestLookAlike:
    def test_gives_replay_what_a_file_of_the_same_rows_would(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("".join(f"{row}\n" for row in islice(endless_lines(20_000, 3, START), 7_000)))
        source = LookAlike(20_000, 3, START, limit=7_000)
        assert pl.concat(source.blocks()).equals(pl.concat(Source(path).blocks()))
        assert source.rows == 7_000
        assert list(source.events()) == list(Source(path).events())
        assert source.rows == 7_000

    def test_is_endless_without_a_limit_and_begins_anew_with_each_pass(self) -> None:
        source = LookAlike(20_000, 3, START)
        first = next(source.blocks())
        assert next(source.blocks()).equals(first)
        assert source.rows == first.height == generate.BLOCK_EVENTS


class TestWrite:
    def test_failure_leaves_no_file_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> Any:
            yield "a"
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("simulator.traffic.generate.lines", fail)
        (tmp_path / "a.csv").write_text("older")
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "a.csv", 10, 1.0, 1, START)
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
        assert (tmp_path / "a.csv").read_text() == "older"

    @pytest.mark.parametrize(("start", "hours"), [(-1, 1.0), (START, 1e12), (START, 1e308)])
    def test_times_that_replay_would_refuse_are_refused(self, tmp_path: Path, start: int, hours: float) -> None:
        with pytest.raises(ValueError, match="outside of 1970 to 2999; give another --start or fewer --hours"):
            write(tmp_path / "a.csv", 1, hours, 1, start)
        assert list(tmp_path.iterdir()) == []
