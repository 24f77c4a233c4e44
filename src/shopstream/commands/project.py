"""Project: generated files, packages, checks."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from shopstream.app import app
from shopstream.failure import FAILED, Failure

PANEL = "Project"


@app.command(rich_help_panel=PANEL)
def generate(
    check: Annotated[bool, typer.Option("--check", help="write nothing; fail if a generated file is stale")] = False,
) -> int:
    """Write the files that are generated from rules and questions: the note, tables in the docs, texts of notices."""
    from detector.described import RulebookError
    from insights.question import QuestionError
    from shopstream import generated

    try:
        if not check:
            for name in generated.write():
                print(f"generated {name}", file=sys.stderr)
            return 0
        stale = generated.stale()
    except (RulebookError, QuestionError, generated.MarkerError) as error:
        raise Failure(error) from None
    for name in stale:
        print(f"error: {name} is stale; hint: make generate, and commit it", file=sys.stderr)
    return FAILED if stale else 0


@app.command(rich_help_panel=PANEL)
def build(
    uv: Annotated[Path | None, typer.Option(metavar="FILE", help="the program uv (default: .tools/bin/uv)")] = None,
) -> None:
    """Build what Terraform deploys: build/detector.zip and build/lambda_alert.zip."""
    from detector.described import RulebookError
    from shopstream import packages

    try:
        packages.build(uv=uv)
    except (RulebookError, OSError) as error:
        raise Failure(error) from None
    except subprocess.CalledProcessError as error:
        raise Failure(f"uv failed with exit code {error.returncode}; its own message is above") from None
