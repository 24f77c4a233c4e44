"""Notices: what people in operations read when a rule has found something, and the same for programs, through SNS."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lambda_alert.alert import Alert, iso
from lambda_alert.rules import RULES, Rule

MAX_SUBJECT_LENGTH = 100  # and ASCII only: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

# Of a rule that is not in the rulebook, such as one that was removed while its last alerts were on their way.
DEFAULT_RESPONSE = (
    "If it was a bot, block it at the shop's edge.",
    "If it was a shopper, raise the threshold.",
)


def subject(alert: Alert, rules: Mapping[str, Rule] = RULES) -> str:
    """Return one line: the subject of the email and the text of an SMS.

    Rules count different things (actions, products, sessions), so the line says how many, and the rule's title what.
    """
    title = alert.rule
    if rule := rules.get(alert.rule):
        title = f"[{rule.severity}] {rule.title}"
    text = (
        f"{title}, level {alert.level}: {_name(alert)}, {alert.num_actions_per_watermark} in {alert.window_s:g} s "
        f"(allowed: {alert.threshold})"
    )
    return text.encode("ascii", "replace").decode()[:MAX_SUBJECT_LENGTH]


def body(alert: Alert, detected_at: datetime, table: str, rules: Mapping[str, Rule] = RULES) -> str:
    """Return the email: what happened, who did it, when, and what to do next."""
    rule = rules.get(alert.rule)
    heading = f"{rule.title} (severity: {rule.severity})\n\n" if rule else ""
    counted = f"{alert.num_actions_per_watermark} within {alert.window_s:g} seconds for {_name(alert)}"
    response = enumerate(rule.response if rule else DEFAULT_RESPONSE, 3)
    steps = "\n".join(f"{number}. {step}" for number, step in response)
    return f"""\
{heading}Rule "{alert.rule}" counted {counted}.
It allows {alert.threshold}. This is level {alert.level}: level 1 begins above that, the next at each doubling.

When it happened (event time, UTC)
  after {alert.window_start_at}
  until {alert.window_end_at}
When it was detected (UTC)
  {iso(detected_at)}
Incident
  {alert.alert_id}

What to do next
1. Has this happened before? DynamoDB table {table}:
     ddb_partition_key = {alert.subject}
2. What was done? In Athena, once the day's events are curated:
     select * from curated_events
     where {_sql_condition(alert)}event_at > timestamp '{_sql_time(alert.window_start_at)}'
       and event_at <= timestamp '{_sql_time(alert.window_end_at)}'
     order by event_at
{steps}
"""


def publication(alert: Alert, detected_at: datetime, table: str, rules: Mapping[str, Rule] = RULES) -> dict[str, Any]:
    """Return the arguments of SNS Publish except the topic: text for people, JSON for programs, attributes for filters.

    The JSON is the alert as in stream 2 plus `detected_at`. `alert_id` tells a repeat from a new alert.
    """
    for_people = body(alert, detected_at, table, rules)
    for_programs = json.dumps({**asdict(alert), "detected_at": iso(detected_at)})
    attributes = {
        "alert_id": {"DataType": "String", "StringValue": alert.alert_id},
        "rule": {"DataType": "String", "StringValue": alert.rule},
        "subject": {"DataType": "String", "StringValue": alert.subject},
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


def _name(alert: Alert) -> str:
    return "the whole site" if alert.subject == "site" else alert.subject.replace("#", " ")


def _sql_condition(alert: Alert) -> str:
    """Return the condition for the subject's events, up to the next condition; empty for the whole site."""
    kind, _, number = alert.subject.partition("#")
    return f"{kind}_id = {number}\n       and " if number else ""


def _sql_time(instant: str) -> str:
    return instant.replace("T", " ").removesuffix("Z")
