"""Plans: every cell and metric that a spec asks for is planned once, or skipped with a reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalogs import BACKENDS
from harness.plan import READING_S, Plan, expand, has_cuda, request_for
from harness.record import Cell
from harness.spec import ExperimentSpec, SpecError, load
from harness.tiles import spans

Loader = Callable[..., ExperimentSpec]

BASE = """\
question: What is planned?
axes:
  model: [semanir/nano]
  task: [denoise]
  dataset: [bundled]
  backend: [mask]
  top_k: [8]
  window: [8]
  image_size: 64
  images: 1
metrics: [flops, latency]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Loader:
    def build(*overrides: str, text: str = BASE) -> ExperimentSpec:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return load(path, overrides)

    return build


def reasons(plan: Plan) -> set[str]:
    return {skip.reason for skip in plan.skipped}


def test_every_cell_and_metric_is_planned_once_or_skipped(spec: Loader):
    plan = expand(spec("axes.top_k=8,64,100", "axes.window=8,16", "axes.backend=mask,triton", "axes.seed=0,1"))
    planned = [(entry.cell.id, metric) for entry in plan.cells for metric in entry.metrics]
    skipped = [(skip.cell.id, skip.metric) for skip in plan.skipped]
    assert len(planned) == plan.measurements
    assert len(planned) + len(skipped) == len({*planned, *skipped}) == 3 * 2 * 2 * 2 * 2


def test_several_sweeps_unfold_into_their_union(spec: Loader):
    sweeps = """\
question: Which cells come once?
sweeps:
  - {model: nonlocal_means, task: [denoise, jpeg], dataset: bundled, seed: [0, 1], window: [8, 16]}
  - {model: [nonlocal_means, semanir/nano], task: denoise, dataset: bundled, backend: mask}
metrics: [psnr]
"""
    plan = expand(spec(text=sweeps))
    cells = [skip.cell for skip in plan.skipped] + [planned.cell for planned in plan.cells]
    found = sorted((cell.model, cell.task, cell.seed) for cell in cells)
    classical = [("nonlocal_means", task, seed) for task in ("denoise", "jpeg") for seed in (0, 1)]
    assert found == [*classical, ("semanir/nano", "denoise", 0)]


def test_a_k_above_the_window_is_skipped_with_both_numbers(spec: Loader):
    plan = expand(spec("axes.top_k=8,128", "axes.window=8,16"))
    assert reasons(plan) == {"top_k 128 exceeds the 64 tokens of window 8"}
    assert [(entry.cell.top_k, entry.cell.window) for entry in plan.cells] == [(8, 8), (8, 16), (128, 16)]


def test_a_k_above_the_model_s_own_window_is_skipped_where_another_window_holds_it(spec: Loader):
    plan = expand(spec("axes.top_k=128", "axes.window=null,16"))
    assert reasons(plan) == {"top_k 128 exceeds the 64 tokens of window 8"}
    assert [entry.cell.window for entry in plan.cells] == [16]


def test_what_a_model_refuses_is_skipped_with_its_reason(spec: Loader):
    plan = expand(spec("axes.model=semanir/S"))
    assert not plan.cells
    assert "semanir/S has no head for scale 1" in reasons(plan).pop()


def test_what_a_backend_refuses_is_skipped_under_its_name(spec: Loader):
    plan = expand(spec("axes.backend=triton,mask", "axes.dtype=float64"))
    assert [entry.cell.backend for entry in plan.cells] == ["mask"]
    assert reasons(plan) == {"triton: its accumulators are float32; float64 belongs to the reference"}


def test_a_network_with_attention_but_no_backend_names_the_axis_to_add(spec: Loader):
    plan = expand(spec("axes.backend=none"))
    backends = ", ".join(BACKENDS.names())
    assert reasons(plan) == {f"semanir/nano needs an attention backend; add the axis backend: [{backends}]"}


def test_a_cell_without_a_gpu_is_skipped_with_a_reason(spec: Loader):
    wanted = spec("axes.device=cpu,cuda")
    assert reasons(expand(wanted, cuda=False)) == {"no CUDA device on this machine"}
    assert {entry.cell.device for entry in expand(wanted, cuda=True).cells} == {"cpu", "cuda"}


def test_a_hidden_device_is_no_device(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    has_cuda.cache_clear()
    assert not has_cuda()
    has_cuda.cache_clear()


def test_a_cell_over_the_memory_budget_is_skipped_with_its_forecast(spec: Loader):
    plan = expand(spec("axes.batch=1,1024", "axes.image_size=512"))
    assert [entry.cell.batch for entry in plan.cells] == [1]
    reason = reasons(plan).pop()
    assert reason.startswith("needs about ")
    assert reason.endswith(" GiB; budget.memory_mib allows 4.0 GiB")


def test_a_metric_that_a_cell_cannot_have_is_skipped_alone(spec: Loader):
    plan = expand(spec("axes.backend=triton", "metrics=flops,latency,psnr"))
    [entry] = plan.cells
    assert entry.metrics == ("flops",)
    assert {(skip.metric, skip.reason) for skip in plan.skipped} == {
        ("latency", "interpreter: not a speed"),
        ("psnr", "no weights"),
    }


def test_a_restricted_metric_is_asked_of_its_cells_alone(spec: Loader):
    text = BASE.replace("[denoise]", "[denoise, jpeg]").replace("latency", "memory: {only: {task: [denoise]}}")
    plan = expand(spec(text=text))
    assert not plan.skipped
    assert {entry.cell.task: entry.metrics for entry in plan.cells} == {
        "denoise": ("flops", "memory"),
        "jpeg": ("flops",),
    }


def test_a_rule_speaks_before_any_other_reason(spec: Loader):
    rules = "exclude:\n  - {where: {top_k: [100]}, reason: not this one}\n"
    assert reasons(expand(spec("axes.top_k=8,100", "axes.window=8,16", text=BASE + rules))) == {"not this one"}


def test_a_rule_may_forbid_some_metrics_of_a_cell(spec: Loader):
    rules = "exclude:\n  - {where: {task: [denoise]}, metrics: [latency], reason: no clock here}\n"
    plan = expand(spec(text=BASE + rules))
    assert [entry.metrics for entry in plan.cells] == [("flops",)]
    assert [(skip.metric, skip.reason) for skip in plan.skipped] == [("latency", "no clock here")]


def test_a_setting_reaches_the_cell_in_its_canonical_form(spec: Loader):
    plan = expand(spec("axes.setting.denoise=color=gray,sigma=15.0"))
    assert plan.cells[0].cell.setting == "sigma=15"


def test_super_resolution_asks_for_a_network_on_the_smaller_image():
    cell = Cell(model="semanir/S", task="sr", dataset="bundled", setting="scale=4", image_size=128)
    request = request_for(cell)
    assert (request.scale, request.height, request.width, request.channels) == (4, 32, 32, 3)


def test_an_image_of_unknown_size_counts_as_512_pixels():
    cell = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25")
    assert request_for(cell).height == 512


def test_a_forecast_grows_with_image_batch_and_number_format(spec: Loader):
    def bytes_of(*overrides: str) -> int:
        return expand(spec(*overrides)).total.bytes

    assert bytes_of("axes.image_size=128") > bytes_of()
    assert bytes_of("axes.batch=4") > bytes_of()
    assert bytes_of("axes.dtype=float64") > bytes_of()
    assert expand(spec("axes.seed=0,1")).total.seconds == 2 * expand(spec()).total.seconds


RESTORED = ("axes.model=semanir/small", "axes.weights=shipped", "axes.image_size=384", "metrics=psnr")


def test_the_memory_of_a_tiled_cell_follows_the_tile(spec: Loader):
    def bytes_of(*overrides: str) -> int:
        return expand(spec(*RESTORED, *overrides)).total.bytes

    assert bytes_of("axes.tile=96") == bytes_of("axes.image_size=96")
    assert bytes_of("axes.tile=96") < bytes_of("axes.tile=192") < bytes_of()
    assert bytes_of("axes.tile=512") == bytes_of()
    assert bytes_of("axes.tile=96", "metrics=psnr,latency") == bytes_of("metrics=psnr,latency")


def test_the_time_of_a_tiled_cell_is_the_sum_over_its_overlapping_tiles(spec: Loader):
    def network_s(*overrides: str) -> float:
        return expand(spec(*RESTORED, *overrides)).total.seconds - READING_S

    # 384 pixels: tiles of 128 that share 32 or more and begin at multiples of 16 stand at 0, 80, 160 and 256.
    assert [begin for begin, _ in spans(384, 128, 32, 16)] == [0, 80, 160, 256]
    assert network_s("axes.tile=128") == pytest.approx(16 * network_s("axes.image_size=128"))
    assert network_s("axes.tile=512") == pytest.approx(network_s())


def test_a_tile_at_the_border_that_ends_early_takes_less(spec: Loader):
    def network_s(side: int, *overrides: str) -> float:
        return expand(spec(*RESTORED, f"axes.image_size={side}", *overrides)).total.seconds - READING_S

    assert [end - begin for begin, end in spans(200, 128, 32, 16)] == [128, 120]
    assert 3 * network_s(128) < network_s(200, "axes.tile=128") <= 4 * network_s(128)


def test_an_ensemble_takes_eight_passes_an_image_and_no_more_memory(spec: Loader):
    plain, eight = (expand(spec(*RESTORED, f"axes.ensemble={name}")).total for name in ("none", "x8"))
    assert eight.seconds - READING_S == pytest.approx(8 * (plain.seconds - READING_S))
    assert eight.bytes == plain.bytes
    costs = [expand(spec(f"axes.ensemble={name}")).total for name in ("none", "x8")]
    assert costs[0] == costs[1]


def test_only_what_needs_the_whole_image_is_skipped_where_a_tile_fits_the_budget(spec: Loader):
    text = BASE + "budget: {memory_mib: 256}\n"
    plan = expand(spec(*RESTORED, "axes.image_size=1024", "axes.tile=64,128", "metrics=psnr,memory", text=text))
    assert [entry.metrics for entry in plan.cells] == [("psnr",), ("psnr",)]
    assert {skip.metric for skip in plan.skipped} == {"memory"}


def test_tiles_that_cannot_overlap_in_step_with_the_window_are_skipped_with_the_remedy(spec: Loader):
    plan = expand(spec(*RESTORED, "axes.tile=32", "axes.window=16", "metrics=psnr,flops"))
    assert reasons(plan) == {"tiles of 32 pixels that overlap by 16 cannot begin at multiples of 32; take at least 48"}
    assert [entry.metrics for entry in plan.cells] == [("flops",)]


def test_a_subset_is_chosen_by_axis_values_and_by_id(spec: Loader):
    wanted = spec("axes.top_k=8,16,32", "axes.seed=0,1", "axes.setting.denoise=sigma=15,color=rgb;sigma=25")
    everything = expand(wanted)
    first = everything.cells[0].cell
    assert len(expand(wanted, only=["top_k=8,32", "seed=1"]).cells) == 4
    assert len(expand(wanted, only=["setting=sigma=15,color=rgb"]).cells) == 6
    assert [entry.cell for entry in expand(wanted, only=[first.id[:8].upper()]).cells] == [first]
    assert not expand(wanted, only=[first.id, f"top_k={first.top_k}", "seed=1"]).cells


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("top_k=9", "no cell of this plan has top_k '9'. It has: 8, 16"),
        ("topk=8", "no axis 'topk'. Did you mean 'top_k'? It has: model, task, "),
        ("task=denoize", "no cell of this plan has task 'denoize'. Did you mean 'denoise'? It has: denoise"),
        ("abc", "is neither axis=value, as in task=denoise, nor 4 or more hex digits of a cell's id"),
        ("0123456789abcdef0", "no cell of this plan has an id that begins so; `plan` lists them"),
    ],
)
def test_a_subset_that_names_nothing_is_refused(spec: Loader, item: str, message: str):
    with pytest.raises(SpecError) as caught:
        expand(spec("axes.top_k=8,16"), only=[item])
    assert str(caught.value).startswith(f"--only {item}: {message}")


def test_ten_thousand_cells_unfold_in_well_under_three_seconds(tmp_path: Path):
    """In an interpreter of its own, since the shape checker of the tests makes every call several times slower."""
    path = tmp_path / "spec.yaml"
    path.write_text(BASE)
    overrides = [
        "axes.task=jpeg,denoise,demosaic,sr,deblur,weather",
        "axes.top_k=4,8,16,32,64",
        f"axes.seed={','.join(map(str, range(42)))}",
        "axes.window=8,16",
        "axes.backend=triton,gather,mask,sdpa",
        "metrics=psnr,flops,latency",
    ]
    code = (
        "import time; from harness.plan import expand; from harness.spec import load\n"
        f"spec = load({str(path)!r}, {overrides!r}); start = time.perf_counter(); plan = expand(spec)\n"
        "print(time.perf_counter() - start, len(plan.cells))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, cells = done.stdout.split()
    assert int(cells) == 6 * 5 * 42 * 2 * 4 == 10_080
    assert float(seconds) < 2.5
