"""Prints the address of Flink's own page of the deployed detector: its job, records in and out, lag, watermarks.

    python -m detector.flink_page --application ecomm-streaming-app-v1-detector

AWS signs the address for who calls; whoever has it needs no login, so it is good for an hour only. Exit codes: 0, or 1
if there is no page, with the reason in one sentence.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# The address must be opened within three minutes, and is good for as long as this: AWS allows 30 minutes to 12 hours.
# https://docs.aws.amazon.com/managed-flink/latest/apiv2/API_CreateApplicationPresignedUrl.html
SESSION_S = 3600
OPERATION = "kinesisanalytics:CreateApplicationPresignedUrl"

NOT_RUNNING = "it shows its page only while it runs: set start_detector = true and deploy, or wait until it has started"
NO_LOGIN = "log in to AWS, or use ENV=local with the stack up"
HINTS = {
    "InvalidArgumentException": NOT_RUNNING,
    "ResourceInUseException": NOT_RUNNING,
    "ResourceNotFoundException": "call make deploy first, or check the region and the account",
    "AccessDeniedException": f"the caller needs {OPERATION} on this application",
    "ExpiredTokenException": NO_LOGIN,
    "UnrecognizedClientException": NO_LOGIN,
}


class NoPage(Exception):
    """There is no page; the message says why and what to do."""


def page_url(flink: Any, application: str) -> str:
    """Returns the address, from a client of kinesisanalyticsv2. Raises NoPage."""
    try:
        return flink.create_application_presigned_url(
            ApplicationName=application,
            UrlType="FLINK_DASHBOARD_URL",
            SessionExpirationDurationInSeconds=SESSION_S,
        )["AuthorizedUrl"]
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else None
        hint = HINTS.get(code, NO_LOGIN)
        raise NoPage(f"no page of {application} ({error}): {hint}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="detector.flink_page", description=__doc__.splitlines()[0])
    parser.add_argument("--application", required=True, help="name of the Managed Flink application")
    application = parser.parse_args(argv).application
    try:
        print(page_url(boto3.client("kinesisanalyticsv2"), application))
    except (NoPage, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("open it within three minutes; it is good for an hour", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
