"""The variants of contracts/variants.yaml as records, and what becomes of them."""

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

import yaml
from aws_kinesis_agg.aggregator import RecordAggregator

VARIANTS = yaml.safe_load((Path(__file__).parents[2] / "contracts" / "variants.yaml").read_text(encoding="utf-8"))
# Six views within ten seconds: one more than the rule burst allows.
COPIES = 6
DAY = "2020-03-05"
# Good lines that the rules leave out.
CURATED = {"judged", "no_actor", "other_type"}


@dataclass(frozen=True)
class Record:
    """A record, and what becomes of its lines: of good ones the product, of bad ones the key in quarantine."""

    data: bytes
    key: str
    packed: str | None
    outcomes: list[str]
    products: list[str]

    def entry(self) -> dict[str, Any]:
        """Return the record as an entry of PutRecords."""
        if not self.packed:
            return {"PartitionKey": self.key, "Data": self.data}
        aggregator = RecordAggregator()
        aggregator.add_user_record(self.key, self.data)
        _, _, packed = aggregator.clear_and_get().get_contents()
        return {"PartitionKey": self.key if self.packed == "own" else "of another producer", "Data": packed}

    @property
    def lines(self) -> int:
        """How many lines Firehose makes of it: it ends each record with a newline."""
        return self.data.count(b"\n") + 1

    @property
    def curated(self) -> set[str]:
        """The products of the lines that are curated."""
        return {product for product, outcome in zip(self.products, self.outcomes, strict=False) if outcome in CURATED}

    @property
    def quarantined(self) -> dict[str, str]:
        """The reasons of the lines that are quarantined, by `record_id`."""
        lines = [line for line in self.data.split(b"\n") if line.strip(b" \t\r")]
        return {
            sha256(line).hexdigest(): outcome
            for line, outcome in zip(lines, self.outcomes, strict=True)
            if outcome not in CURATED
        }


def records() -> list[Record]:
    """Return all records in the order of their times."""
    return [record(variant, number, copy) for copy in range(COPIES) for number, variant in enumerate(VARIANTS)]


def record(variant: dict[str, Any], number: int, copy: int) -> Record:
    """Return a variant's record: one of COPIES, a second apart, of the same actor."""
    known = names(number) | {"day": DAY, "time": f"10:00:{copy:02}"}
    known |= {"long": "x" * 200_000, "deep": "[" * 100 + "]" * 100}
    products = [f"{known['user']}-{copy}{suffix}" for suffix in ("", "b")]
    for name, product in zip(("event", "other"), products, strict=True):
        known[name] = event(variant, known | {"product": product})
    text = Template(variant.get("record", "$event")).substitute(known | {"product": products[0]})
    data = text.encode(variant.get("encoding", "utf-8"))
    return Record(data, known["user"], variant.get("packed"), variant["outcome"], products)


def names(number: int) -> dict[str, str]:
    return {"user": str(8_000_000 + number), "session": f"variant-{number}"}


def event(variant: dict[str, Any], known: dict[str, str]) -> str:
    """Return the variant's event as JSON."""
    usual = {"event_time": "${day}T${time}.000Z", "event_type": "view", "product_id": "$product"}
    usual |= {"user_id": "$user", "user_session": "$session"}
    fields = {name: value for name, value in usual.items() if name not in variant.get("without", [])}
    fields |= variant.get("fields", {})
    return Template(json.dumps(fields, ensure_ascii=False)).substitute(known)


def subjects() -> set[str]:
    """Return who is accused: everybody whose events are judged."""
    return {
        Template(variant.get("subject", "user#$user")).substitute(names(number))
        for number, variant in enumerate(VARIANTS)
        if "judged" in variant["outcome"]
    }


def unjudged() -> Counter[str]:
    """Return how many lines of each reason the rules leave out."""
    return Counter(reason for one in records() for reason in one.outcomes if reason != "judged")
