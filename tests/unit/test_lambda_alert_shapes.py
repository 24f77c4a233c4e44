"""The pure parts of the alert function: what a record becomes."""

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import messages_pb2

from lambda_alert import dead_letters, metrics, notices, records, rules, settings, store
from lambda_alert.alert import Alert, MalformedAlert, parse
from lambda_alert.incidents import MAX_EXAMPLES, MAX_SUBJECTS, Arrival, Incident, opened

FIELDS = {
    "alert_id": "burst:user#9007199254740993123:2019-10-01T00:00:12.500Z",
    "rule": "burst",
    "subject": "user#9007199254740993123",
    "window_start_at": "2019-10-01T00:00:02.500Z",
    "window_end_at": "2019-10-01T00:00:12.500Z",
    "num_actions_per_watermark": 12,
    "threshold": 5,
    "level": 2,
}
ALERT = Alert(**FIELDS)
DETECTED_AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)
PRODUCT_ALERT = Alert(
    alert_id="product_rush:product#1004856:2019-10-01T00:01:02.500Z",
    rule="product_rush",
    subject="product#1004856",
    window_start_at="2019-10-01T00:00:02.500Z",
    window_end_at="2019-10-01T00:01:02.500Z",
    num_actions_per_watermark=300,
    threshold=199,
    level=1,
)
SITE_ALERT = Alert(
    alert_id="surge:site:2019-10-01T00:05:02.500Z",
    rule="surge",
    subject="site",
    window_start_at="2019-10-01T00:00:02.500Z",
    window_end_at="2019-10-01T00:05:02.500Z",
    num_actions_per_watermark=9000,
    threshold=1000,
    level=4,
)
GUEST_ALERT = Alert(
    alert_id="burst:session#72d76fde:2019-10-01T00:00:12.000Z",
    rule="burst",
    subject="session#72d76fde",
    window_start_at="2019-10-01T00:00:02.000Z",
    window_end_at="2019-10-01T00:00:12.000Z",
    num_actions_per_watermark=7,
    threshold=5,
    level=1,
)
ADDRESS_ALERT = Alert(
    alert_id="rotator:ip#192.0.2.17:2019-10-01T00:05:02.000Z",
    rule="rotator",
    subject="ip#192.0.2.17",
    window_start_at="2019-10-01T00:00:02.000Z",
    window_end_at="2019-10-01T00:05:02.000Z",
    num_actions_per_watermark=150,
    threshold=100,
    level=1,
)
NETWORK_ALERT = replace(
    ADDRESS_ALERT,
    alert_id="rotator:ip#2001:db8:0:a::/64:2019-10-01T00:05:02.000Z",
    subject="ip#2001:db8:0:a::/64",
)
EXPLAINED = {"explained_by": "site_surge"}
EXPLAINED_ALERT = replace(PRODUCT_ALERT, **EXPLAINED)
# Of 128 characters, in bytes of UTF-8: 128 and 256 to 512. Some are no characters, or are not to be seen.
LONGEST_IDS = ["x" * 128, "é" * 128, "😀" * 128, "'" * 128, "\ufffe\uffff\u202e\u0085" * 32]
RESPONSE = ("Look at the user's events.", "Limit the rate of this user.")
KNOWN_RULES = {"burst": rules.Rule("Burst", "high", RESPONSE, "Who?")}
ENVIRONMENT = {
    "cloudwatch_metric": "ecomm-user-high-volume-events",
    "cloudwatch_unjudged_metric": "ecomm-unjudged-events",
    "cloudwatch_namespace": "ecommerce-namespace-1",
    "dynamodb_control_table": "ddb-ecommerce-tab-1",
    "dynamodb_totals_table": "ecomm-event-totals",
    "topic_arn": "arn:aws:sns:us-east-1:123456789012:ecomm-user-high-severity-incidents",
    "failure_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/failures",
}


def incident(*alerts: Alert, **changes) -> Incident:
    """Return the incident of these alerts."""
    arrivals = [Arrival(alert, DETECTED_AT) for alert in alerts]
    return replace(opened(arrivals).grown(arrivals, retention_days=30), **changes)


def about(user: int, count: int) -> Alert:
    """Return an alert of the rule burst about this user."""
    subject, end_at = f"user#{user}", ALERT.window_end_at
    level = (count // 6).bit_length()
    return Alert(f"burst:{subject}:{end_at}", "burst", subject, ALERT.window_start_at, end_at, count, 5, level)


def mail(one: Incident, **more) -> str:
    """Return the text for people."""
    return notices.body(one, "ddb-ecommerce-tab-1", **more)


def kinesis_record(data: bytes, sequence_number: str = "7") -> dict:
    return {
        "eventSource": "aws:kinesis",
        "eventID": f"shardId-000000000002:{sequence_number}",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/ecommerce-raw-user-activity-stream-2",
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": sequence_number,
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": DETECTED_AT.timestamp(),
        },
    }


def aggregate(*payloads: bytes) -> bytes:
    aggregator = RecordAggregator()
    for payload in payloads:
        aggregator.add_user_record("1", payload)
    return aggregator.clear_and_get().get_contents()[2]


def payloads(data: bytes) -> list[bytes]:
    return [record.payload for record in records.unpack(kinesis_record(data))]


class TestAlert:
    def test_is_read_from_the_wire(self):
        assert parse(json.dumps(FIELDS).encode()) == ALERT
        assert ALERT.window_s == 10

    def test_ignores_fields_of_a_newer_detector(self):
        assert parse(json.dumps({**FIELDS, "severity": "high"}).encode()) == ALERT

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"", "not JSON in UTF-8: Expecting value"),
            (b"{", "not JSON in UTF-8"),
            (b"\xff\xfe", "not JSON in UTF-8: 'utf-8' codec can't decode byte 0xff"),
            (json.dumps(FIELDS).encode("utf-16"), "not JSON in UTF-8"),
            (b"[" * 100_000, "not JSON in UTF-8"),
            (b"[1]", "[1] is not a JSON object"),
            (b'"' + b"x" * 200 + b'"', "... is not a JSON object"),
            (b"{}", f"without {', '.join(FIELDS)}"),
        ],
    )
    def test_refuses_what_is_no_record_of_it(self, payload: bytes, reason: str):
        with pytest.raises(MalformedAlert, match=re.escape(reason)):
            parse(payload)

    @pytest.mark.parametrize("name", FIELDS)
    def test_refuses_null_in_any_field(self, name: str):
        with pytest.raises(MalformedAlert, match=f"^{name} is null, expected a (string|whole number)$"):
            parse(json.dumps({**FIELDS, name: None}).encode())

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"subject": 1}, "subject is 1, expected a string"),
            (
                {"subject": "1"},
                'subject is "1", expected user#<id>, session#<id>, product#<id>, ip#<address> or site '
                "(an id: 1 to 128 characters, no control characters)",
            ),
            ({"subject": "site\n"}, 'subject is "site\\n", expected user#<id>'),
            ({"subject": "user#1\n"}, 'subject is "user#1\\n", expected user#<id>'),
            ({"subject": "user#"}, 'subject is "user#", expected user#<id>'),
            ({"subject": f"user#{'é' * 129}"}, "expected user#<id>"),
            ({"subject": "user#\ud83d"}, 'subject is "user#\\ud83d", expected user#<id>'),
            ({"num_actions_per_watermark": True}, "num_actions_per_watermark is true, expected a whole number"),
            ({"num_actions_per_watermark": 12.0}, "num_actions_per_watermark is 12.0, expected a whole number"),
            ({"threshold": -(2**63) - 1}, "threshold is -9223372036854775809, expected a signed 64-bit number"),
            ({"threshold": -1}, "threshold is -1, expected 0 or more"),
            ({"num_actions_per_watermark": 5}, "num_actions_per_watermark 5 does not exceed threshold 5"),
            ({"level": 1}, "level is 1, expected 2 for num_actions_per_watermark 12 above threshold 5"),
            ({"level": 2.0}, "level is 2.0, expected a whole number"),
            # Not computed with: 2 to that power would fill all memory.
            ({"level": 2**63 - 1}, "level is 9223372036854775807, expected 2"),
            ({"rule": ""}, 'rule is "", expected [a-z][a-z0-9_]{0,49}'),
            ({"rule": "burst\n"}, 'rule is "burst\\n", expected [a-z][a-z0-9_]{0,49}'),
            ({"alert_id": ""}, f'alert_id is "", expected {ALERT.alert_id}'),
            ({"subject": "user#3"}, "expected burst:user#3:2019-10-01T00:00:12.500Z"),
            ({"subject": "site"}, "expected burst:site:2019-10-01T00:00:12.500Z"),
            ({"window_start_at": "2019-10-01 00:00:02.500"}, "expected an instant like 2019-10-01T00:00:00.000Z"),
            ({"window_start_at": "2019-10-01T00:00:02Z"}, "expected an instant like"),
            ({"window_start_at": "2019-02-30T00:00:02.500Z"}, 'window_start_at is "2019-02-30T00:00:02.500Z"'),
            ({"window_start_at": ALERT.window_end_at}, "is not after window_start_at"),
        ],
    )
    def test_refuses_wrong_values(self, change: dict, reason: str):
        with pytest.raises(MalformedAlert, match=re.escape(reason)):
            parse(json.dumps({**FIELDS, **change}).encode())

    @pytest.mark.parametrize("threshold", [0, 1, 5, 99, 2**31 - 1, 2**62 - 1])
    def test_level_rises_at_each_double_of_the_first_count_above_the_threshold(self, threshold: int):
        def accepts(count: int, level: int) -> bool:
            change = {"num_actions_per_watermark": count, "threshold": threshold, "level": level}
            try:
                return parse(json.dumps({**FIELDS, **change}).encode()).level == level
            except MalformedAlert:
                return False

        level, first = 1, threshold + 1
        while 2 * first <= 2**63:
            for count in (first, 2 * first - 1):
                assert [offset for offset in (-1, 0, 1) if accepts(count, level + offset)] == [0]
            level, first = level + 1, first * 2


@pytest.mark.parametrize("id_", LONGEST_IDS, ids=["ascii", "letters", "faces", "quotes", "unseen"])
@pytest.mark.parametrize("kind", ["user", "session", "product"])
class TestLongestIds:
    """AWS takes an alert about any id, also one of 128 characters outside ASCII."""

    def test_primary_key_fits(self, kind: str, id_: str):
        # Partition key 2,048 bytes, sort key 1,024, in UTF-8:
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
        item = store.alert_item(longest(kind, id_), DETECTED_AT, 30)
        assert len(item["ddb_partition_key"]["S"].encode()) <= 2048
        assert len(item["ddb_sort_key"]["S"].encode()) <= 1024

    def test_metric_has_plain_dimensions(self, kind: str, id_: str):
        # Dimension values: ASCII, without control characters, 1 to 1,024 characters. A log event: 256 KB.
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
        [line] = metrics.alert_lines([longest(kind, id_)], "n", "m", DETECTED_AT)
        found = json.loads(line)
        assert line.isascii() and len(line) < 262_144
        for name in found["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]:
            assert found[name].isascii() and found[name].isprintable() and 0 < len(found[name]) <= 1024
        assert f"{kind}#" not in line

    @pytest.mark.parametrize("known", [False, True])
    def test_notice_fits(self, kind: str, id_: str, known: bool):
        alert = longest(kind, id_)
        rule = {alert.rule: rules.Rule("Größter Ansturm", "critical", ("Look.",))} if known else {}
        publication = notices.publication(incident(alert), "t", rules=rule)
        line, message = publication["Subject"], json.loads(publication["Message"])
        assert line.isascii() and line.isprintable() and len(line) < 100 and message["sms"] == line
        assert f": {kind} " in line and "..., 12 in 10 s (allowed:" in line
        assert json.loads(message["default"])["examples"][0]["subject"] == f"{kind}#{id_}"
        assert all(letter.isprintable() or letter == "\n" for letter in message["email"])
        # Everything together: 262,144 bytes. The values of attributes must not be empty, and SQS refuses what XML does.
        attributes = publication["MessageAttributes"]
        assert len(json.dumps(publication, ensure_ascii=False).encode()) < 100_000
        assert all(value["StringValue"] and fits_xml(value["StringValue"]) for value in attributes.values())
        assert fits_xml(publication["Message"]) and all(map(fits_xml, message.values()))

    def test_dead_letter_fits_and_is_whole(self, kind: str, id_: str):
        payload = json.dumps({**FIELDS, "subject": f"{kind}#{id_}"}, ensure_ascii=False).encode()  # id of another
        with pytest.raises(MalformedAlert) as error:
            parse(payload)
        text = dead_letters.letter(records.unpack(kinesis_record(payload))[0], str(error.value))
        assert text.isascii() and len(text) <= 262_144
        assert json.loads(text)["payload"] == payload.decode()


def longest(kind: str, id_: str) -> Alert:
    rule, subject, end_at = "r" * 50, f"{kind}#{id_}", ALERT.window_end_at
    assert len(id_) == 128
    return Alert(f"{rule}:{subject}:{end_at}", rule, subject, ALERT.window_start_at, end_at, 12, 5, 2)


def fits_xml(text: str) -> bool:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    return re.fullmatch("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*", text) is not None


class TestUnpack:
    def test_plain_record(self):
        assert records.unpack(kinesis_record(b"plain", "42")) == [
            records.UserRecord(
                payload=b"plain",
                stream_arn="arn:aws:kinesis:us-east-1:123456789012:stream/ecommerce-raw-user-activity-stream-2",
                shard_id="shardId-000000000002",
                sequence_number="42",
                position=0,
                arrived_at=DETECTED_AT,
            )
        ]

    def test_aggregated_record_keeps_order_and_the_sequence_number_of_the_whole(self):
        unpacked = records.unpack(kinesis_record(aggregate(b"a", b"b", b"a"), "42"))
        assert [(r.payload, r.position, r.sequence_number) for r in unpacked] == [
            (b"a", 0, "42"),
            (b"b", 1, "42"),
            (b"a", 2, "42"),
        ]

    def test_entry_with_an_unknown_key_loses_nothing(self):
        # aws_kinesis_agg's own deaggregator drops both entries here.
        message = messages_pb2.AggregatedRecord()
        for payload in (b"a", b"b"):
            message.records.add(partition_key_index=5, data=payload)
        body = message.SerializeToString()
        assert payloads(records.MAGIC + body + records.md5(body).digest()) == [b"a", b"b"]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            records.MAGIC,
            aggregate(b"a")[:-1] + b"?",
            aggregate(b"a")[:-1],
            records.MAGIC + records.md5(b"").digest(),
            records.MAGIC + b"\x1a\xff" + records.md5(b"\x1a\xff").digest(),
        ],
        ids=["empty", "magic alone", "wrong digest", "cut off", "no entries", "no protobuf"],
    )
    def test_what_only_looks_aggregated_stays_whole(self, data: bytes):
        assert payloads(data) == [data]


def test_alert_item():
    assert store.alert_item(ALERT, DETECTED_AT, retention_days=30) == {
        "ddb_partition_key": {"S": "user#9007199254740993123"},
        "ddb_sort_key": {"S": "burst:user#9007199254740993123:2019-10-01T00:00:12.500Z"},
        "rule": {"S": "burst"},
        "subject": {"S": "user#9007199254740993123"},
        "window_start_at": {"S": "2019-10-01T00:00:02.500Z"},
        "window_end_at": {"S": "2019-10-01T00:00:12.500Z"},
        "num_actions_per_watermark": {"N": "12"},
        "threshold": {"N": "5"},
        "level": {"N": "2"},
        "detected_at": {"S": "2026-11-23T12:00:00.250Z"},
        "expires_at": {"N": str(int(datetime(2026, 12, 23, 12, tzinfo=UTC).timestamp()))},
    }


def test_alert_item_says_what_may_explain_it():
    [plain, explained] = [store.alert_item(alert, DETECTED_AT, 30) for alert in (PRODUCT_ALERT, EXPLAINED_ALERT)]
    assert explained == plain | {"explained_by": {"S": "site_surge"}}


def test_metric_lines():
    other = replace(ALERT, num_actions_per_watermark=13)
    assert metrics.alert_lines([ALERT, other, SITE_ALERT], "shop-1", "alerts", DETECTED_AT) == [
        '{"_aws": {"Timestamp": 1795435200250, "CloudWatchMetrics": [{"Namespace": "shop-1", "Dimensions": [["rule"]], '
        f'"Metrics": [{{"Name": "alerts", "Unit": "Count"}}]}}]}}, "alerts": {values}, "rule": "{rule}"}}'
        for rule, values in (("burst", "[12, 13]"), ("surge", "[9000]"))
    ]


class TestIncident:
    def test_comes_back_from_its_item(self):
        table = store.Store(None, "t", 30, 300)
        before = incident(ALERT, EXPLAINED_ALERT, version=2)
        written = table._recorded_update(before)
        values = written["ExpressionAttributeValues"]
        item = {name: values[f":{name}"] for name in written["ExpressionAttributeNames"].values()}
        assert store.incident(store.incident_key(before.incident_id) | item) == before

    def test_counts_subjects_once_and_remembers_the_highest(self):
        one = incident(*(about(i % 30, 6 + i) for i in range(60)))
        assert (one.alert_count, one.subject_count, one.highest_count) == (60, 30, 65)
        assert [found["subject"] for found in one.examples] == [f"user#{i}" for i in range(29, 29 - MAX_EXAMPLES, -1)]

    def test_knows_no_more_than_its_limit_of_subjects(self):
        one = incident(*(about(i, 6) for i in range(MAX_SUBJECTS + 1)))
        assert (one.alert_count, one.subject_count) == (MAX_SUBJECTS + 1, MAX_SUBJECTS)
        assert len(one.subject_hashes) < 400_000 / 2  # an item's limit is 400 KB
        assert "20000 or more users" in mail(one)


class TestRules:
    def test_are_read_by_name(self):
        rule = {"title": "Burst", "question": "?", "severity": "high", "subject": "user", "response": ["Look.", "Act."]}
        assert rules.parse(json.dumps({"burst": rule})) == {
            "burst": rules.Rule("Burst", "high", ("Look.", "Act."), "?", "user")
        }

    @pytest.mark.parametrize("name", rules.RULES)
    def test_packed_one_says_what_a_notice_needs(self, name: str):
        rule = rules.RULES[name]
        assert rule.title and rule.title.isascii() and rule.title.isprintable()
        assert rule.severity in ("low", "medium", "high", "critical")
        assert rule.response and all(step.strip() for step in rule.response)
        # The subject of an email says at least which rule, how severe, and the level.
        end_at = ALERT.window_end_at
        alert = Alert(f"{name}:site:{end_at}", name, "site", ALERT.window_start_at, end_at, 6, 5, 1)
        assert notices.subject(incident(alert)).startswith(f"[{rule.severity}] {rule.title}, level 1: the whole site, ")


class TestNotice:
    def test_text_for_people(self):
        one = incident(ALERT)
        publication = notices.publication(one, "ddb-ecommerce-tab-1", rules=KNOWN_RULES)
        assert publication["Subject"] == "[high] Burst, level 2: user 9007199254740993123, 12 in 10 s (allowed: 5)"
        assert (
            json.loads(publication["Message"])["email"]
            == f"""\
Burst (severity: high)
Who?

Rule "burst" counted 12 within 10 seconds for user 9007199254740993123.
It allows 5. This is level 2: level 1 begins above that, the next at each doubling.

Who: user 9007199254740993123, 1 alert

When it happened (event time, UTC)
  after 2019-10-01T00:00:02.500Z
  until 2019-10-01T00:00:12.500Z
When it was detected (UTC)
  2026-11-23T12:00:00.250Z
It goes on: the last alert came at 2026-11-23T12:00:00.250Z.

Incident
  {one.incident_id}

What to do next
1. Has this happened before? DynamoDB table ddb-ecommerce-tab-1:
     ddb_partition_key = user#9007199254740993123
2. What was done? In Athena, once the day's events are curated:
     select * from curated_events
     where user_id = '9007199254740993123'
       and txn_at > timestamp '2019-10-01 00:00:02.500'
       and txn_at <= timestamp '2019-10-01 00:00:12.500'
     order by txn_at
3. Look at the user's events.
4. Limit the rate of this user.

How to answer
  I look after it:    shopstream ack {one.incident_id}
  It was no attack:   shopstream false-positive {one.incident_id}
  Be silent for 4 h:  shopstream silence burst --for 4h --why "..."
"""
        )

    @pytest.mark.parametrize(
        ("changes", "begin", "says"),
        [
            ({}, "[high] Burst", "It goes on: the last alert"),
            (
                {"told": 1, "told_level": 1, "told_alerts": 1},
                "[high] grew: Burst",
                "3 alerts, 2 of them since the last",
            ),
            ({"told": 1, "told_level": 2, "told_subjects": 2, "told_alerts": 2}, "[high] goes on: Burst", "1 of them"),
            ({"told": 1, "closed_at": "2026"}, "[high] over: Burst", "Over: the last alert"),
        ],
        ids=["opened", "grew", "still", "over"],
    )
    def test_says_what_has_become_of_an_incident(self, changes: dict, begin: str, says: str):
        one = incident(ALERT, about(2, 22), GUEST_ALERT, **changes)
        assert notices.subject(one, KNOWN_RULES).startswith(f"{begin}, level 2: 3 subjects, 22 in 10 s (allowed: 5)")
        text = mail(one, rules=KNOWN_RULES)
        assert says in text
        assert "  user 2: 22\n  user 9007199254740993123: 12\n  session 72d76fde: 7\n" in text

    def test_names_what_it_explains(self):
        text = mail(incident(SITE_ALERT), explained=[incident(EXPLAINED_ALERT)])
        assert "\nExplained by this, so without notices of their own\n  product_rush-" in text
        assert ": product 1004856, level 1\n" in text

    def test_names_the_crawler_that_a_subject_declares_to_be(self):
        crawler = replace(ALERT, declared_crawler="Googlebot")
        assert "for user 9007199254740993123 (declares to be Googlebot).\n" in mail(incident(crawler))
        assert "declares" not in mail(incident(ALERT))

    def test_rule_that_is_not_in_the_rulebook_still_gets_a_notice(self):
        known, unknown = (notices.publication(incident(ALERT), "t", rules=rules) for rules in (KNOWN_RULES, {}))
        assert unknown["Subject"] == "burst, level 2: user 9007199254740993123, 12 in 10 s (allowed: 5)"
        text = json.loads(unknown["Message"])["email"]
        assert text.startswith('Rule "burst" counted 12 within 10 seconds for user 9007199254740993123.\nIt allows 5.')
        assert (
            "3. If it was a bot, block it at the shop's edge.\n4. If it was a shopper, raise the threshold.\n" in text
        )
        assert unknown["MessageAttributes"].keys() == known["MessageAttributes"].keys() - {"severity"}
        assert json.loads(unknown["Message"])["default"] == json.loads(known["Message"])["default"]

    @pytest.mark.parametrize(
        ("alert", "subject", "counted", "key", "condition"),
        [
            (
                PRODUCT_ALERT,
                "product_rush, level 1: product 1004856, 300 in 60 s (allowed: 199)",
                'Rule "product_rush" counted 300 within 60 seconds for product 1004856.\nIt allows 199.',
                "product#1004856",
                "     where product_id = '1004856'\n       and txn_at > timestamp '@START'\n",
            ),
            (
                GUEST_ALERT,
                "burst, level 1: session 72d76fde, 7 in 10 s (allowed: 5)",
                'Rule "burst" counted 7 within 10 seconds for session 72d76fde.\nIt allows 5.',
                "session#72d76fde",
                "     where user_id is null\n       and user_session = '72d76fde'\n"
                "       and txn_at > timestamp '@START'\n",
            ),
            (
                SITE_ALERT,
                "surge, level 4: the whole site, 9000 in 300 s (allowed: 1000)",
                'Rule "surge" counted 9000 within 300 seconds for the whole site.\nIt allows 1000.',
                "site",
                "     where txn_at > timestamp '@START'\n",
            ),
            (
                ADDRESS_ALERT,
                "rotator, level 1: ip 192.0.2.17, 150 in 300 s (allowed: 100)",
                'Rule "rotator" counted 150 within 300 seconds for ip 192.0.2.17.\nIt allows 100.',
                "ip#192.0.2.17",
                "     where client_ip = '192.0.2.17'\n       and txn_at > timestamp '@START'\n",
            ),
            (
                NETWORK_ALERT,
                "rotator, level 1: ip 2001:db8:0:a::/64, 150 in 300 s (allowed: 100)",
                'Rule "rotator" counted 150 within 300 seconds for ip 2001:db8:0:a::/64.\nIt allows 100.',
                "ip#2001:db8:0:a::/64",
                "     where contains('2001:db8:0:a::/64', try_cast(client_ip as ipaddress))\n"
                "       and txn_at > timestamp '@START'\n",
            ),
        ],
        ids=["product", "guest", "site", "address", "network"],
    )
    def test_text_for_people_about_any_subject(
        self, alert: Alert, subject: str, counted: str, key: str, condition: str
    ):
        assert notices.subject(incident(alert), {}) == subject
        body = notices.body(incident(alert), "t", rules={})
        assert body.startswith(counted)
        assert f"DynamoDB table t:\n     ddb_partition_key = {key}\n" in body
        start = alert.window_start_at.removesuffix("Z").replace("T", " ")
        assert (
            f"     select * from curated_events\n{condition.replace('@START', start)}       and txn_at <= timestamp"
            in body
        )
        assert "for user " not in body

    @pytest.mark.parametrize(
        ("id_", "shown", "literal"),
        [
            ("000042", "000042", "'000042'"),
            ("O'Brien", "O'Brien", "'O''Brien'"),
            ("' or '1'='1", "' or '1'='1", "''' or ''1''=''1'"),
            ("a#b:c d\\e", "a#b:c d\\e", "'a#b:c d\\e'"),
            ("кофе ☕", "кофе ☕", "'кофе ☕'"),
            # What a mail hides or takes for a line's end is spelled out; U&'…' has escapes, so a backslash is one too.
            ("a\u2028b'\\", "a<U+2028>b'\\", r"U&'a\+002028b''\+00005c'"),
            ("\ufffe\U000e0041", "<U+FFFE><U+E0041>", r"U&'\+00fffe\+0e0041'"),
        ],
    )
    def test_query_holds_the_id_as_text(self, id_: str, shown: str, literal: str):
        end_at = ALERT.window_end_at
        alert = Alert(f"b:user#{id_}:{end_at}", "b", f"user#{id_}", ALERT.window_start_at, end_at, 6, 5, 1)
        body = notices.body(incident(alert), "t")
        assert f"\n     where user_id = {literal}\n       and txn_at >" in body
        assert f"\n     ddb_partition_key = user#{shown}\n" in body
        assert f"seconds for user {shown}.\n" in body

    def test_query_excludes_the_start_of_the_window_and_includes_its_end(self):
        times = {"window_start_at": "2019-10-01T23:59:49.001Z", "window_end_at": "9999-12-31T23:59:59.999Z"}
        alert = Alert(**{**FIELDS, **times, "alert_id": f"burst:{ALERT.subject}:{times['window_end_at']}"})
        assert (
            "and txn_at > timestamp '2019-10-01 23:59:49.001'\n       and txn_at <= timestamp '9999-12-31 23:59:59.999'"
            in notices.body(incident(alert), "t")
        )

    def test_json_for_programs_comes_once(self):
        one = incident(ALERT)
        message = json.loads(notices.publication(one, "t")["Message"])
        assert set(message) == {"default", "email", "sms"}
        assert json.loads(message["default"]) == {
            "notice_id": f"{one.incident_id}#1",
            "kind": "opened",
            "incident_id": one.incident_id,
            "rule": "burst",
            "level": 2,
            "highest_count": 12,
            "threshold": 5,
            "alert_count": 1,
            "subject_count": 1,
            "opened_at": "2026-11-23T12:00:00.250Z",
            "last_alert_at": "2026-11-23T12:00:00.250Z",
            "first_window_start_at": "2019-10-01T00:00:02.500Z",
            "last_window_end_at": "2019-10-01T00:00:12.500Z",
            "examples": [{name: FIELDS[name] for name in FIELDS if name not in ("alert_id", "rule", "threshold")}],
            "explains": [],
        }

    def test_says_what_may_explain_it(self):
        known = {"site_surge": rules.Rule("Site surge", "critical", ())}
        plain, explained = incident(PRODUCT_ALERT), incident(EXPLAINED_ALERT)
        assert "explain" not in mail(plain, rules=known)
        for rulebook, title in ((known, "Site surge"), ({}, "site_surge")):
            assert mail(explained, rules=rulebook) == mail(plain, rules=rulebook).replace(
                "at each doubling.\n", f"at each doubling.\n{title} at the same time may explain this.\n"
            )
        other = replace(PRODUCT_ALERT, subject="product#2", alert_id=PRODUCT_ALERT.alert_id.replace("1004856", "2"))
        text = mail(incident(EXPLAINED_ALERT, other), rules=known)
        assert "\nSite surge at the same time may explain 1 of 2 alerts.\n" in text
        assert json.loads(json.loads(notices.publication(explained, "t")["Message"])["default"])["explained_by"] == (
            "site_surge"
        )

    def test_attributes_to_filter_by(self):
        one = incident(ALERT)
        assert notices.publication(one, "t", rules=KNOWN_RULES)["MessageAttributes"] == {
            "notice_id": {"DataType": "String", "StringValue": f"{one.incident_id}#1"},
            "incident_id": {"DataType": "String", "StringValue": one.incident_id},
            "kind": {"DataType": "String", "StringValue": "opened"},
            "rule": {"DataType": "String", "StringValue": "burst"},
            "level": {"DataType": "Number", "StringValue": "2"},
            "severity": {"DataType": "String", "StringValue": "high"},
        }

    def test_a_long_id_leaves_room_for_the_counts(self):
        guest = "session#72d76fde-8bb3-4e00-8c23-a032dfed738c"
        end_at = ALERT.window_end_at
        alert = Alert(f"burst:{guest}:{end_at}", "burst", guest, ALERT.window_start_at, end_at, 12, 5, 2)
        known = {"burst": rules.Rule("Session rotator", "critical", ())}
        line = notices.subject(incident(alert), known)
        assert line == (
            "[critical] Session rotator, level 2: session 72d76fde-8bb3-4e00-8c23-a0..., 12 in 10 s (allowed: 5)"
        )
        assert len(line) == notices.MAX_SUBJECT_LENGTH

    def test_longest_subject_fits(self):
        rule, subject, end_at = "r" * 50, f"product#{'é' * 128}", "2019-10-01T00:00:00.001Z"
        longest = Alert(
            f"{rule}:{subject}:{end_at}", rule, subject, "2000-01-01T00:00:00.000Z", end_at, 2**63 - 1, 2**62, 1
        )
        for known in ({}, {rule: rules.Rule("Größter Ansturm " * 9, "critical", ())}):
            assert len(notices.subject(incident(longest), known)) == notices.MAX_SUBJECT_LENGTH
            assert notices.subject(incident(longest), known).isascii()


class TestLetter:
    def letter(self, payload: bytes) -> dict:
        text = dead_letters.letter(records.unpack(kinesis_record(payload, "42"))[0], "why")
        assert text.isascii() and len(text) <= 262_144
        return json.loads(text)

    def test_says_what_why_and_where(self):
        assert self.letter("naïve \ufffe".encode()) == {
            "reason": "why",
            "payload": "naïve \ufffe",
            "payload_encoding": "utf-8",
            "payload_bytes": 10,
            "payload_kept_bytes": 10,
            "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/ecommerce-raw-user-activity-stream-2",
            "shard_id": "shardId-000000000002",
            "sequence_number": "42",
            "position": 0,
            "arrived_at": "2026-11-23T12:00:00.250Z",
        }

    def test_holds_bytes_in_base64(self):
        letter = self.letter(b"\xff\x00")
        assert (letter["payload_encoding"], letter["payload"]) == ("base64", "/wA=")

    @pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
    def test_holds_the_start_of_a_giant(self, byte: bytes):
        letter = self.letter(byte * 1_000_000)
        assert (letter["payload_bytes"], letter["payload_kept_bytes"]) == (1_000_000, 40_000)


class TestSettings:
    def test_retention_has_a_default(self):
        assert settings.read(ENVIRONMENT).incident_retention_days == 365
        assert settings.read({**ENVIRONMENT, "incident_retention_days": "30"}).incident_retention_days == 30

    @pytest.mark.parametrize("name", ENVIRONMENT)
    def test_name_what_is_missing(self, name: str):
        for environment in ({**ENVIRONMENT, name: ""}, {k: v for k, v in ENVIRONMENT.items() if k != name}):
            with pytest.raises(ValueError, match=f"^environment without {name}: "):
                settings.read(environment)

    @pytest.mark.parametrize("name", ["incident_retention_days", "incident_quiet_s"])
    @pytest.mark.parametrize("text", ["0", "-1", "1.5", "a year", "²"])
    def test_refuse_a_wrong_number(self, name: str, text: str):
        with pytest.raises(ValueError, match=re.escape(f"{name} is '{text}'")):
            settings.read({**ENVIRONMENT, name: text})
