"""The events of a small shop with known bots, bad records and duplicates, and the results that they must have."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import polars as pl

OPENED_AT = datetime(2020, 3, 1, 22, 0, tzinfo=UTC)
CLOSED_AT = datetime(2020, 3, 2, 2, 0, tzinfo=UTC)

SAME_SECOND_BOT, ASTRIDE_BOT, LAST_BOT = 9_000_000_000_000_000_001, 700_000_000_002, 700_000_000_003
DOUBLING_BOT = 700_000_000_004
HASTY_SHOPPER, ECHOED_SHOPPER = 500_000_001, 500_000_002

PRODUCTS = [
    # product_id, category_id, category_code, brand, price
    (1001, 10, "electronics.smartphone", "kestrel", "499.90"),
    (1002, 10, "electronics.smartphone", "novaro", "899.00"),
    (1003, 11, "apparel.shoes", "hammar", "59.95"),
    (1004, 12, "furniture.bedroom.bed", None, "310.00"),
    (1005, 13, None, "volta", "7.50"),
    (1006, 14, None, None, "0.00"),
]
# Few people see the fifth product, volta, but they buy it: marketing would help this brand.
POPULARITY = [30, 25, 20, 10, 6, 9]


def event(at: datetime, user_id: int, product: int = 0, kind: str = "view") -> dict:
    """Return one event with the fields of contracts/event.json."""
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
        "user_session": f"session-{user_id}-{at:%d}",
        "txn_timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000Z",
    }


def shoppers() -> list[dict]:
    """Return the events of 150 people who look around. Some put things into carts and buy."""
    random = Random(3)
    events = []
    for number in range(150):
        user_id = 400_000_000 + number
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


def steps_of(user_id: int, start: datetime, seconds: list[int]) -> list[dict]:
    """Return views of one user at these seconds after the start, all different."""
    return [
        event(start + timedelta(seconds=second), user_id) | {"product_id": 5000 + n} for n, second in enumerate(seconds)
    ]


BURSTS_AT = OPENED_AT + timedelta(hours=2)

BOTS = (
    *steps_of(SAME_SECOND_BOT, BURSTS_AT, [0] * 7),
    # 4 before second 10 and 4 from then on: tumbling windows see 4 twice. The sixth event is at second 11.
    *steps_of(ASTRIDE_BOT, BURSTS_AT + timedelta(minutes=5), [8, 8, 9, 9, 10, 11, 12, 12]),
    # The sixth event is at second 2, the twelfth at second 5: an alert, and another of the next level.
    *steps_of(DOUBLING_BOT, BURSTS_AT + timedelta(minutes=20), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    # The last events of all: only a drained detector finds this bot.
    *steps_of(LAST_BOT, CLOSED_AT, [0, 1, 2, 3, 4, 5]),
)
HASTY = (
    # As many as allowed, and one more exactly ten seconds after the first: (t - 10 s, t] holds five.
    *steps_of(HASTY_SHOPPER, BURSTS_AT + timedelta(minutes=10), [0, 1, 2, 3, 4, 10]),
    # One of the five events is delivered four times.
    *(echoed := steps_of(ECHOED_SHOPPER, BURSTS_AT + timedelta(minutes=15), [0, 0, 1, 1, 2])),
    *[echoed[0]] * 3,
)


def alert(user_id: int, window_end_at: datetime, event_count: int, level: int = 1) -> dict:
    """Return an alert that stream 2 must hold."""
    end, start = (f"{at:%Y-%m-%dT%H:%M:%S}.000Z" for at in (window_end_at, window_end_at - timedelta(seconds=10)))
    return {
        "alert_id": f"burst:user#{user_id}:{end}",
        "rule": "burst",
        "subject": f"user#{user_id}",
        "window_start_at": start,
        "window_end_at": end,
        "num_actions_per_watermark": event_count,
        "threshold": 5,
        "level": level,
    }


ALERTS = [
    alert(SAME_SECOND_BOT, BURSTS_AT, 7),
    alert(ASTRIDE_BOT, BURSTS_AT + timedelta(minutes=5, seconds=11), 6),
    alert(DOUBLING_BOT, BURSTS_AT + timedelta(minutes=20, seconds=2), 6),
    alert(DOUBLING_BOT, BURSTS_AT + timedelta(minutes=20, seconds=5), 12, level=2),
    alert(LAST_BOT, CLOSED_AT + timedelta(seconds=5), 6),
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
    (event(BAD_AT, 600_000_001) | {"txn_timestamp": None}, "missing:txn_timestamp"),
    (event(BAD_AT, 600_000_002) | {"event_time": None}, "missing:event_time"),
    (event(BAD_AT, 600_000_003) | {"event_type": "hack"}, "unknown_event_type"),
):
    BAD_RECORDS[encode(broken)] = reason


def records() -> list[tuple[str, str]]:
    """Return (partition key, data) of everything that goes into stream 1, in the order of time."""
    good = sorted([*shoppers(), *BOTS, *HASTY], key=lambda one: one["txn_timestamp"])
    sent = [(str(one["user_id"]), encode(one)) for one in good]
    bad = [(f"bad-{number}", record) for number, record in enumerate(BAD_RECORDS)]
    earlier = sum(one["txn_timestamp"] < BAD_AT.isoformat() for one in good)
    return sent[:earlier] + bad + sent[earlier:]


def curated() -> pl.DataFrame:
    """Return the rows that curated_events must hold, with the columns that the questions read."""
    distinct = {encode(one): one for one in [*shoppers(), *BOTS, *HASTY]}.values()
    rows = [one | {"event_at": datetime.strptime(one["event_time"], "%Y-%m-%d %H:%M:%S UTC")} for one in distinct]
    return pl.DataFrame(rows, schema_overrides={"price": pl.Decimal(12, 2)}, infer_schema_length=None)
