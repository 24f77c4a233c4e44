"""Metrics: one log line in CloudWatch's embedded metric format per alert notified and per tally of
unjudged events.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
CloudWatch makes the metric from the function's log, so no API call can fail, be throttled or take time.
"""

import json
from datetime import datetime
from typing import Any

from lambda_alert.alert import Alert
from lambda_alert.tally import Tally


def emf_line(alert: Alert, namespace: str, metric: str, now: datetime) -> str:
    """Return the log line for an alert. The metric's value is what the rule counted.

    So the statistic SampleCount counts alerts, Maximum shows the highest count and Sum the total, by the dimension
    `rule`. AWS charges for each value of a dimension. So subject, level and alert id are properties, to be found in the
    log.
    The time is now, not the window's: CloudWatch refuses data older than 14 days, such as a replay's events.
    """
    more = {"subject": alert.subject, "level": alert.level, "alert_id": alert.alert_id}
    return _line(namespace, metric, alert.num_actions_per_watermark, now, {"rule": alert.rule}, more)


def tally_line(tally: Tally, namespace: str, metric: str, now: datetime) -> str:
    """Return the log line for a tally of unjudged events. The statistic Sum counts them, by the dimension `reason`."""
    return _line(namespace, metric, tally.event_count, now, {"reason": tally.outcome}, {"counted_at": tally.counted_at})


def _line(
    namespace: str, metric: str, value: int, now: datetime, dimensions: dict[str, str], properties: dict[str, Any]
) -> str:
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(now.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": namespace,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [{"Name": metric, "Unit": "Count"}],
                    }
                ],
            },
            metric: value,
            **dimensions,
            **properties,
        }
    )
