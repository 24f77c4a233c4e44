"""A stand-in for DynamoDB, SNS and CloudWatch in the same process, for benchmarks: moto needs milliseconds for a call.

It answers the requests that boto3 would send, as far as the alert function and the tutorial's need it: one table, items
of typed attributes, conditions and updates of the simple forms that they use. An unknown form is a KeyError.
"""

import json
import re
from collections.abc import Callable
from typing import Any

Item = dict[str, Any]

_PUBLISHED = (
    b'<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId>'
    b"</PublishResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishResponse>"
)
_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
}


class Table:
    """The items by their key."""

    def __init__(self, keys: tuple[str, str], index: tuple[str, str]) -> None:
        self.keys, self.index = keys, index
        self.items: dict[tuple, Item] = {}
        self.indexed: set[tuple] = set()  # keys of the items with the index's attribute

    def answer(self, operation: str, call: dict) -> tuple[int, dict]:
        """Return the status and the body of the answer."""
        return getattr(self, operation)(call)

    def key(self, item: Item) -> tuple:
        return tuple(next(iter(item[name].values())) for name in self.keys)

    def put(self, item: Item) -> None:
        key = self.key(item)
        self.items[key] = item
        (self.indexed.add if self.index[0] in item else self.indexed.discard)(key)

    def fails(self, write: dict) -> Item | None:
        """Return the item that breaks the write's condition, empty if there is none; None if the condition holds."""
        item = self.items.get(self.key(write.get("Item") or write["Key"]), {})
        return None if holds(write.get("ConditionExpression"), item, write) else item

    def apply(self, write: dict) -> Item:
        if "Item" in write:
            self.put(write["Item"])
            return write["Item"]
        item = dict(self.items.get(self.key(write["Key"]), write["Key"]))
        assigned, _, removed = write["UpdateExpression"].partition("REMOVE ")
        for pair in filter(None, assigned.removeprefix("SET ").split(",")):
            name, value = (side.strip() for side in pair.split("="))
            item[named(name, write)] = write["ExpressionAttributeValues"][value]
        for name in filter(None, removed.split(",")):
            item.pop(named(name.strip(), write), None)
        self.put(item)
        return item

    def PutItem(self, call: dict) -> tuple[int, dict]:
        return self.UpdateItem(call)

    def UpdateItem(self, call: dict) -> tuple[int, dict]:
        broken = self.fails(call)
        if broken is not None:
            return 400, {"__type": "ConditionalCheckFailedException", "message": "failed", "Item": broken}
        item = self.apply(call)
        return 200, {"Attributes": item} if call.get("ReturnValues") == "ALL_NEW" else {}

    def TransactWriteItems(self, call: dict) -> tuple[int, dict]:
        writes = [next(iter(one.values())) for one in call["TransactItems"]]
        assert len({self.key(one.get("Item") or one["Key"]) for one in writes}) == len(writes) <= 100
        broken = [self.fails(one) for one in writes]
        if any(one is not None for one in broken):
            reasons = [
                {"Code": "None"} if one is None else {"Code": "ConditionalCheckFailed", "Item": one} for one in broken
            ]
            return 400, {"__type": "TransactionCanceledException", "message": "x", "CancellationReasons": reasons}
        for one in writes:
            self.apply(one)
        return 200, {}

    def BatchWriteItem(self, call: dict) -> tuple[int, dict]:
        for writes in call["RequestItems"].values():
            for one in writes:
                self.put(one["PutRequest"]["Item"])
        return 200, {"UnprocessedItems": {}}

    def GetItem(self, call: dict) -> tuple[int, dict]:
        item = self.items.get(self.key(call["Key"]))
        return 200, {"Item": item} if item else {}

    def BatchGetItem(self, call: dict) -> tuple[int, dict]:
        found = {
            name: [self.items[self.key(key)] for key in wanted["Keys"] if self.key(key) in self.items]
            for name, wanted in call["RequestItems"].items()
        }
        return 200, {"Responses": found, "UnprocessedKeys": {}}

    def Query(self, call: dict) -> tuple[int, dict]:
        if "IndexName" in call:
            return 200, {"Items": [self.items[key] for key in self.indexed]}
        [wanted] = call["ExpressionAttributeValues"].values()
        return 200, {"Items": [item for key, item in self.items.items() if key[0] == wanted["S"]]}


def named(name: str, call: dict) -> str:
    """Return the attribute that a name of an expression means."""
    return call["ExpressionAttributeNames"][name] if name.startswith("#") else name


def plain(value: Item) -> Any:
    """Return a typed attribute's value, to compare."""
    return int(value["N"]) if "N" in value else value.get("S")


def holds(condition: str | None, item: Item, call: dict) -> bool:
    """Return whether the item fulfils the condition: terms with AND, and alternatives with OR in brackets."""
    if condition is None:
        return True
    return all(
        any(_term_holds(term.strip(" ()"), item, call) for term in part.split(" OR "))
        for part in condition.split(" AND ")
    )


def _term_holds(term: str, item: Item, call: dict) -> bool:
    if found := re.fullmatch(r"attribute_(not_)?exists\((\S+?)\)?", term):
        return (named(found[2], call) in item) != bool(found[1])
    left, operator, right = term.split()
    if named(left, call) not in item:
        return False
    values = call.get("ExpressionAttributeValues", {})
    other = values[right] if right.startswith(":") else item[named(right, call)]
    return _CHECKS[operator](plain(item[named(left, call)]), plain(other))


def answer(table: Table, service: str, operation: str, request: Any) -> Any:
    """Return the response to a request that boto3 is about to send."""
    from botocore.awsrequest import AWSResponse

    if service == "dynamodb":
        status, found = table.answer(operation, json.loads(request.body))
        body, kind = json.dumps(found).encode(), "application/x-amz-json-1.0"
    else:
        status, kind = 200, str(request.headers.get("Content-Type", ""))
        text = b"<PutMetricDataResponse><ResponseMetadata/></PutMetricDataResponse>"
        body = _PUBLISHED if service == "sns" else (b"\xa0" if "cbor" in kind else b"{}" if "json" in kind else text)

    class Raw:
        """What a response streams."""

        def stream(self, **_: Any) -> Any:
            yield body

    headers = {"Content-Type": kind, "smithy-protocol": "rpc-v2-cbor", "x-amzn-RequestId": "1"}
    return AWSResponse(request.url, status, headers, Raw())
