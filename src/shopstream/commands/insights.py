"""Answers: the questions of sql/insights."""
