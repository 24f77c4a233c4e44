"""What people type: the README's steps on one machine, and make's messages when something is missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local_cloud import counts
from local_cloud.stack import ROOT, Stack
from simulator.traffic.generate import write
from simulator.traffic.inputs import ALLOWED

HOME = ROOT / "build" / "e2e" / "make"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run make as someone without an AWS account, and return how it ended."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAKE", "MFLAGS"))}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    variables = ours | nowhere | {"AWS_EC2_METADATA_DISABLED": "true"} | environment
    return subprocess.run(["make", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def errors(*arguments: str, **environment: str) -> list[str]:
    """Run make, which must fail, and return the lines of the error without make's own."""
    result = make(*arguments, **environment)
    assert result.returncode != 0
    return [line for line in result.stderr.splitlines() if not line.startswith("make")]


def found_subjects(stack: Stack) -> set[str]:
    """Return the subjects of the stack's alerts."""
    alerts = counts.stored_alerts(stack.client("dynamodb"), stack.outputs()["incident_table_name"])
    return {item["subject"] for item in alerts}


def uploaded(stack: Stack, name: str) -> dict[str, bytes]:
    """Return the objects of the raw bucket whose keys contain the name, by key."""
    s3, bucket = stack.client("s3"), stack.outputs()["raw_bucket"]
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"] if name in one["Key"]]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_the_steps_of_the_readme_on_one_machine(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    [block] = [text for text in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "make up" in text]
    commands = [line.split("#")[0].split()[1:] for line in block.splitlines() if line.startswith("make ")]
    assert [command[0] for command in commands] == ["up", "simulate", "etl", "reconcile", "insights", "down"]
    data = tmp_path / "shop.csv"
    write(data, 2000, 1.0, 1, 1_583_100_000)
    said = {}
    try:
        for command in commands:
            if command[0] == "down":
                stack = Stack.load(HOME / "local")
                subjects = found_subjects(stack)
                upload = make("upload", "ENV=local", f"BUILD={HOME}", f"DATA={data}")
                assert upload.returncode == 0, upload.stderr
                objects = uploaded(stack, "shop")
            # Aggregates must come through Firehose and the detector too. The demo sends single events.
            own = ["ARGS=--aggregate"] if command[0] == "simulate" else []
            result = make(*command, f"BUILD={HOME}", f"DATA={data}", "BURSTS=2", *own)
            assert result.returncode == 0, result.stdout + result.stderr
            said[command[0]] = result
    finally:
        make("down", f"BUILD={HOME}")
    whole, sample = data.read_bytes(), b"".join(data.read_bytes().splitlines(keepends=True)[:1001])
    assert objects == {
        "ecomm_user_activity/p_year=2020/p_month=03/shop.csv": whole,
        "ecomm_user_activity_sample/shop-sample.csv": sample,
        "ecomm_user_activity_unconcompressed/p_year=2020/p_month=03/shop.csv": whole,
    }
    assert "(0 malformed)" in said["simulate"].stderr
    labels = json.loads((HOME / "simulate" / "labels.json").read_text())
    assert subjects == {f"user#{label['user_id']}" for label in labels}
    assert len(subjects) == 2
    rows = json.loads(said["etl"].stdout)
    assert rows["raw_rows"] == 2000 + sum(label["event_count"] for label in labels)
    assert rows["curated_rows"] + rows["duplicate_rows"] == rows["raw_rows"]
    assert "Equal: " in said["reconcile"].stdout
    assert "Unique visitors per day" in said["insights"].stdout
    assert said["down"].stderr == "stopped\n"
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if any(str(HOME) in part for part in line)]


@pytest.mark.parametrize("task", ["etl", "insights", "simulate"])
def test_a_local_step_without_a_stack_says_how_to_start_one(task: str) -> None:
    line = "error: no local stack: start one with 'make up'"
    assert errors(task, "ENV=local", f"BUILD={HOME}/none") == [line]


@pytest.mark.parametrize("task", ["simulate", "etl", "insights", "plan", "deploy", "destroy"])
def test_aws_without_credentials_names_the_way_without_an_account(task: str) -> None:
    [line] = errors(task)
    assert line == (
        "error: no access to AWS (Unable to locate credentials): log in to your account, or use ENV=local after "
        "`make up`"
    )


def test_reprocessing_without_its_days_asks_for_them() -> None:
    line = "error: reprocess needs the days of arrival: give FROM and TO, such as FROM=2026-11-01 TO=2026-11-02"
    assert errors("reprocess", "ENV=local", "FROM=2026-11-01") == errors("reprocess", "TO=2026-11-01") == [line]


def test_a_shell_that_points_at_the_local_stack_cannot_touch_aws() -> None:
    [line] = errors("destroy", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert line.startswith("error: this shell points at another cloud")


def test_an_unknown_environment_is_named() -> None:
    [line] = errors("deploy", "ENV=prdo")
    assert line.startswith("error: ENV is 'prdo', but there is no terraform/env/prdo.tfvars")


def test_a_file_that_is_not_there_is_named_before_anything_is_installed() -> None:
    expected = [
        f"error: DATA is 'missing.csv', which is no file: give the path of a file ({ALLOWED}), a folder, a glob or an "
        "s3:// address, or several of them separated by spaces"
    ]
    assert errors("demo", "DATA=missing.csv") == expected
    assert errors("simulate", "DATA=README.md missing.csv") == expected


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("terraform", "error: Terraform is missing: looked for terraform on the PATH. To install it: Debian/Ubuntu: "),
        ("mvn", "error: Maven is missing: looked for mvn on the PATH. To install it: Debian/Ubuntu: apt install maven"),
        (
            "java",
            "error: Java is missing, which Maven runs on: looked in JAVA_HOME (not set) and for java on the ",
        ),
        ("python3", "error: Python is missing: looked for python3 on the PATH. To install it: Debian/Ubuntu: apt "),
    ],
)
def test_a_tool_that_is_missing_is_named(tmp_path: Path, missing: str, sentence: str) -> None:
    programs = {
        "terraform": """echo '{"terraform_version": "1.9.0"}'""",
        "mvn": "command -v java > /dev/null",
        "java": "exit 0",
        "python3": f'exec {sys.executable} "$@"',
    }
    for name in programs.keys() - {missing}:
        (tmp_path / name).write_text(f"#!/bin/sh\n{programs[name]}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "make").symlink_to(shutil.which("make"))
    [line] = errors("install", PATH=str(tmp_path), JAVA_HOME="")
    assert line.startswith(sentence)
    assert "macOS: brew install" in line


def test_terraform_is_not_told_of_a_settings_file_that_is_missing(tmp_path: Path) -> None:
    more, settings = tmp_path / "more.mk", tmp_path / "settings.tfrc"
    more.write_text('show: ; @echo "[$$TF_CLI_CONFIG_FILE]"\n')
    arguments = ("--file", "Makefile", "--file", str(more), "show")
    assert make(*arguments, TF_CLI_CONFIG_FILE=str(settings)).stdout == "[]\n"
    settings.touch()
    assert make(*arguments, TF_CLI_CONFIG_FILE=str(settings)).stdout == f"[{settings}]\n"
