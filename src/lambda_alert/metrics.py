"""Metrics: one log line in CloudWatch's embedded metric format per alert notified.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
CloudWatch makes the metric from the function's log: no API call that could fail, be throttled or cost time.
"""

import json
from datetime import datetime

from lambda_alert.alert import Alert


def emf_line(alert: Alert, namespace: str, metric: str, now: datetime) -> str:
    """The line to be printed, alone on its line. The metric's value is what the rule counted.

    So the statistic SampleCount counts alerts, Maximum shows the worst and Sum the volume, each by the dimension
    `rule`. Every value of a dimension is a metric on the bill: subject, level and alert are mere properties, found in
    the log.
    The time is now and not the window's: CloudWatch refuses what is older than 14 days, and a replay's events are.
    """
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(now.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": namespace,
                        "Dimensions": [["rule"]],
                        "Metrics": [{"Name": metric, "Unit": "Count"}],
                    }
                ],
            },
            metric: alert.num_actions_per_watermark,
            "rule": alert.rule,
            "subject": alert.subject,
            "level": alert.level,
            "alert_id": alert.alert_id,
        }
    )
