"""Values that are set for the application replace the defaults, of all rules in one job and of the source."""

from collections.abc import Callable
from datetime import UTC, datetime

from shop import alert, event, records

Detect = Callable[..., list[dict]]


def test_thresholds_and_windows_are_values(detect: Detect) -> None:
    looks = [event(at, product_id=str(at), user_session=str(at)) for at in (0, 50, 100, 119, 240)]
    crowd = [event(300 + user, product_id="9", user_id=str(user)) for user in (20, 25, 29)]
    carts = [event(at, event_type="cart", user_id="8", product_id=str(at)) for at in (400, 520, 760, 1000)]
    values = {
        "alerts": {"quiet_s": "0"},
        "burst": {"threshold": "2", "window_s": "120"},
        "scraper": {"threshold": "3", "window_s": "150", "carts_per_100": "0"},
        "session_rotator": {"threshold": "1", "window_s": "60"},
        "cart_hoarder": {"threshold": "0", "window_s": "240"},
        "product_flood": {"threshold": "2", "window_s": "20"},
        "site_surge": {"threshold": "0", "window_s": "1", "baseline_s": "2", "least_baseline_s": "1", "factor": "1"},
    }
    found = detect(records(looks + crowd + carts), **values)
    assert [one for one in found if one["rule"] in values] == [
        alert("burst", "user#7", -20, 100, 3, 2),
        alert("cart_hoarder", "user#8", 160, 400, 1, 0),
        alert("cart_hoarder", "user#8", 280, 520, 2, 0),
        # The window before ended where this one begins, which is quiet enough.
        alert("cart_hoarder", "user#8", 520, 760, 1, 0),
        alert("cart_hoarder", "user#8", 760, 1000, 1, 0),
        alert("product_flood", "product#9", 309, 329, 3, 2),
        alert("scraper", "user#7", -31, 119, 4, 3),
        alert("session_rotator", "user#7", -10, 50, 2, 1),
    ]


def test_how_far_ahead_of_the_clock_a_time_may_be(detect: Detect) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    lines = [
        line
        for at, user in ((40, "1"), (86_400, "2"), (40, "3"))
        for line in records([event(at, product_id=str(product), user_id=user) for product in range(6)], now)
    ]

    def found(**values: dict[str, str]) -> list[str]:
        return [one["subject"] for one in detect(lines, **values) if one["rule"] == "burst"]

    assert found() == ["user#1", "user#3"]
    assert found(source={"max_ahead_s": "5"}) == []
    # With a day and more allowed, user 3 is late.
    assert found(source={"max_ahead_s": "90000"}) == ["user#1", "user#2"]
