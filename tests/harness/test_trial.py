from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import agreement, timing
from harness.agreement import TOLERANCE, Recorder, disagreement, relative_errors
from harness.catalogs import BACKENDS, METRICS, TASKS
from harness.record import Cell, Timing
from harness.trial import Trial, prepare

QUICK = Timing(warmup_ms=0, sample_ms=0.01, samples=3)


def cell(**axes: object) -> Cell:
    chosen = {"backend": "mask", "task": "denoise", "setting": "sigma=25", "top_k": 5, "window": 4} | axes
    return Cell(model="semanir/nano", dataset="bundled", images=1, image_size=32, **chosen)


@pytest.mark.parametrize("task", TASKS.names())
def test_every_task_becomes_a_trial_that_runs(task: str) -> None:
    setting = TASKS[task].canonical(TASKS[task].defaults)
    trial = prepare(cell(task=task, setting=setting), QUICK)
    restored = trial.run()
    height, width, channels = trial.pairs[0].target.shape
    assert restored.shape == (1, channels, height, width)
    assert set(trial.degraded_digests) == {trial.pairs[0].name}


def test_a_random_network_is_the_same_for_every_backend() -> None:
    states = [prepare(cell(backend=backend), QUICK).network.state_dict() for backend in ("mask", "gather")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_seed_changes_the_noise_and_the_network_but_not_the_picture() -> None:
    first, second = (prepare(cell(seed=seed), QUICK) for seed in (0, 1))
    np.testing.assert_array_equal(first.pairs[0].target, second.pairs[0].target)
    assert first.degraded_digests != second.degraded_digests


def test_an_untrained_network_restores_nothing_and_says_so() -> None:
    with pytest.raises(ValueError, match="no weights"):
        _ = prepare(cell(), QUICK).restored


def test_a_batch_holds_copies_of_the_first_image() -> None:
    assert prepare(cell(batch=3), QUICK).run().shape[0] == 3


@pytest.mark.parametrize("backend", BACKENDS.names())
@pytest.mark.parametrize("window", [4, 8])
def test_every_backend_agrees_on_the_cells_own_inputs(backend: str, window: int) -> None:
    trial = prepare(cell(backend=backend, window=window), QUICK)
    errors = relative_errors(trial)
    assert errors
    assert max(errors.values()) < TOLERANCE["float32"]
    assert disagreement(trial) is None


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS.names())
def test_a_network_of_any_dtype_agrees_within_its_tolerance(backend: str, dtype: str) -> None:
    trial = prepare(cell(backend=backend, dtype=dtype), QUICK)
    if all(trial.backend.unsupported(problem) is None for problem in trial.problems):
        assert disagreement(trial) is None
        assert trial.run().dtype == getattr(torch, dtype)
    else:
        # Union lists are for larger windows than this one.
        assert backend == "triton_union" or (backend in ("triton", "flex") and dtype == "float64")


def test_shifted_windows_are_among_the_checked_calls() -> None:
    trial = prepare(cell(), QUICK)
    kinds = {problem.kept_pairs for problem in trial.problems}
    assert len(kinds) == 2
    assert len(relative_errors(trial)) == 2


class Spoiled(Trial):
    """A trial whose backend is off by a given factor."""

    def build(self, *, attend, forms):  # type: ignore[no-untyped-def]
        assert isinstance(attend, Recorder)
        right = attend.attend
        attend.attend = lambda *inputs, **options: right(*inputs, **options) * self.factor
        return super().build(attend=attend, forms=forms)


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_a_backend_that_is_off_is_named_with_its_error(factor: float) -> None:
    trial = Spoiled(cell(), QUICK)
    trial.factor = factor
    words = disagreement(trial)
    assert words is not None
    assert "call 0 is off by" in words
    assert "float32 allows 1e-05" in words


def test_no_speed_is_reported_for_a_backend_that_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(agreement.TOLERANCE, "float32", 0.0)
    assert disagreement(prepare(cell(backend="sdpa"), QUICK)) is not None


def test_the_clock_keeps_every_sample_and_gives_the_threads_back() -> None:
    before = torch.get_num_threads()
    calls = []
    samples = timing.latencies_ms(lambda: calls.append(1), Timing(warmup_ms=0, sample_ms=0.5, samples=7), "cpu")
    assert len(samples) == 7
    assert all(sample > 0 for sample in samples)
    assert len(calls) > 7
    assert torch.get_num_threads() == before


def test_a_longer_call_takes_longer() -> None:
    import time

    short, long = (
        min(timing.latencies_ms(lambda s=s: time.sleep(s), Timing(warmup_ms=0, sample_ms=1, samples=3), "cpu"))
        for s in (0.002, 0.02)
    )
    assert 2 <= short < long
    assert long >= 20


def test_latency_is_skipped_where_an_interpreter_stands_in_for_a_gpu() -> None:
    assert METRICS["latency"].unsupported(cell(backend="triton")) == "interpreter: not a speed"
    assert METRICS["memory"].unsupported(cell(backend="triton")) is not None
    assert METRICS["latency"].unsupported(cell(backend="triton", device="cuda")) is None
    assert METRICS["latency"].unsupported(cell(backend="sdpa")) is None


def test_latency_and_memory_are_read_off_a_trial() -> None:
    latency = METRICS["latency"].measure(prepare(cell(), QUICK)).measurements[0]
    assert (latency.name, latency.unit, len(latency.samples)) == ("latency", "ms", 3)
    memory = METRICS["memory"].measure(prepare(cell(), QUICK)).measurements[0]
    assert memory.samples[0] >= 0


@pytest.mark.parametrize("metric", ["latency", "memory"])
def test_a_cost_says_which_kernel_the_library_chose(metric: str) -> None:
    assert METRICS[metric].measure(prepare(cell(), QUICK)).notes == ()
    reading = METRICS[metric].measure(prepare(cell(backend="sdpa"), QUICK))
    assert reading.notes == ("attention by torch's kernel: flash",)


def test_operations_are_counted_three_ways_and_a_disagreement_is_said() -> None:
    mask = METRICS["flops"].measure(prepare(cell(backend="mask"), QUICK))
    figures = {measurement.name: measurement.samples[0] for measurement in mask.measurements}
    assert figures["flops.useful"] < figures["flops.spent"] == figures["flops.dense"]
    assert figures["flops.dispatcher"] == figures["flops.spent"]
    assert mask.notes == ()
    sdpa = METRICS["flops"].measure(prepare(cell(backend="sdpa"), QUICK))
    counted = {measurement.name: measurement.samples[0] for measurement in sdpa.measurements}
    assert (counted["flops.dispatcher"] != counted["flops.spent"]) == bool(sdpa.notes)
    triton = METRICS["flops"].measure(prepare(cell(backend="triton"), QUICK))
    assert "flops.dispatcher" not in {measurement.name for measurement in triton.measurements}


def test_agreement_is_a_metric_with_one_sample_a_call() -> None:
    reading = METRICS["agreement"].measure(prepare(cell(), QUICK))
    assert reading.measurements[0].labels[0] == "call 0"
    assert METRICS["agreement"].unsupported(cell(backend="none")) == "no attention"


def test_a_timing_has_an_id_of_its_own() -> None:
    assert Timing().id != QUICK.id
    assert Timing(**QUICK.model_dump()).id == QUICK.id
