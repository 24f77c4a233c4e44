"""Installs Terraform's provider from the user's settings, the registry or a mirror on this machine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

from install.failure import Failure
from install.tools import VERSIONS, answer, terraform_problems

INITIALISED = Path("terraform/.terraform")
# Folders whose subfolders may be mirrors, beside the home folder.
PARENTS = ("/opt", "/usr/share", "/usr/local/share")
# The registry answers within a second or not at all. Only the answer is limited, not the download.
REGISTRY_SECONDS = 15
QUICK = {"TF_REGISTRY_CLIENT_TIMEOUT": "10", "TF_REGISTRY_DISCOVERY_RETRY": "0"}


def install() -> None:
    """Initialise terraform/ and say where the provider came from; Failure if it cannot be had."""
    version, platform = wanted()
    if any(INITIALISED.glob(f"providers/*/hashicorp/aws/{version}/{platform}")) and lock_file().exists():
        # It is there, so only a module is new. `terraform init` would ask the registry all the same.
        trouble = terraform("get", "-no-color")
        if trouble:
            raise Failure(f"terraform get failed:\n{trouble}")
    else:
        print("installing Terraform's provider", flush=True)
        print(f"using Terraform's provider {source(version, platform)}", flush=True)
    (INITIALISED / "installed").touch()


def source(version: str, platform: str) -> str:
    """Install the provider and return where it came from."""
    settings = configuration()
    trouble = initialise(limit=None if settings else REGISTRY_SECONDS)
    if not trouble:
        return settings or "from the registry, or from a mirror that Terraform finds by itself"
    if not about_provider(trouble):
        raise Failure(f"terraform init failed:\n{trouble}")
    os.environ.pop("TF_CLI_ARGS_init", None)  # a folder of its own that is missing would be an error again
    for mirror in mirrors(version, platform):
        trouble = initialise(f"-plugin-dir={mirror}")
        if not trouble:
            return f"from the mirror {mirror} (it cannot be had {settings or 'from the registry'})"
    raise Failure(missing(version, platform, settings, trouble))


def wanted() -> tuple[str, str]:
    """Return the provider's version, from terraform/versions.tf, and this machine's platform in Terraform's words."""
    match = re.search(r'"hashicorp/aws"\s+version = "= ([\d.]+)"', VERSIONS.read_text())
    assert match, f"{VERSIONS} names no exact version of hashicorp/aws"
    problems = terraform_problems(shutil.which("terraform"))
    if problems:
        raise Failure(*problems)
    said = answer(["terraform", "version", "-json"])
    assert said
    return match[1], json.loads(said)["platform"]


def lock_file() -> Path:
    """Return Terraform's lock file, which it writes when it has installed a provider."""
    return INITIALISED.parent / ".terraform.lock.hcl"


def configuration() -> str | None:
    """Return the user's setting that says where providers come from; Terraform itself reads it."""
    for name in ("TF_CLI_ARGS_init", "TF_CLI_ARGS"):
        if os.environ.get(name):
            return f"where {name} says"
    file = Path(os.environ.get("TF_CLI_CONFIG_FILE") or Path.home() / ".terraformrc")
    if file.is_file() and "provider_installation" in file.read_text():
        return f"where {file} says"
    return None


def mirrors(version: str, platform: str) -> Iterator[Path]:
    """Yield the mirrors that have the provider, one level below the home folder and the usual folders.

    Both of Terraform's layouts count: unpacked in a folder, and packed in a zip. Other folders are not searched.
    """
    for parent in (Path.home(), *map(Path, PARENTS)):
        if not os.access(parent, os.R_OK | os.X_OK):
            continue
        for folder in sorted(parent.iterdir()):
            unpacked = f"*/hashicorp/aws/{version}/{platform}"
            packed = f"*/hashicorp/aws/terraform-provider-aws_{version}_{platform}.zip"
            if os.access(folder, os.R_OK | os.X_OK) and any((*folder.glob(unpacked), *folder.glob(packed))):
                yield folder


def initialise(*options: str, limit: float | None = None) -> str:
    """Run `terraform init` and return its errors; empty if it succeeded.

    `limit`: seconds until it must have found the provider, or it is ended.
    """
    return terraform("init", "-input=false", "-no-color", *options, limit=limit)


def terraform(*arguments: str, limit: float | None = None) -> str:
    """Run Terraform on terraform/ and return its errors; empty if it succeeded. `limit`: see initialise."""
    process = subprocess.Popen(
        ["terraform", "-chdir=terraform", *arguments],
        env=QUICK | os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = Timer(limit or 0, process.kill)
    if limit:
        timer.start()
    lines = []
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        # The provider is found, so the download begins.
        if line.startswith(("- Installing hashicorp/", "- Using ")):
            timer.cancel()
    code = process.wait()
    timer.cancel()
    if code < 0:
        return f"Error: the provider was not found within {limit} seconds"
    said = "".join(lines)
    return said[max(0, said.find("Error:")) :].strip() if code else ""


def about_provider(trouble: str) -> bool:
    """Return whether an error of Terraform's is about fetching a provider, and not about the code in terraform/."""
    return re.search(r"Error: .*provider", trouble) is not None


def missing(version: str, platform: str, settings: str | None, trouble: str) -> str:
    """Return the sentence about a provider that cannot be had."""
    # Its headline and the paragraph below, each of which Terraform breaks into lines.
    words = "\n  ".join(" ".join(part.split()) for part in trouble.split("\n\n")[:2])
    return (
        f"Terraform's provider hashicorp/aws {version} is missing: looked {settings or 'in the registry'}, "
        f"in Terraform's own mirror folders and for a mirror in the folders one level below {Path.home()}, "
        f"{', '.join(PARENTS)}. On any system (Debian, Ubuntu, macOS): where the registry can be reached, run "
        f"`terraform -chdir=terraform providers mirror -platform={platform} FOLDER`, then copy "
        f"FOLDER into the home folder of this machine. Terraform said:\n  {words}"
    )
