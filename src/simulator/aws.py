"""AWS clients. Whoever calls the simulator may name another factory, such as that of the local stack."""

from collections.abc import Callable
from typing import Any

# Return a client of a service; options as of `boto3.client`.
ClientFactory = Callable[..., Any]


def client_from_environment(service: str, **options: Any) -> Any:
    """Return a client with the credentials, region and endpoint of the environment."""
    import boto3

    return boto3.client(service, **options)
