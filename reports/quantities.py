"""The numbers that a table shows: which measurement, reduced how, rounded how, and which of them is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Literal

from harness.catalogs import METRICS
from harness.record import Measured, Measurement, Record
from reports.document import Column, Entry
from reports.machines import machines
from reports.marks import Better, Value, marks
from reports.results import AXES, Result, judged_on, number_text

Read = Callable[[Result], Value | str]
"""Returns the number, or the reason why there is none."""
UNPLACED = "no finite number"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One column of numbers."""

    label: str
    read: Read
    unit: str = ""
    family: str = ""
    hint: str = ""
    better: Better = "neither"
    rivals: Literal["judged alike", "contenders"] = "contenders"
    """Among whom the best is sought: cells judged on the same images, degraded alike, or cells that differ in the
    backend alone."""
    form: str = ""
    """Format of the number; empty chooses the decimals by size, the same for a column."""

    @property
    def column(self) -> Column:
        """The head of its column."""
        return Column(label=self.label, unit=self.unit, family=self.family, kind="number", hint=self.hint)


def quantities(results: Sequence[Result], baseline: str | None) -> list[Quantity]:
    """Return all numbers that these results can have, in reading order."""
    asked = list(dict.fromkeys(metric for result in results for metric in result.records))
    makers: dict[str, Callable[[], list[Quantity]]] = {
        "psnr": lambda: _quality(results, "psnr", "PSNR", "dB", "{:.2f}"),
        "ssim": lambda: _quality(results, "ssim", "SSIM", "", "{:.4f}"),
        "latency": lambda: _latency(results, baseline),
        "flops": lambda: _flops(results),
        "memory": lambda: _memory(results),
        "agreement": lambda: [_agreement()],
        "degraded": list,
        "pictures": list,
        "dictionary": list,
        "profile": list,
    }
    order = [metric for metric in makers if metric in asked]
    found = [quantity for metric in order for quantity in makers[metric]()]
    return found + [each for metric in asked if metric not in makers for each in _other(results, metric)]


def plainest(results: Sequence[Result]) -> str | None:
    """Return the contender that others are compared with: of those timed, the one that spends the most FLOPs.

    Ties, and stores without FLOPs, are decided by how much was timed and then by name. None unless two are.
    """
    timed: dict[str, int] = {}
    spent: dict[str, float] = {}
    for result in results:
        backend = result.cell.backend
        if result.measurement("latency"):
            timed[backend] = timed.get(backend, 0) + 1
        if flops := result.measurement("flops", "flops.spent"):
            spent[backend] = max(spent.get(backend, 0.0), flops.samples[0])
    if len(timed) < 2:
        return None
    return min(timed, key=lambda backend: (-spent.get(backend, 0.0), -timed[backend], backend))


def entries(quantity: Quantity, results: Sequence[Result]) -> list[Entry]:
    """Return a column of a table: numbers with the same decimals, reasons, and the best marked."""
    values = [quantity.read(result) for result in results]
    numbers = {i: value for i, value in enumerate(values) if isinstance(value, Value)}
    form = quantity.form or _form(value.value for value in numbers.values())
    texts = {i: number_text(value.value, form) for i, value in numbers.items()}
    marked = marks(quantity.better, _rivals(quantity, results, numbers), numbers, texts)
    column = []
    for i, (result, value) in enumerate(zip(results, values, strict=True)):
        if isinstance(value, str):
            column.append(Entry(text=brief(value), reason=value, cell=result.cell.id))
        else:
            number, detail = value.value, value.detail
            best, second = i in marked.best, i in marked.second
            text, cell = texts[i], result.cell.id
            column.append(Entry(text=text, value=number, detail=detail, cell=cell, best=best, second=second))
    return column


def _rivals(quantity: Quantity, results: Sequence[Result], numbers: Iterable[int]) -> Iterable[Sequence[int]]:
    key = judged_on if quantity.rivals == "judged alike" else _without_backend
    groups: dict[object, list[int]] = {}
    for i in numbers:
        groups.setdefault(key(results[i]), []).append(i)
    return groups.values()


def by_protocol(results: Sequence[Result], metric: str) -> Iterator[tuple[str, Sequence[Result]]]:
    """Yield the results that one protocol judged, with its name, which is empty where one judged all there are.

    What has no number of this metric goes with every protocol, for its reason.
    """
    protocols = sorted({record.protocol for record in _measured(results, metric)})
    if len(protocols) < 2:
        yield "", results
        return
    for protocol in protocols:
        others = {id(record) for record in _measured(results, metric) if record.protocol != protocol}
        yield protocol, [result for result in results if id(result.records.get(metric)) not in others]


def brief(reason: str) -> str:
    """Return a reason in few words."""
    head = reason.partition(":")[0].strip()
    return head if len(head) <= 22 else f"{head[:21].rsplit(' ', 1)[0]} …"


def mean_psnr(result: Result) -> float | None:
    """Return the mean PSNR over images, where there is one."""
    found = result.measurement("psnr", "psnr")
    return fmean(found.samples) if found else None


def latency_ms(result: Result) -> Value | str:
    """Read the median of the repetitions, with quartiles."""
    found = result.measurement("latency", "latency") or result.measurement("latency")
    if found is None:
        return result.why_not("latency")
    low, high = _quartiles(found.samples)
    middle = median(found.samples)
    spread = f"median of {len(found.samples)} samples, quartiles {low:.4g} to {high:.4g} {found.unit}"
    return Value(value=middle, low=low, high=high, detail="; ".join((spread, *result.notes("latency"))))


def finite(read: Read) -> Read:
    """Return a reading of what has a place on an axis: of NaN and infinity it gives the reason why there is none."""

    def placed(result: Result) -> Value | str:
        value = read(result)
        if isinstance(value, str):
            return value
        if not math.isfinite(value.value):
            return UNPLACED
        if value.low is None or value.high is None or (math.isfinite(value.low) and math.isfinite(value.high)):
            return value
        return replace(value, low=None, high=None)

    return placed


def positive(read: Read) -> Read:
    """Return a reading of what has a place on a logarithmic axis: of others it gives the reason why there is none."""

    def placed(result: Result) -> Value | str:
        value = read(result)
        return UNPLACED if isinstance(value, Value) and value.value <= 0 else value

    return placed


def unplaced(results: Iterable[Result], *reads: Read) -> str:
    """Return how many results a figure leaves out because a number is not finite; nothing where it leaves none out."""
    left = sum(any(finite(read)(result) == UNPLACED for read in reads) for result in results)
    return f"{left} without a finite number left out" if left else ""


def _quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """Return the quartiles as numpy interpolates them, which takes fifty times as long for a few samples."""
    ordered = sorted(samples)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return at(0.25), at(0.75)


def peak_mib(result: Result) -> Value | str:
    """Read the largest peak of memory."""
    found = result.measurement("memory", "memory.peak") or result.measurement("memory")
    if found is None:
        return result.why_not("memory")
    return Value(value=max(found.samples), detail="peak above the process before the trial, in a fresh process")


def comparable(one: Record | None, other: Record | None) -> bool:
    """Say whether two times may be divided: same machine, timing rule, commit, versions and threads."""

    def run(record: Record) -> tuple[object, ...]:
        place = record.environment
        return (
            (place.machine_class, record.timing, record.commit, record.dirty),
            (sorted(place.versions.items()), place.threads),
        )

    return one is not None and other is not None and run(one) == run(other)


def _quality(results: Sequence[Result], metric: str, title: str, unit: str, form: str) -> list[Quantity]:
    protocols = sorted({record.protocol for record in _measured(results, metric)})
    found = []
    for protocol in protocols or [""]:
        family = f"quality ({protocol})" if len(protocols) > 1 else "quality"

        def add(label: str, form: str, hint: str, read: Read, protocol: str = protocol, family: str = family) -> None:
            read = _made_by(metric, read, {"judged by another protocol": lambda record: record.protocol == protocol})
            common = Quantity(label=label, unit=unit, family=family, form=form, hint=hint, read=read)
            found.append(replace(common, better="higher", rivals="judged alike"))

        add(title, form, "mean over images", of_images(metric))
        if metric == "psnr" and any("degraded" in result.records for result in results):
            add("gain", "{:+.2f}", "PSNR above that of the degraded input, mean over the same images", _gain)
    return found


def _measured(results: Iterable[Result], metric: str) -> Iterator[Record]:
    found = (result.records.get(metric) for result in results)
    return (record for record in found if record and isinstance(record.outcome, Measured))


def _made_by(metric: str, read: Read, rules: Mapping[str, Callable[[Record], bool]]) -> Read:
    """Keep out of a column what was measured otherwise, with the reason of the first rule that it breaks."""

    def made(result: Result) -> Value | str:
        record = result.records.get(metric)
        if record is not None and isinstance(record.outcome, Measured):
            for otherwise, holds in rules.items():
                if not holds(record):
                    return otherwise
        return read(result)

    return made


def of_images(metric: str) -> Read:
    """Return a reading of a metric's mean over images that knows each of them."""

    def read(result: Result) -> Value | str:
        found = result.measurement(metric, metric)
        if found is None:
            return result.why_not(metric)
        return Value(value=fmean(found.samples), detail=_over_images(found), images=_by_image(found))

    return read


def _gain(result: Result) -> Value | str:
    restored, degraded = result.measurement("psnr", "psnr"), result.measurement("degraded", "degraded.psnr")
    if restored is None or degraded is None:
        return result.why_not("degraded" if restored else "psnr")
    before = dict(zip(degraded.labels, degraded.samples, strict=False))
    pairs = list(zip(restored.labels, restored.samples, strict=False))
    if not pairs or any(name not in before for name, _ in pairs):
        return "the degraded input has other images"
    gains = [value - before[name] for name, value in pairs]
    if not all(map(math.isfinite, gains)):
        return "no number" if any(map(math.isnan, gains)) else "an image is restored perfectly"
    span = f"from {min(gains):+.2f} to {max(gains):+.2f} dB over {len(gains)} images"
    images = {name: (gain,) for (name, _), gain in zip(pairs, gains, strict=True)}
    return Value(value=fmean(gains), detail=f"paired per image, {span}", images=images)


def _by_image(found: Measurement) -> dict[str, tuple[float, ...]]:
    return {name: (value,) for name, value in zip(found.labels, found.samples, strict=False)}


def gain_notes(results: Iterable[Result]) -> Iterator[str]:
    """Say by what the degraded input is judged where that is not what judges PSNR: then an identity may gain."""
    known = list(results)
    judged = ", ".join(dict.fromkeys(record.protocol for record in _measured(known, "psnr")))
    notes = dict.fromkeys(note for result in known for note in result.notes("degraded"))
    for note in notes:
        if judged and note.startswith("the degraded input is judged by"):
            yield f"Gain: {note}, PSNR by {judged}."


def _over_images(found: Measurement) -> str:
    if len(found.samples) == 1:
        return f"one image: {found.labels[0]}" if found.labels else "one sample"
    span = f"{min(found.samples):.4g} to {max(found.samples):.4g} {_unit(found.unit)}".rstrip()
    return f"mean of {len(found.samples)} images, {span}"


def _latency(results: Sequence[Result], baseline: str | None) -> list[Quantity]:
    runs = sorted({(each.timing, each.environment.machine_class) for each in _measured(results, "latency")})
    runs = runs or [("", "")]
    timings = {timing: f"rule {timing[:6]}" for timing, _ in runs}
    names = machines(results, "latency") or {"": ""}
    found = []
    for timing, machine in runs:
        said = [timings[timing]] * (len(timings) > 1) + [names[machine]] * (len(names) > 1)
        family = f"latency ({'; '.join(said)})" if said else "latency"

        def timed(read: Read, timing: str = timing, machine: str = machine) -> Read:
            rules = {
                "timed under another rule": lambda record: record.timing == timing,
                "timed on another machine": lambda record: record.environment.machine_class == machine,
            }
            return _made_by("latency", read, rules)

        if baseline is not None:
            ratio, unit = timed(_ratio_to(baseline, results)), f"× {baseline}"
            hint = (
                f"median over {baseline}'s, all other axes equal, on the same machine with the same code and settings"
            )
            found.append(
                Quantity(
                    label="ratio",
                    unit=unit,
                    family=family,
                    read=ratio,
                    form="{:.2f}",
                    hint=hint,
                    better="lower",
                )
            )
        hint = "median of the repetitions; informative on a CPU, only ratios within one run mean something"
        found.append(Quantity(label="median", unit="ms", family=family, read=timed(latency_ms), hint=hint))
        hint = "distance between the quartiles of the repetitions, in percent of the median"
        found.append(Quantity(label="spread", unit="%", family=family, form="{:.1f}", read=timed(_spread), hint=hint))
    return found


def _ratio_to(baseline: str, results: Iterable[Result]) -> Read:
    bases = {_without_backend(result): result for result in results if result.cell.backend == baseline}

    def ratio(result: Result) -> Value | str:
        time = latency_ms(result)
        if isinstance(time, str):
            return time
        base = bases.get(_without_backend(result))
        if base is None or isinstance(base_time := latency_ms(base), str):
            return f"no time of {baseline} here"
        if not comparable(result.records["latency"], base.records["latency"]):
            return f"{baseline} was timed in another run"
        if base_time.value <= 0:
            return f"{baseline} took no time"
        value, low, high = ((x or 0.0) / base_time.value for x in (time.value, time.low, time.high))
        return Value(
            value=value,
            low=low,
            high=high,
            detail=f"{time.value:.4g} ms over {base_time.value:.4g} ms of {baseline}",
        )

    return ratio


def _without_backend(result: Result) -> tuple[object, ...]:
    return tuple(getattr(result.cell, axis) for axis in ("task", *AXES) if axis != "backend")


def _spread(result: Result) -> Value | str:
    time = latency_ms(result)
    if isinstance(time, str):
        return time
    if time.value <= 0:
        return "no time above zero"
    return Value(value=100 * ((time.high or 0.0) - (time.low or 0.0)) / time.value)


_FLOPS: Mapping[str, str] = {
    "spent": "what the whole network computes with this backend, by formula",
    "useful": "of these, what the kept pairs of queries and keys need",
    "dispatcher": "as torch's dispatcher counts while the network runs: it sees nothing inside a fused attention",
}


def _flops(results: Sequence[Result]) -> list[Quantity]:
    names = [f"flops.{kind}" for kind in _FLOPS]
    largest = max(
        (max(found.samples) for result in results for name in names if (found := result.measurement("flops", name))),
        default=0.0,
    )
    power, prefix = next(
        (step for step in ((12, "T"), (9, "G"), (6, "M"), (3, "k")) if largest >= 10 ** step[0]), (0, "")
    )

    def read_of(name: str) -> Read:
        def read(result: Result) -> Value | str:
            found = result.measurement("flops", name)
            if found is None:
                return result.why_not("flops")
            detail, spent = f"{found.samples[0]:,.0f} FLOP", result.measurement("flops", "flops.spent")
            formula = spent.samples[0] if spent else 0.0
            if name == "flops.dispatcher" and formula and (off := found.samples[0] / formula - 1):
                detail += f", {number_text(100 * off, '{:+.1f}')} % beside the formula"
            return Value(value=found.samples[0] / 10**power, detail=detail)

        return read

    return [
        Quantity(
            label=kind,
            unit=f"{prefix}FLOP",
            family="arithmetic",
            hint=hint,
            read=read_of(f"flops.{kind}"),
            better="lower" if kind == "spent" else "neither",
        )
        for kind, hint in _FLOPS.items()
        if kind != "dispatcher" or any(result.measurement("flops", "flops.dispatcher") for result in results)
    ]


def _memory(results: Sequence[Result]) -> list[Quantity]:
    hint = "peak of one pass above network, input and a warm-up; one process a cell, so a few MiB are noise"
    names = machines(results, "memory") or {"": ""}

    def peak(machine: str) -> Read:
        rule = {"measured on another machine": lambda record: record.environment.machine_class == machine}
        return _made_by("memory", peak_mib, rule)

    return [
        Quantity(
            label="peak",
            unit="MiB",
            family=f"memory ({name})" if len(names) > 1 else "memory",
            hint=hint,
            read=peak(machine),
            form="{:.1f}",
        )
        for machine, name in names.items()
    ]


def _agreement() -> Quantity:
    def read(result: Result) -> Value | str:
        found = result.measurement("agreement")
        if found is None:
            return result.why_not("agreement")
        return Value(value=max(found.samples), detail=f"{found.name}, against the float64 reference")

    hint = "largest relative error against the float64 reference, on a corner of the cell's own input"
    return Quantity(label="rel. error", family="agreement", hint=hint, read=read, form="{:.1e}")


def _other(results: Sequence[Result], metric: str) -> list[Quantity]:
    better: Better = METRICS[metric].better if metric in METRICS else "neither"
    units: dict[str, str] = {}
    for result in results:
        units |= {each.name: _unit(each.unit) for each in result.measurements(metric)}

    def read_of(name: str) -> Read:
        def read(result: Result) -> Value | str:
            found = result.measurement(metric, name)
            if found is None:
                return result.why_not(metric)
            images = _by_image(found) if found.labels else None
            return Value(value=fmean(found.samples), detail=f"mean of {len(found.samples)} samples", images=images)

        return read

    by_image = any(each.labels for result in results for each in result.measurements(metric))
    return [
        Quantity(
            label=name,
            unit=unit,
            family=metric if len(units) > 1 else "",
            read=read_of(name),
            better=better,
            rivals="judged alike" if by_image else "contenders",
        )
        for name, unit in (units or {metric: ""}).items()
    ]


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _form(numbers: Iterable[float]) -> str:
    sizes = [abs(number) for number in numbers if math.isfinite(number) and number]
    if not sizes:
        return "{:.2f}"
    powers = math.floor(math.log10(min(sizes))), math.floor(math.log10(max(sizes)))
    if powers[1] < -3 or powers[1] >= 6:
        return "{:.2e}"
    return f"{{:.{max(0, min(2 - powers[0], 4 - powers[1]))}f}}"
