"""The page of the shipped networks: what they reach on test sets, and by how much they beat classical methods."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from reports.results import Result, counted, gather, listed, number_text, phrase

if TYPE_CHECKING:
    from harness.store import StoredPlan

GOALS = Path(__file__).parents[1] / "goals" / "shipped.csv"
PHOTOGRAPHS = "bundled"
"""The dataset that comes with the project; every other one is a test set of the field."""
DEFAULT_K = 16
"""The k by which the cards of the shipped weights judge them, and by which they restore unless another is asked for."""
_CLASSICAL = {
    "nonlocal_means": "non-local means",
    "total_variation": "total variation",
    "bicubic": "bicubic",
    "identity": "no classical method",
}
_ROLES = ("degraded", "restored", "target")
_CONFIDENCE = 0.95
_PROTOCOL = re.compile(r"(\w+)-crop(\d+)-(\w+)")
_CHANNELS = {"gray": "gray", "rgb": "RGB", "y": "Y"}
_ROUNDING = {"uint8": "", "none": "neither clipped nor rounded"}
_ABOUT_SETS = (
    "The figure to reach is that of reports/goals/shipped.csv. The verdict is that of the shipped default,"
    f" k = {DEFAULT_K}; where only another k reaches the figure, it names that k, found on the test set itself."
    " A protocol names the channel that is judged, at 8 bits, and the pixels that are cut at each border. The networks"
    " were trained with random windows and k. The interval is that of a paired t-test over the images."
)
_ABOUT_CLASSICAL = (
    "The classical method of a picture is the one with the highest PSNR on that picture: chosen with the target at"
    " hand, which no user has. The network is compared with the input alone where there is no classical method."
)


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

    `artifact` reads a picture of the store; scenes of which none is there give way to the command that makes them.
    `store_name` is how commands name the store. There is no `baseline`.
    """
    results = gather(records, plan)
    on_sets = [result for result in results if result.cell.dataset != PHOTOGRAPHS]
    on_photographs = [result for result in results if result.cell.dataset == PHOTOGRAPHS]
    sections = [
        Section(title="Test sets", anchor="sets", blocks=tuple(_sets(on_sets))),
        Section(title="Bundled photographs", anchor="photographs", blocks=tuple(_photographs(on_photographs))),
    ]
    if pictures := tuple(_pictures(on_photographs, artifact, plan.name)):
        sections.append(Section(title="Pictures", anchor="pictures", blocks=pictures))
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
        Column(label="setting"),
        Column(label="protocol", hint="colour channel, pixels cut at each border, rounding"),
        Column(label="input", unit="dB", family="PSNR", kind="number"),
        *(Column(label=f"k = {k}", unit="dB", family="PSNR", kind="number") for k in ks),
        Column(label="to reach", unit="dB", family="PSNR", kind="number"),
        Column(label="verdict"),
        Column(label=f"gain over input, k = {DEFAULT_K}", unit="dB", kind="number"),
        Column(label="95 % interval", unit="dB", hint="of the gain, over images: paired t"),
        Column(label="images", kind="number"),
        Column(label="weights"),
    )
    members = [list(found) for _, found in groupby(results, key=lambda result: (result.cell.task, result.cell.dataset))]
    yield Table(
        caption="PSNR by each set's protocol",
        columns=columns,
        groups=(Group(rows=tuple(_set_row(each, ks) for each in members)),),
        stubs=2,
        notes=(
            f"PSNR in dB, mean over the set's images{_alike(results, 'window')}.",
            _ABOUT_SETS,
            *_judged(results),
        ),
    )
    absent = Counter(result.why_not("psnr") for result in results if _psnr(result) is None)
    if absent:
        yield Text(text=f"Not measured ({counted(absent.total(), 'cell')}): {listed(absent, 'cell')}.", tone="note")


def _set_row(members: Sequence[Result], ks: Sequence[int]) -> Row:
    cell = members[0].cell
    goal = goals().get((cell.task, cell.dataset))
    by_k = {result.cell.top_k: result for result in members}
    scored = {k: found.samples for k, result in by_k.items() if k and (found := _psnr(result)) is not None}
    before = next((found for result in members if (found := _before(result)) is not None), None)
    images = len(next(iter(scored.values()))) if scored else None
    return Row(
        entries=(
            Entry(text=cell.task),
            Entry(text=cell.dataset),
            Entry(text=cell.setting),
            Entry(text=_protocols(members)),
            _number(fmean(before.samples) if before else None, "{:.2f}", members[0].why_not("degraded")),
            *(_k_entry(by_k.get(k)) for k in ks),
            _number(goal.at_least_db if goal else None, "{:.2f}", "no figure is set"),
            Entry(text=verdict({k: fmean(samples) for k, samples in scored.items()}, goal)),
            *_gain(by_k.get(DEFAULT_K)),
            _number(images, "{:d}", members[0].why_not("psnr")),
            Entry(text=cell.weights),
        )
    )


def verdict(means: Mapping[int, float], goal: Goal | None) -> str:
    """Say at which k a figure is reached, or by how much the shipped default (the best k, without it) misses it."""
    if goal is None or not means:
        return "–"
    reaching = [k for k in sorted(means) if means[k] >= goal.at_least_db]
    if DEFAULT_K in reaching:
        return "reached"
    if reaching:
        return f"reached at k = {next((k for k in reaching if k > DEFAULT_K), reaching[-1])}"
    k = DEFAULT_K if DEFAULT_K in means else max(means, key=lambda k: means[k])
    short = goal.at_least_db - means[k]
    return f"missed by {f'{short:.2f}' if short >= 0.005 else 'less than 0.01'} dB at k = {k}"


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
    return mean, Entry(text=f"{_signed(low)} to {_signed(high)}", value=low)


def _alike(results: Iterable[Result], *axes: str) -> str:
    """Name the axes that have one value in all of these cells, as in `, window 8`."""
    values = {axis: {getattr(result.cell, axis) for result in results} for axis in axes}
    return "".join(f", {phrase(axis, *found)}" for axis, found in values.items() if len(found) == 1)


def _judged(results: Iterable[Result]) -> Iterator[str]:
    """Yield what a reader has to know of the inputs of each task, as of noise that is judged unclipped."""
    noted = {f"{result.cell.task}: {note}" for result in results for note in result.notes("degraded")}
    yield from (f"{_PROTOCOL.sub(lambda found: protocol_in_words(found[0]), note)}." for note in sorted(noted))


def _protocols(results: Iterable[Result]) -> str:
    records = (result.records.get("psnr") for result in results)
    names = dict.fromkeys(record.protocol for record in records if record and record.protocol)
    return "; ".join(map(protocol_in_words, names)) or "–"


def protocol_in_words(name: str) -> str:
    """Say what the id of a protocol stands for, as in `RGB, 10 px cut`; the id itself where it is unknown."""
    found = _PROTOCOL.fullmatch(name)
    if found is None or found[1] not in _CHANNELS or found[3] not in _ROUNDING:
        return name
    cut = f"{found[2]} px cut" if int(found[2]) else ""
    return ", ".join(filter(None, (_CHANNELS[found[1]], cut, _ROUNDING[found[3]])))


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
    tasks = []
    for _, found in groupby(sorted(results, key=_task_order(results)), key=lambda result: result.cell.task):
        members = list(found)
        networks = [result for result in members if result.cell.weights != "none"]
        network = next((result for result in networks if _psnr(result) is not None), None)
        if network is None:
            why = networks[0].why_not("psnr") if networks else "not in this plan"
            yield Text(text=f"{members[0].cell.task}: no number ({why}).")
            continue
        tasks.append(_Task.of(network, members))
        yield Text(text=tasks[-1].in_words())
    columns = (
        Column(label="photograph"),
        Column(label="input", unit="dB", family="PSNR", kind="number"),
        Column(label="classical", unit="dB", family="PSNR", kind="number"),
        Column(label="network", unit="dB", family="PSNR", kind="number"),
        Column(label="gain over input", unit="dB", kind="number"),
        Column(label="gain over classical", unit="dB", kind="number"),
        Column(label="classical method"),
    )
    groups = tuple(Group(rows=tuple(task.rows()), title=task.title) for task in tasks)
    notes = (_ABOUT_CLASSICAL, *_about_rivals(tasks), *_judged(results))
    yield Table(caption="PSNR of each photograph", columns=columns, groups=groups, notes=notes)


def _about_rivals(tasks: Sequence[_Task]) -> Iterator[str]:
    """Yield which classical methods there were to choose from, and what all networks have in common."""
    if not tasks:
        return
    said = (f"{task.network.cell.task}: {', '.join(map(method, task.choices)) or 'none'}" for task in tasks)
    yield f"Classical methods to choose from: {'; '.join(said)}."
    yield f"PSNR in dB; every network{_alike([task.network for task in tasks], 'top_k', 'window', 'image_size')}."


def _task_order(results: Sequence[Result]) -> Callable[[Result], int]:
    order = list(dict.fromkeys(result.cell.task for result in results))
    return lambda result: order.index(result.cell.task)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A task's network on the photographs, and what it is compared with."""

    network: Result
    choices: tuple[Cell, ...]
    """The classical methods that were measured."""
    best: Mapping[str, tuple[float, Cell]]
    """By photograph: the highest PSNR of a classical method, or of the input where there is none, with its cell."""

    @classmethod
    def of(cls, network: Result, members: Sequence[Result]) -> _Task:
        rivals = [result for result in members if result.cell.weights == "none" and _psnr(result) is not None]
        classical = [rival for rival in rivals if is_classical(rival.cell)]
        best: dict[str, tuple[float, Cell]] = {}
        for rival in classical or rivals:
            for image, value in _by_image(_psnr(rival)).items():
                if image not in best or value > best[image][0]:
                    best[image] = (value, rival.cell)
        return cls(network=network, choices=tuple(rival.cell for rival in classical), best=best)

    @property
    def title(self) -> str:
        """Task, setting and protocol."""
        return f"{self.network.cell.task}, {self.network.cell.setting}; {_protocols([self.network])}"

    def rows(self) -> Iterator[Row]:
        """Yield a row for each photograph."""
        cell = self.network.cell.id
        inputs = _by_image(_before(self.network))
        for image, value in _by_image(_psnr(self.network)).items():
            before, rival = inputs.get(image), self.best.get(image)
            classical = rival if rival and is_classical(rival[1]) else None
            none = method(rival[1]) if rival else "not measured"
            yield Row(
                entries=(
                    Entry(text=image),
                    _number(before, "{:.2f}", "not measured", cell=cell),
                    _number(classical and classical[0], "{:.2f}", none, cell=classical[1].id if classical else ""),
                    _number(value, "{:.2f}", "", cell=cell),
                    _number(None if before is None else value - before, "{:+.2f}", "not measured", cell=cell),
                    _number(value - classical[0] if classical else None, "{:+.2f}", none, cell=cell),
                    Entry(text=method(rival[1]) if rival else "–"),
                )
            )

    def in_words(self) -> str:
        """Say by how much the network is better, and whether that is enough."""
        task = self.network.cell.task
        values = _by_image(_psnr(self.network))
        gains = {image: value - self.best[image][0] for image, value in values.items() if image in self.best}
        if not gains:
            return f"{task}: nothing to compare with."
        rivals = dict.fromkeys(cell for _, cell in self.best.values())
        names = ", ".join(method(cell) if is_classical(cell) else f"the input ({method(cell)})" for cell in rivals)
        least = min(gains, key=lambda image: gains[image])
        said = (
            f"{task}: {_signed(fmean(gains.values()))} dB in the mean and {_signed(gains[least])} dB or more on"
            f" each photograph ({least}), over {names}"
        )
        goal = goals().get((task, PHOTOGRAPHS))
        if goal is None:
            return f"{said}."
        reached = "reached" if gains[least] > goal.at_least_db else "not reached"
        return f"{said}; to reach: more than {goal.at_least_db:g} dB on each, {reached}."


def is_classical(cell: Cell) -> bool:
    """Return whether a cell without weights is of a method; the bare input is of none."""
    return method(cell) != _CLASSICAL["identity"]


def method(cell: Cell) -> str:
    """Name a classical method for reading."""
    family, _, configuration = cell.model.partition("/")
    if cell.task == "demosaic" and family == "identity" and "interpolation" not in cell.setting:
        return "Malvar"  # the input of a network that receives an interpolated mosaic
    name = _CLASSICAL.get(family, family)
    return f"{name} {configuration}".strip()


def _pictures(
    results: Sequence[Result], artifact: Callable[[str], bytes] | None, experiment: str
) -> Iterator[Gallery | Text]:
    """Yield the scenes of which a picture is there, and how to make the others."""
    named = list(_scenes(results, artifact))
    there = [scene for scene in named if any(_loads(picture.artifact, artifact) for picture in scene.pictures)]
    if there:
        caption = "The frame marks the detail beside each picture: where the target varies most."
        yield Gallery(caption=caption, comparisons=tuple(there))
    if lost := len(named) - len(there):
        folder = f"results/{experiment}"
        yield Text(
            text=f"The pictures of {counted(lost, 'task')} are not kept beside these records. Made by:"
            f" semanir-bench run {experiment} --only dataset={PHOTOGRAPHS} --out {folder}."
            f" Shown by: semanir-bench report {folder}.",
            tone="note",
        )


def _loads(name: str, artifact: Callable[[str], bytes] | None) -> bool:
    return artifact is not None and artifact(name) != b""


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
                caption=f"{number_text(value)} dB" if (value := psnr.get(role)) is not None else "",
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
    return Entry(text=number_text(value, form), value=value, cell=cell)


def _signed(value: float) -> str:
    return number_text(value, "{:+.2f}")
