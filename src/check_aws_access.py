"""Says which AWS account a command is about to act on, or in one sentence why it can act on none."""

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Writes the account to stderr; exits with 1 where there are no credentials that AWS accepts."""
    if os.environ.get("AWS_ENDPOINT_URL"):
        # Terraform would find none of what it once made, and forget it, while AWS goes on billing for it.
        sys.exit("error: this shell points at another cloud (AWS_ENDPOINT_URL): open a new one, or use ENV=local")
    try:
        # Which region answers makes no difference: accounts are global.
        account = boto3.client("sts", region_name="us-east-1").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"error: no access to AWS ({error}): log in to your account, or use ENV=local after `make up`")
    print(f"AWS account {account}", file=sys.stderr)


if __name__ == "__main__":
    main()
