"""Applies terraform/ to a stack: the same code that goes to AWS, with the values of env/local.tfvars."""

import json

from python_terraform import IsFlagged, Terraform

from local_cloud.stack import ROOT, Stack


def apply(stack: Stack, variables: dict[str, object]) -> dict[str, str]:
    """Returns Terraform's outputs after everything was made; RuntimeError with its last words if something was not.

    `variables` go before the values of env/local.tfvars.
    """
    state = str(stack.directory / "terraform.tfstate")
    own = stack.directory / "stack.tfvars.json"
    own.write_text(json.dumps({"kinesis_endpoint": stack.url("kinesis")} | variables))
    terraform = Terraform(working_dir=str(ROOT / "terraform"))
    code, out, err = terraform.apply(
        skip_plan=True,
        state=state,
        var_file=["env/local.tfvars", str(own)],  # the last one wins
        # Most of the time is spent waiting for resources that do not depend on each other.
        parallelism=30,
    )
    (stack.directory / "log" / "terraform.log").write_text(out + err)
    if code:
        raise RuntimeError(f"terraform apply failed, see {stack.directory}/log/terraform.log: {err[-2000:]}")
    code, out, err = terraform.output_cmd("-json", state=state, no_color=IsFlagged)
    if code:
        raise RuntimeError(f"terraform output failed: {err}")
    outputs = {name: output["value"] for name, output in json.loads(out).items()}
    (stack.directory / "outputs.json").write_text(json.dumps(outputs, indent=2))
    return outputs
