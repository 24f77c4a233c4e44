"""Metrics: log lines in CloudWatch's embedded metric format, for alerts, tallies, notices and the sweep.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
CloudWatch makes the metric from the function's log, so no API call can fail, be throttled or take time.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lambda_alert.alert import Alert
from lambda_alert.tally import Tally

# Companions of the metric of alerts, all without dimensions.
OPEN, TOLD, MUTED, OLDEST_DUE = "incidents-open", "incidents-told", "incidents-muted", "incidents-oldest-due-s"


def alert_lines(alerts: Iterable[Alert], namespace: str, metric: str, now: datetime) -> list[str]:
    """Return a log line for each rule. The metric's values are what the rule counted, one for each alert.

    So the statistic SampleCount counts alerts, Maximum shows the highest count and Sum the total, by the dimension
    `rule`. AWS charges for each value of a dimension, so subjects are none. A list holds at most 100 values.
    The time is now, not the window's: CloudWatch refuses data older than 14 days, such as a replay's events.
    """
    values: dict[str, list[int]] = defaultdict(list)
    for alert in alerts:
        values[alert.rule].append(alert.num_actions_per_watermark)
    return [_line(namespace, {metric: counts}, now, {"rule": rule}, {}) for rule, counts in values.items()]


def tally_line(tally: Tally, namespace: str, metric: str, now: datetime) -> str:
    """Return the log line for a tally of unjudged events. The statistic Sum counts them, by the dimension `reason`."""
    return _line(
        namespace, {metric: tally.event_count}, now, {"reason": tally.outcome}, {"counted_at": tally.counted_at}
    )


def sweep_line(open_: int, told: int, muted: int, oldest_due_s: float, namespace: str, now: datetime) -> str:
    """Return the log line for a sweep. `oldest_due_s` is the age of the oldest notice that could not be sent."""
    values = {OPEN: open_, TOLD: told, MUTED: muted, OLDEST_DUE: oldest_due_s}
    return _line(namespace, values, now, {}, {})


def _line(
    namespace: str, values: Mapping[str, Any], now: datetime, dimensions: dict[str, str], properties: dict[str, Any]
) -> str:
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(now.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": namespace,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [
                            {"Name": name, "Unit": "Seconds" if name == OLDEST_DUE else "Count"} for name in values
                        ],
                    }
                ],
            },
            **values,
            **dimensions,
            **properties,
        }
    )
