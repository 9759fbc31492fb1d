"""The page of training arms: networks trained in different ways, several seeds of each, and how they compare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from reports.paired import FEWEST_IMAGES, Difference, holm, verdicts
from reports.quantities import brief, entries, plainest, quantities
from reports.results import Result, counted, gather, in_words, label, listed, number_text, phrase, state, value_text
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
_ALIKE = "cannot be told apart"
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

    An arm is what names of weights share before their seed. The plan's `comparisons` say which are compared, by default
    each with the first that was measured. `baseline` is the backend that times are divided by.
    Pictures, which `artifact` reads for other pages, are not shown.
    """
    results = gather(records, plan)
    names = plan.paper.names.get("model", {}) | plan.paper.names.get("weights", {})
    sets = comparisons(results, names, plan.comparisons)
    stories = [_Story(i, each, baseline) for i, each in enumerate(sets, start=1)]
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
    if compared := [each for story in stories for each in story.compared]:
        yield Text(text=_how(compared))
    if unmet := [pair for pair in plan.comparisons if not any(story.it.meant(pair) for story in stories)]:
        pairs = ", ".join(f"{arm} against {reference}" for reference, arm in unmet)
        yield Text(text=f"Not compared, as no section holds two arms of these names: {pairs}.", tone="warning")
    missing = Counter(
        result.why_not(metric)
        for result in results
        for metric, record in result.records.items()
        if state(record) != "measured"
    )
    if missing:
        said = listed(missing, "result")
        yield Text(text=f"Not measured ({counted(missing.total(), 'result')}): {said}", tone="note")


def _how(compared: Sequence[Compared]) -> str:
    """Say how arms are compared, and of what the intervals speak."""
    single, several = _trainings(compared)
    words = [
        "PSNR and SSIM are means over images and training seeds, sd the deviation of the seeds' means.",
        "A difference is taken image by image and seed by seed, all axes in the row being equal.",
    ]
    if single and several:
        words += [
            "Where two arms share several seeds, images and seeds both count as drawn from many, and the 95 % interval"
            " speaks of other images and of other trainings.",
            "Where they are compared by one training each, it speaks of other images alone, and the verdict is on these"
            " two trainings.",
        ]
    elif several:
        words.append(
            "Images and seeds both count as drawn from many, so its 95 % interval speaks of other images and of other"
            " trainings."
        )
    elif single:
        words.append(
            "Arms are compared by one training each, so the 95 % interval speaks of other images and not of other"
            " trainings: a verdict is on these two trainings."
        )
    if single or several:
        words.append(
            "Detectable is the difference that a comparison of this size tells from zero four times out of five: a"
            " smaller one may be there unseen."
        )
    return " ".join(words)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pair:
    """A place, and how it compares with that of another arm."""

    place: Place
    reference: str
    found: Compared | str
    """Or why it cannot be compared."""
    verdict: str = ""
    """With Holm's correction for all of the section; none for too few images."""


class _Story:
    """What is said of one task, setting and dataset."""

    def __init__(self, number: int, comparison: Comparison, baseline: str | None) -> None:
        self.anchor = f"set-{number}"
        self.it = comparison
        self.baseline = baseline
        found = [
            (place, reference, comparison.against(reference, place))
            for place in comparison.places
            for reference, arm in comparison.pairs
            if arm == place.arm
        ]
        self.judged = [each.judged for *_, each in found if isinstance(each, Compared) and each.judged]
        words = iter(verdicts(self.judged))
        self.pairs = [
            _Pair(
                place=place,
                reference=reference,
                found=each,
                verdict=next(words) if isinstance(each, Compared) and each.judged else "",
            )
            for place, reference, each in found
        ]
        self.compared = [each for *_, each in found if isinstance(each, Compared)]
        halves = [each.difference.high - each.mean for each in self.compared if each.difference]
        self.digits = 3 if halves and min(halves) < _FINE_DB else 2

    def section(self) -> Section:
        blocks: list[Block] = [Facts(items=tuple(self._facts()))]
        judged = any(METRIC in result.records for result in self.it.results)
        if judged:
            blocks += self._tables()
            if said := " ".join(self._warnings()):
                blocks.append(Text(text=said, tone="warning"))
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
        if protocols := self._protocols():
            yield "protocol", ", ".join(protocols)

    def _protocols(self) -> list[str]:
        records = (result.records.get(METRIC) for result in self.it.results if result.measurements(METRIC))
        return list(dict.fromkeys(record.protocol for record in records if record and record.protocol))

    # The tables

    def _tables(self) -> Iterator[Table]:
        """Yield the arms with their differences from the one reference; where there are several, a table of those."""
        where, references = in_words(self.it.results[0].cell, FIXED), self.it.references
        hints = {
            "seeds": "trainings that were measured",
            "sd": "standard deviation of the seeds' means over images",
            "above": "mean over images and seeds of PSNR less that of the degraded input",
        }
        inner = tuple(Column(label=label(axis)) for axis in self.it.inner)
        columns = (
            *inner,
            Column(label="arm"),
            Column(label="seeds", kind="number", hint=hints["seeds"]),
            Column(label="PSNR", unit="dB", kind="number"),
            Column(label="sd", unit="dB", kind="number", hint=hints["sd"]),
            *((Column(label="above input", unit="dB", kind="number", hint=hints["above"]),) if self._has_input else ()),
            *((Column(label="SSIM", kind="number"),) if self._has_ssim else ()),
        )
        together = len(references) == 1
        family = f"against {self.it.labels[references[0]]}" if together else ""
        yield Table(
            caption=f"PSNR{' and SSIM' if self._has_ssim else ''} of the arms on {where}",
            columns=(*columns, *(_difference_columns(family) if together else ())),
            groups=(Group(rows=tuple(self._row(place, together) for place in self.it.places)),),
            stubs=len(self.it.inner) + 1,
            notes=(*self._input_notes(), *(self._notes() if together else ())),
        )
        if len(references) > 1:
            yield Table(
                caption=f"Differences in PSNR on {where}",
                columns=(*inner, Column(label="arm"), Column(label="against"), *_difference_columns()),
                groups=(Group(rows=tuple(self._difference_row(pair) for pair in self.pairs)),),
                stubs=len(self.it.inner) + 2,
                notes=tuple(self._notes()),
            )

    @property
    def _has_input(self) -> bool:
        return any("degraded" in result.records for result in self.it.results)

    @property
    def _has_ssim(self) -> bool:
        return any("ssim" in result.records for result in self.it.results)

    def _row(self, place: Place, together: bool) -> Row:
        cell = place.shown.cell.id
        scores, planned = place.scores(), len(place.results)
        seeds = f"{len(scores)}" if len(scores) == planned else f"{len(scores)} of {planned}"
        return Row(
            entries=(
                *self._names(place),
                Entry(text=seeds, value=float(len(scores)), detail=_seeds_text(tuple(scores)), cell=cell),
                self._mean(place, METRIC, self.digits),
                self._spread(place),
                *((self._above_input(place),) if self._has_input else ()),
                *((self._mean(place, "ssim", 4),) if self._has_ssim else ()),
                *(self._differences(place) if together else ()),
            )
        )

    def _difference_row(self, pair: _Pair) -> Row:
        return Row(entries=(*self._names(pair.place), Entry(text=self.it.labels[pair.reference]), *self._verdict(pair)))

    def _names(self, place: Place) -> Iterator[Entry]:
        for axis, value in zip(self.it.inner, place.at, strict=True):
            yield Entry(text=value_text(axis, value))
        yield Entry(text=self.it.labels[place.arm])

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

    def _above_input(self, place: Place) -> Entry:
        cell, gains = place.shown.cell.id, place.above_input()
        if not gains:
            why = place.why_not() or place.why_not("degraded")
            return Entry(text=brief(why), reason=why, cell=cell)
        gain, images = _mean_gain(place), len(next(iter(gains.values())))
        detail = f"mean over {counted(images, 'image')} and {counted(len(gains), 'seed')}"
        return Entry(text=_signed(gain, self.digits), value=gain, detail=detail, cell=cell)

    def _differences(self, place: Place) -> tuple[Entry, ...]:
        """Return the entries of a place under its table's one reference."""
        cell = place.shown.cell.id
        if pair := next((pair for pair in self.pairs if pair.place is place), None):
            return self._verdict(pair)
        if place.arm in self.it.references:
            return (Entry(text="reference", reason="the arm that others are compared with", cell=cell),) * 3
        return (Entry(text="not compared", reason="the spec's comparisons leave it out", cell=cell),) * 3

    def _verdict(self, pair: _Pair) -> tuple[Entry, ...]:
        found, cell = pair.found, pair.place.shown.cell.id
        if isinstance(found, str):
            return (Entry(text="not compared", reason=found, cell=cell),) * 3
        size = f"{counted(len(found.images), 'image')}, {_seeds_text(found.seeds)}"
        if found.difference is None:
            detail, least = (
                f"paired over {size}",
                Entry(text="one image", reason="one image has no interval", cell=cell),
            )
        else:
            detail = f"paired over {size}; p = {found.difference.p:.2g}"
            detectable = found.difference.detectable
            least = Entry(text=_number(detectable, self.digits), value=detectable, cell=cell)
        if pair.verdict:
            verdict = Entry(text=f"{pair.verdict}{self._scope(pair)}", cell=cell)
        else:
            reason = f"a verdict takes {FEWEST_IMAGES} images"
            verdict = Entry(text=f"too few images: {len(found.images)}", reason=reason, cell=cell)
        return (Entry(text=self._shown(found), value=found.mean, detail=detail, cell=cell), least, verdict)

    def _shown(self, found: Compared) -> str:
        mean = _signed(found.mean, self.digits)
        return f"{mean} {_interval(found.difference, self.digits)}" if found.difference else mean

    def _scope(self, pair: _Pair) -> str:
        """Return what a verdict is on where one training of each arm was compared."""
        if isinstance(pair.found, str) or len(pair.found.seeds) > 1:
            return ""
        arms = (pair.place.arm, pair.reference)
        untrained = any(self.it.by_arm[arm][0].cell.weights == "none" for arm in arms)
        return f" on these two {'models' if untrained else 'trainings'}"

    # What is to be known of the table

    def _notes(self) -> Iterator[str]:
        if self.compared:
            yield (
                "In brackets 95 % intervals. Detectable: what a comparison of this size tells from zero four times out"
                " of five."
            )
        if len(self.judged) > 1:
            told, standing = sum(map(_tells, self.judged)), sum(holm([each.p for each in self.judged]))
            if told:
                stand = f"with Holm's correction for their number {standing or 'none'}"
                verb = "differs" if told == 1 else "differ"
                yield f"Of {len(self.judged)} comparisons {told} {verb} from zero; {stand}."
            else:
                yield f"None of {len(self.judged)} comparisons differs from zero."
            if standing < told:
                yield "'Perhaps' marks a difference from zero that does not stand with the correction."
        if any(len(each.images) < FEWEST_IMAGES for each in self.compared):
            yield f"A difference over fewer than {FEWEST_IMAGES} images has no verdict."
        if _trainings(self.compared)[0]:
            yield (
                "Where arms are compared by one training each, the interval is that of images: it says nothing about"
                " other trainings."
            )
        if any(each.fewer_images for each in self.compared):
            yield "Images that one arm was judged on and the other was not are left out of differences."
        yield from self._left_out()

    def _input_notes(self) -> Iterator[str]:
        """Say by what the degraded input was judged where that is not what judges PSNR."""
        found = dict.fromkeys(note for result in self.it.results for note in result.notes("degraded"))
        judged = ", ".join(self._protocols())
        yield from (f"Above input: {note}{f', PSNR by {judged}' if judged else ''}." for note in found)

    def _left_out(self) -> Iterator[str]:
        """Say which seeds are left out of differences, where, and for want of what."""
        found: dict[tuple[Seed, str, str], list[Place]] = {}
        for pair in self.pairs:
            for absence in () if isinstance(pair.found, str) else pair.found.absent:
                found.setdefault((absence.seed, absence.arm, absence.reason), []).append(pair.place)
        for (seed, arm, reason), places in found.items():
            name = "a training without a seed" if seed is None else f"seed {seed}"
            at = "; ".join(dict.fromkeys(at_words(self.it.inner, place.at) for place in places))
            if len(self.it.inner) == 1:
                (axis,) = self.it.inner
                values = dict.fromkeys(value_text(axis, place.at[0]) for place in places)
                at = f"{label(axis)} = {', '.join(values)}"
            yield f"Differences leave out {name}{f' at {at}' if at else ''}: {self.it.labels[arm]} lacks it ({reason})."

    def _warnings(self) -> Iterator[str]:
        """Yield a sentence for each place that lies below its input."""
        for place in sorted(self.it.places, key=lambda place: self.it.arms.index(place.arm)):
            gain = _mean_gain(place)
            if math.isfinite(gain) and gain < 0:
                size = _number(-gain, self.digits)
                size = size if float(size) else f"less than {10**-self.digits:g}"
                images = counted(len(next(iter(place.above_input().values()))), "image")
                at = self._at(place)
                yield f"{self.it.labels[place.arm]} lies {size} dB below its input{at}, mean over {images}."

    def _sentences(self) -> Iterator[str]:
        """Yield a sentence for each comparison, those of two arms together."""

        def arms(pair: _Pair) -> tuple[int, int]:
            return self.it.arms.index(pair.place.arm), self.it.references.index(pair.reference)

        judged = sorted((pair for pair in self.pairs if isinstance(pair.found, Compared)), key=arms)
        for _, members in groupby(judged, key=arms):
            yield " ".join(self._sentence(pair, pair.found) for pair in members if isinstance(pair.found, Compared))

    def _sentence(self, pair: _Pair, found: Compared) -> str:
        name, at = self.it.labels[pair.place.arm], self._at(pair.place)
        base, shown = self.it.labels[pair.reference], self._shown(found).replace(" [", " dB [", 1)
        shown = shown if found.difference else f"{shown} dB"
        if found.judged is None:
            few = "1 image is" if len(found.images) == 1 else f"{len(found.images)} images are"
            return f"{name} is not judged against {base}{at}, as {few} too few: {shown}."
        over = f"{base}{at}{self._scope(pair)}"
        if pair.verdict == _ALIKE:
            return f"{name} {_ALIKE} from {over}: {shown}."
        if pair.verdict != found.judged.verdict:
            stand = f"which does not stand with Holm's correction for {len(self.judged)} comparisons"
            return f"{name} is {pair.verdict} than {over}: {shown}, {stand}."
        low, high = sorted((abs(found.judged.low), abs(found.judged.high)))
        interval = f"[{_number(low, self.digits)}, {_number(high, self.digits)}]"
        return f"{name} is {_number(abs(found.mean), self.digits)} dB {interval} {pair.verdict} than {over}."

    def _at(self, place: Place) -> str:
        at = at_words(self.it.inner, place.at)
        return f" at {at}" if at else ""

    # Figures

    def _figures(self) -> Iterator[Figure]:
        along = self._along()
        if along is None:
            return
        axis, by_arm = along
        levels = list(self._panels(axis, self.it.places, by_arm, self._level))
        if levels:
            yield self._figure("PSNR", axis, levels, _level_note(levels))
        for reference in self.it.references:
            compared = {
                pair.place: pair.found
                for pair in self.pairs
                if pair.reference == reference and isinstance(pair.found, Compared)
            }
            gaps = list(self._panels(axis, list(compared), by_arm, partial(_gap, compared)))
            if not gaps:
                continue
            base = self.it.labels[reference]
            style = _FIRST_STYLE + (self.it.arms.index(reference) if by_arm else 0)
            zero = Series(label=base if by_arm else "", style=style, points=self._zero(axis), line="alone")
            panels = [Panel(title=panel.title, series=(zero, *panel.series)) for panel in gaps]
            drawn = [each for place, each in compared.items() if position_of(place.shown, axis) is not None]
            yield self._figure(f"PSNR above {base}", axis, panels, _gap_note(drawn))

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


def _difference_columns(family: str = "") -> tuple[Column, ...]:
    hints = {
        "difference": "mean over images and seeds that both have, with its 95 % interval",
        "detectable": "the difference that would be told from zero with a probability of 80 %",
        "verdict": "'perhaps' does not stand once the number of comparisons is counted (Holm)",
    }
    return (
        Column(label="difference", unit="dB", family=family, kind="number", hint=hints["difference"]),
        Column(label="detectable", unit="dB", family=family, kind="number", hint=hints["detectable"]),
        Column(label="verdict", family=family, hint=hints["verdict"]),
    )


def _gap(compared: Mapping[Place, Compared], place: Place, x: float) -> Point:
    each = compared[place]
    low, high = (each.difference.low, each.difference.high) if each.difference else (None, None)
    return Point(x=x, y=each.mean, low=low, high=high, cells=(place.shown.cell.id,))


def _gap_note(compared: Iterable[Compared]) -> str:
    match _trainings(compared):
        case True, True:
            over = "over images and seeds, over images alone where one training of each is compared"
        case False, True:
            over = "over images and seeds"
        case True, False:
            over = "over images"
        case _:
            return "paired; one image has no interval"
    return f"paired; whisker: 95 % interval {over}"


def _level_note(panels: Iterable[Panel]) -> str:
    whiskers = {point.low is not None for panel in panels for series in panel.series for point in series.points}
    if whiskers == {False}:
        return "mean over images, of one training each"
    return f"mean over images and seeds; whisker: range of the seeds{', where there are several' * (False in whiskers)}"


def _trainings(compared: Iterable[Compared]) -> tuple[bool, bool]:
    """Return whether some intervals are those of one training of each arm, and whether some are of several."""
    alone = {len(each.seeds) == 1 for each in compared if each.difference}
    return True in alone, False in alone


def _mean_gain(place: Place) -> float:
    """Return how far a place lies above its input, in dB; NaN where that was not measured."""
    gains = [gain for scores in place.above_input().values() for gain in scores.values()]
    return sum(gains) / len(gains) if gains else math.nan


def _tells(difference: Difference) -> bool:
    return difference.verdict != _ALIKE


def _seeds_text(seeds: Sequence[Seed]) -> str:
    numbers = [str(seed) for seed in seeds if seed is not None]
    if not numbers:
        return "one training"
    return f"seed{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _number(value: float, digits: int = 2) -> str:
    return number_text(value, f"{{:.{digits}f}}")


def _signed(value: float, digits: int) -> str:
    text = _number(value, digits)
    return text if not math.isfinite(value) or text.startswith("−") or float(text) == 0 else f"+{text}"


def _interval(difference: Difference, digits: int) -> str:
    return f"[{_signed(difference.low, digits)}, {_signed(difference.high, digits)}]"
