"""Malformed rows are counted by reason, and the most frequent reasons are shown with an example each."""

import pytest

from simulator.traffic.refused import Refused, shown
from simulator.traffic.source import Malformed


def row(reason: str, line_number: int = 7, text: str = "a,b") -> Malformed:
    return Malformed("shop.csv", line_number, reason, text)


def test_rows_that_differ_in_their_values_have_one_reason() -> None:
    refused = Refused()
    for number, price in enumerate(["'a'", "'b'", "'it\\'s'", '"it\'s"']):
        refused(row(f"price {price} is no decimal number from 0 to 99", number))
    refused(row("8 columns, expected 9", 4))
    refused(row("7 columns, expected 9", 5))
    assert refused.rows == 6
    assert [(one["rows"], one["example"]["line_number"]) for one in refused.reasons()] == [(4, 0), (2, 4)]


@pytest.mark.parametrize(("reasons", "rest"), [(3, []), (4, ["          1 malformed for 1 other reasons"])])
def test_the_top_three_reasons_are_shown(reasons: int, rest: list[str]) -> None:
    refused = Refused()
    for reason in "abcd"[:reasons]:
        for _ in range("dcba".index(reason) + 1):
            refused(row(f"{reason} is empty", text="x" * 1000))
    lines = shown(refused.reasons())
    assert lines[0] == f"          4 malformed, for example shop.csv, line 7: a is empty: {'x' * 120}…"
    assert [line.split(": ")[1] for line in lines[:3]] == ["a is empty", "b is empty", "c is empty"]
    assert lines[3:] == rest


def test_nothing_is_shown_of_good_rows() -> None:
    assert shown(Refused().reasons()) == []
