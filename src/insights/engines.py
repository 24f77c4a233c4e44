"""Engines that answer the shop's questions: Athena on AWS, Trino (on which Athena is based) on the local stack."""

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
import trino

DATABASE = "my_db_ecomm"
CATALOG = "awsdatacatalog"
Row = tuple[Any, ...]


class EngineError(RuntimeError):
    """The engine did not answer or refused the statement; the message says which and what to do."""


class Engine(Protocol):
    """Anything that can run a statement with a `?` for each value."""

    def query(self, sql: str, values: Sequence[str | int]) -> tuple[tuple[str, ...], list[Row]]:
        """Return the names of the columns, and the rows; values are int, Decimal, str, date or None."""
        ...


class Trino:
    """Trino at an address such as http://127.0.0.1:8080. Its catalog has the name of Athena's."""

    def __init__(self, url: str, database: str = DATABASE, session: requests.Session | None = None) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise EngineError(f"Trino's URL is {url!r}; it must be an address such as http://127.0.0.1:8080.")
        self._url = url
        self._connection = trino.dbapi.connect(
            host=address.hostname,
            port=address.port or (443 if address.scheme == "https" else 8080),
            http_scheme=address.scheme,
            user="insights",
            source="insights",
            catalog=CATALOG,
            schema=database,
            http_session=session,
        )

    def query(self, sql: str, values: Sequence[str | int]) -> tuple[tuple[str, ...], list[Row]]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, list(values) or None)
            rows = [tuple(row) for row in cursor.fetchall()]
        except trino.exceptions.TrinoQueryError as error:
            raise EngineError(f"Trino refused the statement: {error.message}") from error
        except (trino.exceptions.Error, OSError) as error:
            raise EngineError(f"Trino does not answer at {self._url}; is the local stack up (`make up`)?") from error
        return tuple(column.name for column in cursor.description), rows


class Athena:
    """Athena (engine version 3) in a workgroup that sets where results go.

    `session` is a boto3 session with region and credentials; None is boto3's default session.
    """

    def __init__(self, workgroup: str, database: str = DATABASE, session: Any = None) -> None:
        self._workgroup = workgroup
        self._database = database
        self._session = session

    def query(self, sql: str, values: Sequence[str | int]) -> tuple[tuple[str, ...], list[Row]]:
        # Imported here: pandas takes a second to import, and Trino does not need it.
        import awswrangler
        import botocore.exceptions
        import pyarrow

        try:
            frame = awswrangler.athena.read_sql_query(
                sql,
                database=self._database,
                workgroup=self._workgroup,
                boto3_session=self._session,
                # A temporary table would need rights to write to the catalog.
                ctas_approach=False,
                params=[athena_literal(value) for value in values] or None,
                paramstyle="qmark",
            )
        except botocore.exceptions.NoCredentialsError as error:
            raise EngineError(
                "No AWS credentials found; configure them, or use the local stack (ENV=local)."
            ) from error
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise EngineError(f"Athena cannot be asked in workgroup {self._workgroup}: {error}") from error
        except awswrangler.exceptions.QueryFailed as error:
            raise EngineError(f"Athena refused the statement: {error}") from error
        # Through Arrow: it has one null and plain Python numbers, pandas has several kinds of each.
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        columns = [column.to_pylist() for column in table.columns]
        return tuple(table.column_names), list(zip(*columns, strict=True))


def athena_literal(value: str | int) -> str:
    """Return the value for Athena's ExecutionParameters: an SQL literal, strings in single quotes.

    https://docs.aws.amazon.com/athena/latest/ug/querying-with-prepared-statements.html
    """
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
