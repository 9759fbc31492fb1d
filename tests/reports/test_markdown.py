"""Markdown holds every number that a page holds, folded ones too, and marks the best where GitHub can show it."""

from __future__ import annotations

from reports.document import Code, Column, Details, Document, Entry, Group, Row, Section, Table, Text
from reports.renderers.markdown import render

COLUMNS = (Column(label="who"), Column(label="PSNR", unit="dB", kind="number"))


def table(*rows: tuple[Entry, ...]) -> Table:
    return Table(caption="Numbers", columns=COLUMNS, groups=(Group(rows=tuple(Row(entries=row) for row in rows)),))


def page(*blocks: Table | Details | Text | Code) -> Document:
    return Document(title="Which?", sections=(Section(title="Answers", anchor="answers", blocks=blocks),))


ONE = table((Entry(text="a*b"), Entry(text="30.1", value=30.1)))
FOLDED = Details(title="More", count="1 cell", blocks=(Details(title="Inside", blocks=(ONE,)), Code(text="a ``` b")))


def test_what_a_page_folds_stands_under_headings_of_its_own() -> None:
    assert render(page(FOLDED), titled=True) == (
        "# Which?\n\n## Answers\n\n### More (1 cell)\n\n#### Inside\n\n"
        "| who | PSNR, dB |\n| --- | ---: |\n| a\\*b | 30.1 |\n\n````\na ``` b\n````\n"
    )


def test_a_readme_leaves_it_out() -> None:
    assert render(page(FOLDED), folded=False) == "\n"
    assert "30.1" in render(page(ONE), folded=False)


def test_best_and_second_are_marked_and_told() -> None:
    rows = [
        (Entry(text="a"), Entry(text="31", value=31.0, best=True)),
        (Entry(text="b"), Entry(text="30", value=30.0, second=True)),
        (Entry(text="c"), Entry(text="no", reason="no weights")),
    ]
    text = render(page(table(*rows)))
    assert "| a | **31** |\n| b | <ins>30</ins> |\n| c | no |" in text
    assert text.endswith("\n\nBest in bold, second underlined.\n")
    assert render(page(table(rows[0]))).endswith("\n\nBest in bold.\n")
    assert "bold" not in render(page(ONE))
