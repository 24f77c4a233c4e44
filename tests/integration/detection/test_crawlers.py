"""Events whose user agent declares a crawler: recognised, counted, labelled, and left out if the shop wants that."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from conftest import property_groups, read_alerts
from shop import event, record, records

TIMEOUT_S = 60
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BING = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("agent", "crawler"),
    [
        (GOOGLE, "Googlebot"),
        (BING, "bingbot"),
        ("AdsBot-Google (+http://www.google.com/adsbot.html)", "AdsBot-Google"),
        ("AdsBot-Google-Mobile", "AdsBot-Google-Mobile"),
        ("curl/8.5.0", "curl"),
        ("not curl/8.5.0", None),
        ("Mozilla/5.0 (compatible; archive.org_bot)", "archive.org_bot"),
        ("Mozilla/5.0 (compatible; archive-org_bot)", None),
        (BROWSER, None),
        ("x" * 250 + GOOGLE, None),
        ("", None),
        (None, None),
    ],
)
def test_a_crawler_is_known_by_its_user_agent(jvm: Any, agent: str | None, crawler: str | None) -> None:
    from py4j.java_gateway import get_field

    contract = jvm.shopstream.Contract(set(), set(), 60_000)
    for _ in range(2):  # looked up, and then remembered
        (one,) = get_field(contract.read(record(event(1, user_agent=agent)), 2**62), "events")
        assert get_field(one, "crawler") == crawler


def looks(user: str, *agents: str | None, at: float = 1) -> list[dict]:
    return [
        event(at + place / 10, user_id=user, product_id=f"{user} {place}", user_agent=agent)
        for place, agent in enumerate(agents)
    ]


def test_an_alert_says_which_crawler_its_last_events_declare(detect: Callable[..., list[dict]]) -> None:
    flood = [event(30, user_id=f"{place}", product_id="9", user_agent=GOOGLE) for place in range(51)]
    lines = records(
        [
            *looks("1", *[GOOGLE] * 12),
            *looks("2", *[BROWSER] * 5, BING, at=5),
            *looks("3", *[GOOGLE] * 5, BROWSER, at=10),
            *looks("4", *[None] * 6, at=15),
            # In one instant, not by all.
            *(one | {"at": 20} for one in looks("5", *[GOOGLE] * 7, BROWSER)),
            *flood,
        ]
    )
    found = {(one["subject"], one["level"]): one.get("declared_crawler") for one in detect(lines)}
    assert found == {
        ("user#1", 1): "Googlebot",
        ("user#1", 2): "Googlebot",
        ("user#2", 1): "bingbot",
        ("user#3", 1): None,
        ("user#4", 1): None,
        ("user#5", 1): None,
        ("product#9", 1): "Googlebot",
    }


def test_who_declares_another_crawler_goes_on_with_the_attack(detect: Callable[..., list[dict]]) -> None:
    found = detect(records(looks("1", *[GOOGLE] * 6, *[BING] * 5, *[BROWSER] * 2)))
    assert [(one["subject"], one["level"], one.get("declared_crawler")) for one in found] == [
        ("user#1", 1, "Googlebot"),
        ("user#1", 2, None),
    ]


def test_allowed_crawlers_are_left_out_and_counted_and_others_are_counted(
    start: Callable[..., Any], cluster: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "events").mkdir()
    events = [*looks("1", *[GOOGLE] * 9), *looks("2", *[BING] * 7, at=3), event(9, user_id="3")]
    (tmp_path / "events" / "shard").write_bytes(b"".join(line + b"\n" for line in records(events)))
    groups = {
        "source": {"files": (tmp_path / "events").as_uri(), "watch_ms": "200"},
        "alerts": {"files": (tmp_path / "alerts").as_uri()},
        "unjudged": {"files": (tmp_path / "unjudged").as_uri()},
        "allowed_crawlers": {"0": "Googlebot"},
        **property_groups({"unjudged": {"step_s": 1}}),
    }
    job = start(groups, parallelism_default="1", execution_checkpointing_interval="300 ms")
    job_url = f"http://127.0.0.1:{cluster['rest.port']}/jobs/{job.getJobID()}"
    expected = ({"allowed_crawler": 9}, {"bingbot": 7, "all": 7}, [("user#2", "bingbot")])
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            alerts = [(one["subject"], one.get("declared_crawler")) for one in read_alerts(tmp_path / "alerts")]
            found = (unjudged(tmp_path / "unjudged"), crawlers(job_url), alerts)
            if found == expected:
                break
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
    finally:
        job.cancel().get()


def unjudged(folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in (json.loads(line) for file in folder.glob("*/part-*") for line in file.read_bytes().splitlines()):
        if one["outcome"] != "judged":
            counts[one["outcome"]] = counts.get(one["outcome"], 0) + one["event_count"]
    return counts


def crawlers(job_url: str) -> dict[str, int]:
    """Return how many events of each declared crawler the job has counted, as Flink's metrics say."""

    def get(path: str) -> Any:
        with urlopen(job_url + path) as answer:
            return json.load(answer)

    counts = {}
    for vertex in get("")["vertices"]:
        metrics = f"/vertices/{vertex['id']}/subtasks/metrics"
        names = [one["id"] for one in get(metrics) if one["id"].endswith("declaredCrawlerEvents")]
        for name in names:
            (one,) = get(f"{metrics}?get={name}&agg=sum")
            counts[name.split(".")[-2] if ".crawler." in name else "all"] = int(one["sum"])
    return counts


def test_an_unknown_crawler_cannot_be_allowed(start: Callable[..., Any], tmp_path: Path) -> None:
    groups = {"source": {"files": tmp_path.as_uri()}, "allowed_crawlers": {"0": "Googlebot", "1": "googlebot"}}
    with pytest.raises(Exception, match="allowed_crawlers has googlebot; allowed: names in the first column"):
        start(groups)
