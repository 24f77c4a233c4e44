"""The events of a small shop with known bots, guests, bad records and duplicates, and the results they must have."""

import json
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import polars as pl

OPENED_AT = datetime(2020, 3, 1, 22, 0, tzinfo=UTC)
CLOSED_AT = datetime(2020, 3, 2, 2, 0, tzinfo=UTC)

# An id is any text: more digits than a number holds, a leading zero, and what SQL, keys and subjects have to quote.
SAME_SECOND_BOT, ASTRIDE_BOT, LAST_BOT = "90000000000000000000000001", "Zoë O'Brien #2: ☕", "000042"
DOUBLING_BOT = "700000000004"
HASTY_SHOPPER, ECHOED_SHOPPER, SEARCHER, CUSTOMER = "500000001", "500000002", "500000003", "500000004"
# Guests, by their sessions: one without a user id, and two whose shop writes 0 for none.
# The first has a blank that no line breaks at: a notice spells it out.
GUEST_BOT, HASTY_GUEST, OTHER_HASTY_GUEST = "guest\u00a072d76fde", "guest-3f1c9a52", "guest-a6c1f4e2"
NOBODY = "0"

PRODUCTS = [
    # product_id, category_id, category_code, brand, price: as the shop writes them
    ("1001", "10", "electronics.smartphone", "kestrel", "499.90"),
    ("1002", "10", "electronics.smartphone", "novaro", "899.00"),
    ("SKU-3/ä", "11", "Apparel.Shoes", " Hammar", "59.95"),
    ("1004", "12", "furniture.bedroom.bed", None, "310.00"),
    ("1005", "13", None, "volta", "7.50"),
    ("1006", "14", None, None, "0.00"),
]
# Few people see the fifth product, volta, but they buy it: marketing would help this brand.
POPULARITY = [30, 25, 20, 10, 6, 9]


def event(at: datetime, user_id: str | None, product: int = 0, kind: str = "view", session: str | None = None) -> dict:
    """Return one event. Users have a session a day if none is given."""
    product_id, category_id, category_code, brand, price = PRODUCTS[product]
    return {
        "event_time": f"{at:%Y-%m-%d %H:%M:%S} UTC",
        "event_type": kind,
        "product_id": product_id,
        "category_id": category_id,
        "category_code": category_code,
        "brand": brand,
        "price": Decimal(price),
        "user_id": user_id,
        "user_session": session or f"session-{user_id}-{at:%d}",
        "txn_timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000Z",
    }


def shoppers() -> list[dict]:
    """Return the events of 150 people who look around. Some put things into carts and buy."""
    random = Random(3)
    events = []
    for number in range(150):
        user_id = str(400_000_000 + number)
        at = OPENED_AT + timedelta(seconds=random.randrange(3 * 3600))
        for _ in range(random.randint(1, 6)):
            product = random.choices(range(len(PRODUCTS)), POPULARITY)[0]
            events.append(event(at, user_id, product))
            # Half of those who see volta put it into the cart.
            if random.random() < (0.5 if product == 4 else 0.15):
                at += timedelta(seconds=random.randint(5, 60))
                events.append(event(at, user_id, product, "cart"))
                what_next = random.choice(["purchase", "purchase", "remove_from_cart", None])
                if what_next:
                    at += timedelta(seconds=random.randint(5, 60))
                    events.append(event(at, user_id, product, what_next))
            at += timedelta(seconds=random.randint(5, 400))
    return events


def steps_of(user_id: str | None, start: datetime, seconds: list[int], session: str | None = None) -> list[dict]:
    """Return views of one user, or guest, at these seconds after the start, all different."""
    return [
        event(start + timedelta(seconds=second), user_id, session=session) | {"product_id": str(5000 + n)}
        for n, second in enumerate(seconds)
    ]


BURSTS_AT = OPENED_AT + timedelta(hours=2)

BOTS = (
    *steps_of(SAME_SECOND_BOT, BURSTS_AT, [0] * 7),
    # 4 before second 10 and 4 from then on: tumbling windows see 4 twice. The sixth event is at second 11.
    *steps_of(ASTRIDE_BOT, BURSTS_AT + timedelta(minutes=5), [8, 8, 9, 9, 10, 11, 12, 12]),
    # The sixth event is at second 2, the twelfth at second 5: an alert, and another of the next level.
    *steps_of(DOUBLING_BOT, BURSTS_AT + timedelta(minutes=20), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    *steps_of(None, BURSTS_AT + timedelta(minutes=25), [0] * 7, GUEST_BOT),
    # The last events of all: only a drained detector finds this bot.
    *steps_of(LAST_BOT, CLOSED_AT, [0, 1, 2, 3, 4, 5]),
)
HASTY = (
    # As many as allowed, and one more exactly ten seconds after the first: (t - 10 s, t] holds five.
    *steps_of(HASTY_SHOPPER, BURSTS_AT + timedelta(minutes=10), [0, 1, 2, 3, 4, 10]),
    # One of the five events is delivered four times.
    *(echoed := steps_of(ECHOED_SHOPPER, BURSTS_AT + timedelta(minutes=15), [0, 0, 1, 1, 2])),
    *[echoed[0]] * 3,
    # Together the two guests do more than is allowed, but they are two.
    *steps_of(NOBODY, BURSTS_AT + timedelta(minutes=30), [0, 1, 2, 3, 4], HASTY_GUEST),
    *steps_of(NOBODY, BURSTS_AT + timedelta(minutes=30), [1, 2, 3, 4, 5], OTHER_HASTY_GUEST),
)
# More searches in one second than a rule allows of what it counts. A producer's own field is `hits`.
SEARCHES = [
    event(BURSTS_AT + timedelta(minutes=35), SEARCHER, kind="search")
    | dict.fromkeys(("product_id", "category_id", "category_code", "brand", "price"))
    | {"page_url": f"https://shop.example/search?q={number}", "hits": number}
    for number in range(7)
]
# Two equal items of one order, which only their ids tell apart.
ORDER = [
    event(BURSTS_AT + timedelta(minutes=36), CUSTOMER, kind="purchase")
    | {"event_id": f"1001-{item}", "order_id": "1001"}
    for item in (1, 2)
]
OF_NO_ACTOR = [event(BURSTS_AT + timedelta(minutes=37), None) | {"user_session": None}]
OTHERS = (*SEARCHES, *ORDER, *OF_NO_ACTOR)


def alert(subject: str, window_end_at: datetime, event_count: int, level: int = 1) -> dict:
    """Return an alert that stream 2 must hold."""
    end, start = (f"{at:%Y-%m-%dT%H:%M:%S}.000Z" for at in (window_end_at, window_end_at - timedelta(seconds=10)))
    return {
        "alert_id": f"burst:{subject}:{end}",
        "rule": "burst",
        "subject": subject,
        "window_start_at": start,
        "window_end_at": end,
        "num_actions_per_watermark": event_count,
        "threshold": 5,
        "level": level,
    }


ALERTS = [
    alert(f"user#{SAME_SECOND_BOT}", BURSTS_AT, 7),
    alert(f"user#{ASTRIDE_BOT}", BURSTS_AT + timedelta(minutes=5, seconds=11), 6),
    alert(f"user#{DOUBLING_BOT}", BURSTS_AT + timedelta(minutes=20, seconds=2), 6),
    alert(f"user#{DOUBLING_BOT}", BURSTS_AT + timedelta(minutes=20, seconds=5), 12, level=2),
    alert(f"session#{GUEST_BOT}", BURSTS_AT + timedelta(minutes=25), 7),
    alert(f"user#{LAST_BOT}", CLOSED_AT + timedelta(seconds=5), 6),
]

BAD_AT = OPENED_AT + timedelta(minutes=30)

# By record: the reason why it is in quarantine.
BAD_RECORDS = {
    "this is no JSON": "not_json",
    '{"event_time": "2020-03-01 22:30:00 UTC", "event_type": "view", "product_id": 10': "not_json",
}


def encode(record: dict) -> str:
    """Return the event as JSON, with prices as numbers."""
    return json.dumps(record, default=float)


for broken, reason in (
    (event(BAD_AT, "600000001") | {"event_time": None}, "missing:event_time"),
    (event(BAD_AT, "600000002") | {"event_time": "2020-03-01T22:30:00"}, "bad_time:event_time"),
    (event(BAD_AT, "600000003") | {"price": "499.90"}, "wrong_type:price"),
    (event(BAD_AT, "6" * 129), "too_long:user_id"),
    (event(BAD_AT, "600000005") | {"txn_timestamp": "1970-01-01T00:00:00.000Z"}, "undated"),
    (event(BAD_AT, "600000006") | {"txn_timestamp": "2999-12-31T00:00:00.000Z"}, "ahead"),
):
    BAD_RECORDS[encode(broken)] = reason

# What the rules leave out, by reason.
UNJUDGED = Counter(BAD_RECORDS.values()) + Counter(other_type=len(SEARCHES), no_actor=len(OF_NO_ACTOR))


def all_events() -> list[dict]:
    """Return all events that the contract takes, with their duplicates."""
    return [*shoppers(), *BOTS, *HASTY, *OTHERS]


def records() -> list[tuple[str, str]]:
    """Return (partition key, data) of everything that goes into stream 1, in the order of time."""
    good = sorted(all_events(), key=lambda one: one["txn_timestamp"])
    sent = [(one["user_id"] or one["user_session"] or "nobody", encode(one)) for one in good]
    # Numbers are ids, too: a repeat that has them is the same event.
    last = max(number for number, one in enumerate(good) if one == echoed[0])
    sent[last] = (sent[last][0], encode(echoed[0] | {name: int(echoed[0][name]) for name in ("product_id", "user_id")}))
    bad = [(f"bad-{number}", record) for number, record in enumerate(BAD_RECORDS)]
    earlier = sum(one["txn_timestamp"] < BAD_AT.isoformat() for one in good)
    return sent[:earlier] + bad + sent[earlier:]


def curated() -> pl.DataFrame:
    """Return the rows that curated_events must hold, with the columns that the questions read."""
    rows = [
        one
        | {
            "event_at": datetime.strptime(one["event_time"], "%Y-%m-%d %H:%M:%S UTC"),
            "user_id": None if one["user_id"] == NOBODY else one["user_id"],
            "category_code": normalised(one["category_code"]),
            "brand": normalised(one["brand"]),
        }
        for one in {encode(one): one for one in all_events()}.values()
    ]
    return pl.DataFrame(rows, schema_overrides={"price": pl.Decimal(12, 2)}, infer_schema_length=None)


def normalised(name: str | None) -> str | None:
    """Return the name of a brand or category as the lake holds it."""
    return name and " ".join(unicodedata.normalize("NFC", name).lower().split())
