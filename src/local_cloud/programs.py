"""The programs of a stack: two emulators, three pollers, Flink and Trino."""

import sys

from local_cloud import flink, ministack, trino
from local_cloud.processes import Program
from local_cloud.stack import ROOT, Stack

POLLERS = ("event_source_mapping", "firehose", "embedded_metrics")


def programs(stack: Stack) -> list[Program]:
    """Return the stack's programs. Write the settings files that they need into its directory."""
    return [*emulators(stack), *pollers(stack), *flink.programs(stack), trino.program(stack)]


def emulators(stack: Stack) -> list[Program]:
    """Return the emulators: one for Kinesis, one for all other services.

    The emulator's own event source mapping and Firehose lose records (docs/traps.md), so our pollers do their work. Two
    separate emulators keep them away from the streams.
    """
    # What the emulator gives to the functions that it runs.
    endpoints = {"AWS_ENDPOINT_URL": stack.url("emulator"), "AWS_ENDPOINT_URL_KINESIS": stack.url("kinesis")}
    log = stack.directory / "log"
    return [
        Program(
            name,
            ministack.COMMAND,
            ministack.settings(stack.ports[name], stack.directory / name, log) | endpoints,
        )
        for name in ("emulator", "kinesis")
    ]


def pollers(stack: Stack) -> list[Program]:
    """Return the pollers. Each is a process of its own, which learns from its environment where the stack is."""
    own = {"PYTHONPATH": str(ROOT / "src"), "STACK_DIRECTORY": str(stack.directory)}
    return [Program(name, [sys.executable, "-u", "-m", f"local_cloud.pollers.{name}"], own) for name in POLLERS]
