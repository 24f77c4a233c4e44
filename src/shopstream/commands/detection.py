"""Detection: attackers, scores, backtests, and Flink's own page."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shopstream.app import app
from shopstream.environment import DEFAULT_HOME, Env, Environment, Home, Local, open_environment
from shopstream.failure import BAD_INPUT, Failure, simulator_failures
from shopstream.parsers import DAY, MappingOption, SortOption, parse_made_file

if TYPE_CHECKING:
    from simulator.traffic.source import Source

PANEL = "Detection"

Data = Annotated[
    list[str], typer.Option("--data", metavar="DATA", help="shop events, as for replay; may be given several times")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="folder of the results")]
FromDate = Annotated[date | None, typer.Option(help="first day of arrival, UTC", **DAY)]
ToDate = Annotated[date | None, typer.Option(help="last day of arrival, included", **DAY)]


def _finite(intensities: list[float]) -> list[float]:
    for intensity in intensities:
        if not isfinite(intensity):
            raise typer.BadParameter(f"{intensity} is not allowed; give a number from 1 up")
    return intensities


def _source(data: list[str] | None, mapping: str | None, sort: bool) -> "Source | None":
    """Return the source of all --data, None if none is given. One may name several inputs, as `make` passes DATA."""
    from simulator.traffic.inputs import SourceError, split_data
    from simulator.traffic.source import Source

    if not data:
        return None
    try:
        return Source([name for text in data for name in split_data(text)], mapping=mapping, sort=sort)
    except SourceError as error:
        raise Failure(error, BAD_INPUT) from None


@app.command(rich_help_panel=PANEL)
def attack(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO",
            help="a rule such as burst, just_under, or a control such as five_tabs; a wrong name lists all of them",
        ),
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help=".csv or .csv.gz to write", parser=parse_made_file)],
    labels: Annotated[Path, typer.Option(metavar="FILE", help="who attacked, as JSON, to write")],
    intensity: Annotated[
        list[float],
        typer.Option(
            metavar="X",
            min=1,
            callback=_finite,
            help="how loud, times the rule's threshold; may be given several times",
        ),
    ] = [2.0],  # noqa: B006 (Typer's default)
    attackers: Annotated[int, typer.Option(metavar="N", min=1, help="of each scenario and intensity")] = 1,
    mapping: MappingOption = None,
    seed: Annotated[int, typer.Option(metavar="S", help="same seed, same attack")] = 1,
) -> None:
    """Mix labelled attackers into a file of shop events."""
    from random import Random

    from evaluation import history
    from evaluation.lab import ScenarioError, survey
    from evaluation.mixture import Mixture
    from evaluation.rules import limits
    from evaluation.scenarios import load

    known = load()
    if unknown := [name for name in scenarios if name not in known]:
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(known)}", param_hint="SCENARIO")
    try:
        with simulator_failures():
            source = _source(data, mapping, sort=True)
            assert source  # DATA is required
            history.read(source)
            mixture = Mixture(survey(source, Random(seed)), limits(), seed, known)
            for name in scenarios:
                mixture.add(name, intensity if known[name].has_intensity else [1.0], attackers)
            rows = mixture.write(source, out, labels)
    except (ScenarioError, history.HistoryError) as error:
        raise Failure(error, BAD_INPUT) from None
    print(f"{out}: {rows:,} events, {len(mixture.attackers):,} attackers", file=sys.stderr)


@app.command(rich_help_panel=PANEL)
def score(
    data: Annotated[
        list[str] | None, typer.Option(metavar="DATA", help="traffic, as for replay (default: traffic made here)")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="who attacks in DATA, as JSON (default: our own attackers)")
    ] = None,
    mapping: MappingOption = None,
    sort: SortOption = True,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of the results")] = DEFAULT_HOME / "score",
) -> None:
    """Measure recall, precision and false alarms of the rules, beside the tutorial's rule."""
    from evaluation.history import HistoryError
    from evaluation.lab import ScenarioError
    from evaluation.score import ScoreError, score_traffic

    try:
        with simulator_failures():
            print(score_traffic(_source(data, mapping, sort), labels, out))
    except (ScoreError, HistoryError, ScenarioError) as error:
        raise Failure(error, BAD_INPUT) from None
    except RuntimeError as error:
        raise Failure(error) from None


@contextmanager
def _failures_of_history() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    from evaluation.history import HistoryError
    from lambda_alert.alert import MalformedAlert
    from simulator.sending.errors import explain

    try:
        yield
    except MalformedAlert as error:
        raise Failure(f"a rule raises an alert that breaks contracts/alert.json: {error}; fix the rule") from None
    except (HistoryError, OSError) as error:
        raise Failure(error, BAD_INPUT) from None
    except (BotoCoreError, ClientError) as error:
        # AWS's own words name the call and what it was about; the hints for its codes are those of a stream.
        raise Failure(error if isinstance(error, ClientError) else explain(error), BAD_INPUT) from None
    except RuntimeError as error:
        raise Failure(error) from None


def _over_bucket(environment: Environment, days: list[date], values: str, folder: Path) -> tuple[list[dict], str]:
    """Return the alerts, and the table of who would be flagged."""
    from evaluation import history

    deployed = history.deployed_groups(environment.client("kinesisanalyticsv2"), environment.outputs["detector_name"])
    groups = history.with_values(deployed, values)
    found = history.over_bucket(environment.client("s3"), environment.outputs["raw_bucket"], days, groups, folder)
    return found, history.table(history.flagged(found, folder / history.RECORDS, groups))


@app.command(rich_help_panel=PANEL)
def backtest(
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="DATA", help="shop events, as for replay (default: what arrived in the raw bucket)"),
    ] = None,
    values: Annotated[
        str, typer.Option(metavar="JSON", help='values of the rules to try: {"burst": {"threshold": 8}}')
    ] = "{}",
    mapping: MappingOption = None,
    sort: SortOption = True,
    from_date: FromDate = None,
    to_date: ToDate = None,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    out: Out = None,
) -> None:
    """List who the rules would have flagged, in DATA or in what arrived in the raw bucket. Nobody is notified.

    The rules are those of this folder. Over the raw bucket their values are those of the deployed detector. Days
    default to today.
    """
    from evaluation import history
    from evaluation.actors import DEFAULTS

    folder = out or home / "backtest"
    today = datetime.now(UTC).date()
    with _failures_of_history():
        days = history.days_between(from_date or today, to_date or today)
        if source := _source(data, mapping, sort):
            found = history.over_data(source, history.with_values(DEFAULTS, values), folder)
            print(history.table(history.flagged(found, folder / history.RECORDS)))
        else:
            print(_over_bucket(open_environment(env, home), days, values, folder)[1])
    print(f"the alerts are in {folder / history.ALERTS}", file=sys.stderr)


@app.command(rich_help_panel=PANEL)
def reprocess(
    from_date: FromDate = None,
    to_date: ToDate = None,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    out: Out = None,
) -> None:
    """Store the alerts that the rules find in the raw bucket, marked as reprocessed. They make no incident.

    The rules are those of this folder, with the values of the deployed detector. Alerts that are there stay as they
    are.
    """
    from evaluation import history
    from lambda_alert.settings import DEFAULT_QUIET_S, DEFAULT_RETENTION_DAYS
    from lambda_alert.store import Store

    if not from_date or not to_date:
        days_missing = "reprocess needs the days of arrival: give FROM and TO, such as FROM=2026-11-01 TO=2026-11-02"
        raise Failure(days_missing, BAD_INPUT)
    folder = out or home / "reprocess"
    with _failures_of_history():
        days = history.days_between(from_date, to_date)
        environment = open_environment(env, home)
        found, table_of_flagged = _over_bucket(environment, days, "{}", folder)
        print(table_of_flagged)
        name = environment.outputs["incident_table_name"]
        table = Store(environment.client("dynamodb"), name, DEFAULT_RETENTION_DAYS, DEFAULT_QUIET_S)
        new = history.store(table, found, datetime.now(UTC))
    print(f"{len(found):,} alerts, {new:,} stored, {len(found) - new:,} were known")
    print(f"the alerts are in {folder / history.ALERTS}", file=sys.stderr)


@app.command(rich_help_panel=PANEL)
def flink_ui(env: Env = "dev", home: Home = DEFAULT_HOME) -> None:
    """Print the address of Flink's page of the detector: records in and out, lag, watermarks."""
    from detector.flink_page import NoPage, page_url

    environment = open_environment(env, home)
    if isinstance(environment, Local):
        print(environment.stack.url("flink_rest"))
        return
    try:
        print(page_url(environment.client("kinesisanalyticsv2"), environment.outputs["detector_name"]))
    except NoPage as error:
        raise Failure(error) from None
    print("open it within three minutes; it is valid for an hour", file=sys.stderr)
