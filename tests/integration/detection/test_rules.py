"""Each rule as it is deployed, case by case. All cases are one job: each has an hour of the event time of its own."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from shop import MIDNIGHT, alert, event, record, time

Detect = Callable[..., list[dict]]

MAX_ID = 2**63 - 1
HOUR = timedelta(hours=1)

LIMITS = {  # of each rule: threshold, length of the window
    "burst": (5, 10),
    "cart_hoarder": (15, 600),
    "product_flood": (50, 10),
    "scraper": (60, 600),
    "session_rotator": (12, 600),
    "site_surge": (500, 10),
}

Found = tuple[str, str, int, int, int]


@dataclass
class Case:
    """Events, or lines as they are, in an hour; and the alerts, as (rule, subject, end, count, threshold)."""

    name: str
    events: list[dict | bytes]
    found: list[Found]
    base: datetime = MIDNIGHT

    @property
    def lines(self) -> list[bytes]:
        return [each if isinstance(each, bytes) else record(each, self.base) for each in self.events]

    @property
    def alerts(self) -> list[dict]:
        return [
            alert(rule, subject, end - LIMITS[rule][1], end, count, threshold, self.base)
            for rule, subject, end, count, threshold in sorted(self.found)
        ]


CASES: list[Case] = []


def case(name: str, events: Iterable[dict | bytes], *found: Found) -> None:
    """Adds a case in the next hour."""
    CASES.append(Case(name, list(events), list(found), MIDNIGHT + len(CASES) * HOUR))


def hit(rule: str, end: int, count: int, subject: str = "user#7", threshold: int | None = None) -> Found:
    return rule, subject, end, count, LIMITS[rule][0] if threshold is None else threshold


def views(seconds: Iterable[float], first: int = 0, **changes: object) -> list[dict]:
    """Returns a view of another product at each of the seconds."""
    return [event(at, product_id=product, **changes) for product, at in enumerate(seconds, first)]


def pace(count: int, start: int = 0, every: int = 2) -> range:
    """Returns as many seconds, none too close to the next for a burst."""
    return range(start, start + count * every, every)


def spread(count: int, start: int, length: int) -> list[float]:
    """Returns as many times, evenly spread, in time order."""
    return [start + number * length / count for number in range(count)]


# Burst: more than 5 within (t - 10 s, t].
def burst(end: int, count: int = 6, subject: str = "user#7") -> Found:
    return hit("burst", end, count, subject)


# First: later on, what has no time would be late and so left out in any case.
case(
    "poison before all else", [*views([3] * 6, txn_timestamp=None), *views([3] * 6, txn_timestamp=time(86_400 * 9999))]
)
case("burst: as many as the threshold", views([0, 1, 2, 3, 4]))
case("burst: one more", views([0, 1, 2, 3, 4, 5.678]), burst(5))
case("burst: all in one instant", views([3] * 6), burst(3))
case("burst: a second that crosses counts whole", views([1, 2, 3, 3.1, 3.2, 3.8, 3.999]), burst(3, 7))
case("burst: astride the clock's ten seconds", views([7, 8, 9, 10, 11, 12]), burst(12))
case("burst: window's first second is left out", views([0.999, 1, 2, 3, 4, 10]))
case("burst: window's last second is within", views([0, 1, 2, 3, 4, 9.999]), burst(9))
case(
    "burst: two users",
    sorted(views(range(6)) + views(range(6), user_id=8), key=lambda one: one["at"]),
    burst(5),
    burst(5, subject="user#8"),
)
case("burst: users in one do not add up", [event(at, user_id=at) for at in range(9)])

# What is one action.
case("the same event three times", [one for one in views([0, 1, 2, 3, 4]) for _ in range(3)])
case("the same but for the fraction", views([0, 1, 2, 3]) + [event(4 + part / 100, product_id=4) for part in range(9)])
case("the same in another second", [event(at) for at in range(6)], burst(5))
for name, one, other in [
    ("column", {"category_code": "x", "brand": None}, {"category_code": None, "brand": "x"}),
    ("null or empty", {"brand": None}, {"brand": ""}),
    ("separator |", {"category_code": "x|y", "brand": "z"}, {"category_code": "x", "brand": "y|z"}),
    ("separators of lists", {"brand": "a,b=c"}, {"brand": "a"}),
    ("separators of JSON", {"category_code": 'x","y', "brand": "z"}, {"category_code": "x", "brand": 'y","z'}),
    ("type", {"event_type": "view"}, {"event_type": "cart"}),
    ("product", {"product_id": 8}, {"product_id": 9}),
    ("category code", {"category_code": "x"}, {"category_code": "y"}),
    ("category", {"category_id": 8}, {"category_id": None}),
    ("price", {"price": 1.50}, {"price": 1.51}),
    ("session", {"user_session": "a1b2"}, {"user_session": "a1b3"}),
    ("original time", {"event_time": "2019-10-01 00:00:00 UTC"}, {"event_time": "2019-10-01 00:00:01 UTC"}),
]:
    case(f"events that differ: {name}", [*views([0, 1, 2, 3]), event(4, **one), event(4, **other)], burst(4))


def checkout(at: float, items: int = 6, **changes: object) -> list[dict]:
    return views([at] * items, event_type="purchase", **changes)


case("a checkout counts once", views([0, 1, 2, 3]) + checkout(4))
case("a checkout counts", views([0, 1, 2, 3, 4]) + checkout(5), burst(5))
case("a checkout delivered twice", views([0, 1, 2, 3]) + checkout(4) + checkout(4.5))
case("a checkout without a session", views([0, 1, 2, 3]) + checkout(4, user_session=None))
case("a checkout and the look at its things", views([0, 1, 2]) + checkout(4, 2) + views([4, 4]), burst(4))
case("checkouts of two sessions", views([0, 1, 2, 3]) + checkout(4) + checkout(4, user_session="b"), burst(4))
case("checkouts in two seconds", views([0, 1, 2, 3]) + checkout(4) + checkout(5), burst(5))
case("checkouts with and without a session", views(range(4)) + checkout(4) + checkout(4, user_session=None), burst(4))
case(
    "with an empty and no session",
    views(range(4)) + checkout(4, user_session="") + checkout(4, user_session=None),
    burst(4),
)

# Whom it counts for.
case("nobody", [event(3, product_id=number, user_id=None) for number in range(99)])
case("nobody among somebody", [*views([3] * 9, user_id=None), *views([3] * 5)])
case(
    "19 digits",
    [*views([3] * 6, user_id=MAX_ID), *views([3] * 5, user_id=MAX_ID - 1)],
    burst(3, subject=f"user#{MAX_ID}"),
)
case(
    "negative ids",
    [*views([3] * 6, user_id=-MAX_ID - 1), *views([3] * 6, user_id=-1)],
    burst(3, subject=f"user#{-MAX_ID - 1}"),
    burst(3, subject="user#-1"),
)


# Attacks and levels.
def steps(*counts_at: tuple[int, int]) -> list[dict]:
    """Returns so many things done in each of the seconds."""
    return [one for count, at in counts_at for one in views([at] * count)]


for count in (11, 12, 23, 24, 47, 48):
    case(f"level of {count} at once", steps((count, 3)), burst(3, count))
case("level rises", steps(*((6, at) for at in range(30))), burst(0, 6), burst(1, 12), burst(3, 24), burst(7, 48))
case("a steady flood", views(range(60)), burst(5))
case("level falls and rises again", steps((12, 0), (6, 11), (12, 12), (6, 30), (23, 45)), burst(0, 12))
case(
    "a level as high as before, after one in between",
    steps((12, 0), (24, 20), (6, 40), (12, 60)),
    burst(0, 12),
    burst(20, 24),
)
case("highest comes last", steps((6, 0), (12, 20), (6, 40), (24, 60)), burst(0), burst(20, 12), burst(60, 24))
case("crosses to and fro", [one for at in range(0, 200, 12) for one in steps((6, at))], burst(0))
case("not yet quiet", steps((6, 0), (6, 69)), burst(0))
case("quiet, then anew", steps((6, 0), (6, 70)), burst(0), burst(70))
case("quiet counts from what was found last", steps((6, 0), (6, 50), (6, 119)), burst(0))
case("and then anew", steps((6, 0), (6, 50), (6, 120)), burst(0), burst(120))
case(
    "below the threshold is quiet", steps((6, 0), *((4, at) for at in range(10, 70, 10)), (6, 70)), burst(0), burst(70)
)
case("anew at a lower level", steps((12, 0), (6, 70), (12, 90)), burst(0, 12), burst(70), burst(90, 12))
case("three attacks", steps((6, 0), (6, 100), (6, 200)), burst(0), burst(100), burst(200))


# Scraper: more than 60 products in a window of 600 s, which begins every 300 s; 5 carts or purchases for 100 of them.
def scraper(end: int, count: int = 61, subject: str = "user#7") -> Found:
    return hit("scraper", end, count, subject)


def wants(count: int, kind: str, start: int) -> list[dict]:
    """Returns carts or checkouts of what has been looked at, so many."""
    return [event(at, event_type=kind, product_id=at - start) for at in pace(count, start)]


case("scraper: as many as the threshold", views(pace(60)))
case("scraper: one more", views(pace(61)), scraper(299))
case("scraper: astride a slide", views(pace(61, 240)), scraper(599))
case("scraper: astride a window", views(pace(61, 540)), scraper(899))
case("scraper: too slow for any window", views([*pace(30, 200), *pace(31, 800)]))
case("scraper: window's last second", views([*pace(60), 599.999]), scraper(599))
case("scraper: next window's first second", views([*pace(60), 600]))
case("scraper: window's first second", views([300, *pace(60, 700)]), scraper(899))
case("scraper: the second before", views([299.999, *pace(60, 700)]))
case("scraper: all in one instant", views([3] * 61), burst(3, 61), scraper(299))
case("scraper: each product counts once", views(pace(60)) + views(pace(60, 122)))
case("scraper: delivered twice", [one for one in views(pace(60)) for _ in range(2)])
case("scraper: no product is none", [*views(pace(60)), event(130, product_id=None)])
case("scraper: products of 19 digits", views(pace(61), MAX_ID - 60), scraper(299))
case("scraper: negative products", views(pace(61), -30), scraper(299))
case("scraper: 19 digits", views(pace(61), user_id=-MAX_ID), scraper(299, subject=f"user#{-MAX_ID}"))
case("scraper: few carts", views(pace(61)) + wants(3, "cart", 130), scraper(299))
case("scraper: too many carts", views(pace(61)) + wants(4, "cart", 130))
case("scraper: exactly so many carts", views(pace(80)) + wants(4, "cart", 170), scraper(299, 80))
case(
    "scraper: few carts and purchases",
    views(pace(61)) + wants(2, "cart", 130) + wants(1, "purchase", 140),
    scraper(299),
)
case("scraper: too many of both", views(pace(61)) + wants(2, "cart", 130) + wants(2, "purchase", 140))
case(
    "scraper: the same carts again",
    views(pace(61)) + [one for one in wants(3, "cart", 130) for _ in range(2)],
    scraper(299),
)
case("scraper: a checkout is one", views(pace(61)) + checkout(130, 5) + checkout(140, 5), scraper(299))
case("scraper: carts of another window", wants(9, "cart", 0) + views(pace(61, 310)), scraper(899))
case("scraper: level at once", views(pace(122)), scraper(299, 122))
case("scraper: level rises", views(pace(61)) + views(pace(61, 310), 61), scraper(299), scraper(599, 122))
case("scraper: not yet quiet", views(pace(61)) + views(pace(61, 910)), scraper(299))
case("scraper: quiet, then anew", views(pace(61)) + views(pace(61, 1210)), scraper(299), scraper(1499))
case("scraper: spread over users", [event(at, product_id=at, user_id=at % 2) for at in range(119)])


# Cart hoarder: more than 15 carts in such a window, and no purchase.
def hoarder(end: int, count: int = 16, subject: str = "user#7") -> Found:
    return hit("cart_hoarder", end, count, subject)


def carts(seconds: Iterable[float], **changes: object) -> list[dict]:
    return views(seconds, event_type="cart", **changes)


case("hoarder: as many as the threshold", carts(pace(15)))
case("hoarder: one more", carts(pace(16)), hoarder(299))
case("hoarder: astride a slide", carts(pace(16, 290)), hoarder(599))
case("hoarder: astride a window", carts(pace(16, 590)), hoarder(899))
case("hoarder: too slow for any window", carts([*pace(8, 200), *pace(8, 800)]))
case("hoarder: all in one instant", carts([3] * 16), burst(3, 16), hoarder(299))
case("hoarder: looks are no carts", carts(pace(15)) + views(pace(20, 40)))
case("hoarder: the same thing again", [event(at, event_type="cart") for at in pace(16)], hoarder(299))
case("hoarder: delivered twice", [one for one in carts(pace(15)) for _ in range(2)])
case("hoarder: buys", [*carts(pace(16)), event(40, event_type="purchase")])
case("hoarder: buys at the end of both", [*carts(pace(16, 310)), event(599, event_type="purchase")])
case("hoarder: bought in another window", [event(299, event_type="purchase"), *carts(pace(16, 310))], hoarder(899))
case("hoarder: buys in the next one", [*carts(pace(16)), event(600, event_type="purchase")], hoarder(299))
case("hoarder: 19 digits", carts(pace(16), user_id=MAX_ID), hoarder(299, subject=f"user#{MAX_ID}"))
case("hoarder: level rises", carts(pace(16)) + carts(pace(16, 310)), hoarder(299), hoarder(599, 32))
case("hoarder: not yet quiet", carts(pace(16)) + carts(pace(16, 910)), hoarder(299))
case("hoarder: quiet, then anew", carts(pace(16)) + carts(pace(16, 1210)), hoarder(299), hoarder(1499))


# Session rotator: more than 12 sessions in such a window.
def rotator(end: int, count: int = 13, subject: str = "user#7") -> Found:
    return hit("session_rotator", end, count, subject)


def visits(seconds: Iterable[float], name: str = "s", **changes: object) -> list[dict]:
    """Returns a view in another session at each of the seconds."""
    return [event(at, user_session=f"{name}{number}", **changes) for number, at in enumerate(seconds)]


case("rotator: as many as the threshold", visits(pace(12)))
case("rotator: one more", visits(pace(13)), rotator(299))
case("rotator: astride a slide", visits(pace(13, 290)), rotator(599))
case("rotator: astride a window", visits(pace(13, 590)), rotator(899))
case("rotator: too slow for any window", visits([*pace(6, 200), *pace(7, 800)]))
case("rotator: all in one instant", visits([3] * 13), burst(3, 13), rotator(299))
case("rotator: each session counts once", visits(pace(12)) + visits(pace(12, 40)))
case("rotator: no session is none", [*visits(pace(12)), event(40, user_session=None)])
case("rotator: an empty session is one", [*visits(pace(12)), event(40, user_session="")], rotator(299))
case("rotator: separators in a session", visits(pace(12), "a,b="))
case("rotator: sessions alike but for what follows a separator", visits(pace(13), "a=b,c="), rotator(299))
case(
    "rotator: by whatever it does",
    [event(at, event_type=str(at), user_session=str(at)) for at in pace(13)],
    rotator(299),
)
case("rotator: checkouts", visits(pace(13), event_type="purchase"), rotator(299))
case("rotator: 19 digits", visits(pace(13), user_id=MAX_ID), rotator(299, subject=f"user#{MAX_ID}"))
case("rotator: level rises", visits(pace(13)) + visits(pace(13, 310), "t"), rotator(299), rotator(599, 26))
case("rotator: quiet, then anew", visits(pace(13)) + visits(pace(13, 1210)), rotator(299), rotator(1499))


# Product flood: more than 50 users of a product in a window of 10 s, which begins every 5 s.
def flood(end: int, count: int = 51, product: int = 1) -> Found:
    return hit("product_flood", end, count, f"product#{product}")


def crowd(seconds: Iterable[float], first: int = 100, **changes: object) -> list[dict]:
    """Returns a view of the product by another user at each of the seconds."""
    return [event(at, user_id=user, **changes) for user, at in enumerate(seconds, first)]


case("flood: as many as the threshold", crowd(spread(50, 0, 5)))
case("flood: one more", crowd(spread(51, 0, 5)), flood(4))
case("flood: astride a slide", crowd(spread(51, 3, 4)), flood(9))
case("flood: astride a window", crowd(spread(51, 8, 4)), flood(14))
case("flood: too slow for any window", crowd(spread(26, 0, 2)) + crowd(spread(26, 10, 2), 200))
case("flood: window's last second", [*crowd([0] * 50), event(9.999, user_id=9)], flood(9))
case("flood: next window's first second", [*crowd([0] * 50), event(10, user_id=9)])
case("flood: window's first second", [event(5, user_id=9), *crowd([14] * 50)], flood(14))
case("flood: the second before", [event(4.999, user_id=9), *crowd([14] * 50)])
case("flood: all in one instant", crowd([3] * 51), flood(4))
case("flood: each user counts once", crowd([1] * 50) + crowd([3] * 50))
case("flood: delivered twice", [one for one in crowd([3] * 50) for _ in range(2)])
case("flood: nobody is no user", crowd([3] * 50) + [event(3, user_id=None)] * 9)
case("flood: no product is none", crowd([3] * 51, product_id=None))
case("flood: of several products", [event(3, user_id=100 + user, product_id=user % 2) for user in range(100)])
case("flood: by whatever they do", crowd([3] * 30) + crowd([3] * 30, 200, event_type="purchase"), flood(4, 60))
case(
    "flood: 19 digits",
    crowd([3] * 51, product_id=MAX_ID) + crowd([3] * 50, product_id=MAX_ID - 1),
    flood(4, product=MAX_ID),
)
case("flood: negative", crowd([3] * 51, -25, product_id=-8), flood(4, product=-8))
case("flood: users of 19 digits", crowd([3] * 51, MAX_ID - 50), flood(4))
case("flood: level at once", crowd([3] * 102), flood(4, 102))
case("flood: level rises", crowd([3] * 51) + crowd([8] * 51, 200), flood(4), flood(9, 102))
case("flood: not yet quiet", crowd([3] * 51) + crowd([74] * 51), flood(4))
case("flood: quiet, then anew", crowd([3] * 51) + crowd([75] * 51), flood(4), flood(79))


# Site surge: more than 500 things within (t - 10 s, t], and more than 5 times as many as of late.
def surge(end: int, count: int = 501, threshold: int = 500) -> Found:
    return hit("site_surge", end, count, "site", threshold)


def shoppers(seconds: Iterable[float], first: int = 1_000) -> list[dict]:
    """Returns a view by another user of another product at each of the seconds."""
    return [event(at, user_id=user, product_id=user) for user, at in enumerate(seconds, first)]


USUAL = shoppers(range(60), 100)
BUSY = [one for at in range(0, 300, 5) for one in shoppers([at] * 12, 100 * at)]  # 12 in each of 60 seconds

case("surge: as many as the threshold", USUAL + shoppers([70] * 500))
case("surge: one more", USUAL + shoppers([70] * 501), surge(70))
case("surge: just a usual time before", USUAL + shoppers([69] * 501), surge(69))
case("surge: too little is usual", USUAL[1:] + shoppers([70] * 501))
case("surge: what is in the window is not usual", USUAL + shoppers([68] * 501))
case("surge: usual a while ago", USUAL + shoppers([599] * 501), surge(599))
case("surge: usual too long ago", USUAL + shoppers([600] * 501))
case("surge: nothing before", shoppers([at for at in range(60) for _ in range(51)]))
case("surge: as much as busy hours let expect", BUSY + shoppers([400] * 600, 90_000))
case("surge: more than busy hours let expect", BUSY + shoppers([400] * 601, 90_000), surge(400, 601, 600))
case(
    "surge: a mean with a fraction",
    [*BUSY, *shoppers([300], 90_000), *shoppers([400] * 591, 91_000)],
    surge(400, 591, (720 + 1) * 50 // 61),
)
case(
    "surge: astride the clock's ten seconds",
    USUAL + shoppers([at for at in range(75, 85) for _ in range(51)]),
    surge(84, 510),
)
case("surge: slower", USUAL + shoppers([at for at in range(75, 175) for _ in range(50)]))
case("surge: delivered twice", USUAL + [one for one in shoppers([70] * 500) for _ in range(2)])
case("surge: a checkout counts once", USUAL + shoppers([70] * 499) + checkout(70, 50))
case("surge: nobody is no shopper", USUAL + shoppers([70] * 500) + views([70] * 50, user_id=None))
case("surge: two users do the same", USUAL + shoppers([70] * 499) + crowd([70] * 2, 90_000), surge(70))
case("surge: by a single user", USUAL + views([70] * 501), surge(70), burst(70, 501), scraper(299, 501))
case("surge: level at once", USUAL + shoppers([70] * 1002), surge(70, 1002))
case("surge: level rises", USUAL + shoppers([70] * 501) + shoppers([72] * 501), surge(70), surge(72, 1002))
case("surge: not yet quiet", USUAL + shoppers([70] * 501) + shoppers([139] * 501), surge(70))
case("surge: quiet, then anew", USUAL + shoppers([70] * 501) + shoppers([140] * 501), surge(70), surge(140))

# Late and out of order: a second is over when another event is 2 s ahead of its end.
other = {"user_id": 8}
case("late: just in time", [*views(range(5)), event(6.999, **other), event(4.5, product_id=99)], burst(4))
case("late: too late", [*views(range(5)), event(7, **other), event(4.5, product_id=99)])
case("late: in time after it", [*views(range(5)), event(6.999, **other), event(5.5, product_id=99)], burst(5))
case("late: backwards", views([5, 4.5, 4, 3.5, 3.2, 3.1]), burst(5))
case("late: a scraper", [*views(pace(60)), event(990, **other), event(121, product_id=99)])
case("late: a flood", [*crowd([3] * 50), event(60, **other), event(4, user_id=99)])
case("late: a surge", [*USUAL, *shoppers([70] * 500), event(81, **other), event(70)])
case(
    "late: a purchase too late to help",
    [*carts(pace(16)), event(990, **other), event(40, event_type="purchase")],
    hoarder(299),
)
case(
    "late: delivered again",
    [*steps((6, 0), (6, 9)), event(200, **other), *steps((6, 0), (6, 9))],
    burst(0),
    burst(9, 12),
)

# What is no event, or lacks the user or the time.
POISON: list[bytes | dict] = [
    *(b"", b"oops", b"null", b"[]", b"[{}]", b"{}", b'"text"', b"7", b"\xff\xfe\x00", b'{"user_id": 7'),
    *(
        event(2, txn_timestamp=wrong)
        for wrong in (
            *(None, "", "yesterday", 1569888002000, True, {"at": 2}, []),
            *("T", "Z", "2019-13-41T00:00:02.000Z", "99999-01-01T00:00:02.000Z", "+999999999-12-31T23:59:59.999Z"),
            lambda right: right.removesuffix("Z"),
            lambda right: right.replace("Z", "X"),
            lambda right: right.replace("T", " "),
            lambda right: right.replace("T", " ").removesuffix("Z"),
        )
    ),
    *(event(2, user_id=wrong) for wrong in (None, "seven", "", [7], {"id": 7}, MAX_ID + 1, -MAX_ID - 2, 10**40)),
]
PAST = [time(0, datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 1582, 1900, 1969, 1970)] + [time(-86_400)]
FUTURE = [time(0, datetime(year, 1, 1, tzinfo=UTC)) for year in (2100, 9999)]


def strange(*times: str) -> list[dict]:
    """Returns events at other times, enough to be found if they counted."""
    return [one | {"txn_timestamp": each} for each in times for one in views([2] * 6, 500)]


def without(name: str) -> list[dict | bytes]:
    """Returns an event that lacks the column, or its time."""
    columns = {key: value for key, value in event(2, product_id=99).items() if key != name}
    return [columns] if "at" in columns else [json.dumps(columns).encode()]


case("poison does not count", [*views(range(3)), *POISON, *views([3, 4], 3)])
case("poison does not harm", [*views(range(3)), *POISON, *views([3, 4, 5], 3)], burst(5))
case("poison without a column", [*views(range(5)), *without("user_id"), *without("at")])
case("the far past", [*views([0, 1, 2]), *strange(*PAST), *views([3, 4, 5], 3)], burst(5))
case("the far past alone", [*views([0, 1, 2]), *strange(*PAST), *views([3, 4], 3)])
case(
    "the far future does not blind",
    [*strange(*FUTURE), *views(range(3)), *strange(*FUTURE), *views([3, 4, 5], 3)],
    burst(5),
)
columns = [{"price": "free"}, {"brand": ["a"]}, {"product_id": "x"}, {"event_type": None}, {"more": 1}, {"price": 1e30}]
case("a wrong column does not hide an event", [event(at, **each) for at, each in enumerate(columns)], burst(5))


@pytest.fixture(scope="module")
def found(detect: Detect) -> list[dict]:
    """Returns the alerts of all cases."""
    return detect(line for case in CASES for line in case.lines)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(found: list[dict], case: Case) -> None:
    begins, ends = time(0, case.base), time(3_600, case.base)
    assert [one for one in found if begins <= one["window_end_at"] < ends] == case.alerts


def test_cases_have_all_alerts(found: list[dict]) -> None:
    assert len(found) == sum(len(case.found) for case in CASES)
    assert len({one["alert_id"] for one in found}) == len(found)
    assert {one["rule"] for one in found} == set(LIMITS)
