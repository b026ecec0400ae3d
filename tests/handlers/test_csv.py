"""CSV that a spreadsheet opens without calculating anything."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.csv_text import csv_text

FIRST = "=+-@\t\r\n|\uff1d\uff0b\uff0d\uff20"


@given(st.text())
def test_no_cell_begins_as_a_formula_and_every_cell_can_be_read_back(text: str) -> None:
    for cell in (text, *(first + text for first in FIRST), f"  ={text}"):
        ((header,), (read,)) = csv.reader(io.StringIO(csv_text(["a"], [{"a": cell}]).decode(), newline=""))
        assert header == "a"
        assert read in (cell, f"'{cell}")
        assert not read.lstrip(" ").startswith(tuple(FIRST))


@pytest.mark.parametrize("value", [None, "", 7, True])
def test_other_values_are_written_as_text(value: object) -> None:
    assert csv_text(["a"], [{"a": value}]).decode() == f'"a"\r\n"{"" if value is None else value}"\r\n'
