"""Who finds the dictionary fastest: all pairs scored, the k best of each row kept, and packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from jaxtyping import Bool
from torch import Tensor

from harness.catalogs import BACKENDS
from harness.contest.clock import Work, clock_of
from harness.contest.names import Name
from harness.contest.run import INTERPRETED, Findings
from harness.contest.workload import Workload, draw, stage_input, top_k_of
from harness.metric import Reading
from harness.trial import Trial
from semanir.attention import dictionary, packing
from semanir.attention.dictionary import KeyDictionary, Selector
from semanir.attention.problem import DeviceKind, Form


@dataclass(frozen=True)
class Way:
    """How one selector is used here."""

    form: Form
    """The packing that falls out of it: nothing is packed for another's sake."""
    speed_on: frozenset[DeviceKind]


WAYS: Mapping[Selector, Way] = {
    "torch": Way("boolean", frozenset({"cpu", "cuda"})),
    "triton": Way("bits", frozenset({"cuda"})),
}


def contest(trial: Trial) -> Reading:
    """Compare the selectors, which have to keep the same pairs, and then what each backend waits for.

    `selection` times each selector with the packing that it makes by itself; `dictionary` times, for each backend
    that could attend, the packings that its forward reads, made in the way that networks make them on this device.
    """
    workload = draw(trial, "plain", frozenset({"boolean"}))
    findings, clock = Findings(), clock_of(trial.cell.device)
    build = builder(trial)
    works = list(selectors(WAYS, trial, build, workload, findings))
    findings.time("selection", works, trial, clock)
    asked = workload.problem(trial, needs_grad=False)
    able = (name for name in BACKENDS if BACKENDS[name].unsupported(asked) is None)
    waited = [_work(name, partial(build, forms=BACKENDS[name].forms(needs_grad=False))) for name in able]
    findings.time("dictionary", waited, trial, clock)
    return findings.reading(workload)


Build = Callable[..., KeyDictionary]


def selectors(
    names: Iterable[Selector], trial: Trial, build: Build, workload: Workload, findings: Findings
) -> Iterator[Work]:
    """Yield who may be timed; keep the errors of all, and why the others may not."""
    for name in names:
        way = WAYS[name]
        making = partial(build, forms=frozenset({way.form}), selector=name)
        errors = _differing(making, workload)
        findings.add(Name("selection", "error", name), [errors])
        if errors:
            reason = f"it keeps other pairs than the reference in {errors:.1e} of all: not timed"
            findings.exclude("selection", name, reason)
        elif trial.cell.device not in way.speed_on:
            findings.exclude("selection", name, INTERPRETED)
        else:
            yield _work(name, making)


def builder(trial: Trial) -> Build:
    """Return what makes the dictionary of a cell's workload, given the packings and who selects."""
    similarity = trial.cell.similarity or "dot"
    return partial(dictionary.build, stage_input(trial), top_k_of(trial), similarity=similarity)


def _work(name: str, making: Callable[[], KeyDictionary]) -> Work:
    return Work(name, (lambda: making,))


def _differing(making: Callable[[], KeyDictionary], workload: Workload) -> float:
    """Return the share of pairs that a selector keeps and the definition does not, or the other way round."""
    return float((_pairs(making()) != workload.kept.form("boolean")).double().mean())


def _pairs(kept: KeyDictionary) -> Bool[Tensor, "W N N"]:
    return kept.boolean if kept.boolean is not None else packing.boolean(kept.form("bits"), kept.tokens)
