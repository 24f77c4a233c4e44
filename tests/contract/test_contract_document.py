"""docs/contract.md tells producers what to send: its examples send good events, its reasons are complete."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from reader import ROOT, conforms, contract, golden

DOCUMENT = (ROOT / "docs/contract.md").read_text()
STREAM = "ecommerce-raw-user-activity-stream-1"
# That a type may be any word, `conforms` does not say.
FIELDS = [field | {"unit": "text"} if field["name"] == "event_type" else field for field in contract("event")]
# Of times beyond what a record says by itself, and of records that JSON text cannot hold.
REASONS_WITHOUT_GOLDEN_RECORD = {"not_utf8", "undated", "ahead", "repeated_event_id"}


def block(language: str) -> str:
    """Return the only code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return found


def actor(event: dict[str, Any]) -> str:
    """Return the id of who acts."""
    return event.get("user_id") or event["user_session"]


@pytest.fixture
def kinesis(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of an account that has stream 1."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("kinesis")
        client.create_stream(StreamName=STREAM, ShardCount=1)
        yield client


def test_examples_name_stream_1_as_terraform_does() -> None:
    variables = (ROOT / "terraform/variables.tf").read_text()
    assert f'raw_stream        = optional(string, "{STREAM}")' in variables


def test_the_smallest_event_is_good() -> None:
    event = json.loads(block("json"))
    assert conforms(block("json"), FIELDS)
    assert list(event) == [field["name"] for field in FIELDS if not field["nullable"]]


def test_the_example_in_python_puts_a_good_event(kinesis: Any) -> None:
    exec(compile(block("python"), "docs/contract.md", "exec"), {})
    iterator = kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    (record,) = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert conforms(record["Data"].decode(), FIELDS)
    assert b"\n" not in record["Data"]
    event = json.loads(record["Data"])
    assert event.keys() <= {field["name"] for field in FIELDS}
    assert event["event_type"] == "purchase" and event["event_id"] and event["quantity"] == 2
    assert record["PartitionKey"] == actor(event) == event["user_id"]


def test_the_call_of_the_command_line_puts_a_good_event() -> None:
    program, service, operation, *words = shlex.split(block("sh").replace("\\\n", ""))  # a shell joins the lines
    assert (program, service, operation) == ("aws", "kinesis", "put-record")
    arguments = dict(zip(words[::2], words[1::2], strict=True))
    data = arguments.pop("--data")
    event = json.loads(data)
    assert conforms(data, FIELDS)
    assert "\n" not in data
    assert event.keys() <= {field["name"] for field in FIELDS}
    assert "user_id" not in event
    assert arguments == {
        "--stream-name": STREAM,
        "--partition-key": actor(event),
        "--cli-binary-format": "raw-in-base64-out",
    }


def test_reasons_of_bad_records_are_all_there() -> None:
    told = set(re.findall(r"^\| `(\w+)(?::<field>)?` \|", DOCUMENT.partition("| reason | ")[2], re.MULTILINE))
    assert told == {line["reason"].partition(":")[0] for line in golden("event_bad")} | REASONS_WITHOUT_GOLDEN_RECORD


def test_each_reason_about_a_field_says_so() -> None:
    with_field = set(re.findall(r"^\| `(\w+):<field>` \|", DOCUMENT, re.MULTILINE))
    assert with_field == {line["reason"].partition(":")[0] for line in golden("event_bad") if ":" in line["reason"]}
