"""The page of training arms: networks trained in different ways, several seeds of each, and how they compare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from harness.record import Record
from reports.curves import cost_figures, position_of
from reports.document import (
    Axis,
    Badge,
    Block,
    Column,
    Document,
    Entry,
    Facts,
    Figure,
    Figures,
    Group,
    Panel,
    Point,
    Row,
    Section,
    Series,
    State,
    Table,
    Text,
)
from reports.origin import again, provenance
from reports.paired import Difference, holm
from reports.quantities import brief, entries, plainest, quantities
from reports.results import Result, counted, gather, in_words, label, listed, phrase, state, value_text
from reports.trained import FIXED, METRIC, Compared, Comparison, Place, Seed, arm_of, at_words, comparisons, spread_of

if TYPE_CHECKING:
    from harness.store import StoredPlan

_ALONG = ("top_k", "window", "image_size", "images")
"""Axes that can run along x, in this order of choice."""
_ALONG_ARMS = ("window", "top_k", "image_size")
"""Those that can where they differ between arms alone."""
_FIRST_STYLE = 4
"""Styles before it belong to backends: one colour never means two things."""
_FINE_DB = 0.05
"""Half width of an interval from which on a third decimal says nothing."""
_NO_COST = frozenset({METRIC, "ssim", "degraded", "pictures"})
_STATE_WORDS: Mapping[State, str] = {
    "measured": "measured",
    "skipped": "skipped",
    "failed": "failed",
    "missing": "not run yet",
}


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Compare the arms of a plan, a section for each task, setting and dataset.

    An arm is what names of weights share before their seed. `baseline` is the backend that times are divided by.
    Pictures, which `artifact` reads for other pages, are not shown.
    """
    results = gather(records, plan)
    names = plan.paper.names.get("model", {}) | plan.paper.names.get("weights", {})
    stories = [_Story(i, each, baseline) for i, each in enumerate(comparisons(results, names), start=1)]
    return Document(
        title=plan.question,
        kicker="Training arms",
        badges=_badges(results),
        lead=tuple(_lead(plan, results, stories)),
        sections=(*(story.section() for story in stories), again(results, store_name)) if results else (),
    )


def _badges(results: Sequence[Result]) -> tuple[Badge, ...]:
    counts = Counter(state(record) for result in results for record in result.records.values())
    shown = ((kind, words) for kind, words in _STATE_WORDS.items() if counts[kind])
    return tuple(Badge(text=f"{counts[kind]:,} {words}", state=kind) for kind, words in shown)


def _lead(plan: StoredPlan, results: Sequence[Result], stories: Sequence[_Story]) -> Iterator[Block]:
    found = [record for result in results for record in result.records.values() if record]
    yield Facts(items=tuple(provenance(plan, found)))
    if not any(result.measurements(METRIC) for result in results):
        yield Text(text="No quality has been measured for this plan yet.", tone="warning")
    if any(record.dirty for record in found):
        yield Text(text="Some results come from a tree with uncommitted changes.", tone="warning")
    if any(story.compared for story in stories):
        yield Text(
            text="PSNR and SSIM are means over images and training seeds, sd the deviation of the seeds' means. A"
            " difference is taken image by image and seed by seed, all axes in the row being equal. Images and seeds"
            " both count as drawn from many, so its 95 % interval speaks of other images and of other trainings."
            " Detectable is the difference that a comparison of this size tells from zero four times out of five: a"
            " smaller one may be there unseen."
        )
    missing = Counter(
        result.why_not(metric)
        for result in results
        for metric, record in result.records.items()
        if state(record) != "measured"
    )
    if missing:
        said = listed(missing, "result")
        yield Text(text=f"Not measured ({counted(missing.total(), 'result')}): {said}", tone="note")


class _Story:
    """What is said of one task, setting and dataset."""

    def __init__(self, number: int, comparison: Comparison, baseline: str | None) -> None:
        self.anchor = f"set-{number}"
        self.it = comparison
        self.baseline = baseline
        self.others = [place for place in comparison.places if place.arm != comparison.reference]
        self.verdicts = {place: comparison.against_reference(place) for place in self.others}
        self.compared = {place: each for place, each in self.verdicts.items() if isinstance(each, Compared)}
        halves = [each.difference.high - each.mean for each in self.compared.values() if each.difference]
        self.digits = 3 if halves and min(halves) < _FINE_DB else 2

    def section(self) -> Section:
        blocks: list[Block] = [Facts(items=tuple(self._facts()))]
        judged = any(METRIC in result.records for result in self.it.results)
        if judged:
            blocks.append(self._table())
            blocks += [Text(text=said) for said in self._sentences()]
            blocks += _side_by_side(self._figures())
        blocks += self._costs()
        if not judged:
            blocks += _side_by_side(self._cost_figures())
        title = in_words(self.it.results[0].cell, FIXED)
        return Section(title=title, anchor=self.anchor, blocks=tuple(blocks))

    def _facts(self) -> Iterator[tuple[str, str]]:
        for arm, members in self.it.by_arm.items():
            seeds = tuple(dict.fromkeys(arm_of(result.cell)[1] for result in members))
            parts = [arm if seeds == (None,) else f"{arm}, {_seeds_text(seeds)}"]
            parts += [phrase(axis, getattr(members[0].cell, axis)) for axis in self.it.described]
            yield self.it.labels[arm], " · ".join(parts)
        cell = self.it.results[0].cell
        if common := " · ".join(phrase(axis, getattr(cell, axis)) for axis in self.it.common):
            yield "in common", common
        before = (result.measurement("degraded", "degraded.psnr") for result in self.it.results)
        if found := next((each for each in before if each), None):
            yield "degraded input", f"{_number(fmean(found.samples))} dB over {counted(len(found.samples), 'image')}"
        records = (result.records.get(METRIC) for result in self.it.results if result.measurements(METRIC))
        if protocols := dict.fromkeys(record.protocol for record in records if record and record.protocol):
            yield "protocol", ", ".join(protocols)

    # The table

    def _table(self) -> Table:
        family = f"against {self.it.labels[self.it.reference]}"
        hints = {
            "seeds": "trainings that were measured",
            "sd": "standard deviation of the seeds' means over images",
            "difference": "mean over images and seeds that both have, with its 95 % interval",
            "detectable": "the difference that would be told from zero with a probability of 80 %",
        }
        compared = (
            Column(label="difference", unit="dB", family=family, kind="number", hint=hints["difference"]),
            Column(label="detectable", unit="dB", family=family, kind="number", hint=hints["detectable"]),
            Column(label="verdict", family=family),
        )
        columns = (
            *(Column(label=label(axis)) for axis in self.it.inner),
            Column(label="arm"),
            Column(label="seeds", kind="number", hint=hints["seeds"]),
            Column(label="PSNR", unit="dB", kind="number"),
            Column(label="sd", unit="dB", kind="number", hint=hints["sd"]),
            *((Column(label="SSIM", kind="number"),) if self._has_ssim else ()),
            *(compared if self.others else ()),
        )
        return Table(
            caption=f"Arms on {in_words(self.it.results[0].cell, FIXED)}",
            columns=columns,
            groups=(Group(rows=tuple(self._row(place) for place in self.it.places)),),
            stubs=len(self.it.inner) + 1,
            notes=tuple(self._notes()),
        )

    @property
    def _has_ssim(self) -> bool:
        return any("ssim" in result.records for result in self.it.results)

    def _row(self, place: Place) -> Row:
        cell = place.shown.cell.id
        scores, planned = place.scores(), len(place.results)
        seeds = f"{len(scores)}" if len(scores) == planned else f"{len(scores)} of {planned}"
        return Row(
            entries=(
                *(Entry(text=value_text(axis, value)) for axis, value in zip(self.it.inner, place.at, strict=True)),
                Entry(text=self.it.labels[place.arm]),
                Entry(text=seeds, value=float(len(scores)), detail=_seeds_text(tuple(scores)), cell=cell),
                self._mean(place, METRIC, self.digits),
                self._spread(place),
                *((self._mean(place, "ssim", 4),) if self._has_ssim else ()),
                *(self._verdict(place, cell) if self.others else ()),
            )
        )

    def _mean(self, place: Place, metric: str, digits: int) -> Entry:
        cell, means = place.shown.cell.id, place.means(metric)
        if not means:
            why = place.why_not(metric)
            return Entry(text=brief(why), reason=why, cell=cell)
        each = ", ".join(_number(mean, digits) for mean in means)
        images = len(next(iter(place.scores(metric).values())))
        detail = f"mean over {counted(images, 'image')} and {counted(len(means), 'seed')}: {each}"
        return Entry(text=_number(fmean(means), digits), value=fmean(means), detail=detail, cell=cell)

    def _spread(self, place: Place) -> Entry:
        cell, means = place.shown.cell.id, place.means()
        spread = spread_of(means)
        if spread is not None:
            return Entry(text=_number(spread, 3), value=spread, detail="of the seeds' means", cell=cell)
        why = place.why_not() if not means else "one seed" if len(means) == 1 else "no finite mean"
        return Entry(text=brief(why), reason=why, cell=cell)

    def _verdict(self, place: Place, cell: str) -> tuple[Entry, ...]:
        if place.arm == self.it.reference:
            return (Entry(text="reference", reason="the arm that the others are compared with", cell=cell),) * 3
        found = self.verdicts[place]
        if isinstance(found, str):
            return (Entry(text="not compared", reason=found, cell=cell),) * 3
        size = f"{counted(len(found.images), 'image')}, {_seeds_text(found.seeds)}"
        if found.difference is None:
            alone = Entry(text="one image", reason="one image has no interval", cell=cell)
            return (
                Entry(text=_signed(found.mean, self.digits), value=found.mean, detail=size, cell=cell),
                alone,
                alone,
            )
        text = f"{_signed(found.mean, self.digits)} {_interval(found.difference, self.digits)}"
        least = found.difference.detectable
        return (
            Entry(text=text, value=found.mean, detail=f"paired over {size}; p = {found.difference.p:.2g}", cell=cell),
            Entry(text=_number(least, self.digits), value=least, cell=cell),
            Entry(text=found.difference.verdict, cell=cell),
        )

    # What is to be known of the table

    def _notes(self) -> Iterator[str]:
        judged = [each.difference for each in self.compared.values() if each.difference]
        if len(judged) > 1:
            told, standing = sum(map(_tells, judged)), sum(holm([each.p for each in judged]))
            if told:
                stand = f"with Holm's correction for their number {standing or 'none'}"
                yield f"Of {len(judged)} comparisons {told} {'differs' if told == 1 else 'differ'} from zero; {stand}."
            else:
                yield f"None of {len(judged)} comparisons differs from zero."
        if any(len(each.seeds) == 1 for each in self.compared.values()):
            yield (
                "Where both arms share one seed alone, the interval is that of images: it says nothing about other"
                " trainings in the same way."
            )
        if any(each.fewer_images for each in self.compared.values()):
            yield "Images that one arm was judged on and the other was not are left out of differences."
        yield from self._left_out()

    def _left_out(self) -> Iterator[str]:
        """Say which seeds are left out of differences, where, and for want of what."""
        found: dict[tuple[Seed, str, str], list[Place]] = {}
        for place, each in self.compared.items():
            for absence in each.absent:
                found.setdefault((absence.seed, absence.arm, absence.reason), []).append(place)
        for (seed, arm, reason), places in found.items():
            name = "a training without a seed" if seed is None else f"seed {seed}"
            at = "; ".join(dict.fromkeys(at_words(self.it.inner, place.at) for place in places))
            if len(self.it.inner) == 1:
                (axis,) = self.it.inner
                values = dict.fromkeys(value_text(axis, place.at[0]) for place in places)
                at = f"{label(axis)} = {', '.join(values)}"
            yield f"Differences leave out {name}{f' at {at}' if at else ''}: {self.it.labels[arm]} lacks it ({reason})."

    def _sentences(self) -> Iterator[str]:
        """Yield a sentence for each comparison, those of an arm together."""
        base = self.it.labels[self.it.reference]
        judged = sorted(self.compared.items(), key=lambda item: self.it.arms.index(item[0].arm))
        for arm, members in groupby(judged, key=lambda item: item[0].arm):
            name = self.it.labels[arm]
            said = [self._sentence(f"{name}", base, place, each) for place, each in members]
            yield " ".join(said)

    def _sentence(self, name: str, base: str, place: Place, each: Compared) -> str:
        at = at_words(self.it.inner, place.at)
        where = f" at {at}" if at else ""
        size = abs(each.mean)
        if each.difference is None:
            way = "higher" if each.mean > 0 else "lower"
            return f"{name} is {_number(size, self.digits)} dB {way} than {base}{where}, on one image."
        if not _tells(each.difference):
            shown = f"{_signed(each.mean, self.digits)} dB {_interval(each.difference, self.digits)}"
            return f"{name} cannot be told apart from {base}{where}: {shown}."
        low, high = sorted((abs(each.difference.low), abs(each.difference.high)))
        interval = f"[{_number(low, self.digits)}, {_number(high, self.digits)}]"
        return f"{name} is {_number(size, self.digits)} dB {interval} {each.difference.verdict} than {base}{where}."

    # Figures

    def _figures(self) -> Iterator[Figure]:
        along = self._along()
        if along is None:
            return
        axis, by_arm = along
        levels = list(self._panels(axis, self.it.places, by_arm, self._level))
        if levels:
            note = "mean over images and seeds; whisker: range of the seeds"
            yield self._figure("PSNR", axis, levels, note)
        gaps = list(self._panels(axis, self.others, by_arm, self._gap))
        if gaps:
            base = self.it.labels[self.it.reference]
            note = "paired; whisker: 95 % interval over images and seeds"
            zero = Series(label=base if by_arm else "", style=_FIRST_STYLE, points=self._zero(axis), line="alone")
            panels = [Panel(title=panel.title, series=(zero, *panel.series)) for panel in gaps]
            yield self._figure(f"PSNR above {base}", axis, panels, note)

    def _along(self) -> tuple[str, bool] | None:
        """Return the axis along x, and whether a line is an arm; else the arms are the points of one line."""
        for axis in _ALONG:
            if axis in self.it.inner and len(self._ticks(axis)) > 1:
                return axis, True
        if not self.it.inner:
            for axis in _ALONG_ARMS:
                if axis in self.it.described and len(self._ticks(axis)) == len(self.it.arms) > 1:
                    return axis, False
        return None

    def _ticks(self, axis: str) -> dict[float, str]:
        found = ((position_of(each, axis), value_text(axis, getattr(each.cell, axis))) for each in self.it.results)
        return dict(sorted((x, text) for x, text in found if x is not None))

    def _panels(
        self, axis: str, places: Sequence[Place], by_arm: bool, point: Callable[[Place, float], Point | None]
    ) -> Iterator[Panel]:
        """Yield a panel for each value of the other inner axes, with a series for each arm."""
        rest = tuple(each for each in self.it.inner if each != axis)
        found: dict[str, dict[str, list[Point]]] = {}
        for place in places:
            x = position_of(place.shown, axis)
            if x is not None and (drawn := point(place, x)):
                title = in_words(place.shown.cell, rest)
                found.setdefault(title, {}).setdefault(place.arm if by_arm else "", []).append(drawn)
        for title, points in found.items():
            series = tuple(
                Series(
                    label=self.it.labels.get(arm, ""),
                    style=_FIRST_STYLE + (self.it.arms.index(arm) if by_arm else 0),
                    points=tuple(sorted(points[arm], key=lambda each: each.x)),
                )
                for arm in (*self.it.arms, "")
                if arm in points
            )
            yield Panel(title=title, series=series)

    def _level(self, place: Place, x: float) -> Point | None:
        means = place.means()
        if not means or not all(map(math.isfinite, means)):
            return None
        ends = (min(means), max(means)) if len(means) > 1 else (None, None)
        detail = f"mean of {counted(len(means), 'seed')}"
        return Point(x=x, y=fmean(means), low=ends[0], high=ends[1], cells=(place.shown.cell.id,), detail=detail)

    def _gap(self, place: Place, x: float) -> Point | None:
        each = self.compared.get(place)
        if each is None:
            return None
        low, high = (each.difference.low, each.difference.high) if each.difference else (None, None)
        return Point(x=x, y=each.mean, low=low, high=high, cells=(place.shown.cell.id,))

    def _zero(self, axis: str) -> tuple[Point, ...]:
        """Return the ends of the reference's line."""
        ticks = tuple(self._ticks(axis))
        return tuple(Point(x=x, y=0.0) for x in (ticks[0], ticks[-1]))

    def _figure(self, title: str, axis: str, panels: Sequence[Panel], note: str) -> Figure:
        ticks = self._ticks(axis)
        low, high = min(ticks), max(ticks)
        heights = [point.y for panel in panels for series in panel.series for point in series.points]
        return Figure(
            title=f"{title} against {label(axis)}",
            summary=f"{title} against {label(axis)}: {min(heights):.4g} to {max(heights):.4g} dB",
            kind="lines",
            x=Axis(label=label(axis), log=low > 0 and high / low >= 4, ticks=tuple(ticks.items())),
            y=Axis(label=title, unit="dB"),
            panels=tuple(panels),
            note=note,
        )

    # Costs

    def _costs(self) -> Iterator[Block]:
        """Yield what the networks take, each place by its first seed: seeds cost the same."""
        shown = [place.shown for place in self.it.places]
        if not any(metric not in _NO_COST for result in shown for metric in result.records):
            return
        numbers = quantities(shown, self.baseline or plainest(shown))
        costs = [(each, entries(each, shown)) for each in numbers if not each.family.startswith("quality")]
        columns = [(each, column) for each, column in costs if any(entry.value is not None for entry in column)]
        if not columns:
            return
        named = len(self.it.arms) > 1 or not self.it.inner
        heads = [Column(label=label(axis)) for axis in self.it.inner] + [Column(label="arm")] * named
        rows = []
        for i, place in enumerate(self.it.places):
            names = [value_text(axis, value) for axis, value in zip(self.it.inner, place.at, strict=True)]
            names += [self.it.labels[place.arm]] * named
            rows.append(Row(entries=(*(Entry(text=name) for name in names), *(column[i] for _, column in columns))))
        yield Table(
            caption="Costs, of the first seed of each arm",
            columns=(*heads, *(each.column for each, _ in columns)),
            groups=(Group(rows=tuple(rows)),),
            stubs=len(heads),
        )

    def _cost_figures(self) -> Iterator[Figure]:
        shown = [place.shown for place in self.it.places]
        return cost_figures(shown)


def _side_by_side(figures: Iterator[Figure]) -> Iterator[Block]:
    if found := tuple(figures):
        yield Figures(figures=found)


def _tells(difference: Difference) -> bool:
    return difference.verdict != "cannot be told apart"


def _seeds_text(seeds: Sequence[Seed]) -> str:
    numbers = [str(seed) for seed in seeds if seed is not None]
    if not numbers:
        return "one training"
    return f"seed{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _number(value: float, digits: int = 2) -> str:
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else "∞"
    text = f"{value:.{digits}f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")


def _signed(value: float, digits: int) -> str:
    text = _number(value, digits)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def _interval(difference: Difference, digits: int) -> str:
    return f"[{_signed(difference.low, digits)}, {_signed(difference.high, digits)}]"
