"""From records, or from restored pictures, to a file: picks the plan, builds its page and writes it whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from harness.catalog import Catalog
from harness.gate import samples
from harness.gate.certificate import Certificate
from harness.gate.document import GateDocument, parse
from harness.inputs import mismatches
from harness.paper import Paper
from harness.record import Measured, Record
from harness.restoration import Restoration, Restored, Unrestored
from harness.store import StoredPlan, StoreError, choose_plan
from reports import comparison, gallery, grids, ledger
from reports import gate as gate_page
from reports import restored as restored_page
from reports.comparison import Side
from reports.document import Document, Figure, Figures, Link, Links, Text, blocks_of
from reports.gallery import Exhibit
from reports.inputs import with_mismatches
from reports.names import renamed_figure
from reports.renderers import html, latex, markdown
from reports.results import Result, gather

PAGES: Catalog[Callable[..., Document]] = Catalog("reports.pages", "build", kind="page")

MARKER = re.compile(r"^<!-- Everything below is written by `nox -s \w+`\. -->$", re.MULTILINE)
"""The line of an experiment's README below which no hand writes."""

ANSWER = re.compile(r"^(\*\*Answer.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
"""The paragraph of an experiment's README that says what was found."""


class Answers(Protocol):
    """What a report is made of: a store, or a file of records."""

    @property
    def folder(self) -> Path:
        """Its place, for messages and commands."""

    @property
    def artifacts(self) -> Path:
        """The folder of the pictures that records name; one that is missing is said to be."""

    def plans(self) -> list[StoredPlan]:
        """Return its plans, the newest first."""

    def latest(self, keys: Iterable[str] | None = None) -> Mapping[str, Record]:
        """Return the record of each key that has one."""

    def inputs(self) -> Sequence[Record]:
        """Return a record of each cell and each set of degraded images."""


class ReportError(Exception):
    """There is nothing to report, or nowhere to write it; the message says which plans or backends there are."""


def publish(
    store: Answers,
    out: Path,
    *,
    store_name: str = "",
    page: str = "",
    plan: str = "",
    baseline: str | None = None,
    paper: Paper | None = None,
    standalone: bool = False,
) -> Path:
    """Write the report of a plan to `out` and return its path; an older report is replaced at once.

    The suffix of `out` chooses the format: Markdown for `.md`, LaTeX of its tables for `.tex`, else HTML. `page` is the
    one that the plan asks for by default, and `ablation` where it asks for none.
    `plan` is a spec's digest (its first digits) or an experiment's name; the newest plan by default.
    `store_name` is how the report's commands name the store; the folder's path by default.
    LaTeX alone uses `paper`, by default the plan's own, and a `standalone` file compiles as it is.
    """
    _refuse_suffix(out, ".html", ".md", ".tex")
    if out.suffix == ".tex":
        _write(out, _latex(store, page=page, plan=plan, baseline=baseline, paper=paper, standalone=standalone))
        return out
    document = _document(store, store_name=store_name, page=page, plan=plan, baseline=baseline)
    _write(out, markdown.render(document) if out.suffix == ".md" else html.render(document, artifact=_artifact(store)))
    return out


def publish_figures(
    store: Answers,
    folder: Path,
    *,
    form: Literal["pdf", "svg"],
    venue: str,
    wide: bool = False,
    only: str = "",
    page: str = "",
    plan: str = "",
    baseline: str | None = None,
    paper: Paper | None = None,
) -> list[Path]:
    """Write the figures of a plan's page for print, with data as CSV and a caption beside each; return all paths.

    Files are named by plan, section and title; `only` takes those whose name holds it. `venue` is one of
    `reports.renderers.plots.VENUES`, whose column they fill, or with `wide` its text. `paper` as for `publish`.
    """
    from reports.renderers import plots  # matplotlib, which no page needs

    if venue not in plots.VENUES:
        raise ReportError(f"no venue '{venue}'; there are: {', '.join(plots.VENUES)}")
    chosen = _chosen(store, plan)
    chosen = chosen.model_copy(update={"paper": paper or chosen.paper})
    document = _told(store, chosen, page=page, baseline=baseline)
    drawn: dict[str, Figure] = {}
    for section, block in blocks_of(document):
        for figure in block.figures if isinstance(block, Figures) else ():
            name = _slug(chosen.name, section.title, figure.title)
            while name in drawn:
                name = f"{name}-more"
            drawn[name] = renamed_figure(figure, chosen.paper.names)
    wanted = {name: figure for name, figure in drawn.items() if only in name}
    if not wanted:
        if not drawn:
            asked = store.latest({entry.key for entry in chosen.entries})
            if asked and len(asked) == len(chosen.entries):
                if not any(isinstance(record.outcome, Measured) for record in asked.values()):
                    raise ReportError(
                        f"nothing of {chosen.name} was measured, so there is no figure; its report says why"
                    )
                raise ReportError(f"the page of {chosen.name} has no figures: it tells its numbers in tables")
            raise ReportError(f"no figure of {chosen.name} yet; `semanir-bench run` measures what is missing")
        raise ReportError(f"no figure of {chosen.name} has '{only}' in its name; there are: {', '.join(drawn)}")
    written = []
    for name, figure in wanted.items():
        _write(folder / f"{name}.{form}", plots.draw(figure, form=form, venue=plots.VENUES[venue], wide=wide))
        _write(folder / f"{name}.csv", plots.as_csv(figure))
        _write(folder / f"{name}.txt", f"{plots.caption(figure)}\n")
        written += [folder / f"{name}.{end}" for end in (form, "csv", "txt")]
    return written


def publish_grids(
    store: Answers,
    folder: Path,
    *,
    image: str,
    form: Literal["pdf", "svg"],
    venue: str,
    wide: bool = False,
    plan: str = "",
    paper: Paper | None = None,
) -> list[Path]:
    """Write an image as all methods of a plan restored it, for each set of images, with a CSV of the pictures.

    A scene whose truth is missing or damaged keeps no other from being drawn; then `ReportError` names it. Returns all
    paths.
    """
    from reports.renderers import plots  # matplotlib, which no page needs

    if venue not in plots.VENUES:
        raise ReportError(f"no venue '{venue}'; there are: {', '.join(plots.VENUES)}")
    chosen = _chosen(store, plan)
    results = gather(store.latest({entry.key for entry in chosen.entries}), chosen)
    names = (paper or chosen.paper).names
    found = grids.scenes(results, image, names=names, artifact=_artifact(store))
    if not found:
        kept = grids.images(results)
        there = f"there are: {', '.join(kept)}" if kept else "the metric 'pictures' keeps them"
        raise ReportError(f"no restored picture of '{image}' in {chosen.name}; {there}")
    written, lost = [], []
    for title, scene in found.items():
        name = _slug(chosen.name, title, image)
        try:
            drawn = plots.draw_grid(scene, _artifact(store), form=form, venue=plots.VENUES[venue], wide=wide)
        except ValueError as error:
            lost.append(str(error))
            continue
        _write(folder / f"{name}.{form}", drawn)
        _write(folder / f"{name}.csv", plots.grid_csv(scene))
        written += [folder / f"{name}.{end}" for end in (form, "csv")]
    if lost:
        others = f"; {len(written) // 2} others were drawn" if written else ""
        raise ReportError("; ".join(lost) + others)
    return written


def publish_ledger(stores: Iterable[Answers], out: Path) -> Path:
    """Write what became of every printed number to `out`, Markdown for `.md`, else HTML; return its path."""
    _refuse_suffix(out, ".html", ".md")
    results: dict[Result, str] = {}
    for store in stores:
        for plan in store.plans():
            found = gather(store.latest({entry.key for entry in plan.entries}), plan)
            results |= dict.fromkeys(found, os.path.relpath(store.folder))
    document = ledger.build(list(results), results)
    page = (
        markdown.render(document, titled=True) if out.suffix == ".md" else html.render(document, artifact=lambda _: b"")
    )
    _write(out, page)
    return out


def publish_gallery(files: Sequence[Path], folder: Path, read: Callable[[Path], Answers]) -> Path:
    """Write page, tables and figures of each file of records, and the page that links them; return that page's path.

    `read` opens a file of records. Tables are left out where a page has none with numbers. The answer of a README
    beside the records is told with it.
    """
    exhibits: list[Exhibit] = []
    for file in files:
        store = read(file)
        name = store.plans()[0].name
        if name in (each.name for each in exhibits):
            raise ReportError(f"{file} holds {name} once more: an experiment has one page; name one file of each")
        own = folder / name
        document = _document(store, store_name=os.path.relpath(file))
        _write(own / "page.html", html.render(document, artifact=_artifact(store)))
        made = [("page", own / "page.html")]
        if latex.has_tables(document):
            made += [("tables, LaTeX", own / "tables.tex"), ("tables, Markdown", own / "tables.md")]
            for _, path in made[1:]:
                publish(store, path)
        drawn: dict[str, list[tuple[str, Path]]] = {}
        if any(isinstance(block, Figures) for _, block in blocks_of(document)):
            for path in publish_figures(store, own / "figures", form="pdf", venue="cvpr"):
                figure = path.stem.removeprefix(f"{_slug(name)}-")
                kind = {".csv": "data", ".txt": "caption"}.get(path.suffix, figure)
                drawn.setdefault(figure, []).append((kind, path))
        beside, *figures = (
            Links(links=tuple(Link(text=text, href=path.relative_to(folder).as_posix()) for text, path in each))
            for each in (made, *drawn.values())
        )
        answer = _answer_beside(file)
        exhibits.append(Exhibit(name=name, document=document, answer=answer, files=beside, figures=tuple(figures)))
    index = folder / "index.html"
    _write(index, html.render(gallery.build(exhibits), artifact=lambda name: b""))
    return index


def _answer_beside(file: Path) -> str:
    """Return the paragraph of the README beside a file that begins with **Answer**, in plain words, or nothing."""
    readme = file.with_name("README.md")
    found = ANSWER.search(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found[1]) if found else ""
    return " ".join(words.replace("`", "").replace("**", "").split())


def _refuse_suffix(out: Path, *known: str) -> None:
    """Raise `ReportError` for a file that would not be what its name says."""
    if out.suffix not in known:
        raise ReportError(f"{out} cannot be written: what it is to be is told by its end, one of {', '.join(known)}")


def _slug(*names: str) -> str:
    """Return the names as one that any file system takes."""
    return "-".join(filter(None, (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names)))


def publish_comparison(one: Answers, other: Answers, out: Path, *, names: tuple[str, str]) -> tuple[Path, list[str]]:
    """Write the page that compares two stores, Markdown for `.md`, else HTML; return its path and what it concludes."""
    _refuse_suffix(out, ".html", ".md")
    sides = [
        Side.of(name, store.latest().values(), os.path.relpath(store.folder))
        for name, store in zip(names, (one, other), strict=True)
    ]
    document = comparison.build(*sides)
    page = (
        markdown.render(document, titled=True)
        if out.suffix == ".md"
        else html.render(document, artifact=_artifact(one))
    )
    _write(out, page)
    return out, [block.text for block in document.lead if isinstance(block, Text)]


def publish_below_marker(
    store: Answers, readme: Path, *, page: str = "", plan: str = "", baseline: str | None = None
) -> Path:
    """Put the tables of a plan in the place of whatever stands below the marker of a README, and return its path."""
    above = _above_marker(readme, session="answers")
    _write(readme, above + markdown.render(_document(store, page=page, plan=plan, baseline=baseline), folded=False))
    return readme


def publish_restored(
    restoration: Restoration, restored: Sequence[Restored], unrestored: Sequence[Unrestored], out: Path
) -> Path:
    """Write the page of restored pictures to `out`, HTML that needs no other file, and return its path."""
    document, pictures = restored_page.build(restoration, restored, unrestored)
    _write(out, html.render(document, artifact=lambda name: pictures[name]))
    return out


def publish_gate(verdict: Path, out: Path | None = None) -> Path:
    """Write the page of a gate's verdict, beside it by default, and return its path.

    Its samples are shown where their file lies beside the verdict. Raises `Refusal` for a file that is no verdict.
    """
    try:
        found = parse(verdict.read_text(encoding="utf-8"), str(verdict))
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{verdict} cannot be read: {error}; name a gate.json that 'gate --out DIR' wrote") from None
    blocks, missing = [], ""
    if found.samples:
        file = verdict.parent / Path(found.samples).name
        if not file.is_file():
            missing = f"{file.name} is not beside the verdict: blocks and neighbours are not shown."
        elif samples.sha256_of(file) != found.samples_sha256:
            raise ReportError(f"{file} is not the file that {verdict} names; put that back, or take this one away")
        else:
            blocks = samples.read(file)
    out = out or verdict.with_suffix(".html")
    _write(out, html.render(gate_page.build(found, blocks, missing=missing), artifact=lambda name: b""))
    return out


def publish_gate_summary(found: GateDocument, into: Path) -> Path:
    """Append a verdict as Markdown to a file, as GitHub wants the summary of a job, and return the file's path."""
    with into.open("a", encoding="utf-8") as file:
        file.write(markdown.render(gate_page.build(found), titled=True, folded=False))
    return into


def publish_certificates(found: Sequence[Certificate], readme: Path) -> Path:
    """Put the tables of certificates in the place of whatever stands below the marker of a README."""
    above = _above_marker(readme, session="certificate")
    _write(readme, above + markdown.render(gate_page.build_certificates(found), folded=False))
    return readme


def _above_marker(readme: Path, *, session: str) -> str:
    """Return a README up to its marker, with the empty line behind it."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{readme} cannot be read: {error}; name a text file that has the marker") from None
    if (marker := MARKER.search(text)) is None:
        line = f"<!-- Everything below is written by `nox -s {session}`. -->"
        raise ReportError(f"{readme} has no marker; write this line where its tables are to begin: {line}")
    return f"{text[: marker.end()]}\n\n"


def _document(
    store: Answers, *, store_name: str = "", page: str = "", plan: str = "", baseline: str | None = None
) -> Document:
    """Return the document for the screen, where values have the names that the spec gives them."""
    chosen = _chosen(store, plan).model_copy(update={"paper": Paper()})
    return _told(store, chosen, store_name=store_name, page=page, baseline=baseline)


def _latex(store: Answers, *, page: str, plan: str, baseline: str | None, paper: Paper | None, standalone: bool) -> str:
    chosen = _chosen(store, plan)
    chosen = chosen.model_copy(update={"paper": paper or chosen.paper})
    document = _told(store, chosen, page=page, baseline=baseline)
    if not latex.has_tables(document):
        raise ReportError(f"no table of {chosen.name} holds a number yet; `semanir-bench run` measures what is missing")
    return latex.render(document, name=chosen.name, paper=chosen.paper, standalone=standalone)


def _chosen(store: Answers, plan: str) -> StoredPlan:
    try:
        return choose_plan(store.plans(), plan, store.folder)
    except StoreError as error:
        raise ReportError(str(error)) from None


def _told(
    store: Answers, chosen: StoredPlan, *, store_name: str = "", page: str = "", baseline: str | None = None
) -> Document:
    """Return what the plan's page says."""
    backends = sorted({entry.cell.backend for entry in chosen.entries})
    if baseline is not None and baseline not in backends:
        raise ReportError(f"no backend '{baseline}' in this plan to compare with; it has: {', '.join(backends)}")
    records = store.latest({entry.key for entry in chosen.entries})
    document = PAGES[page or chosen.page or "ablation"](
        records, chosen, artifact=_artifact(store), store_name=store_name or str(store.folder), baseline=baseline
    )
    return with_mismatches(document, mismatches(store.inputs(), touching={entry.cell for entry in chosen.entries}))


def _artifact(store: Answers) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = store.artifacts / name
        return path.read_bytes() if path.is_file() else b""

    return read


def _write(out: Path, content: str | bytes) -> None:
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.replace(out)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        if file := next((place for place in out.parents if place.is_file()), None):
            raise ReportError(f"{out} cannot be written, for {file} is a file; name a folder") from None
        raise ReportError(f"{out} cannot be written: {error.strerror}; name a file in a folder of yours") from None
