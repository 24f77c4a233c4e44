"""What can go wrong with AWS, in sentences that name the next step."""

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

THROTTLED = "ProvisionedThroughputExceededException"

TOO_FAST = "give the stream more shards or replay more slowly (--speed)"
_NO_LOGIN = "log in to AWS, or use ENV=local with the stack up"
_HINTS_BY_TYPE: dict[type[Exception], str] = {
    NoCredentialsError: _NO_LOGIN,
    PartialCredentialsError: _NO_LOGIN,
    CredentialRetrievalError: _NO_LOGIN,
    SSOError: _NO_LOGIN,
    ProfileNotFound: "check AWS_PROFILE, or use ENV=local with the stack up",
    # Not AWS_REGION, which boto3 does not read.
    NoRegionError: "set AWS_DEFAULT_REGION, or use ENV=local with the stack up",
    EndpointConnectionError: "is the stack up? `make up` starts the local one",
}
_HINTS_BY_CODE = {
    "ResourceNotFoundException": "check --stream, the region and the account, or apply Terraform first",
    THROTTLED: TOO_FAST,
    "AccessDeniedException": "the caller needs kinesis:{operation} on this stream",
    "ExpiredTokenException": _NO_LOGIN,
    "UnrecognizedClientException": _NO_LOGIN,
    "InvalidSignatureException": _NO_LOGIN,
}


class SendError(RuntimeError):
    """Records that the stream did not acknowledge. The message says why and what to do."""


def explain(error: Exception) -> str:
    """Return the error in one sentence, with a next step where one is known."""
    hint = next((hint for kind, hint in _HINTS_BY_TYPE.items() if isinstance(error, kind)), None)
    if isinstance(error, ClientError):
        hint = _HINTS_BY_CODE.get(error.response.get("Error", {}).get("Code", ""))
        hint = hint.format(operation=error.operation_name) if hint else None
    text = " ".join(str(error).split()).removesuffix(".")  # botocore puts some on several lines
    return f"{text}; {hint}" if hint else text
