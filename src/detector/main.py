"""Entry point of the Managed Flink application: starts the rules as one job, with the application's properties.

https://docs.aws.amazon.com/managed-flink/latest/java/how-python-creating.html
"""

import os
import sys
from pathlib import Path

# The folder of the unpacked application. Flink starts a link to this file in another folder.
FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from detector import job  # noqa: E402

PROPERTIES = "/etc/flink/application_properties.json"


def main() -> None:
    """Start the job and return."""
    groups = job.read_property_groups(Path(os.environ.get("APPLICATION_PROPERTIES", PROPERTIES)))
    job.build(job.read_book(FOLDER / "rulebook.json"), groups, {}).start(job.NAME)


if __name__ == "__main__":
    main()
