"""Notices: what people in operations read when a rule has found something, and the same for programs, through SNS."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lambda_alert.alert import Alert, iso
from lambda_alert.rules import RULES, Rule

# "Less than 100 characters", no control characters, and ASCII, the strictest reading of AWS's texts of several years:
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT_LENGTH = 99
# At least so much of a subject's name stays in the line, whatever the title: `session 72d76fde`.
MIN_NAME_LENGTH = 16

# The two characters that an id may hold and SQS refuses, so a queue behind the topic would too:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")

AND = "\n       and "  # between two conditions of the query in the email

# Of a rule that is not in the rulebook, such as one that was removed while its last alerts were on their way.
DEFAULT_RESPONSE = (
    "If it was a bot, block it at the shop's edge.",
    "If it was a shopper, raise the threshold.",
)


def subject(alert: Alert, rules: Mapping[str, Rule] = RULES) -> str:
    """Return one line: the subject of the email and the text of an SMS.

    Rules count different things (actions, products, sessions), so the line says how many, and the rule's title what.
    A long id is cut off, so that the counts stay; the body has it whole. `?` stands for what is not ASCII.
    """
    title = alert.rule
    if rule := rules.get(alert.rule):
        title = f"[{rule.severity}] {rule.title}"
    head, name = f"{title}, level {alert.level}: ", _name(alert)
    tail = f", {alert.num_actions_per_watermark} in {alert.window_s:g} s (allowed: {alert.threshold})"
    room = max(MAX_SUBJECT_LENGTH - len(head) - len(tail), MIN_NAME_LENGTH)
    if len(name) > room:
        name = f"{name[: room - 3]}..."
    return f"{head}{name}{tail}".encode("ascii", "replace").decode()[:MAX_SUBJECT_LENGTH]


def body(alert: Alert, detected_at: datetime, table: str, rules: Mapping[str, Rule] = RULES) -> str:
    """Return the email: what happened, who did it, when, and what to do next.

    Its query goes by `txn_at`, the time that the rules judge by: after a replay that moved it (TIME=now), `event_at` is
    another. The table's partitions are days of `event_at`, but Iceberg knows the first and last `txn_at` of each file,
    so the query reads only files that may hold the window, which excludes its start and includes its end.
    """
    rule = rules.get(alert.rule)
    heading = f"{rule.title} (severity: {rule.severity})\n\n" if rule else ""
    counted = f"{alert.num_actions_per_watermark} within {alert.window_s:g} seconds for {_printable(_name(alert))}"
    response = enumerate(rule.response if rule else DEFAULT_RESPONSE, 3)
    steps = "\n".join(f"{number}. {step}" for number, step in response)
    return f"""\
{heading}Rule "{alert.rule}" counted {counted}.
It allows {alert.threshold}. This is level {alert.level}: level 1 begins above that, the next at each doubling.
{_explanation(alert, rules)}
When it happened (event time, UTC)
  after {alert.window_start_at}
  until {alert.window_end_at}
When it was detected (UTC)
  {iso(detected_at)}
Incident
  {_printable(alert.alert_id)}

What to do next
1. Has this happened before? DynamoDB table {table}:
     ddb_partition_key = {_printable(alert.subject)}
2. What was done? In Athena, once the day's events are curated:
     select * from curated_events
     where {"".join(f"{condition}{AND}" for condition in _sql_conditions(alert.subject))}\
txn_at > timestamp '{_sql_time(alert.window_start_at)}'
       and txn_at <= timestamp '{_sql_time(alert.window_end_at)}'
     order by txn_at
{steps}
"""


def publication(alert: Alert, detected_at: datetime, table: str, rules: Mapping[str, Rule] = RULES) -> dict[str, Any]:
    """Return the arguments of SNS Publish except the topic: text for people, JSON for programs, attributes for filters.

    The JSON is the alert as in stream 2 plus `detected_at`. `alert_id` tells a repeat from a new alert.
    """
    for_people = body(alert, detected_at, table, rules)
    for_programs = json.dumps({**alert.record(), "detected_at": iso(detected_at)})
    attributes = {
        "alert_id": {"DataType": "String", "StringValue": alert.alert_id.translate(_REFUSED)},
        "rule": {"DataType": "String", "StringValue": alert.rule},
        "subject": {"DataType": "String", "StringValue": alert.subject.translate(_REFUSED)},
        "level": {"DataType": "Number", "StringValue": str(alert.level)},  # {"numeric": [">=", 2]} in a filter
    }
    if rule := rules.get(alert.rule):
        attributes["severity"] = {"DataType": "String", "StringValue": rule.severity}
    return {
        "Subject": subject(alert, rules),
        "MessageStructure": "json",
        "Message": json.dumps(
            {
                "default": for_people,
                "sms": subject(alert, rules),
                **dict.fromkeys(("email-json", "firehose", "http", "https", "lambda", "sqs"), for_programs),
            }
        ),
        "MessageAttributes": attributes,
    }


class Notices:
    """The topic of notices."""

    def __init__(self, sns: Any, topic_arn: str, table: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn
        self._table = table

    def send(self, alert: Alert, detected_at: datetime) -> None:
        """Publish the alert's notice."""
        self._sns.publish(TopicArn=self._topic_arn, **publication(alert, detected_at, self._table))


def _explanation(alert: Alert, rules: Mapping[str, Rule]) -> str:
    """Return the line that says what may explain the alert; empty if nothing may."""
    if alert.explained_by is None:
        return ""
    rule = rules.get(alert.explained_by)
    return f"{rule.title if rule else alert.explained_by} at the same time may explain this.\n"


def _name(alert: Alert) -> str:
    kind, _, name = alert.subject.partition("#")
    return f"{kind} {name}" if name else "the whole site"


def _printable(text: str) -> str:
    """Return the text with `<U+202E>` and the like for what a mail does not show, or shows as a new line."""
    return "".join(letter if letter.isprintable() else f"<U+{ord(letter):04X}>" for letter in text)


def _sql_conditions(subject: str) -> list[str]:
    """Return the conditions for the subject's events; none for the whole site.

    A guest's are those of the session without a user: with one, they are the user's.
    """
    kind, _, name = subject.partition("#")
    if kind == "ip":
        return [_sql_network(name) if "/" in name else f"client_ip = {_sql_text(name)}"]
    if kind == "session":
        return ["user_id is null", f"user_session = {_sql_text(name)}"]
    return [f"{kind}_id = {_sql_text(name)}"] if name else []


def _sql_network(network: str) -> str:
    """Return the condition for the addresses of a network of IPv6. Others, and none, make no error and no row."""
    return f"contains({_sql_text(network)}, try_cast(client_ip as ipaddress))"


def _sql_text(text: str) -> str:
    """Return the text as a literal of Athena and Trino: in printable characters, which a mail does not change."""
    if text.isprintable():
        return "'{}'".format(text.replace("'", "''"))
    letters = (letter if letter.isprintable() and letter != "\\" else f"\\+{ord(letter):06x}" for letter in text)
    return "U&'{}'".format("".join(letters).replace("'", "''"))


def _sql_time(instant: str) -> str:
    """Return the instant as a timestamp of SQL, to the millisecond."""
    return instant.removesuffix("Z").replace("T", " ")
