"""The ablation page: what a sweep asked, what its cells answered, how that looks, how to measure it again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from harness.record import Failed, Measured, Measurement, Record
from reports.crops import busiest_box
from reports.curves import alike, cost_figures, lines, named
from reports.dictionaries import dictionaries
from reports.document import (
    ERROR_GAIN,
    Axis,
    Badge,
    Block,
    Card,
    Cards,
    Code,
    Column,
    Comparison,
    Details,
    Document,
    Entry,
    Facts,
    Figure,
    Figures,
    Gallery,
    Group,
    Picture,
    Row,
    Section,
    State,
    Table,
    Text,
)
from reports.machines import by_machine
from reports.marks import Value
from reports.origin import again, provenance
from reports.paired import FEWEST_IMAGES
from reports.pareto import against_best, fronts
from reports.quantities import (
    Quantity,
    Read,
    by_protocol,
    entries,
    gain_notes,
    latency_ms,
    mean_psnr,
    of_images,
    plainest,
    quantities,
)
from reports.results import (
    AXES,
    JUDGED,
    Result,
    arrange,
    axis_values,
    counted,
    gather,
    in_words,
    judged_on,
    kin,
    label,
    listed,
    number_text,
    pattern,
    reason,
    state,
    value_text,
    varying,
)
from reports.seeds import mean_over_seeds, over_seeds
from reports.traces import profiles

if TYPE_CHECKING:
    from harness.store import StoredPlan

_MOST_ROWS = 60
"""Rows that a table shows before it is folded along its outer axes."""
_MOST_OF_IMAGES = 50
"""Cells whose images are shown one by one."""
_MOST_SCENES = 3
_QUALITY = (("psnr", 0.01, Axis(label="PSNR", unit="dB")), ("ssim", 0.0001, Axis(label="SSIM")))
"""Metric, within what backends are taken to agree, and its axis; quality is drawn against time by the first."""
_ROLES = ("degraded", "restored", "target")
_STATES: tuple[State, ...] = ("measured", "skipped", "failed", "missing")
_STATE_WORDS = {"measured": "measured", "skipped": "skipped", "failed": "failed", "missing": "not run yet"}


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Tell a plan's story from the records at hand; what is missing is said to be.

    `artifact` reads a picture of the store, to choose the detail that is shown. `store_name` is how commands
    name the store. `baseline` is the backend that times are divided by; by default the one that spends most.
    """
    results = gather(records, plan)
    baseline = baseline or plainest(results)
    tasks = axis_values(results, "task") if results else []
    of_task = {task: [result for result in results if result.cell.task == task] for task in tasks}
    stories = [_Story(i, task, of_task[task], baseline, artifact) for i, task in enumerate(tasks)]
    found = [record for result in results for record in result.records.values() if record]
    counts = Counter(state(record) for result in results for record in result.records.values())
    sections = []
    if len(stories) > 1:
        cards = Cards(cards=tuple(each.card() for each in stories))
        sections.append(Section(title="Tasks", anchor="tasks", blocks=(cards,)))
    sections += [each.section() for each in stories]
    sections.append(Section(title="Skipped and failed", anchor="unmeasured", blocks=tuple(_unmeasured(results))))
    sections.append(Section(title="Environment", anchor="environment", blocks=tuple(_environment(found))))
    sections.append(Section(title="Spec", anchor="spec", blocks=_spec(plan)))
    sections.append(again(results, store_name))
    return Document(
        title=plan.question,
        kicker="Ablation",
        badges=_badges(counts),
        lead=tuple(_lead(plan, results, found, baseline)),
        sections=tuple(sections if results else sections[-3:-1]),
    )


def _badges(counts: Mapping[State, int]) -> tuple[Badge, ...]:
    shown = [kind for kind in _STATES if counts.get(kind)]
    anchors = {"skipped": "unmeasured", "failed": "unmeasured", "missing": "unmeasured"}
    return tuple(
        Badge(text=f"{counts[kind]:,} {_STATE_WORDS[kind]}", state=kind, anchor=anchors.get(kind, "")) for kind in shown
    )


def _lead(
    plan: StoredPlan, results: Sequence[Result], found: Sequence[Record], baseline: str | None
) -> Iterator[Block]:
    metrics = list(dict.fromkeys(metric for result in results for metric in result.records))
    size = f"{counted(len(results), 'cell')} × {counted(len(metrics), 'metric')}: {', '.join(metrics)}"
    yield Facts(items=(*provenance(plan, found), ("size", size)))
    if not results:
        yield Text(text="This plan holds no cells, so there is nothing to report.", tone="warning")
    elif not found:
        yield Text(text="No cell of this plan has been run yet: no records, no numbers.", tone="warning")
    if any(record.dirty for record in found):
        yield Text(text="Some results come from a tree with uncommitted changes.", tone="warning")
    ratios = f" Ratios are to {baseline}, with all other axes equal." if baseline else ""
    words = (
        "A row is a cell: one value per axis. Every number leads to its cell, to what lies behind it and to"
        " the command that measures it again: tap it, or rest on it. An empty place says why it is empty.",
        f"Times on a CPU are informative: only ratios within one run mean something.{ratios} Times of"
        " an interpreter are no speeds and are never shown. Nothing was timed before it agreed with the"
        " reference.",
        "Bold marks the best, together with whatever cannot be told from it, an underline the second in the same way:"
        " for quality among cells that saw the same images, by the 95 % interval of differences image by image (fewer"
        f" than {FEWEST_IMAGES} images tell nothing apart); for costs among cells that differ in the backend alone, by"
        " the quartiles of the repetitions.",
    )
    yield Details(title="How to read this", blocks=tuple(Text(text=each) for each in words), open=True)


class _Story:
    """One task of the page: its card, pictures, table and figures."""

    def __init__(
        self,
        index: int,
        task: str,
        results: Sequence[Result],
        baseline: str | None,
        artifact: Callable[[str], bytes] | None,
    ) -> None:
        self.title = task
        self.anchor = f"task-{index + 1}"
        self.axes = varying(results)
        self.results = arrange(results, self.axes)
        self.baseline = baseline
        self.artifact = artifact
        self.shown = self._most_telling()
        self.scenes = self._scenes(artifact)

    def card(self) -> Card:
        counts = Counter(state(record) for result in self.results for record in result.records.values())
        first = self.scenes[0] if self.scenes else None
        pictures = {each.role: each for each in first.pictures if each.artifact} if first else {}
        picture = pictures.get("restored") or pictures.get("degraded")
        return Card(
            title=self.title,
            anchor=self.anchor,
            lines=(" · ".join(map(str, axis_values(self.results, "setting"))), self._headline()),
            badges=_badges(counts),
            picture=picture,
        )

    def section(self) -> Section:
        blocks: list[Block] = [Facts(items=tuple(self._common()), inline=True)]
        blocks += self._pictures()
        numbers = quantities(self.results, self.baseline)
        blocks += self._numbers(numbers)
        if figures := tuple(self._figures()):
            blocks.append(Figures(figures=figures))
        blocks += dictionaries(self.results, self.artifact, anchor=self.anchor)
        blocks += self._per_image()
        blocks += profiles(self.results, self.axes, self.artifact)
        return Section(title=self.title, anchor=self.anchor, blocks=tuple(blocks))

    def _numbers(self, numbers: Sequence[Quantity]) -> Iterator[Block]:
        """Yield the table of cells, folded behind that of means over seeds where there are any."""
        gain = tuple(gain_notes(self.results))
        cells = tuple(_tables(f"What each cell of {self.title} measured", self.results, self.axes, numbers, *gain))
        firsts, pooled = over_seeds(self.results, numbers) if "seed" in self.axes else ((), ())
        if not pooled:
            yield from cells
            return
        axes = tuple(axis for axis in self.axes if axis != "seed")
        seeds = counted(len(axis_values(self.results, "seed")), "seed")
        said = f"Means over {seeds}; sd: standard deviation of the seeds' means."
        yield from _tables(f"Means of {self.title} over {seeds}", firsts, axes, pooled, said, *gain)
        yield Details(title="Each seed", count=counted(len(self.results), "cell"), blocks=cells, open=True)

    def _headline(self) -> str:
        best = max(self.results, key=_rank)
        psnr = mean_psnr(best)
        if psnr is None:
            reasons = Counter(result.why_not("psnr") for result in self.results if "psnr" in result.records)
            return listed(reasons, "cell", 1) if reasons else "costs alone"
        before = best.measurement("degraded", "degraded.psnr")
        gain = f", {number_text(psnr - fmean(before.samples), '{:+.2f}')} over the input" if before else ""
        return f"{number_text(psnr)} dB{gain}"

    def _common(self) -> Iterator[tuple[str, str]]:
        cell = self.results[0].cell
        for axis in AXES:
            value = getattr(cell, axis)
            if axis not in self.axes and value is not None and not (axis in ("batch", "seed") and value in (0, 1)):
                yield label(axis), value_text(axis, value)
        protocols = {
            record.protocol: None
            for result in self.results
            for record in result.records.values()
            if record and record.protocol
        }
        if protocols:
            yield "protocol", ", ".join(protocols)
        if before := _of_inputs(self.results):
            yield "degraded input", before

    def _most_telling(self) -> Result | None:
        """Return the cell whose pictures are shown: a restored one, of the highest PSNR, the first."""
        pictured = [result for result in self.results if any(":" in role for role in result.artifacts())]

        def rank(result: Result) -> tuple[bool, float]:
            return any(role.startswith("restored:") for role in result.artifacts()), _rank(result)

        return max(pictured, key=rank, default=None)

    def _scenes(self, artifact: Callable[[str], bytes] | None) -> tuple[Comparison, ...]:
        if self.shown is None:
            return ()
        files = self.shown.artifacts()
        names = list(dict.fromkeys(role.partition(":")[2] for role in files if role.partition(":")[0] in _ROLES))
        return tuple(self._scene(name, files, artifact) for name in names[:_MOST_SCENES])

    def _scene(self, name: str, files: Mapping[str, str], artifact: Callable[[str], bytes] | None) -> Comparison:
        assert self.shown is not None
        cell = self.shown.cell.id
        captions = {
            "degraded": _of_image(self.shown.measurement("degraded", "degraded.psnr"), name),
            "restored": _of_image(self.shown.measurement("psnr", "psnr"), name),
        }
        missing = self.shown.why_not("psnr") if self.shown.measurement("psnr") is None else "no picture was kept"
        pictures = tuple(
            Picture(role=role, artifact=files[f"{role}:{name}"], caption=captions.get(role, ""), cell=cell)
            if f"{role}:{name}" in files
            else Picture(role=role, cell=cell, reason=missing if role == "restored" else "no picture was kept")
            for role in _ROLES
        )
        restored, target = (files.get(f"{role}:{name}", "") for role in ("restored", "target"))
        if restored and target:
            pictures += (Picture(role="error", artifact=restored, target=target, caption=f"× {ERROR_GAIN}", cell=cell),)
        content = artifact(target) if target and artifact else b""
        crop = busiest_box(content) if content else None
        return Comparison(title=name, pictures=pictures, crop=crop)

    def _pictures(self) -> Iterator[Block]:
        """Yield every scene where something was restored, else one with the others folded."""
        if self.shown is None or not self.scenes:
            return
        restored = any(each.role == "restored" and each.artifact for each in self.scenes[0].pictures)
        shown = len(self.scenes) if restored else 1
        which = in_words(self.shown.cell, self.axes) or "the one cell"
        caption = f"From {which}. The frame marks the detail beside each picture: where the target varies most."
        if restored:
            caption += f" Error: how far each pixel is from the target, times {ERROR_GAIN}."
        yield Gallery(caption=caption, comparisons=self.scenes[:shown])
        if others := self.scenes[shown:]:
            more = Gallery(caption="", comparisons=others)
            yield Details(title="More pictures", count=counted(len(others), "image"), blocks=(more,))

    def _figures(self) -> Iterator[Figure]:
        sure = "whisker: 95 % interval of the difference to the best on the same images, image by image"
        found: list[Figure | None] = []
        for metric, within, axis in _QUALITY:
            read = of_images(metric)
            for protocol, members in by_protocol(self.results, metric):
                pooled = "backend" in self.axes and alike(members, read, "backend", within=within)
                found.append(
                    lines(
                        members,
                        against_best(members, read),
                        title=named(axis.label, protocol),
                        y=axis,
                        pool=("backend",) if pooled else (),
                        within=within,
                        size=(_gflop("useful"), "GFLOP that kept pairs need")
                        if pooled
                        else (_gflop("spent"), "GFLOP spent"),
                        said=sure,
                    )
                )
        metric, _, axis = _QUALITY[0]
        for protocol, judged in by_protocol(self.results, metric):
            firsts, repeated, y = judged, of_images(metric), axis
            if "seed" in self.axes:
                (firsts, repeated), seeds = mean_over_seeds(judged, repeated), len(axis_values(judged, "seed"))
                y = replace(axis, label=f"{axis.label} (mean over {counted(seeds, 'seed')})")
            read = against_best(firsts, repeated)
            for machine, members in by_machine(firsts, "latency"):
                what = named("latency", ", ".join(filter(None, (protocol, machine))))
                found += fronts(members, read, latency_ms, y=y, x=Axis(label=what, unit="ms", log=True))
        return (figure for figure in (*found, *cost_figures(self.results)) if figure is not None)

    def _per_image(self) -> Iterator[Block]:
        """Yield PSNR of every image, a table for each set of images with more than one, of so many cells in all."""
        where = [axis for axis in JUDGED if axis in self.axes]
        judged: dict[tuple[str, object], list[tuple[Result, Measurement]]] = {}
        for protocol, results in by_protocol(self.results, "psnr"):
            for result in results:
                found = result.measurement("psnr", "psnr")
                if found and len(found.labels) > 1:
                    judged.setdefault((protocol, judged_on(result)), []).append((result, found))
        left = _MOST_OF_IMAGES
        for (protocol, _), scored in judged.items():
            if left > 0:
                of_which = ", ".join(filter(None, (in_words(scored[0][0].cell, where), protocol)))
                yield self._images_of(scored[:left], named("PSNR of each image", of_which))
            left -= len(scored)
        if left < 0:
            more = counted(-left, "more cell")
            yield Text(text=f"PSNR of each image of {more} in the records alone: semanir-bench export.", tone="note")

    def _images_of(self, scored: Sequence[tuple[Result, Measurement]], title: str) -> Block:
        names = list(dict.fromkeys(name for _, found in scored for name in found.labels))
        rows = []
        degraded = (result.measurement("degraded", "degraded.psnr") for result, _ in scored)
        if (before := next(filter(None, degraded), None)) is not None:
            rows.append(Row(entries=(Entry(text="degraded input"), *_by_image(before, names, ""))))
        for result, found in scored:
            name = Entry(text=in_words(result.cell, self.axes) or result.cell.backend)
            rows.append(Row(entries=(name, *_by_image(found, names, result.cell.id))))
        columns = (Column(label="cell"), *(Column(label=name, unit="dB", kind="number") for name in names))
        table = Table(caption=title, columns=columns, groups=(Group(rows=tuple(rows)),))
        return Details(title=title, count=counted(len(names), "image"), blocks=(table,))


def _rank(result: Result) -> float:
    """Return the mean PSNR over images; what has none that is a number comes last."""
    psnr = mean_psnr(result)
    return -math.inf if psnr is None or math.isnan(psnr) else psnr


def _of_inputs(results: Sequence[Result]) -> str:
    """Return the PSNR of the degraded inputs, from the lowest mean to the highest where several were judged."""
    found = {judged_on(each): before for each in results if (before := each.measurement("degraded", "degraded.psnr"))}
    if not found:
        return ""
    means = [fmean(each.samples) for each in found.values()]
    span = " to ".join(dict.fromkeys((number_text(min(means)), number_text(max(means)))))
    images = sorted({len(each.samples) for each in found.values()})
    over = counted(images[0], "image") if len(images) == 1 else f"{images[0]} to {counted(images[-1], 'image')}"
    return f"{span} dB over {over}"


def _gflop(kind: str) -> Read:
    def read(result: Result) -> Value | str:
        found = result.measurement("flops", f"flops.{kind}")
        return Value(value=found.samples[0] / 1e9) if found else result.why_not("flops")

    return read


def _tables(
    caption: str, results: Sequence[Result], axes: Sequence[str], numbers: Sequence[Quantity], *said: str
) -> Iterator[Block]:
    """Yield a task's table; a long one is folded along its outer axes, columns and decimals kept."""
    columns = [(quantity, entries(quantity, results)) for quantity in numbers]
    filled = [(quantity, column) for quantity, column in columns if any(entry.value is not None for entry in column)]
    empty = [(quantity, column) for quantity, column in columns if not any(e.value is not None for e in column)]
    stubs = tuple(axes[-2:]) or ("backend" if results[0].cell.backend != "none" else "model",)
    outer = tuple(axes[:-2])
    heads = (
        *(Column(label=label(axis)) for axis in stubs),
        *(quantity.column for quantity, _ in filled),
        Column(label="cell", kind="cell", hint="the cell's id; it leads to the command that measures it again"),
    )
    rows = []
    for i, result in enumerate(results):
        names = tuple(Entry(text=value_text(axis, getattr(result.cell, axis))) for axis in stubs)
        cell = Entry(text=result.cell.id, cell=result.cell.id)
        rows.append((result, Row(entries=(*names, *(column[i] for _, column in filled), cell))))

    def table(title: str, part: Sequence[tuple[Result, Row]], below: Sequence[str]) -> Table:
        groups = groupby(part, key=lambda each: in_words(each[0].cell, below))
        return Table(
            caption=title,
            columns=heads,
            groups=tuple(Group(title=title, rows=tuple(row for _, row in members)) for title, members in groups),
            stubs=len(stubs),
            parts=tuple(label(axis) for axis in below),
        )

    notes = (*said, *_empty_columns(empty))
    folds = _folds(results, outer)
    if folds == 0:
        whole = table(caption, rows, outer)
        yield replace(whole, notes=notes)
        return
    for i, (title, members) in enumerate(groupby(rows, key=lambda each: in_words(each[0].cell, outer[:folds]))):
        part = list(members)
        inside = table(f"{caption}: {title}", part, outer[folds:])
        yield Details(title=title, count=counted(len(part), "cell"), blocks=(inside,), open=i == 0)
    for note in notes:
        yield Text(text=note, tone="note")


def _folds(results: Sequence[Result], outer: Sequence[str]) -> int:
    """Return how many of the outer axes must fold a table so that no part is longer than people read."""
    for folds in range(len(outer) + 1):
        parts = Counter(tuple(getattr(result.cell, axis) for axis in outer[:folds]) for result in results)
        if max(parts.values()) <= _MOST_ROWS:
            return folds
    return len(outer)


def _empty_columns(empty: Sequence[tuple[Quantity, Sequence[Entry]]]) -> Iterator[str]:
    """Say which columns are left out for want of any number, and why."""
    named: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for quantity, column in empty:
        reasons = Counter(entry.reason for entry in column)
        name = (
            quantity.label if quantity.family in ("", "quality", "agreement") else f"{quantity.family} {quantity.label}"
        )
        named.setdefault(tuple(reasons.most_common()), []).append(name)
    for why, names in named.items():
        yield f"Without any number, so not shown: {', '.join(names)}. Reason: {listed(dict(why), 'cell')}."


def _of_image(found: Measurement | None, image: str) -> str:
    value = dict(zip(found.labels, found.samples, strict=False)).get(image) if found else None
    return "" if value is None else f"{number_text(value)} dB"


def _by_image(found: Measurement, names: Sequence[str], cell: str) -> Iterator[Entry]:
    values = dict(zip(found.labels, found.samples, strict=False))
    for name in names:
        value = values.get(name)
        if value is None:
            yield Entry(text="not in this cell", reason="not in this cell", cell=cell)
        else:
            yield Entry(text=number_text(value), value=value, cell=cell)


def _unmeasured(results: Sequence[Result]) -> Iterator[Block]:
    """Yield the results without numbers by reason, failures first."""
    found: dict[tuple[State, str], list[tuple[Result, str]]] = {}
    for result in results:
        for metric, record in result.records.items():
            if (kind := state(record)) != "measured":
                found.setdefault((kind, kin(reason(record))), []).append((result, metric))
    if not found:
        yield Text(text="Every planned result was measured.")
        return
    axes = ("task", *varying(results))
    worst_first = {"failed": 0, "missing": 1, "skipped": 2}
    for (kind, _), members in sorted(found.items(), key=lambda item: (worst_first[item[0][0]], -len(item[1]))):
        title = pattern(result.why_not(metric) for result, metric in members)
        metrics = dict.fromkeys(metric for _, metric in members)
        tasks = dict.fromkeys(result.cell.task for result, _ in members)
        count = f"{counted(len(members), 'result')}: {', '.join(metrics)} in {', '.join(tasks)}"
        yield Details(title=title, count=count, blocks=tuple(_without_number(members, axes, title)), state=kind)


def _without_number(members: Sequence[tuple[Result, str]], axes: Sequence[str], title: str) -> Iterator[Block]:
    """Yield the first error in full where it says more than its line, and the cells with their reasons."""
    result, metric = members[0]
    record = result.records[metric]
    error = record.outcome.error if record and isinstance(record.outcome, Failed) else ""
    if len(error.strip().splitlines()) > 1 or len(error) > len(title):
        yield Code(text=error, caption="The error in full" if len(members) == 1 else "The first of them in full")
    together: dict[tuple[str, str], list[str]] = {}
    cells = {result.cell.id: result.cell for result, _ in members}
    for result, metric in members:
        together.setdefault((result.cell.id, result.why_not(metric)), []).append(metric)
    rows = tuple(
        Row(
            entries=(
                Entry(text=cell_id, cell=cell_id),
                Entry(text=in_words(cells[cell_id], axes)),
                Entry(text=", ".join(metrics)),
                *((Entry(text=why),) if why != title else ()),
            )
        )
        for (cell_id, why), metrics in together.items()
    )
    said = (Column(label="reason"),) if any(why != title for _, why in together) else ()
    columns = (Column(label="cell", kind="cell"), Column(label="axes"), Column(label="metrics"), *said)
    yield Table(caption=f"Results without a number: {title}", columns=columns, groups=(Group(rows=rows),))


def _environment(found: Sequence[Record]) -> Iterator[Block]:
    """Yield what the numbers were made with: one column a machine class, unlike values side by side."""
    machines: dict[str, list[Record]] = {}
    for record in found:
        machines.setdefault(record.environment.machine_class, []).append(record)
    if not machines:
        yield Text(text="No record, so no environment is known.")
        return
    facts = {name: _facts(members) for name, members in machines.items()}
    rows = [
        Row(entries=(Entry(text=name), *(Entry(text=facts[machine].get(name, "")) for machine in machines)))
        for name in dict.fromkeys(name for each in facts.values() for name in each)
    ]
    columns = (Column(label="machine class"), *(Column(label=name) for name in machines))
    yield Table(caption="Where the numbers come from", columns=columns, groups=(Group(rows=tuple(rows)),))
    notes = Counter(note for r in found if isinstance(r.outcome, Measured) for note in r.outcome.notes)
    if notes:
        noted = tuple(Row(entries=(Entry(text=note), Entry(text=f"{n:,}"))) for note, n in notes.most_common())
        columns = (Column(label="note"), Column(label="results", kind="number"))
        table = Table(caption="Notes that metrics left", columns=columns, groups=(Group(rows=noted),))
        yield Details(title="Notes that metrics left", count=counted(len(noted), "note"), blocks=(table,))


def _facts(found: Sequence[Record]) -> dict[str, str]:
    places = [record.environment for record in found]

    def each(values: Sequence[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))

    def on_off(values: Sequence[bool | None]) -> str:
        return each([None if value is None else "on" if value else "off" for value in values])

    loads = [place.load_average for place in places if place.load_average is not None]
    versions = sorted({name for place in places for name in place.versions})
    facts = {
        "processor": each([place.cpu for place in places]),
        "cores": each([place.cores for place in places]),
        "memory": each([f"{gib:.1f} GiB" for place in places if (gib := place.memory_gib) is not None]),
        "system": each([place.system for place in places]),
        "device": each([place.device for place in places]),
        "driver": each([place.driver for place in places]),
        "threads": each([place.threads for place in places]),
        "TF32": on_off([place.tf32 for place in places]),
        "deterministic algorithms": on_off([place.deterministic for place in places]),
        "one-minute load": f"{min(loads):.2f} to {max(loads):.2f}" if loads else "",
        "commit": each([f"{record.commit}{' (dirty)' if record.dirty else ''}" for record in found]),
        "time in cells": f"{sum(each.duration_s for each in found):.0f} s, {counted(len(found), 'result')}",
        "Python": each([place.python for place in places]),
    }
    facts |= {name: each([place.versions.get(name) for place in places]) for name in versions}
    return {name: value for name, value in facts.items() if value}


def _spec(plan: StoredPlan) -> tuple[Block, ...]:
    return (Code(text=plan.text, caption=f"{plan.name}, digest {plan.digest}"),)
