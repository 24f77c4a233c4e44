"""Apply terraform/ to a stack: the same code that goes to AWS, with the values of env/local.tfvars."""

import json

from local_cloud.stack import ROOT, Stack

FOLDER = ROOT / "terraform"


def apply(stack: Stack, variables: dict[str, object]) -> dict[str, str]:
    """Create everything and return Terraform's outputs. Raise RuntimeError with the end of its errors if it fails.

    `variables` have priority over the values of env/local.tfvars.
    """
    state = f"-state={stack.directory / 'terraform.tfstate'}"
    own = stack.directory / "stack.tfvars.json"
    own.write_text(json.dumps({"kinesis_endpoint": stack.url("kinesis")} | variables))
    terraform = ["terraform", f"-chdir={FOLDER}"]
    command = [*terraform, "apply", "-auto-approve", "-input=false", "-no-color", state]
    # The last file wins. Most of the time goes into waiting for resources that do not depend on each other.
    command += ["-var-file=env/local.tfvars", f"-var-file={own}", "-parallelism=30"]
    done = stack.run(command)
    log = stack.directory / "log" / "terraform.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"terraform apply failed, see {log}: {done.stderr[-2000:]}")
    shown = stack.run([*terraform, "output", "-json", "-no-color", state])
    if shown.returncode:
        raise RuntimeError(f"terraform output failed: {shown.stderr}")
    outputs = {name: output["value"] for name, output in json.loads(shown.stdout).items()}
    (stack.directory / "outputs.json").write_text(json.dumps(outputs, indent=2))
    return outputs
