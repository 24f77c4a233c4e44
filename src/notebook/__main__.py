"""Command line: `python -m notebook` writes the note of `notebooks/`, `--check` compares it instead.

Exit codes: 0 written or up to date, 1 stale or not to be made, 2 wrong arguments.
"""

import argparse
import sys
from pathlib import Path

from notebook.statement import SQL_FOLDER, StatementError
from notebook.studio import NOTE, render_note


def main(arguments: list[str] | None = None) -> int:
    """Exit code of one run."""
    parser = argparse.ArgumentParser(prog="notebook", description="Make the Zeppelin note of sql/detection.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the note is stale")
    parser.add_argument("--sql", type=Path, default=SQL_FOLDER, metavar="DIR", help="statements (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=NOTE, metavar="FILE", help="the note (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        note = render_note(options.sql)
    except StatementError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not options.check:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(note, encoding="utf-8")
        print(f"note: {options.out}", file=sys.stderr)
        return 0
    if not options.out.is_file() or options.out.read_text(encoding="utf-8") != note:
        print(
            f"error: {options.out} is not what {options.sql} gives today\n"
            "hint: call `make notebook` and commit the note",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
