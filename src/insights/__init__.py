"""The shop's questions: run every question of `sql/insights` on Athena or Trino, and draw the report."""

from insights.answer import Answer, run_all, table_dates
from insights.question import Question, all_questions

__all__ = ["Answer", "Question", "all_questions", "run_all", "table_dates"]
