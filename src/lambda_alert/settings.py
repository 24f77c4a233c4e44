"""Settings of the function, from environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_RETENTION_DAYS = 365


@dataclass(frozen=True)
class Settings:
    """The settings. Each has the name of its environment variable."""

    cloudwatch_metric: str
    cloudwatch_unjudged_metric: str
    cloudwatch_namespace: str
    dynamodb_control_table: str
    dynamodb_totals_table: str
    topic_arn: str
    failure_queue_url: str
    incident_retention_days: int = DEFAULT_RETENTION_DAYS


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raise ValueError that names the variables that are missing or wrong."""
    names = [name for name in Settings.__dataclass_fields__ if name != "incident_retention_days"]
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise ValueError(f"environment without {', '.join(missing)}: set them in the function's configuration")
    days = environment.get("incident_retention_days") or str(DEFAULT_RETENTION_DAYS)
    if not (days.isascii() and days.isdigit() and int(days) > 0):
        raise ValueError(f"environment variable incident_retention_days is {days!r}, expected a whole number from 1 up")
    return Settings(**{name: environment[name] for name in names}, incident_retention_days=int(days))
