"""Settings of the function, from environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_RETENTION_DAYS = 365
DEFAULT_QUIET_S = 300


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
    incident_quiet_s: int = DEFAULT_QUIET_S


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raise ValueError that names the variables that are missing or wrong."""
    numbers = {name: field.default for name, field in Settings.__dataclass_fields__.items() if field.type is int}
    names = [name for name in Settings.__dataclass_fields__ if name not in numbers]
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise ValueError(f"environment without {', '.join(missing)}: set them in the function's configuration")
    texts = {name: environment.get(name) or str(default) for name, default in numbers.items()}
    for name, text in texts.items():
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"environment variable {name} is {text!r}, expected a whole number from 1 up")
    values: dict[str, Any] = {name: environment[name] for name in names}
    return Settings(**values | {name: int(text) for name, text in texts.items()})
