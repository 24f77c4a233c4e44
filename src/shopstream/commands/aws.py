"""AWS: which account a command acts on."""

from shopstream.app import app
from shopstream.environment import Env, check_aws
from shopstream.failure import BAD_INPUT, Failure


@app.command(rich_help_panel="AWS")
def access(env: Env = "dev") -> None:
    """Write the AWS account that ENV acts on to stderr; fail if there is none, or if ENV is not on AWS."""
    if env == "local":
        raise Failure("'make up' deploys to this machine; plan, deploy and destroy are for ENV=dev or prod", BAD_INPUT)
    check_aws(env)
