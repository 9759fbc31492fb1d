"""Tables in LaTeX: what the file says, and that a real LaTeX sets it."""

from __future__ import annotations

import random
import re
import shutil
import string
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from harness.cli import app
from harness.paper import Paper
from harness.record import Cell, Measured, Measurement, Record
from harness.store import ResultStore, StoredPlan
from reports.document import (
    Column,
    Details,
    Document,
    Entry,
    Facts,
    Group,
    Row,
    Section,
    Table,
    Text,
)
from reports.pages import arms
from reports.publish import ReportError, publish
from reports.renderers import html, latex
from reports.renderers.latex_text import escaped

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"
SPECIALS = r"50%_of_a & b $x$ #1 {b} ~ ^ \ -- '' `` << | [x] *y* é ß − ± × ≥ · µ ° ∞ … – σ 中 😀 \end{document}"


def number(text: str, **marks: Any) -> Entry:
    return Entry(text=text, value=0.0, **marks)


def table(columns: Sequence[Column], *rows: Sequence[Entry], **options: Any) -> Table:
    groups = (Group(rows=tuple(Row(entries=tuple(row)) for row in rows)),)
    return Table(**{"caption": "Quality", "columns": tuple(columns), "groups": groups, **options})


def document(*tables: Table | Details, title: str = "What for?") -> Document:
    return Document(title=title, sections=(Section(title="denoise", anchor="a", blocks=tables),))


def printed(*tables: Table | Details, **options: Any) -> str:
    return latex.render(document(*tables), name="topk", **options)


def rows_of(text: str) -> list[str]:
    """Return the lines of the bodies of all tables."""
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL)
    return [line.strip() for body in bodies for line in body.strip().splitlines()]


def heads_of(text: str) -> list[str]:
    (head,) = re.findall(r"\\toprule\n(.*?)\\midrule", text, re.DOTALL)
    return [line.strip() for line in head.strip().splitlines()]


def notes_of(text: str) -> list[str]:
    return re.findall(r"^    (.*)\\par$", text, re.MULTILINE)


def labels_of(text: str) -> list[str]:
    return re.findall(r"\\label\{(.*)\}", text)


def captions_of(text: str) -> list[str]:
    return re.findall(r"\\caption\{(.*)\}", text)


NAME, PSNR = Column(label="backend"), Column(label="PSNR", unit="dB", kind="number")


# Strings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 50 %", r"a\_b \& 50 \%"),
        ("$x^2$ #1 {~}", r"\$x\textasciicircum{}2\$ \#1 \{\textasciitilde{}\}"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("<b>|", r"\textless{}b\textgreater{}\textbar{}"),
        ("[x] *", "{[}x] {*}"),
        ("--rerun ''", "-{}-rerun '{}'"),
        ("−1 ± 2 × 3", r"\ensuremath{-}1 \ensuremath{\pm} 2 \ensuremath{\times} 3"),
        ("é ı í Ø", r"\'{e} \i{} \'{\i} \O{}"),
        ("e\u0301", r"\'{e}"),
        ("中\x00", r"\texttt{U+4E2D}\texttt{U+0000}"),
        (" two\n\nlines\t", "two lines"),
    ],
)
def test_a_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert escaped(text) == shown


LETTERS = [chr(code) for code in (*range(0x3000), 0xD800, 0xFEFF, 0x1F600)]


@given(st.text(alphabet=st.sampled_from(LETTERS) | st.sampled_from(string.punctuation)), st.booleans())
def test_whatever_a_text_holds_nothing_of_it_is_a_command(text: str, wrapped: bool) -> None:
    shown = escaped(text, wrapped=wrapped)
    assert shown.isascii()
    assert "\n" not in shown
    bare = re.sub(r"\\ensuremath\{(\\[a-z]+|-|\^2|\^3|\^\{\\circ\})\}|\{[*\[]\}", "", shown)
    bare = re.sub(r"\\([A-Za-z]+|.)", "", bare)
    assert not set(bare) & set('#$%&_^~<>|"[*\\')
    assert bare.count("{") == bare.count("}")


def test_every_sign_that_reports_use_has_a_form_of_its_own() -> None:
    sources = [
        path.read_text(encoding="utf-8") for room in ("harness", "reports") for path in (ROOT / room).rglob("*.py")
    ]
    own = re.compile(r"^_(SYMBOLS|MATHS|ACCENTS) = .*?^}", re.DOTALL | re.MULTILINE)
    signs = {letter for source in sources for letter in own.sub("", source) if not letter.isascii()}
    assert {"−", "×", "·"} <= signs
    assert [letter for letter in sorted(signs) if "U+" in escaped(letter)] == []


# Numbers


def test_numbers_are_aligned_by_siunitx_in_the_places_that_the_column_needs() -> None:
    columns = (NAME, PSNR, Column(label="gain", kind="number"), Column(label="error", kind="number"))
    rows = [("9.1", "+1.25", "3.2e−07"), ("12,345.25", "−10", "4.0e+01")]
    text = printed(table(columns, *([Entry(text="x"), *map(number, row)] for row in rows)))
    spec = "".join(f"S[table-format = {each}, group-digits = integer]" for each in ("5.2", "+2.2", "1.1e-1"))
    assert f"l{spec}@{{}}" in text
    assert rows_of(text) == [r"x & 9.1 & +1.25 & 3.2e-7 \\", r"x & 12345.25 & -10 & 4.0e1 \\"]


def test_words_behind_a_number_stand_in_a_column_of_their_own() -> None:
    columns = (NAME, Column(label="difference", unit="dB", family="against a", kind="number"))
    rows = ([Entry(text="b"), number("+0.31 [+0.12, −0.50]")], [Entry(text="c"), number("∞")])
    text = printed(table(columns, *rows))
    assert r"S[table-format = +1.2, group-digits = integer]@{\,}l@{}" in text
    assert rows_of(text) == [
        r"b & +0.31 & {[}+0.12, \ensuremath{-}0.50] \\",
        r"c & \multicolumn{2}{c}{\ensuremath{\infty}} \\",
    ]
    assert heads_of(text) == [
        r"& \multicolumn{2}{c}{against a} \\",
        r"\cmidrule(lr){2-3}",
        r"backend & \multicolumn{2}{c}{difference} \\",
        r"& \multicolumn{2}{c}{(dB)} \\",
    ]


def test_the_best_is_bold_and_the_second_underlined_in_its_place() -> None:
    rows = [("9.5", {"second": True}), ("31.25", {"best": True}), ("30", {"second": True}), ("-1.00", {})]
    text = printed(table((NAME, PSNR), *([Entry(text="x"), number(value, **marks)] for value, marks in rows)))
    assert rows_of(text) == [
        r"x & {\phantom{+0}\underline{\num{9.5}}\phantom{0}} \\",
        r"x & \bfseries 31.25 \\",
        r"x & {\phantom{+}\underline{\num{30}}\phantom{.00}} \\",
        r"x & -1.00 \\",
    ]
    assert notes_of(text) == ["Best in bold, second underlined."]


def test_a_table_without_marks_says_nothing_of_them() -> None:
    assert notes_of(printed(table((NAME, PSNR), [Entry(text="x"), number("1.0")]))) == []


def test_the_second_is_underlined_in_html_too() -> None:
    page = html.render(
        document(table((NAME, PSNR), [Entry(text="x"), number("1.0", second=True)])), artifact=lambda name: b""
    )
    assert '<td class="number second"><span>1.0</span></td>' in page
    assert "td.second { text-decoration: underline" in page


def test_an_empty_place_is_a_dash_whose_note_gives_the_reason() -> None:
    columns = (NAME, PSNR, replace(PSNR, label="SSIM"), Column(label="verdict"))
    skipped, failed = (Entry(text="brief", reason=reason) for reason in ("no weights, no 5 %", "timeout: after 120 s"))
    again = Entry(text="brief", reason="timeout: after 240 s")
    rows = (
        [Entry(text="a"), number("30.00"), number("0.8"), Entry(text="higher")],
        [Entry(text="b"), skipped, skipped, skipped],
        [Entry(text="c"), failed, skipped, Entry(text="")],
        [Entry(text="d"), again, again, again],
    )
    text = printed(table(columns, *rows, notes=("Said of all_of it.",)))
    a, b = (rf"---\rlap{{\textsuperscript{{{letter}}}}}" for letter in "ab")
    assert rows_of(text)[1:] == [
        rf"b & {{{a}}} & {{---}} & --- \\",
        rf"c & {{{b}}} & {{{a}}} &  \\",
        rf"d & {{{b}}} & {{---}} & --- \\",
    ]
    assert notes_of(text) == [
        r"\textsuperscript{a}\,no weights, no 5 \%.",
        r"\textsuperscript{b}\,timeout: after … s.".replace("…", r"\ldots{}"),
        r"Said of all\_of it.",
    ]


# Rows and columns


def test_families_span_their_columns_and_units_stand_below() -> None:
    columns = (
        Column(label="k"),
        NAME,
        replace(PSNR, family="quality"),
        Column(label="SSIM", family="quality", kind="number"),
        Column(label="median time of all", unit="ms", family="latency", kind="number"),
        Column(label="cell", kind="cell"),
    )
    row = [
        Entry(text="8"),
        Entry(text="a"),
        number("30.0"),
        number("0.8"),
        number("5"),
        Entry(text="f00d", cell="f00d"),
    ]
    assert heads_of(printed(table(columns, row, stubs=2))) == [
        r"&  & \multicolumn{2}{c}{quality} & \multicolumn{1}{c}{latency} \\",
        r"\cmidrule(lr){3-4} \cmidrule(lr){5-5}",
        r"&  &  &  & {median time} \\",
        r"k & backend & {PSNR} & {SSIM} & {of all} \\",
        r"&  & {(dB)} &  & {(ms)} \\",
    ]


def test_names_that_repeat_are_blank_and_groups_stand_below_their_title() -> None:
    columns = (Column(label="window"), Column(label="k"), NAME, PSNR)
    names = [("8", "16", "a"), ("8", "16", "b"), ("8", "64", "a"), ("8", "64", "b")]
    rows = tuple(Row(entries=(*(Entry(text=each) for each in name), number("1.0"))) for name in names)
    groups = (Group(rows=rows, title="sigma=25_x"), Group(rows=rows[:1], title="8"))
    text = printed(Table(caption="x", columns=columns, groups=groups, stubs=3))
    assert rows_of(text) == [
        r"\multicolumn{4}{@{}l}{\textit{sigma=25\_x}} \\",
        r"8 & 16 & a & 1.0 \\",
        r"&  & b & 1.0 \\",
        r"\addlinespace",
        r"& 64 & a & 1.0 \\",
        r"&  & b & 1.0 \\",
        r"\midrule",
        r"8 & 16 & a & 1.0 \\",
    ]
    assert "{@{}rrlS[" in text


def test_what_is_too_wide_is_cut_between_families_and_every_part_names_its_rows() -> None:
    families = [f"family {i}" for i in range(4)]
    columns = [NAME] + [Column(label=f"image number {i}", family=f, kind="number") for f in families for i in range(3)]
    text = printed(table(columns, [Entry(text="mask"), *[number("30.00")] * 12]))
    assert captions_of(text) == ["Quality. Part 1 of 2.", "Quality. Part 2 of 2."]
    assert labels_of(text) == ["tab:topk", "tab:topk-2"]
    assert rows_of(text) == [rf"mask{' & 30.00' * 6} \\"] * 2
    assert [f"{{{name}}}" in text.split("Part 2")[0] for name in families] == [True, True, False, False]


def test_what_is_too_long_is_cut_where_the_outer_name_changes() -> None:
    rows = [[Entry(text=str(k)), Entry(text=backend), number("1.0")] for k in range(13) for backend in "abcde"]
    text = printed(table((Column(label="k"), NAME, PSNR), *rows, stubs=2))
    parts = text.split(r"\end{table}")[:-1]
    assert len(parts) == 2
    assert [len([row for row in rows_of(part) if row.endswith(r"\\")]) for part in parts] == [35, 30]
    assert [rows_of(part)[0] for part in parts] == [r"0 & a & 1.0 \\", r"7 & a & 1.0 \\"]


def test_a_narrow_table_takes_a_column_and_a_wide_one_the_page() -> None:
    assert r"\begin{table}[tbp]" in printed(table((NAME, PSNR), [Entry(text="x"), number("1.0")]))
    wide = table((NAME, *[PSNR] * 9), [Entry(text="x"), *[number("1.0")] * 9])
    assert r"\begin{table*}[tbp]" in printed(wide)


def test_long_words_are_wrapped() -> None:
    text = printed(table((NAME, Column(label="source"), PSNR), [Entry(text="x"), Entry(text="so " * 20), number("1")]))
    assert r">{\raggedright\arraybackslash}p{17em}" in text


# The file


def test_tables_of_words_are_left_out_and_said_to_be() -> None:
    numbers = table((NAME, PSNR), [Entry(text="x"), number("1.0")])
    words = table((NAME, Column(label="why")), [Entry(text="x"), Entry(text="because")], caption="Why\nnot")
    folded = Details(title="more", blocks=(replace(numbers, caption="Folded"),))
    warned = replace(
        document(numbers, words, folded, title="Why? 50 %\n\\evil"),
        lead=(Facts(items=(("machine", "a × b"),)), Text(text="uncommitted", tone="warning"), Text(text="plain")),
    )
    text = latex.render(warned, name="topk")
    assert captions_of(text) == ["Quality.", "Folded."]
    assert text.startswith(
        "% Why? 50 % \\evil\n% machine: a × b\n% Warning: uncommitted\n% Left out, as they hold no numbers: Why not.\n"
        r"% It needs \usepackage{booktabs, graphicx, siunitx}"
    )


def test_a_table_without_rows_or_numbers_is_no_table() -> None:
    nothing = table((NAME, PSNR))
    reasons = table((NAME, PSNR), [Entry(text="x"), Entry(text="no", reason="not run yet")])
    assert not latex.has_tables(document(nothing, reasons))
    assert r"\begin{table" not in printed(nothing, reasons)


def test_captions_and_labels_are_those_of_the_paper() -> None:
    one = table((NAME, PSNR), [Entry(text="x"), number("1.0")], caption="Quality of x")
    paper = Paper(caption="Few keys are enough", label="tab:keys", names={"backend": {"x": "50 %"}})
    text = printed(one, Details(title="more", blocks=(replace(one, caption="Each x"),)), paper=paper)
    assert captions_of(text) == ["Few keys are enough.", r"Few keys are enough. Each 50 \%."]
    assert labels_of(text) == ["tab:keys", "tab:keys-each-x"]
    assert rows_of(text) == [r"50 \% & 1.0 \\"] * 2


def test_labels_are_unique_and_stay_when_others_come() -> None:
    one = table((NAME, PSNR), [Entry(text="x"), number("1.0")])
    sections = [Section(title=title, anchor=title, blocks=(one,)) for title in ("denoise", "jpeg", "jpeg", "中")]
    text = latex.render(Document(title="t", sections=tuple(sections)), name="中")
    assert captions_of(text)[:2] == ["Quality (denoise).", "Quality (jpeg)."]
    assert labels_of(text) == [
        *("tab:results-quality-denoise", "tab:results-quality-jpeg", "tab:results-quality-jpeg-2"),
        "tab:results-quality",
    ]
    fewer = latex.render(Document(title="t", sections=tuple(sections[:2])), name="中")
    assert labels_of(fewer) == labels_of(text)[:2]


def test_only_a_standalone_file_has_a_preamble() -> None:
    one = table((NAME, PSNR), [Entry(text="x"), number("1.0")])
    assert r"\documentclass" not in printed(one)
    assert printed(one, standalone=True).endswith("\\end{document}\n")


# Through the store and the command line


def stored(folder: Path, plan: StoredPlan, records: Sequence[Record]) -> ResultStore:
    store = ResultStore.open(folder)
    store.remember(plan)
    store.append(records)
    return store


@pytest.fixture
def store(tmp_path: Path, small: Any) -> ResultStore:
    names = {"backend": {"gather": "Ours"}, "task": {"jpeg": "JPEG"}}
    plan = small.plan.model_copy(update={"paper": Paper(label="tab:sweep", names=names)})
    return stored(tmp_path / "store", plan, list(small.records.values()))


def test_the_suffix_chooses_latex_and_equal_stores_give_equal_bytes(store: ResultStore, tmp_path: Path) -> None:
    one, other = (publish(store, tmp_path / name) for name in ("one.tex", "other.tex"))
    assert one.read_bytes() == other.read_bytes()
    assert labels_of(one.read_text(encoding="utf-8")) == [
        "tab:sweep-what-each-cell-of-denoise-measured",
        "tab:sweep-what-each-cell-of-jpeg-measured",
    ]


def test_names_of_a_paper_are_for_paper_alone(store: ResultStore, tmp_path: Path) -> None:
    text = publish(store, tmp_path / "report.tex").read_text(encoding="utf-8")
    assert "Ours" in text
    assert "gather" not in text
    assert "What each cell of JPEG measured." in captions_of(text)
    page = publish(store, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gather" in page
    assert "Ours" not in page


def test_a_paper_can_be_given_anew(store: ResultStore, tmp_path: Path) -> None:
    text = publish(store, tmp_path / "report.tex", paper=Paper(label="tab:new")).read_text(encoding="utf-8")
    assert labels_of(text)[0].startswith("tab:new-")
    assert "gather" in text


def test_a_plan_without_numbers_is_refused(tmp_path: Path, small: Any) -> None:
    empty = stored(tmp_path / "empty", small.plan, [])
    with pytest.raises(ReportError, match="no table of quickstart holds a number yet"):
        publish(empty, tmp_path / "report.tex")
    assert not (tmp_path / "report.tex").exists()


def test_arms_have_their_names_on_paper(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    labels = ("a", "b", "c")
    cells = [
        Cell(model="semanir/nano", task="denoise", dataset="Set12", setting="sigma=25", weights=f"topk-{arm}-s{seed}")
        for arm in ("fixed", "random")
        for seed in (0, 1)
    ]
    found = [Measurement(name="psnr", unit="dB", samples=(30.0 + i, 31.5, 32.0 + i), labels=labels) for i in range(4)]
    records = [
        make_record(cell, "psnr", Measured(measurements=(each,))) for cell, each in zip(cells, found, strict=True)
    ]
    sweep = make_sweep(records)
    paper = Paper(names={"weights": {"topk-fixed": "Base", "topk-random": "Ours"}})
    built = arms.build(sweep.records, sweep.plan.model_copy(update={"paper": paper}))
    text = latex.render(built, name="topk", paper=paper)
    assert [row.split(" & ")[0] for row in rows_of(text)] == ["Base", "Ours"]
    assert r"{against Base}" in text


def test_the_command_writes_what_a_paper_takes_and_what_compiles(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(
        "question: Which?\naxes: {model: [semanir/small], task: [denoise], dataset: [bundled], backend: [gather]}\n"
        "metrics: [psnr]\npaper: {label: tab:later, names: {backend: {gather: Theirs}}}\n",
        encoding="utf-8",
    )
    runner = CliRunner()
    asked = ["report", "store", "--out", "table.tex"]
    assert runner.invoke(app, asked).exit_code == 0
    fragment = Path("table.tex").read_text(encoding="utf-8")
    assert runner.invoke(app, [*asked, "--standalone", "--paper", "spec.yaml"]).exit_code == 0
    whole = Path("table.tex").read_text(encoding="utf-8")
    assert r"\documentclass" in whole
    assert r"\documentclass" not in fragment
    assert ("Ours" in fragment, "Theirs" in fragment) == (True, False)
    assert ("Ours" in whole, "Theirs" in whole) == (False, True)


@pytest.mark.parametrize("option", [["--standalone"], ["--paper", "spec.yaml"]])
def test_options_of_latex_want_a_tex_file(store: ResultStore, tmp_path: Path, option: list[str]) -> None:
    refused = CliRunner().invoke(app, ["report", str(store.folder), "--out", str(tmp_path / "a.html"), *option])
    assert refused.exit_code == 2
    assert "add --out table.tex" in refused.output


# A real LaTeX


def absent() -> str:
    """Return what is missing to compile tables, and how to get it; nothing where all is here."""
    how = "apt-get install texlive-latex-recommended texlive-latex-extra texlive-science texlive-fonts-recommended"
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return f"tables were not compiled, for there is no pdflatex here: {how}"
    for package in ("booktabs", "graphicx", "siunitx"):
        if subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True, check=False).returncode:
            return f"tables were not compiled, for LaTeX has no {package} here: {how}"
    return ""


@pytest.fixture(scope="module")
def compiled() -> Callable[[Path, str], str]:
    """Compile a file to `<folder>/file.pdf` and return the log."""
    if reason := absent():
        pytest.skip(reason)

    def compiled(folder: Path, text: str) -> str:
        (folder / "file.tex").write_text(text, encoding="utf-8")
        command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "file.tex"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
        log = (folder / "file.log").read_text(encoding="latin-1")
        assert ran.returncode == 0, "\n".join(log.splitlines()[-40:])
        return log

    return compiled


def test_tables_compile_and_fit_the_page(compiled: Callable[[Path, str], str], tmp_path: Path, small: Any) -> None:
    evil = [Entry(text=EVIL), Entry(text=SPECIALS)]
    columns = [
        Column(label=SPECIALS, family=EVIL),
        Column(label=EVIL),
        PSNR,
        Column(label="gap", unit=EVIL, kind="number"),
    ]
    nasty = table(
        columns,
        [*evil, number("31.25", best=True), number("+0.31 [0.12, 0.50]", second=True)],
        [Entry(text="[x]"), Entry(text="*"), number("9.50", second=True), number(f"−10.31 {EVIL}", best=True)],
        [Entry(text="[x]"), Entry(text="a" * 90), Entry(text="no", reason=SPECIALS), Entry(text="no", reason=EVIL)],
        caption=f"{SPECIALS} {'b' * 120}",
        notes=(SPECIALS, EVIL),
    )
    nasty = replace(nasty, groups=tuple(replace(group, title=EVIL + SPECIALS) for group in nasty.groups * 2))
    wide = table([NAME, *[PSNR] * 40], [Entry(text="mask"), *[number("30.00")] * 40], caption="Wide")
    rows = [[Entry(text=str(k)), Entry(text=backend), number("1.0")] for k in range(30) for backend in "abc"]
    long = table([Column(label="k"), NAME, PSNR], *rows, stubs=2, caption="Long")
    swept = small.document()
    whole = replace(swept, title=SPECIALS, sections=(*swept.sections, *document(nasty, wide, long).sections))
    log = compiled(tmp_path, latex.render(whole, name=EVIL, standalone=True))
    assert [line for line in re.findall(r"Overfull \\[hv]box \((.*?)pt", log) if float(line) > 3] == []
    assert "Float too large" not in log
    assert "multiply" not in log  # labels


def test_the_best_is_darker_and_the_second_underlined_to_the_eye(
    compiled: Callable[[Path, str], str], tmp_path: Path
) -> None:
    """The same digits plain, bold and underlined, and no ink in the margins of the page."""
    if not shutil.which("pdftoppm"):
        pytest.skip("the PDF was not looked at, for there is no pdftoppm here: apt-get install poppler-utils")
    entries = [number("88.88"), number("88.88", best=True), number("88.88", second=True)]
    rows = [[Entry(text="x"), entry] for entry in entries]
    compiled(tmp_path, latex.render(document(table([NAME, PSNR], *rows)), name="seen", standalone=True))
    subprocess.run(["pdftoppm", "-r", "200", "-gray", "file.pdf", "page"], cwd=tmp_path, check=True)
    (page,) = tmp_path.glob("page*.pgm")
    ink = 255.0 - np.asarray(Image.open(page), dtype=np.float64)
    high, wide = (side // 20 for side in ink.shape)
    assert not ink[:, :wide].any()
    assert not ink[:, -wide:].any()
    assert not ink[:high].any()
    found = np.flatnonzero(ink.any(axis=1))
    lines = [ink[line[0] : line[-1] + 1] for line in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)]
    thin = [i for i, line in enumerate(lines) if len(line) < 4]
    top, middle, under, bottom = (np.count_nonzero(lines[i].any(axis=0)) for i in thin)
    assert top == bottom == pytest.approx(middle, abs=2)
    assert under < top / 2, "the digits alone are underlined"
    plain, bold, second = (line.sum() for line in lines[thin[1] + 1 : thin[2]])
    assert bold > 1.3 * plain
    assert second == pytest.approx(plain, rel=0.02)


def test_names_are_seen_as_they_are(compiled: Callable[[Path, str], str], tmp_path: Path) -> None:
    if not shutil.which("pdftotext"):
        pytest.skip("the PDF was not read, for there is no pdftotext here: apt-get install poppler-utils")
    draw = random.Random(0)
    letters = string.ascii_letters + string.digits + string.punctuation
    names = [letters[i : i + 9] for i in range(0, len(letters), 9)] + ["a--b---c", ",,x''``?`!`<<>>", EVIL.split()[0]]
    names += ["".join(draw.choices(string.punctuation, k=12)) for _ in range(60)]
    preamble = r"\usepackage[T1]{fontenc}\usepackage{mathptmx, courier}\input{glyphtounicode}\pdfgentounicode=1"
    lines = "\n\n".join(rf"\noindent x{escaped(name)}x" for name in names)
    compiled(tmp_path, rf"\documentclass{{article}}{preamble}\begin{{document}}{lines}\end{{document}}")
    ran = subprocess.run(["pdftotext", "-layout", "file.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
    seen = [line.strip() for line in ran.stdout.decode().splitlines() if line.startswith("x")]
    assert seen == [f"x{name}x".replace("'", "’").replace("`", "‘") for name in names]
