"""Trino on the emulator's Glue catalog and S3: Athena's engine version 3 derives from it."""

import json
import urllib.error
import urllib.request
from pathlib import Path

from local_cloud.stack import ACCOUNT, REGION, ROOT, Program, Stack, java_environment

HOME = ROOT / ".tools" / "trino" / "trino-server-core-476"


def program(stack: Stack) -> Program:
    """Returns Trino's process; writes its settings into the stack's directory."""
    etc = write_settings(stack)
    java = java_environment()
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
    """Returns the folder of Trino's settings files."""
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
    # The catalog has Athena's name for Glue's, so that a query may name it in both.
    (catalogs / "awsdatacatalog.properties").write_text(f"""connector.name=iceberg
iceberg.catalog.type=glue
hive.metastore.glue.region={REGION}
hive.metastore.glue.endpoint-url={stack.url("emulator")}
hive.metastore.glue.aws-access-key={ACCOUNT}
hive.metastore.glue.aws-secret-key=local
fs.native-s3.enabled=true
s3.endpoint={stack.url("emulator")}
s3.region={REGION}
s3.path-style-access=true
s3.aws-access-key={ACCOUNT}
s3.aws-secret-key=local
""")
    return etc


def wait_until_ready(stack: Stack) -> None:
    """Returns when Trino answers queries."""
    stack.wait_for(lambda: is_ready(stack.url("trino")), f"Trino, see {stack.log('trino')}", timeout_s=180)


def is_ready(url: str) -> bool:
    """Returns whether Trino says that it has started."""
    try:
        with urllib.request.urlopen(f"{url}/v1/info", timeout=2) as response:
            return not json.load(response)["starting"]
    except (urllib.error.URLError, OSError):
        return False
