"""A detector that has ended starts again with a deployment, and one that runs is left alone."""

import boto3
import pytest
from botocore.stub import Stubber

from detector.restart import LATEST, start_if_ended

DETAIL = {"ApplicationARN": "arn:aws:x", "ApplicationName": "detector", "RuntimeEnvironment": "FLINK-1_20"}


def stubbed(status: str) -> Stubber:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    stubber = Stubber(boto3.client("kinesisanalyticsv2", region_name="us-east-1", **keys))
    detail = {**DETAIL, "ApplicationStatus": status, "ApplicationVersionId": 1}
    stubber.add_response("describe_application", {"ApplicationDetail": detail}, {"ApplicationName": "detector"})
    return stubber


def test_one_that_has_ended_starts_from_its_latest_snapshot() -> None:
    with stubbed("READY") as stubber:
        stubber.add_response("start_application", {}, {"ApplicationName": "detector", "RunConfiguration": LATEST})
        assert start_if_ended(stubber.client, "detector")
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("status", ["RUNNING", "STARTING", "UPDATING"])
def test_one_that_runs_is_left_alone(status: str) -> None:
    with stubbed(status) as stubber:
        assert not start_if_ended(stubber.client, "detector")
