"""The local cluster refuses, as Managed Flink does, a job whose code sets an option that is not allowed."""

from pathlib import Path

import pytest

from local_cloud import flink
from local_cloud.stack import Stack

PROGRAM = """
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.common import Configuration

options = Configuration()
options.set_string("state.backend.rocksdb.use-bloom-filter", "true")
env = StreamExecutionEnvironment.get_execution_environment(options)
env.from_collection([1]).print()
env.execute("forbidden")
"""


def test_an_option_that_managed_flink_refuses_is_refused(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "forbidden.py"
    program.write_text(PROGRAM)
    jar = stack.directory / "flink" / "app" / "lib" / "pyflink-dependencies.jar"
    with pytest.raises(RuntimeError, match="did not start"):
        flink.run(stack, "a job that sets an option", program, jar, flink.properties_file(stack), 1, 60_000)
    log = (stack.directory / "log" / "flink-run.log").read_text()
    assert "MutatedConfigurationException" in log and "use-bloom-filter" in log
    assert flink.running_job(stack)  # the detector passed the same gate
