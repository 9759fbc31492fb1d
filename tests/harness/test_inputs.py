from __future__ import annotations

from typing import Any

import pytest

from harness.inputs import mismatches
from harness.record import Cell, Environment, Measured, Measurement, Record

ENVIRONMENT = Environment(
    machine_class="0d1f2a3b4c5d6e7f",
    cpu="Example CPU",
    cores=2,
    memory_gib=16.0,
    system="Linux 6.1",
    device="cpu",
    python="3.11.7",
    versions={"numpy": "2.3.1", "pillow": "12.0"},
)


def record(degraded: dict[str, str], *, numpy: str = "2.3.1", commit: str = "c0ffee" * 6, **axes: Any) -> Record:
    cell = {"model": "identity", "task": "denoise", "dataset": "bundled", "setting": "sigma=25", **axes}
    versions = ENVIRONMENT.versions | {"numpy": numpy}
    return Record(
        cell=Cell.model_validate(cell),
        metric="degraded",
        source="feedface",
        outcome=Measured(measurements=(Measurement(name="toy", unit="1", samples=(1.0,)),)),
        environment=ENVIRONMENT.model_copy(update={"versions": versions}),
        degraded=degraded,
        spec="5eed",
        commit=commit,
        dirty=False,
        started_at="2026-11-20T10:00:00+00:00",
        duration_s=0.1,
    )


def test_equal_digests_are_no_mismatch() -> None:
    assert mismatches([record({"cat": "a", "dog": "b"}), record({"cat": "a"}, images=1)]) == ()


def test_a_forged_digest_is_named_with_its_image_its_cells_and_the_version_that_differs() -> None:
    honest = [record({"cat": "a", "dog": "b"}, batch=batch) for batch in (1, 2)]
    forged = record({"cat": "a", "dog": "f0"}, numpy="1.26.4", images=4)
    [found] = mismatches([*honest, forged])
    assert (found.image, found.differing) == ("dog", ("numpy",))
    assert [(variant.digest, variant.cells) for variant in found.variants] == [
        ("b", tuple(each.cell.id for each in honest)),
        ("f0", (forged.cell.id,)),
    ]
    first, second = (each.cell.id[:8] for each in honest)
    assert found.words == (
        "dog of denoise (setting sigma=25, dataset bundled, seed 0) differs between records: "
        f"b in cells {first}, {second}, numpy 2.3.1; f0 in cell {forged.cell.id[:8]}, numpy 1.26.4"
    )


def test_one_cell_measured_twice_under_the_same_versions_is_a_mismatch_too() -> None:
    [found] = mismatches([record({"cat": "a"}), record({"cat": "b"})])
    assert found.differing == ()
    assert found.words.endswith("; versions and commit are the same")


def test_another_commit_is_named() -> None:
    [found] = mismatches([record({"cat": "a"}), record({"cat": "b"}, commit="deadbeef" * 5)])
    assert found.differing == ("commit",)
    assert "commit deadbeefde" in found.words


@pytest.mark.parametrize(
    "axes", [{"task": "jpeg", "setting": "quality=10"}, {"setting": "sigma=15"}, {"dataset": "Set5"}, {"seed": 1}]
)
def test_other_degradations_may_differ(axes: dict[str, Any]) -> None:
    assert mismatches([record({"cat": "a"}), record({"cat": "b"}, **axes)]) == ()


def test_a_smaller_cut_of_an_image_is_another_input() -> None:
    assert mismatches([record({"cat": "a"}, image_size=64), record({"cat": "b"}, image_size=32)]) == ()


@pytest.mark.parametrize(
    "axes", [{"batch": 8}, {"images": 2}, {"tile": 64}, {"dtype": "float16"}, {"model": "semanir/small"}]
)
def test_what_does_not_touch_the_input_excuses_no_difference(axes: dict[str, Any]) -> None:
    assert len(mismatches([record({"cat": "a"}), record({"cat": "b"}, **axes)])) == 1


def test_mismatches_of_other_cells_are_left_out() -> None:
    records = [record({"cat": "a"}), record({"cat": "b"}, batch=2), record({"cat": "a"}, seed=7)]
    assert mismatches(records, touching=[records[2].cell]) == ()
    assert len(mismatches(records, touching=[records[1].cell])) == 1
