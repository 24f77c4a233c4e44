"""The address of Flink's own page of the deployed detector: its job, records in and out, lag, watermarks.

AWS signs the address for the caller. Whoever has the address needs no login, so it is valid for an hour only.
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# The address must be opened within three minutes and is valid for this long. AWS allows 30 minutes to 12 hours.
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
    """There is no page. The message says why and what to do."""


def page_url(flink: Any, application: str) -> str:
    """Return the address. `flink`: a client of kinesisanalyticsv2. Raise NoPage."""
    try:
        return flink.create_application_presigned_url(
            ApplicationName=application,
            UrlType="FLINK_DASHBOARD_URL",
            SessionExpirationDurationInSeconds=SESSION_S,
        )["AuthorizedUrl"]
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        hint = HINTS.get(code, NO_LOGIN)
        raise NoPage(f"no page of {application} ({error}): {hint}") from None
