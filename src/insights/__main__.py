"""Command line: `python -m insights --engine trino|athena`; answers to stdout, progress to stderr.

Exit codes: 0 all answered, 1 an engine could not answer, 2 wrong arguments, 130 interrupted.
"""

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from insights.answer import Answer, EmptyTableError, run_all, table_dates
from insights.engines import DATABASE, EngineError, from_environment
from insights.question import QuestionError
from insights.report import render, text_table

FIRST_ROWS = 10


def main(arguments: list[str] | None = None) -> int:
    """Exit code of one run over all questions."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        engine = from_environment(options.engine, options.database)
        from_date, to_date = options.from_date, options.to_date
        if not (from_date and to_date):
            first_date, last_date = table_dates(engine)
            from_date, to_date = from_date or first_date, to_date or last_date
        if from_date > to_date:
            parser.error(f"--from-date {from_date} is after --to-date {to_date}; both days are included.")
        print(f"asking {options.engine}, {from_date} to {to_date} (UTC)", file=sys.stderr)
        answers = run_all(engine, {"from_date": from_date, "to_date": to_date, "top_n": options.top_n})
    except (EngineError, EmptyTableError, QuestionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _show(answers, as_json=options.json)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for answer in answers:
            answer.write_csv(options.out / f"{answer.question.name}.csv")
        print(f"answers as CSV in {options.out}", file=sys.stderr)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(render(answers), encoding="utf-8")
        print(f"report: {options.report}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="insights", description="Ask every question of sql/insights.")
    parser.add_argument("--engine", choices=("trino", "athena"), required=True, help="where the tables are")
    parser.add_argument("--database", default=DATABASE, help="Glue database (default: %(default)s)")
    parser.add_argument("--from-date", type=_day, help="first day, UTC (default: the table's first)")
    parser.add_argument("--to-date", type=_day, help="last day, included (default: the table's last)")
    parser.add_argument("--top-n", type=_count, default=10, help="length of ranked answers (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each answer as a CSV file into this folder")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the answers as one HTML page")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all rows")
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write it as 2019-10-01.") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count; use a whole number from 1 up.")
    return int(text)


def _show(answers: list[Answer], as_json: bool) -> None:
    if as_json:
        print(json.dumps({answer.question.name: answer.records() for answer in answers}, indent=2))
        return
    for answer in answers:
        print(f"{answer.question.title}\n{answer.question.question}\n\n{text_table(answer, FIRST_ROWS)}\n")


if __name__ == "__main__":
    sys.exit(main())
