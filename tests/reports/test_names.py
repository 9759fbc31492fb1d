"""What a paper prints for the values of axes."""

from __future__ import annotations

import pytest

from reports.document import Column, Entry, Group, Row, Table
from reports.names import renamed

NAMES = {
    "backend": {"sdpa": "Ours", "none": "no attention"},
    "weights": {"topk-random": "random k", "none": "untrained"},
    "top_k": {"64": "64 keys", "null": "every key"},
    "setting": {"sigma=25": "σ = 25"},
}


def printed(text: str, column: str = "who", value: float | None = None) -> str:
    rows = (Row(entries=(Entry(text=text, value=value),)),)
    (group,) = renamed(Table(caption="", columns=(Column(label=column),), groups=(Group(rows=rows),)), NAMES).groups
    return group.rows[0].entries[0].text


@pytest.mark.parametrize(
    ("column", "text", "name"),
    [
        ("backend", "sdpa", "Ours"),
        ("backend", "none", "no attention"),
        ("weights", "none", "untrained"),
        ("k", "64", "64 keys"),
        ("k", "all", "every key"),
        ("set", "sdpa", "Ours"),
        ("set", "none", "none"),
        ("window", "64", "64"),
        ("images", "all", "all"),
        ("backend", "mask", "mask"),
    ],
)
def test_a_value_gets_its_name_in_the_column_of_its_axis_and_as_a_word_elsewhere(
    column: str, text: str, name: str
) -> None:
    assert printed(text, column) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("window 8 · k 64 · sdpa", "window 8 · k 64 keys · Ours"),
        ("weights topk-random · k all", "random k · k every key"),
        ("no time of sdpa here, or sdpa.", "no time of Ours here, or Ours."),
        ("sigma=25", "σ = 25"),
        ("sigma=25,color=rgb", "sigma=25,color=rgb"),
        ("topk-random-s0", "topk-random-s0"),
        ("my-sdpa, sdpa2, sdpa/x", "my-sdpa, sdpa2, sdpa/x"),
        ("none of 64", "none of 64"),
    ],
)
def test_words_are_replaced_whole(text: str, said: str) -> None:
    assert printed(text) == said


def test_numbers_stay_as_they_are() -> None:
    assert printed("64", "k", value=64.0) == "64"


def test_names_stand_in_every_part_of_a_table() -> None:
    table = Table(
        caption="sdpa in the caption",
        columns=(Column(label="against sdpa", unit="× sdpa", family="sdpa"),),
        groups=(Group(title="sdpa", rows=(Row(entries=(Entry(text="-", reason="sdpa failed"),)),)),),
        notes=("sdpa lacks it",),
    )
    found = renamed(table, NAMES)
    (column,), (group,) = found.columns, found.groups
    said = (found.caption, column.label, column.unit, column.family, group.title, *found.notes)
    assert said == ("Ours in the caption", "against Ours", "× Ours", "Ours", "Ours", "Ours lacks it")
    assert group.rows[0].entries[0].reason == "Ours failed"


def test_a_name_is_not_renamed_again() -> None:
    names = {"backend": {"mask": "sdpa", "sdpa": "mask"}}
    (group,) = renamed(
        Table(caption="", columns=(Column(label="x"),), groups=(Group(title="mask · sdpa", rows=()),)), names
    ).groups
    assert group.title == "sdpa · mask"


def test_without_names_a_table_stays_as_it_is() -> None:
    table = Table(caption="sdpa", columns=(Column(label="k"),), groups=(Group(rows=()),))
    assert renamed(table, {}) == table
