"""The kernel benchmark in small: every line of it on a CPU, the kernels in Triton's interpreter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.catalogs import BACKENDS
from harness.contest.names import QUANTITIES, Name, reasons
from harness.plan import has_cuda
from harness.record import Measured, Measurement, Record, to_json
from harness.store import ResultStore

METRICS = {"kernels": "plain", "kernels_bias": "bias", "kernels_sparse": "sparse"}


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels") / "store"
    code, output = call("run", "kernels", "--smoke", "--out", folder)
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def records(store: Path) -> dict[str, Record]:
    with ResultStore.open(store) as opened:
        found = [record for plan in opened.plans() for record in opened.latest({e.key for e in plan.entries}).values()]
    return {record.metric: record for record in found}


def measurements(record: Record) -> dict[str, Measurement]:
    assert isinstance(record.outcome, Measured), record.outcome
    return {each.name: each for each in record.outcome.measurements}


@pytest.mark.parametrize("metric", METRICS)
def test_every_backend_agrees_with_float64_or_says_why_it_stays_away(records: dict[str, Record], metric: str) -> None:
    record = records[metric]
    found = measurements(record)
    absent = reasons(record.outcome.notes)
    for quantity in QUANTITIES[METRICS[metric]]:
        for name in BACKENDS:
            error = found.get(str(Name(quantity.name, "error", name)))
            timed = str(Name(quantity.name, "hot", name)) in found
            assert (quantity.name, name) in absent or timed
            if error is None:
                assert (quantity.name, name) in absent
                continue
            assert error.labels == (quantity.gradients or ("out",))
            assert max(error.samples) <= 1e-5
            on_cpu = "cpu" in BACKENDS[name].speed_on
            assert timed == on_cpu
            assert on_cpu or absent[quantity.name, name] == "interpreter: not a speed"
        assert str(Name(quantity.name, "error", "triton")) in found
        assert str(Name(quantity.name, "error", "mask")) in found


def test_both_ways_to_select_keep_the_same_pairs(records: dict[str, Record]) -> None:
    found = measurements(records["selection"])
    assert found["selection.error.torch"].samples == found["selection.error.triton"].samples == (0.0,)
    assert "selection.hot.torch" in found
    assert "selection.hot.triton" not in found
    waited = {name for name in BACKENDS if f"dictionary.hot.{name}" in found}
    assert waited == set(BACKENDS) - {"triton_union"}, "union lists are for larger windows than the smoke run's"


def test_samples_say_which_block_they_are_of(records: dict[str, Record]) -> None:
    found = measurements(records["kernels"])
    hot, cold = found["forward.hot.mask"], found["forward.cold.mask"]
    assert hot.labels == cold.labels == tuple(f"block {i}" for i in range(len(hot.samples)))
    assert hot.unit == "ms"
    assert min(hot.samples) > 0


def test_what_is_stored_and_exported_is_valid(store: Path, records: dict[str, Record]) -> None:
    for record in records.values():
        assert Record.model_validate_json(json.dumps(to_json(record))) == record
    rows = [json.loads(line) for line in (store / "exports" / "records.jsonl").read_text().splitlines()]
    exported = {(row["metric"], row["measurement"]) for row in rows}
    stored = {(metric, name) for metric, record in records.items() for name in measurements(record)}
    assert exported == stored
    assert {row["status"] for row in rows} == {"measured"}


def test_the_page_of_it_claims_no_figure(store: Path) -> None:
    code, output = call("report", store, "--out", store / "table.md")
    assert code == 0, output
    text = (store / "table.md").read_text()
    assert "interpreter: not a speed" in text
    assert "reached" not in text


@pytest.mark.skipif(has_cuda(), reason="there is a CUDA device here")
def test_without_a_gpu_the_benchmark_says_so_in_a_line_and_names_what_runs(tmp_path: Path) -> None:
    code, output = call("run", "kernels", "--out", tmp_path / "store")
    assert code == 2
    assert output == "kernels needs a CUDA device and this machine has none; --smoke runs it in small\n"
    assert not (tmp_path / "store").exists()
