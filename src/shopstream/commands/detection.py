"""Detection: attackers, scores, backtests, and Flink's own page."""

import sys
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from shopstream.app import app
from shopstream.failure import BAD_INPUT, Failure

PANEL = "Detection"

Data = Annotated[
    list[str], typer.Option("--data", metavar="DATA", help="shop events, as for replay; may be given several times")
]


def _csv(out: Path) -> Path:
    if not out.name.endswith((".csv", ".csv.gz")):
        raise typer.BadParameter(f"'{out}' is neither .csv nor .csv.gz; give a name that ends so")
    return out


def _finite(intensities: list[float]) -> list[float]:
    for intensity in intensities:
        if not isfinite(intensity):
            raise typer.BadParameter(f"{intensity} is not allowed; give a number from 1 up")
    return intensities


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
    out: Annotated[Path, typer.Option(metavar="FILE", help=".csv or .csv.gz to write", callback=_csv)],
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
    seed: Annotated[int, typer.Option(metavar="S", help="same seed, same attack")] = 1,
) -> None:
    """Mix labelled attackers into a file of shop events."""
    from random import Random

    from botocore.exceptions import BotoCoreError, ClientError

    from evaluation.lab import ScenarioError, survey
    from evaluation.mixture import Mixture
    from evaluation.rules import limits
    from evaluation.scenarios import load
    from simulator.sending.kinesis import explain
    from simulator.traffic.source import Source, SourceError

    known = load()
    if unknown := [name for name in scenarios if name not in known]:
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(known)}", param_hint="SCENARIO")
    try:
        source = Source(data)
        mixture = Mixture(survey(source, Random(seed)), limits(), seed, known)
        for name in scenarios:
            mixture.add(name, intensity if known[name].has_intensity else [1.0], attackers)
        rows = mixture.write(source, out, labels)
    except (SourceError, ScenarioError) as error:
        raise Failure(error, BAD_INPUT) from None
    except (BotoCoreError, ClientError) as error:  # a file on S3
        raise Failure(explain(error)) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else "an output cannot be written: "
        raise Failure(f"{name}{error.strerror}; give another path", BAD_INPUT) from None
    print(f"{out}: {rows:,} events, {len(mixture.attackers):,} attackers", file=sys.stderr)
