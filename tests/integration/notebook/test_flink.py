"""The committed note on real Flink 1.15 with its Kinesis connector. Every statement is planned, none is run."""

import pytest


class Session:
    """The Flink of a Studio notebook, with the tables and views of the statements so far."""

    def __init__(self, jvm: object) -> None:
        api = jvm.org.apache.flink.table.api
        self.env = api.TableEnvironment.create(api.EnvironmentSettings.inStreamingMode())
        self.details = jvm.java.lang.reflect.Array.newInstance(
            jvm.java.lang.Class.forName("org.apache.flink.table.api.ExplainDetail"), 0
        )

    def execute(self, statement: str) -> str:
        """Plan a statement, or execute it if it creates or drops something. Return its kind."""
        operation = next(iter(self.env.getParser().parse(statement)))
        kind = operation.getClass().getSimpleName()
        if kind == "SetOperation":
            self.env.getConfig().getConfiguration().setString(operation.getKey().get(), operation.getValue().get())
        elif kind.startswith(("Create", "Drop")):
            self.env.executeSql(statement)
        else:
            self.env.explainSql(statement, self.details)
        return kind


def statements(zeppelin, note: dict) -> list[list[str]]:
    """Return the statements of each cell, as Zeppelin splits them."""
    splitter = zeppelin.interpreter.util.SqlSplitter()
    cells = [paragraph["text"].split("\n", 1) for paragraph in note["paragraphs"]]
    return [list(splitter.splitSql(text)) for first, text in cells if first != "%md"]


def test_flink_plans_every_statement(flink, zeppelin, note):
    """Run the note twice from the top, as people do: what the first run created must not stop the second."""
    session = Session(flink)
    for _ in range(2):
        kinds = [session.execute(statement) for cell in statements(zeppelin, note) for statement in cell]
    assert kinds.count("CreateTableOperation") == 3
    assert {"SinkModifyOperation", "PlannerQueryOperation"} <= set(kinds)


def test_settings_are_values_to_flink(flink, zeppelin, note):
    session = Session(flink)
    for cell in statements(zeppelin, note):
        for statement in cell:
            session.execute(statement)
    options = flink.org.apache.flink.table.api.config
    configuration = session.env.getConfig().getConfiguration()
    assert configuration.get(options.ExecutionConfigOptions.IDLE_STATE_RETENTION).toString() == "PT1H"
    assert configuration.get(options.ExecutionConfigOptions.TABLE_EXEC_SOURCE_IDLE_TIMEOUT).toString() == "PT5S"
    assert configuration.get(options.TableConfigOptions.LOCAL_TIME_ZONE) == "UTC"


def test_connector_refuses_what_it_does_not_know(flink, zeppelin, note):
    """Show that the plans above check the tables' options."""
    from py4j.protocol import Py4JJavaError

    session = Session(flink)
    cells = statements(zeppelin, note)
    alerts = next(cell for cell in cells if "create table alerts" in cell[-1])
    for cell in cells[:-1]:
        for statement in cell:
            session.execute(statement)
    session.execute("drop table alerts")
    session.execute(alerts[-1].replace("'format' = 'json'", "'format' = 'json', 'sink.odd' = '1'"))
    with pytest.raises(Py4JJavaError, match=r"Unsupported options:\s+sink\.odd"):
        session.execute(next(cell[-1] for cell in cells if cell[-1].split()[0] == "insert"))
