"""Start the tutorial's rule as a job on the streams, as src/detector/main.py starts ours. bench/latency.py submits it.

The tutorial is the blog post that this project comes from. Streams and options come from the application's properties.
Event time is as in the tutorial, with a watermark two seconds behind the events.
"""

import os
import sys
from pathlib import Path

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from detector import job  # noqa: E402
from evaluation import tutorial  # noqa: E402

# The detector's options are those of Flink's DataStream API, the tables' have other names.
SOURCE = {
    "stream": "stream",
    "aws.region": "aws.region",
    "aws.endpoint": "aws.endpoint",
    "flink.stream.initpos": "scan.stream.initpos",
    "flink.shard.getrecords.intervalmillis": "scan.shard.getrecords.intervalmillis",
}
SINK = {
    "stream": "stream",
    "aws.region": "aws.region",
    "aws.endpoint": "aws.endpoint",
    "buffer_ms": "sink.flush-buffer.timeout",
    "aws.http.protocol.version": "sink.http-client.protocol.version",
}


def start() -> None:
    """Start the job, and return without waiting for its end."""
    groups = job.read_property_groups(Path(os.environ["APPLICATION_PROPERTIES"]))
    # Without settings of its own, which the cluster refuses as Managed Flink does.
    env = StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment())
    tutorial.create(env, renamed(groups["source"], SOURCE), renamed(groups["alerts"], SINK))
    env.execute_sql(tutorial.statement())


def renamed(options: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """Return the options that have a name of a table."""
    return {names[key]: value for key, value in options.items() if key in names}


if __name__ == "__main__":
    start()
