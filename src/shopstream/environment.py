"""Where a command acts: an AWS account, or the local stack that `make up` started.

Names, ARNs and URLs come from Terraform's outputs in both cases. Nothing here changes `os.environ`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.stack import ROOT, Stack
from shopstream.failure import BAD_INPUT, Failure

if TYPE_CHECKING:
    from insights.engines import Engine

LOCAL = "local"

# Options that several commands share.
Env = Annotated[
    str,
    typer.Option("--env", metavar="dev|prod|local", help="AWS environment, or the stack of `make up`"),
]
Home = Annotated[Path, typer.Option("--home", metavar="DIR", help="folder of the local stack and of all results")]
DEFAULT_HOME = ROOT / "build"


class Environment(Protocol):
    """A deployed platform."""

    name: str

    @property
    def outputs(self) -> Mapping[str, str]:
        """Terraform's outputs by name. Raise Failure if nothing is deployed."""

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of the service."""

    def engine(self) -> "Engine":
        """Return what answers SQL about the lake's tables."""


class Aws:
    """An environment on AWS, whose Terraform state is `terraform/state/<name>.tfstate`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        command = ["terraform", f"-chdir={ROOT / 'terraform'}", "output", "-json", f"-state=state/{self.name}.tfstate"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Failure("Terraform is missing: `make install` says how to install it") from None
        outputs = json.loads(done.stdout) if done.returncode == 0 else {}
        if "region" not in outputs:
            raise Failure(
                f"nothing is deployed for ENV={self.name}: call make deploy first, or use ENV=local after make up"
            )
        return {name: output["value"] for name, output in outputs.items()}

    @cached_property
    def session(self) -> boto3.Session:
        return boto3.Session(region_name=self.outputs["region"])

    def client(self, service: str, **options: Any) -> Any:
        return self.session.client(service, **options)

    def engine(self) -> "Engine":
        from insights.engines import Athena

        return Athena(self.outputs["workgroup_name"], self.outputs["database"], self.session)


class Local:
    """The running local stack below `home`, with all that is deployed to it."""

    name = LOCAL

    def __init__(self, home: Path) -> None:
        try:
            self.stack = Stack.load(home / "local")
        except FileNotFoundError:
            raise Failure("no local stack: start one with 'make up'") from None
        try:
            self.outputs: Mapping[str, str] = self.stack.outputs()
        except FileNotFoundError:
            raise Failure("the local stack is still being deployed: wait until 'make up' says that it is up") from None

    def client(self, service: str, **options: Any) -> Any:
        return self.stack.client(service, **options)

    def engine(self) -> "Engine":
        from local_cloud import trino

        return trino.engine(self.stack)


def open_environment(name: str, home: Path = DEFAULT_HOME) -> Aws | Local:
    """Return the environment of that name. Raise Failure if it cannot be reached, before anything is changed."""
    if name == LOCAL:
        return Local(home)
    check_aws(name)
    return Aws(name)


def check_aws(name: str) -> None:
    """Write the AWS account that a command is about to act on to stderr. Raise Failure if there is none."""
    if not (ROOT / "terraform" / "env" / f"{name}.tfvars").is_file():
        raise Failure(
            f"ENV is '{name}', but there is no terraform/env/{name}.tfvars: use dev or prod, or write it", BAD_INPUT
        )
    if os.environ.get("AWS_ENDPOINT_URL"):
        # Terraform would find none of what it once made, and forget it, while AWS goes on billing for it.
        raise Failure("this shell points at another cloud (AWS_ENDPOINT_URL): open a new one, or use ENV=local")
    try:
        # Which region answers makes no difference: accounts are global.
        account = boto3.client("sts", region_name="us-east-1").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"no access to AWS ({error}): log in to your account, or use ENV=local after `make up`") from None
    print(f"AWS account {account}", file=sys.stderr)
