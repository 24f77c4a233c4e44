"""Look-alike traffic is like the real sample and the same for the same seed, and no shopper breaks the burst rule."""

import gzip
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest

from simulator.event import COLUMNS, second_of
from simulator.generate import lines, write
from simulator.source import Source

START = second_of("2019-10-01 22:30:00 UTC")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Returns 50,000 events over three hours, as `replay` reads them."""
    path = tmp_path_factory.mktemp("generate") / "look-alike.csv.gz"
    write(path, 50_000, 3.0, 1, START)
    malformed = []
    events = list(Source(path).events(malformed.append))
    assert malformed == []
    return events


def busiest(events: list[dict[str, Any]]) -> int:
    """Returns the most events of one user in any (t - 10 s, t]."""
    windows: dict[int, deque[int]] = defaultdict(deque)
    most = 0
    for event in events:
        second, window = second_of(event["event_time"]), windows[event["user_id"]]
        window.append(second)
        while window[0] <= second - 10:
            window.popleft()
        most = max(most, len(window))
    return most


def test_count_order_and_length_are_as_asked(events: list[dict[str, Any]]) -> None:
    assert len(events) == 50_000
    seconds = [second_of(event["event_time"]) for event in events]
    assert seconds == sorted(seconds)
    assert START <= seconds[0] < START + 60
    assert START + 3 * 3600 - 60 < seconds[-1] < START + 3 * 3600


@pytest.mark.parametrize(("count", "hours"), [(1, 0.1), (7, 1.0), (1000, 0.1), (3000, 48.0)])
def test_any_count_and_length(count: int, hours: float) -> None:
    rows = list(lines(count, hours, 1, START))
    assert len(rows) == count
    assert all(START <= second_of(row.split(",")[0]) < START + hours * 3600 for row in rows)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_same_seed_same_bytes(tmp_path: Path, name: str) -> None:
    one, again, other = (tmp_path / folder / name for folder in ("one", "again", "other"))
    for path, seed in ((one, 1), (again, 1), (other, 2)):
        path.parent.mkdir()
        write(path, 2000, 1.0, seed, START)
    assert one.read_bytes() == again.read_bytes()
    assert one.read_bytes() != other.read_bytes()
    if name.endswith(".gz"):  # flags and time: neither a name nor the hour may tell two files apart
        assert one.read_bytes()[3:8] == bytes(5)


def test_gz_holds_what_the_plain_file_does(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    write(plain, 100, 1.0, 1, START)
    write(packed, 100, 1.0, 1, START)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert plain.read_text().splitlines() == [",".join(COLUMNS), *lines(100, 1.0, 1, START)]


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_shopper_has_more_than_five_events_in_ten_seconds(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "a.csv", 10_000, 0.5, seed, START)
    assert busiest(list(Source(tmp_path / "a.csv").events())) <= 5


def test_even_repeated_rows_at_the_shortest_pauses_stay_within_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worst that the model can draw: each session repeats a row, and nobody pauses longer than needed.
    monkeypatch.setattr("simulator.generate.DUPLICATE_SHARE", 0.5)
    monkeypatch.setattr("simulator.generate.THINK_LOG_MEDIAN_S", -9.0)
    write(tmp_path / "a.csv", 5000, 1.0, 1, START)
    assert busiest(list(Source(tmp_path / "a.csv").events())) == 5


def test_shares_are_roughly_those_of_the_real_sample(events: list[dict[str, Any]]) -> None:
    count = len(events)
    types = Counter(event["event_type"] for event in events)
    users, sessions = ({event[name] for event in events} for name in ("user_id", "user_session"))
    by_session = Counter(event["user_session"] for event in events).values()
    # Real: view 97.8 %, purchase 1.2 %, cart 0.95 %.
    assert types["view"] / count == pytest.approx(0.978, abs=0.02)
    assert types["purchase"] / count == pytest.approx(0.012, abs=0.004)
    assert types["cart"] / count == pytest.approx(0.0095, abs=0.01)
    assert 0 < types["remove_from_cart"] < types["cart"]
    # Real: category_code null 33 %, brand null 14 %, price 0 in 19 of 17,434 rows, 5 exact duplicates.
    assert sum(event["category_code"] is None for event in events) / count == pytest.approx(0.33, abs=0.02)
    assert sum(event["brand"] is None for event in events) / count == pytest.approx(0.14, abs=0.02)
    assert sum(event["price"] == 0 for event in events) / count == pytest.approx(0.0011, abs=0.001)
    assert 0 < count - len({tuple(event.values()) for event in events}) < 0.001 * count
    # Real: 17,434 rows of 4,504 users and 5,066 sessions.
    assert count / len(users) == pytest.approx(3.87, abs=0.3)
    assert len(sessions) / len(users) == pytest.approx(1.12, abs=0.06)
    # Real: 40.8 % of the sessions have one event, 1.1 % more than twenty.
    assert sum(size == 1 for size in by_session) / len(sessions) == pytest.approx(0.41, abs=0.03)
    assert sum(size > 20 for size in by_session) / len(sessions) == pytest.approx(0.011, abs=0.01)


def test_ids_have_up_to_nineteen_digits(events: list[dict[str, Any]]) -> None:
    assert max(event["category_id"] for event in events) > 10**18


def test_who_buys_looked_first(events: list[dict[str, Any]]) -> None:
    seen: set[tuple[str, int]] = set()
    for event in events:
        place = (event["user_session"], event["product_id"])
        assert event["event_type"] == "view" or place in seen
        seen.add(place)


def test_failure_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        yield "a"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simulator.generate.lines", fail)
    (tmp_path / "a.csv").write_text("older")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a.csv", 10, 1.0, 1, START)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "older"


@pytest.mark.parametrize(("start", "hours"), [(-1, 1.0), (START, 1e12), (START, 1e308)])
def test_times_that_replay_would_refuse_are_refused(tmp_path: Path, start: int, hours: float) -> None:
    with pytest.raises(ValueError, match="outside of 1970 to 2999; give another --start or fewer --hours"):
        write(tmp_path / "a.csv", 1, hours, 1, start)
    assert list(tmp_path.iterdir()) == []
