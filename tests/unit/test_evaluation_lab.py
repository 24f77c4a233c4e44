"""Each scenario does what its rule looks for, as loud as asked and no louder, and the traffic stays as it was."""

import csv
import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import pytest

from evaluation.actors import ADDRESS, PRODUCT, actor_of
from evaluation.controls import GUESTS, SHARERS
from evaluation.lab import ATTACKER_ID, FIRST_USER_ID, Limit, ScenarioError, Step, survey
from evaluation.mixture import Mixture
from evaluation.rules import attack_files, limits, rule_names
from evaluation.scenarios import load
from evaluation.score import read_labels
from shopstream.app import run
from simulator.traffic.event import second_of
from simulator.traffic.generate import write
from simulator.traffic.source import Source

LIMITS = limits() | {
    "burst": Limit(5, 10),
    "scraper": Limit(60, 600),
    "cart_hoarder": Limit(15, 600),
    "session_rotator": Limit(12, 600),
    "product_flood": Limit(50, 10, {"factor": 5}),
    "identity_rotator": Limit(100, 300),
    "site_surge": Limit(500, 10, {"factor": 5}),
}
START = 1_570_000_000
SURGE_WINDOWS = 3
SCENARIOS = load()
CONTROLS = [name for name, scenario in SCENARIOS.items() if scenario.is_control]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traffic") / "shop.csv"
    write(path, 4_000, 2.0, 1, START)
    return path


def mixture(traffic: Path, seed: int = 1) -> Mixture:
    return Mixture(survey(Source(traffic), Random(0)), LIMITS, seed)


def planned(traffic: Path, scenario: str, intensity: float) -> list[list[Step]]:
    """The steps of each of six attackers."""
    lab = mixture(traffic).lab(scenario)
    return [SCENARIOS[scenario].plan(lab, intensity, number, 6).steps for number in range(6)]


def span(steps: list[Step]) -> int:
    return max(step.second for step in steps) - min(step.second for step in steps)


def test_each_rule_has_an_attack() -> None:
    assert list(attack_files()) == rule_names()


@pytest.mark.parametrize(("intensity", "amount"), [(1.5, 8), (2, 10), (5, 25)])
def test_a_burst_is_as_loud_as_asked_within_one_window(traffic: Path, intensity: float, amount: int) -> None:
    for steps in planned(traffic, "burst", intensity):
        assert len(steps) == len({(step.second, step.product["product_id"]) for step in steps}) == amount
        assert span(steps) < 10
        assert len({step.user_id for step in steps}) == 1


def test_a_third_of_the_bursts_hide_astride_the_clocks_windows(traffic: Path) -> None:
    halves = [Counter(step.second // 10 for step in steps) for steps in planned(traffic, "burst", 2)]
    assert sum(max(half.values()) <= 5 and len(half) == 2 for half in halves) >= 2


@pytest.mark.parametrize("intensity", [1.5, 2, 5])
@pytest.mark.parametrize(
    ("scenario", "counted"),
    [
        ("scraper", lambda step: step.product["product_id"]),
        ("cart_hoarder", lambda step: step.product["product_id"] if step.event_type == "cart" else None),
        ("session_rotator", lambda step: step.session),
        ("product_flood", lambda step: step.user_id),
        ("identity_rotator", lambda step: step.user_id),
    ],
)
def test_a_scenario_counts_what_its_rule_counts_within_one_window(
    traffic: Path, scenario: str, counted: object, intensity: float
) -> None:
    limit = LIMITS[scenario]
    for steps in planned(traffic, scenario, intensity):
        assert len({counted(step) for step in steps} - {None}) == math.ceil(limit.threshold * intensity)
        assert span(steps) < limit.window_s
        assert not [step for step in steps if step.event_type == "purchase"]


def test_a_flood_of_a_popular_product_is_a_factor_of_its_own_rate(tmp_path: Path) -> None:
    shop = tmp_path / "shop.csv"
    rows = [
        f"2019-10-01 00:{at // 60:02}:{at % 60:02} UTC,view,{7 if n < 3 else 8},{at}{n}"
        for at in range(1200)
        for n in range(4)
    ]
    shop.write_text("\n".join(["event_time,event_type,product_id,user_id", *rows]) + "\n")
    lab = mixture(shop).lab("product_flood")
    floods = {plan.subject: len(plan.steps) for plan in (SCENARIOS["product_flood"].plan(lab, 2, n, 3) for n in (1, 2))}
    # In ten seconds 30 users are usual for the one, and 10 for the other.
    assert floods == {"product#7": pytest.approx(2 * 5 * 30, abs=15), "product#8": pytest.approx(2 * 50, abs=8)}


def test_a_surge_is_a_factor_of_the_sites_own_rate_and_nobody_in_it_is_loud(traffic: Path) -> None:
    for steps in planned(traffic, "site_surge", 2):
        assert len(steps) >= 2 * 500 * SURGE_WINDOWS
        assert max(Counter(step.user_id for step in steps).values()) <= 3
        assert max(Counter(step.product["product_id"] for step in steps).values()) < 50


def test_who_stays_just_under_reaches_each_limit_and_exceeds_none(traffic: Path) -> None:
    for steps in planned(traffic, "just_under", 1):
        times = sorted(step.second for step in steps)
        in_10_s = max(sum(second - 10 < other <= second for other in times) for second in set(times))
        in_10_min = max(sum(second - 600 < other <= second for other in times) for second in set(times))
        assert (in_10_s, in_10_min) == (5, 60)


def test_shoppers_of_the_controls_are_labelled_apart_and_count_as_no_attackers(traffic: Path, tmp_path: Path) -> None:
    plans = mixture(traffic)
    for control in CONTROLS:
        plans.add(control, [1], 2)
    plans.write(Source(traffic), tmp_path / "mixed.csv", tmp_path / "labels.json")

    said = json.loads((tmp_path / "labels.json").read_text())
    assert said["attackers"] == {}
    assert Counter(one["scenario"] for one in said["controls"].values()) == dict.fromkeys(CONTROLS, 2)
    truth = read_labels(json.dumps(said))
    visitors = sum(len(one["users"]) for one in said["controls"].values() if one["scenario"] == "flash_sale")
    assert len(truth.controls) == 2 * (len(CONTROLS) - 1 + GUESTS + SHARERS) + visitors, "each guest, sharer is one"
    actors = {actor_of(event) for event in Source(tmp_path / "mixed.csv").events()}
    assert {one for one in truth.controls if not one.startswith((ADDRESS, PRODUCT))} <= actors


def test_controls_are_what_they_say(traffic: Path) -> None:
    five_tabs = planned(traffic, "five_tabs", 1)[0]
    assert max(Counter(step.second for step in five_tabs).values()) == 5
    checkout = [step for step in planned(traffic, "big_checkout", 1)[0] if step.event_type == "purchase"]
    assert (len(checkout), len({(step.second, step.session) for step in checkout})) == (12, 1)
    shared = planned(traffic, "shared_address", 1)[0]
    users, addresses = {step.user_id for step in shared}, {step.client_ip for step in shared}
    assert (len(users), len(addresses)) == (SHARERS, 1) and len(users) > 5 * LIMITS["identity_rotator"].threshold
    assert max(Counter(step.user_id for step in shared).values()) == 3
    sale = planned(traffic, "flash_sale", 1)[0]
    assert len({step.product["product_id"] for step in sale}) == 1
    views, threshold = [step.second for step in sale if step.event_type == "view"], LIMITS["product_flood"].threshold
    in_10_s = Counter((second - min(views)) // 10 for second in views)
    assert max(in_10_s[place] for place in range(60)) < threshold, "so the product becomes popular unnoticed"
    assert max(in_10_s.values()) > 2 * threshold
    assert max(Counter(step.user_id for step in sale).values()) == 3
    echo = planned(traffic, "echo", 1)[0]
    assert (len(echo), len(set(map(repr, echo)))) == (18, 3)


@pytest.mark.parametrize(
    ("control", "at_once", "kinds"),
    [
        ("emptied_cart", 8, {"cart": 8, "remove_from_cart": 8}),
        ("reorder", 7, {"cart": 7, "purchase": 7}),
        ("double_removals", 2, {"cart": 4, "remove_from_cart": 8}),
        ("changed_mind", 1, {"cart": 20, "remove_from_cart": 13}),
        ("guests", GUESTS, {"view": 2 * GUESTS, "cart": GUESTS}),
    ],
)
def test_new_controls_would_be_accused_by_counting_events(
    traffic: Path, control: str, at_once: int, kinds: dict[str, int]
) -> None:
    for steps in planned(traffic, control, 1):
        assert Counter(step.event_type for step in steps) == kinds
        assert max(Counter(step.second for step in steps).values()) == at_once
        if control == "changed_mind":
            assert kinds["cart"] > LIMITS["cart_hoarder"].threshold
            assert span(steps) < LIMITS["cart_hoarder"].window_s
        else:
            busiest = max(sum(step.second - 10 < one.second <= step.second for one in steps) for step in steps)
            assert busiest > LIMITS["burst"].threshold


def test_carts_of_the_controls_are_emptied_of_what_is_in_them(traffic: Path) -> None:
    for control in ("emptied_cart", "double_removals", "changed_mind"):
        for steps in planned(traffic, control, 1):
            cart: set[str] = set()
            most = 0
            for step in sorted(steps, key=lambda step: step.second):
                product = step.product["product_id"]
                if step.event_type == "cart":
                    cart.add(product)
                elif control != "double_removals":
                    assert product in cart
                    cart.remove(product)
                most = max(most, len(cart))
            assert most < LIMITS["cart_hoarder"].threshold


def test_a_removal_is_recorded_again_within_two_seconds(traffic: Path) -> None:
    for steps in planned(traffic, "double_removals", 1):
        seconds = defaultdict(list)
        for step in steps:
            if step.event_type == "remove_from_cart":
                seconds[step.product["product_id"]].append(step.second)
        assert {second - first for first, second in seconds.values()} == {1, 2}


def test_guests_have_no_user_id_and_a_session_each(traffic: Path) -> None:
    for steps in planned(traffic, "guests", 1):
        assert {step.user_id for step in steps} == {None}
        sessions = Counter(step.session for step in steps)
        assert sessions == dict.fromkeys(sessions, 3)
        assert len(sessions) == GUESTS > LIMITS["session_rotator"].threshold
        assert len({step.product["product_id"] for step in steps}) > LIMITS["scraper"].threshold


def test_traffic_keeps_its_further_fields_and_attackers_have_none(tmp_path: Path) -> None:
    shop = tmp_path / "shop.csv"
    head = "event_id,event_time,event_type,product_id,user_session,currency,client_ip"
    rows = [f"e{n},2019-10-01T00:{n:02}:00.250Z,view,SKU-{n},s{n},EUR,192.0.2.1" for n in range(30)]
    rows.append("e30,2019-10-01T00:30:00.250Z,search,,s30,,")
    shop.write_text("\n".join([head, *rows]) + "\n")
    plans = mixture(shop)
    plans.add("burst", [2], 2)
    plans.write(Source(shop), tmp_path / "mixed.csv", tmp_path / "labels.json")

    mixed = list(Source(tmp_path / "mixed.csv").events())
    assert [event for event in mixed if event["user_id"] is None] == list(Source(shop).events())
    attackers = [event for event in mixed if event["user_id"]]
    assert len(attackers) == 20
    assert {(event["currency"], "event_id" in event, "client_ip" in event) for event in attackers} == {
        ("EUR", False, False)
    }
    times = [event["event_time"] for event in mixed]
    assert times == sorted(times)


def test_the_same_seed_makes_the_same_attack_and_another_seed_another(traffic: Path) -> None:
    def steps(seed: int) -> list[Step]:
        plans = mixture(traffic, seed)
        for scenario in SCENARIOS:
            plans.add(scenario, [2], 2)
        return plans.steps

    assert steps(1) == steps(1)
    assert steps(1) != steps(2)


def test_another_scenario_changes_nothing_about_the_others(traffic: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy" / "attack.py"
    file.parent.mkdir()
    file.write_text(
        "from evaluation.lab import Lab, Limit, AttackPlan\n"
        "SPARSE = True\n"
        "def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:\n"
        "    views = zip([lab.start(number, of, 1)] * lab.amount(limit, intensity), lab.products(4), strict=True)\n"
        "    return lab.by_one_user(views)\n"
    )
    scenarios = load(attack_files() | {"toy": file})
    assert scenarios["toy"].is_sparse and not scenarios["burst"].is_sparse and scenarios["site_surge"].is_sparse
    limits = LIMITS | {"toy": Limit(2, 10)}
    with_toy = Mixture(survey(Source(traffic), Random(0)), limits, 1, scenarios)
    without = mixture(traffic)
    for name in scenarios:
        with_toy.add(name, [2], 2)
        if name != "toy":
            without.add(name, [2], 2)
    toy = [one for one in with_toy.attackers if one.scenario == "toy"]
    assert [one.events for one in toy] == [4, 4]
    subjects = {one.subject for one in toy}
    assert [step for step in with_toy.steps if f"user#{step.user_id}" not in subjects] == without.steps
    assert [one for one in with_toy.attackers if one not in toy] == without.attackers
    assert with_toy.controls == without.controls


def test_an_attack_on_a_rule_without_a_limit_is_refused(traffic: Path) -> None:
    plans = Mixture(survey(Source(traffic), Random(0)), {}, 1)
    with pytest.raises(ScenarioError, match="no attack on the rule burst, which lacks threshold or window_s"):
        plans.add("burst", [2], 1)


def test_attackers_are_mixed_in_by_time_and_the_traffic_stays_as_it_was(traffic: Path, tmp_path: Path) -> None:
    plans = mixture(traffic)
    plans.add("burst", [2], 3)
    plans.add("product_flood", [1.5], 2)
    rows = plans.write(Source(traffic), tmp_path / "mixed.csv", tmp_path / "labels.json")

    with (tmp_path / "mixed.csv").open(newline="") as file:
        mixed = list(csv.DictReader(file))
    with traffic.open(newline="") as file:
        before = list(csv.DictReader(file))
    assert [row for row in mixed if not ATTACKER_ID.fullmatch(row["user_id"])] == before
    assert rows == len(mixed) == len(before) + 3 * 10 + 2 * 75
    times = [second_of(row["event_time"]) for row in mixed]
    assert times == sorted(times)

    attackers = json.loads((tmp_path / "labels.json").read_text())["attackers"]
    strangers = defaultdict(int)
    for row in mixed:
        if ATTACKER_ID.fullmatch(row["user_id"]):
            strangers[f"user#{row['user_id']}"] += 1
    labelled = {name: one["events"] for name, one in attackers.items() if "user#" in name}
    helpers = {user for one in attackers.values() for user in one["users"]}
    assert labelled == {user: events for user, events in strangers.items() if user not in helpers}
    assert len(helpers) == 2 * 75
    assert sorted(one["scenario"] for one in attackers.values()) == ["burst"] * 3 + ["product_flood"] * 2


def test_ids_of_attackers_that_the_traffic_knows_are_left_out(traffic: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.csv"
    lines = traffic.read_text().splitlines()[:200]
    first = lines[1].split(",")
    plans = mixture(traffic)
    plans.add("burst", [2], 2)
    user_id = plans.steps[0].user_id
    assert user_id
    lines.append(",".join([*first[:7], user_id, first[8]]))
    known.write_text("\n".join(lines) + "\n")
    plans = mixture(known)
    plans.add("burst", [2], 2)
    assert len(users := {step.user_id for step in plans.steps}) == 2
    assert user_id not in users
    assert all(user and int(user) >= FIRST_USER_ID for user in users)


def test_traffic_shorter_than_an_attack_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    write(short, 50, 0.1, 1, START)
    with pytest.raises(ScenarioError, match="shorter than an attack of 600 s"):
        mixture(short).add("scraper", [2], 1)


def test_no_traffic_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(ValueError):
        survey(Source(empty), Random(0))


def test_the_command_mixes_scenarios_and_controls_with_the_rules_own_thresholds(
    traffic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, labels = tmp_path / "mixed.csv.gz", tmp_path / "labels.json"
    arguments = ["attack", "burst", "echo", "--data", str(traffic), "--out", str(out), "--labels", str(labels)]
    assert run([*arguments, "--intensity", "1.5", "--intensity", "5", "--attackers", "2"]) == 0
    assert capsys.readouterr().err == f"{out}: {4_000 + 2 * (8 + 25) + 2 * 18:,} events, 4 attackers\n"
    said = json.loads(labels.read_text())
    assert sorted(one["intensity"] for one in said["attackers"].values()) == [1.5, 1.5, 5, 5]
    assert len(said["controls"]) == 2
    assert len(list(Source(out).events())) == 4_000 + 2 * (8 + 25) + 2 * 18


def test_the_command_says_what_is_wrong_with_the_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "short.csv"
    write(short, 50, 0.1, 1, START)
    arguments = ["attack", "scraper", "--data", str(short), "--out", str(tmp_path / "o.csv"), "--labels", "l.json"]
    assert run(arguments) == 2
    assert "shorter than an attack of 600 s" in capsys.readouterr().err
