"""Start the deployed detector again when it has ended by itself or was stopped by hand.

Terraform starts it when it is made, and when `start_detector` becomes true. It does not notice that a started one has
ended since (https://github.com/hashicorp/terraform-provider-aws/issues/45687). So `make deploy` calls this afterwards.
"""

from typing import Any

# https://docs.aws.amazon.com/managed-flink/latest/apiv2/API_StartApplication.html
LATEST = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}}


def start_if_ended(flink: Any, application: str) -> bool:
    """Start the application from its latest snapshot if it is READY, that is not running. Return whether it was.

    `flink`: a client of kinesisanalyticsv2. Raise ClientError.
    """
    detail = flink.describe_application(ApplicationName=application)["ApplicationDetail"]
    if detail["ApplicationStatus"] != "READY":
        return False
    flink.start_application(ApplicationName=application, RunConfiguration=LATEST)
    return True
