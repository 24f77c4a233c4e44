"""Notices: what people in operations read when a rule has found something, and the same for programs, through SNS."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lambda_alert.alert import instant
from lambda_alert.incidents import MAX_SUBJECTS, Incident
from lambda_alert.rules import RULES, Rule

# "Less than 100 characters", no control characters, and ASCII, the strictest reading of AWS's texts of several years:
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT_LENGTH = 99
# At least so much of a subject's name stays in the line, whatever the title: `session 72d76fde`.
MIN_NAME_LENGTH = 16

AND = "\n       and "  # between two conditions of the query in the email

# Of a rule that is not in the rulebook, such as one that was removed while its last alerts were on their way.
DEFAULT_RESPONSE = (
    "If it was a bot, block it at the shop's edge.",
    "If it was a shopper, raise the threshold.",
)


# How a line begins that says what has become of an incident.
WORDS = {"opened": "", "grew": "grew: ", "still": "goes on: ", "over": "over: "}
SHOWN_EXAMPLES = 5


def subject(incident: Incident, rules: Mapping[str, Rule] = RULES) -> str:
    """Return one line: the subject of the email and the text of an SMS.

    Rules count different things (actions, products, sessions), so the line says how many, and the rule's title what.
    A long id is cut off, so that the counts stay; the body has it whole. `?` stands for what is not ASCII.
    """
    rule = rules.get(incident.rule)
    severity, title = (f"[{rule.severity}] ", rule.title) if rule else ("", incident.rule)
    # The severity comes first: a mail filter looks there.
    head, name = f"{severity}{WORDS[incident.kind]}{title}, level {incident.level}: ", _who(incident)
    tail = f", {incident.highest_count} in {_window_s(incident):g} s (allowed: {incident.threshold})"
    room = max(MAX_SUBJECT_LENGTH - len(head) - len(tail), MIN_NAME_LENGTH)
    if len(name) > room:
        name = f"{name[: room - 3]}..."
    return f"{head}{name}{tail}".encode("ascii", "replace").decode()[:MAX_SUBJECT_LENGTH]


def body(incident: Incident, table: str, explained: Sequence[Incident] = (), rules: Mapping[str, Rule] = RULES) -> str:
    """Return the email: how bad, what, who, how much, since when and whether it goes on, what to do, how to answer.

    Its query goes by `txn_at`, the time that the rules judge by: after a replay that moved it (TIME=now), `event_at` is
    another. The table's partitions are days of `event_at`, but Iceberg knows the first and last `txn_at` of each file,
    so the query reads only files that may hold the window, which excludes its start and includes its end.
    """
    rule = rules.get(incident.rule)
    heading = f"{rule.title} (severity: {rule.severity})\n{rule.question}\n\n" if rule else ""
    highest, *_ = incident.examples
    whom = f"{_printable(_name(highest))}{_declared(highest)}"
    counted = f"{incident.highest_count} within {_window_s(incident):g} seconds for {whom}"
    response = enumerate(rule.response if rule else DEFAULT_RESPONSE, 3)
    steps = "\n".join(f"{number}. {step}" for number, step in response)
    return f"""\
{heading}Rule "{incident.rule}" counted {counted}.
It allows {incident.threshold}. This is level {incident.level}: level 1 begins above that, the next at each doubling.
{_explanation(incident, rules)}
Who: {_who(incident)}{_since_the_last(incident)}
{_list_of(incident)}
When it happened (event time, UTC)
  after {incident.first_window_start_at}
  until {incident.last_window_end_at}
When it was detected (UTC)
  {incident.opened_at}
{_state(incident)}

Incident
  {incident.incident_id}
{_list_of_explained(explained)}
What to do next
1. Has this happened before? DynamoDB table {table}:
     ddb_partition_key = {_printable(highest["subject"])}
2. What was done? In Athena, once the day's events are curated:
     select * from curated_events
     where {"".join(f"{condition}{AND}" for condition in _sql_conditions(highest["subject"]))}\
txn_at > timestamp '{_sql_time(highest["window_start_at"])}'
       and txn_at <= timestamp '{_sql_time(highest["window_end_at"])}'
     order by txn_at
{steps}

How to answer
  I look after it:    shopstream ack {incident.incident_id}
  It was no attack:   shopstream false-positive {incident.incident_id}
  Be silent for 4 h:  shopstream silence {incident.rule} --for 4h --why "..."
"""


def publication(
    incident: Incident, table: str, explained: Sequence[Incident] = (), rules: Mapping[str, Rule] = RULES
) -> dict[str, Any]:
    """Return the arguments of SNS Publish except the topic: text for people, JSON for programs, attributes for filters.

    Programs get the JSON, whatever their protocol. `notice_id` tells a repeat from a new notice.
    """
    notice_id = f"{incident.incident_id}#{incident.due}"
    attributes = {
        "notice_id": {"DataType": "String", "StringValue": notice_id},
        "incident_id": {"DataType": "String", "StringValue": incident.incident_id},
        "kind": {"DataType": "String", "StringValue": incident.kind},
        "rule": {"DataType": "String", "StringValue": incident.rule},
        "level": {"DataType": "Number", "StringValue": str(incident.level)},  # {"numeric": [">=", 2]} in a filter
    }
    if rule := rules.get(incident.rule):
        attributes["severity"] = {"DataType": "String", "StringValue": rule.severity}
    for_programs = {
        "notice_id": notice_id,
        "kind": incident.kind,
        **{name: getattr(incident, name) for name in FOR_PROGRAMS if getattr(incident, name) is not None},
        "explains": [one.incident_id for one in explained],
    }
    return {
        "Subject": subject(incident, rules),
        "MessageStructure": "json",
        "Message": json.dumps(
            {
                "default": json.dumps(for_programs),
                "email": body(incident, table, explained, rules),
                "sms": subject(incident, rules),
            }
        ),
        "MessageAttributes": attributes,
    }


FOR_PROGRAMS = (
    *("incident_id", "rule", "level", "highest_count", "threshold", "alert_count", "subject_count", "opened_at"),
    *("last_alert_at", "first_window_start_at", "last_window_end_at", "closed_at", "explained_by", "examples"),
)


class Notices:
    """The topic of notices."""

    def __init__(self, sns: Any, topic_arn: str, table: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn
        self._table = table

    def send(self, incident: Incident, explained: Sequence[Incident] = ()) -> None:
        """Publish what the incident is now. `explained` are those that it explains."""
        self._sns.publish(TopicArn=self._topic_arn, **publication(incident, self._table, explained))

    @staticmethod
    def is_about_the_site(rule: str) -> bool:
        """Return whether the rule may explain what others find."""
        return rule in RULES and RULES[rule].subject == "site"


def _explanation(incident: Incident, rules: Mapping[str, Rule]) -> str:
    """Return the line that says what may explain the alerts; empty if nothing may."""
    if incident.explained_by is None:
        return ""
    rule = rules.get(incident.explained_by)
    number = "" if incident.is_explained else f" {incident.explained_count} of {incident.alert_count} alerts"
    return f"{rule.title if rule else incident.explained_by} at the same time may explain{number or ' this'}.\n"


def _who(incident: Incident) -> str:
    if incident.subject_count == 1:
        return _printable(_name(incident.examples[0]))
    kinds = {one["subject"].partition("#")[0] for one in incident.examples}
    kind = kinds.pop() if len(kinds) == 1 else "subject"
    most = "or more " if incident.subject_count >= MAX_SUBJECTS else ""
    return f"{incident.subject_count} {most}{'addresse' if kind == 'ip' else kind}s"


def _since_the_last(incident: Incident) -> str:
    new = incident.alert_count - incident.told_alerts
    alerts = f"{incident.alert_count} alert{'s' if incident.alert_count > 1 else ''}"
    return f", {alerts}" + (f", {new} of them since the last notice" if incident.told else "")


def _list_of(incident: Incident) -> str:
    """Return the subjects with the highest counts, a line for each; empty if there is only one subject."""
    if incident.subject_count == 1:
        return ""
    shown = incident.examples[:SHOWN_EXAMPLES]
    return "".join(f"  {_printable(_name(one))}{_declared(one)}: {one['num_actions_per_watermark']}\n" for one in shown)


def _state(incident: Incident) -> str:
    if incident.closed_at:
        return f"Over: the last alert came at {incident.last_alert_at}."
    return f"It goes on: the last alert came at {incident.last_alert_at}."


def _list_of_explained(explained: Sequence[Incident]) -> str:
    """Return the incidents that this one explains; empty if there are none."""
    if not explained:
        return ""
    lines = [f"  {one.incident_id}: {_who(one)}, level {one.level}\n" for one in explained]
    return "\nExplained by this, so without notices of their own\n" + "".join(lines)


def _window_s(incident: Incident) -> float:
    """Return the length in seconds of the window with the highest count."""
    highest = incident.examples[0]
    start, end = (instant("", highest[name]) for name in ("window_start_at", "window_end_at"))
    return (end - start).total_seconds()


def _name(example: Mapping[str, Any]) -> str:
    kind, _, name = example["subject"].partition("#")
    return f"{kind} {name}" if name else "the whole site"


def _declared(example: Mapping[str, Any]) -> str:
    """Return what the subject declares to be; anybody can declare anything. Empty if it declares nothing."""
    return f" (declares to be {example['declared_crawler']})" if "declared_crawler" in example else ""


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
