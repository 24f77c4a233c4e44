"""AWS: which account a command acts on, and what Terraform leaves to do."""

import sys

from botocore.exceptions import BotoCoreError, ClientError

from detector.restart import start_if_ended
from shopstream.app import app
from shopstream.environment import Aws, Env, check_aws
from shopstream.failure import BAD_INPUT, Failure


@app.command(rich_help_panel="AWS")
def access(env: Env = "dev") -> None:
    """Write the AWS account that ENV acts on to stderr; fail if there is none, or if ENV is not on AWS."""
    if env == "local":
        raise Failure("'make up' deploys to this machine; plan, deploy and destroy are for ENV=dev or prod", BAD_INPUT)
    check_aws(env)


@app.command(rich_help_panel="AWS")
def start_detector(env: Env = "dev") -> None:
    """Start the detector from its latest snapshot if it should run (start_detector) but has ended."""
    check_aws(env)
    environment = Aws(env)
    if not environment.outputs["start_detector"]:
        return
    name = environment.outputs["detector_name"]
    try:
        if start_if_ended(environment.client("kinesisanalyticsv2"), name):
            print(f"{name} had ended: started it again from its latest snapshot", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"{name} was not started ({error}): start it in the console of Managed Flink") from None
