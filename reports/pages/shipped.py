"""The page of the shipped networks: what they reach on test sets, and by how much they beat classical methods."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from harness.record import Cell, Frozen, Measurement, Record
from reports.crops import busiest_box
from reports.document import (
    Block,
    Column,
    Comparison,
    Document,
    Entry,
    Facts,
    Gallery,
    Group,
    Picture,
    Row,
    Section,
    Table,
    Text,
)
from reports.origin import again, provenance
from reports.results import Result, counted, gather, listed

if TYPE_CHECKING:
    from harness.store import StoredPlan

GOALS = Path(__file__).parents[1] / "goals" / "shipped.csv"
PHOTOGRAPHS = "bundled"
"""The dataset that comes with the project; every other one is a test set of the field."""
_CLASSICAL = {
    "nonlocal_means": "non-local means",
    "total_variation": "total variation",
    "bicubic": "bicubic",
    "identity": "the input",
}
_ROLES = ("degraded", "restored", "target")
_CONFIDENCE = 0.95


class Goal(Frozen):
    """What a task's network was asked to reach on a dataset."""

    task: str
    dataset: str
    over: str
    """The classical method that it is compared with, picture by picture; empty where the PSNR itself counts."""
    at_least_db: float = Field(ge=0)


@cache
def goals() -> Mapping[tuple[str, str], Goal]:
    """Read the figures to reach, by task and dataset."""
    with GOALS.open(encoding="utf-8", newline="") as file:
        found = [Goal.model_validate(row) for row in csv.DictReader(file)]
    return {(goal.task, goal.dataset): goal for goal in found}


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show test sets over k, then every bundled photograph beside the best classical method.

    `artifact` reads a picture of the store. `store_name` is how commands name the store. There is no `baseline`.
    """
    results = gather(records, plan)
    on_sets = [result for result in results if result.cell.dataset != PHOTOGRAPHS]
    on_photographs = [result for result in results if result.cell.dataset == PHOTOGRAPHS]
    sections = [
        Section(title="Test sets", anchor="sets", blocks=tuple(_sets(on_sets))),
        Section(title="Bundled photographs", anchor="photographs", blocks=tuple(_photographs(on_photographs))),
    ]
    if comparisons := tuple(_scenes(on_photographs, artifact)):
        caption = "The frame marks the detail beside each picture: where the target varies most."
        gallery = Gallery(caption=caption, comparisons=comparisons)
        sections.append(Section(title="Pictures", anchor="pictures", blocks=(gallery,)))
    found = [record for result in results for record in result.records.values() if record]
    return Document(
        title=plan.question,
        kicker="Shipped weights",
        lead=(Facts(items=tuple(provenance(plan, found))),),
        sections=(*sections, again(results, store_name)),
    )


def _sets(results: Sequence[Result]) -> Iterator[Block]:
    """Yield the table of test sets: a row for each, a column for each k."""
    ks = sorted({result.cell.top_k for result in results if result.cell.top_k})
    columns = (
        Column(label="task"),
        Column(label="set"),
        Column(label="weights"),
        Column(label="images", kind="number"),
        Column(label="input", unit="dB", kind="number"),
        *(Column(label=f"k = {k}", unit="dB", kind="number") for k in ks),
        Column(label="asked", unit="dB", kind="number"),
        Column(label="gain", unit="dB", kind="number", hint="over the input, at k = 16"),
        Column(label="95 % interval", hint="of the gain, over images: paired t"),
    )
    rows = []
    for _, members in groupby(results, key=lambda result: (result.cell.task, result.cell.dataset)):
        rows.append(_set_row(list(members), ks))
    yield Table(caption="PSNR by each set's protocol", columns=columns, groups=(Group(rows=tuple(rows)),), stubs=2)
    words = (
        "The mean over the set's images. The networks were trained with random windows and k; window 8 is used here."
        " `asked` is the figure that was set before training; it holds for the best k of the row."
    )
    yield Text(text=words, tone="note")
    absent = Counter(result.why_not("psnr") for result in results if _psnr(result) is None)
    if absent:
        yield Text(text=f"Not measured ({counted(absent.total(), 'cell')}): {listed(absent, 'cell')}.", tone="note")


def _set_row(members: Sequence[Result], ks: Sequence[int]) -> Row:
    cell = members[0].cell
    goal = goals().get((cell.task, cell.dataset))
    by_k = {result.cell.top_k: result for result in members}
    scored = [(result, found) for result in members if (found := _psnr(result)) is not None]
    before = next((found for result in members if (found := _before(result)) is not None), None)
    reached = max((fmean(found.samples) for _, found in scored), default=None)
    asked = Entry(text="–", reason="no figure was set")
    if goal is not None:
        verdict = "" if reached is None else "reached" if reached >= goal.at_least_db else "not reached"
        asked = Entry(text=f"{goal.at_least_db:.2f} {verdict}".strip(), value=goal.at_least_db)
    main = next((result for result, _ in scored if result.cell.top_k == 16), scored[0][0] if scored else None)
    return Row(
        entries=(
            Entry(text=cell.task),
            Entry(text=cell.dataset),
            Entry(text=cell.weights),
            _number(len(scored[0][1].samples) if scored else None, "{:d}", members[0].why_not("psnr")),
            _number(fmean(before.samples) if before else None, "{:.2f}", members[0].why_not("degraded")),
            *(_k_entry(by_k.get(k)) for k in ks),
            asked,
            *_gain(main),
        )
    )


def _k_entry(result: Result | None) -> Entry:
    found = _psnr(result) if result else None
    if result is None or found is None:
        return Entry(text="–", reason=result.why_not("psnr") if result else "not in this plan")
    return _number(fmean(found.samples), "{:.2f}", "", cell=result.cell.id)


def _gain(result: Result | None) -> tuple[Entry, Entry]:
    """Return the mean gain over the input and its interval; a gain on one image has none."""
    after, before = (_psnr(result), _before(result)) if result else (None, None)
    if result is None or after is None or before is None:
        return Entry(text="–", reason="not measured"), Entry(text="–", reason="not measured")
    gains = _differences(after, before)
    mean = _number(fmean(gains.values()), "{:+.2f}", "", cell=result.cell.id)
    if len(gains) < 2:
        return mean, Entry(text="–", reason="one image shows no spread")
    low, high = interval(list(gains.values()))
    return mean, Entry(text=f"{low:+.2f} to {high:+.2f}".replace("-", "−"), value=low)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of a mean of paired differences, by Student's t."""
    import numpy as np
    from scipy import stats

    values = np.asarray(differences)
    error = values.std(ddof=1) / len(values) ** 0.5
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * error)
    return float(values.mean()) - half, float(values.mean()) + half


def _photographs(results: Sequence[Result]) -> Iterator[Block]:
    """Yield a table with a row for each photograph of each task, and a sentence on the least gain of each task."""
    columns = (
        Column(label="task"),
        Column(label="photograph"),
        Column(label="input", unit="dB", kind="number"),
        Column(label="classical", unit="dB", kind="number", hint="the best of the classical methods on this picture"),
        Column(label="method"),
        Column(label="network", unit="dB", kind="number"),
        Column(label="gain", unit="dB", kind="number", hint="of the network over the classical method"),
    )
    groups, summary = [], []
    for task, members in groupby(sorted(results, key=_task_order(results)), key=lambda result: result.cell.task):
        rows, said = _task_rows(task, list(members))
        if rows:
            groups.append(Group(rows=tuple(rows), title=task))
        summary.append(said)
    for said in summary:
        yield Text(text=said)
    yield Table(caption="PSNR of each photograph", columns=columns, groups=tuple(groups), stubs=2)


def _task_order(results: Sequence[Result]) -> Callable[[Result], int]:
    order = list(dict.fromkeys(result.cell.task for result in results))
    return lambda result: order.index(result.cell.task)


def _task_rows(task: str, members: Sequence[Result]) -> tuple[list[Row], str]:
    networks = [result for result in members if result.cell.weights != "none"]
    rivals = [result for result in members if result.cell.weights == "none"]
    network = next((result for result in networks if _psnr(result) is not None), None)
    if network is None:
        why = networks[0].why_not("psnr") if networks else "not in this plan"
        return [], f"{task}: no number ({why})."
    restored = _by_image(_psnr(network))
    before = _by_image(_before(network))
    best: dict[str, tuple[float, Cell]] = {}
    for rival in rivals:
        for name, value in _by_image(_psnr(rival)).items():
            if name not in best or value > best[name][0]:
                best[name] = (value, rival.cell)
    rows = [
        _photograph_row(task, name, before.get(name), best.get(name), (value, network.cell))
        for name, value in restored.items()
    ]
    gains = {name: value - best[name][0] for name, value in restored.items() if name in best}
    return rows, _in_words(task, gains, [cell for _, cell in best.values()])


def _photograph_row(
    task: str, name: str, before: float | None, rival: tuple[float, Cell] | None, own: tuple[float, Cell]
) -> Row:
    value, cell = own
    return Row(
        entries=(
            Entry(text=task),
            Entry(text=name),
            _number(before, "{:.2f}", "not measured", cell=cell.id),
            _number(rival[0] if rival else None, "{:.2f}", "not measured", cell=rival[1].id if rival else ""),
            Entry(text=method(rival[1]) if rival else "–"),
            _number(value, "{:.2f}", "", cell=cell.id),
            _number(value - rival[0] if rival else None, "{:+.2f}", "nothing to compare with", cell=cell.id),
        )
    )


def _in_words(task: str, gains: Mapping[str, float], rivals: Sequence[Cell]) -> str:
    if not gains:
        return f"{task}: nothing to compare with."
    names = ", ".join(dict.fromkeys(method(cell) for cell in rivals))
    least = min(gains, key=lambda name: gains[name])
    said = (
        f"{task}: {fmean(gains.values()):+.2f} dB in the mean and {gains[least]:+.2f} dB or more on each photograph"
        f" ({least}), over {names}"
    )
    goal = goals().get((task, PHOTOGRAPHS))
    if goal is None:
        return said.replace("-", "−") + "."
    verdict = "reached" if gains[least] > goal.at_least_db else "not reached"
    return f"{said}; asked: more than {goal.at_least_db:g} dB on each, {verdict}.".replace(" -", " −")


def method(cell: Cell) -> str:
    """Name a classical method for reading."""
    family, _, configuration = cell.model.partition("/")
    if cell.task == "demosaic" and family == "identity" and "interpolation" not in cell.setting:
        return "Malvar"  # the input of a network that receives an interpolated mosaic
    name = _CLASSICAL.get(family, family)
    return f"{name} {configuration}".strip()


def _scenes(results: Sequence[Result], artifact: Callable[[str], bytes] | None) -> Iterator[Comparison]:
    """Yield one photograph of each task, a different one where there are enough."""
    networks = [result for result in results if result.cell.weights != "none" and result.artifacts()]
    for number, result in enumerate(networks):
        files = result.artifacts()
        names = list(dict.fromkeys(role.partition(":")[2] for role in files if role.startswith("restored:")))
        if not names:
            continue
        name = names[number % len(names)]
        psnr = {"degraded": _by_image(_before(result)).get(name), "restored": _by_image(_psnr(result)).get(name)}
        pictures = tuple(
            Picture(
                role=role,
                artifact=files[f"{role}:{name}"],
                caption=f"{value:.2f} dB" if (value := psnr.get(role)) is not None else "",
                cell=result.cell.id,
            )
            for role in _ROLES
            if f"{role}:{name}" in files
        )
        content = artifact(files[f"target:{name}"]) if artifact and f"target:{name}" in files else b""
        crop = busiest_box(content) if content else None
        yield Comparison(title=f"{result.cell.task}: {name}", pictures=pictures, crop=crop)


def _psnr(result: Result) -> Measurement | None:
    return result.measurement("psnr", "psnr")


def _before(result: Result) -> Measurement | None:
    return result.measurement("degraded", "degraded.psnr")


def _by_image(found: Measurement | None) -> dict[str, float]:
    return dict(zip(found.labels, found.samples, strict=True)) if found else {}


def _differences(after: Measurement, before: Measurement) -> dict[str, float]:
    inputs = _by_image(before)
    return {name: value - inputs[name] for name, value in _by_image(after).items() if name in inputs}


def _number(value: float | None, form: str, reason: str, *, cell: str = "") -> Entry:
    if value is None:
        return Entry(text="–", reason=reason, cell=cell)
    return Entry(text=form.format(value).replace("-", "−"), value=value, cell=cell)
