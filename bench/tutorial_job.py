"""Start the tutorial's rule as a job on the streams, as src/detector/main.py starts ours. bench/latency.py submits it.

The tutorial is the blog post that this project comes from. Streams and options come from the application's properties.
Event time is as in the tutorial: not cut to seconds, with a watermark two seconds behind the events.
"""

import os
import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from detector import job, rulebook  # noqa: E402

TUTORIAL_TIME = """
create table raw_events (
  event_at as txn_timestamp,
  watermark for event_at as event_at - interval '2' second
) like events (excluding generated excluding watermarks)
"""


def start() -> None:
    """Start the job, and return without waiting for its end."""
    groups = job.read_property_groups(Path(os.environ["APPLICATION_PROPERTIES"]))
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    job.create_tables(env, rulebook.read().plain(), groups)
    env.execute_sql("alter table raw_events rename to events")
    env.execute_sql(TUTORIAL_TIME)
    env.execute_sql((ROOT / "src" / "evaluation" / "tutorial.sql").read_text())


if __name__ == "__main__":
    start()
