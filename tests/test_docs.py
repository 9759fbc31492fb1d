"""Examples in the documents do what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPACES = doctest.NORMALIZE_WHITESPACE  # pandas fills lines up, editors cut them


def test_the_example_in_pandas_runs_and_gives_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testfile(str(ROOT / "docs" / "pandas.md"), module_relative=False, optionflags=SPACES)
    assert tried > 5
    assert failed == 0
