"""Notices: what a person in operations reads when a rule has fired, and the same for programs, through SNS."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lambda_alert.alert import Alert, iso

MAX_SUBJECT_LENGTH = 100  # ASCII: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html


def subject(alert: Alert) -> str:
    """One line: subject of the email, text of an SMS. What was counted differs by rule, so the rule's name says it."""
    text = (
        f"{alert.rule}, level {alert.level}: {_name(alert)}, {alert.num_actions_per_watermark} in {alert.window_s:g} s "
        f"(allowed: {alert.threshold})"
    )
    return text[:MAX_SUBJECT_LENGTH]


def body(alert: Alert, detected_at: datetime, table: str) -> str:
    """The email: what, who, when, and what to do next."""
    return f"""\
Rule "{alert.rule}" counted {alert.num_actions_per_watermark} within {alert.window_s:g} seconds for {_name(alert)}.
It allows {alert.threshold}. This is level {alert.level}; level 1 begins above that, the next at each doubling.

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
3. Bots: block them at the shop's edge. Shoppers: raise the threshold of rule "{alert.rule}".
"""


def publication(alert: Alert, detected_at: datetime, table: str) -> dict[str, Any]:
    """The arguments of SNS Publish beside the topic: text for people, JSON for programs, attributes to filter by.

    The JSON is the alert as in stream 2 plus `detected_at`. `alert_id` tells a repeat from a new alert.
    """
    for_people = body(alert, detected_at, table)
    for_programs = json.dumps({**asdict(alert), "detected_at": iso(detected_at)})
    return {
        "Subject": subject(alert),
        "MessageStructure": "json",
        "Message": json.dumps(
            {
                "default": for_people,
                "sms": subject(alert),
                **dict.fromkeys(("email-json", "firehose", "http", "https", "lambda", "sqs"), for_programs),
            }
        ),
        "MessageAttributes": {
            "alert_id": {"DataType": "String", "StringValue": alert.alert_id},
            "rule": {"DataType": "String", "StringValue": alert.rule},
            "subject": {"DataType": "String", "StringValue": alert.subject},
            "level": {"DataType": "Number", "StringValue": str(alert.level)},  # {"numeric": [">=", 2]} in a filter
        },
    }


class Notices:
    """The topic of notices."""

    def __init__(self, sns: Any, topic_arn: str, table: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn
        self._table = table

    def send(self, alert: Alert, detected_at: datetime) -> None:
        """None; the topic has the notice."""
        self._sns.publish(TopicArn=self._topic_arn, **publication(alert, detected_at, self._table))


def _name(alert: Alert) -> str:
    return "the whole site" if alert.subject == "site" else alert.subject.replace("#", " ")


def _sql_condition(alert: Alert) -> str:
    """What picks the subject's events, up to the next condition; nothing for the whole site."""
    kind, _, number = alert.subject.partition("#")
    return f"{kind}_id = {number}\n       and " if number else ""


def _sql_time(instant: str) -> str:
    return instant.replace("T", " ").removesuffix("Z")
