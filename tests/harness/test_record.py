from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.record import Cell, Failed, Measured, Measurement, Skipped, Timing, record_key

CELL = Cell(model="semanir/small", task="denoise", dataset="bundled", setting="sigma=25")


def test_ids_of_cells_never_change() -> None:
    """Golden: a new axis with a default, or a reordered field, must keep them; a changed default must not pass."""
    assert CELL.id == "b49d72ddf3e6eb30"
    full = Cell(
        **CELL.model_dump()
        | {
            "backend": "triton",
            "weights": "shipped",
            "top_k": 16,
            "window": 8,
            "sharing": "layer",
            "image_size": 128,
            "images": 2,
            "batch": 2,
            "dtype": "bfloat16",
            "device": "cuda",
            "seed": 3,
        }
    )
    assert full.id == "551256cad26d01d3"
    assert Timing().id == "44136fa355b3678a"


def test_the_defaults_of_the_axes_never_change() -> None:
    assert CELL.model_dump() == {
        "model": "semanir/small",
        "task": "denoise",
        "dataset": "bundled",
        "setting": "sigma=25",
        "backend": "none",
        "weights": "none",
        "top_k": None,
        "window": None,
        "sharing": "stage",
        "similarity": None,
        "shift": None,
        "score": None,
        "image_size": None,
        "images": None,
        "batch": 1,
        "tile": None,
        "ensemble": "none",
        "dtype": "float32",
        "device": "cpu",
        "seed": 0,
        "benchmark": None,
    }


def test_naming_a_default_is_the_same_cell() -> None:
    assert Cell(**CELL.model_dump()).id == CELL.id
    assert Cell(**(CELL.model_dump() | {"seed": 1})).id != CELL.id


def test_a_changed_copy_has_an_id_of_its_own() -> None:
    assert CELL.id
    assert CELL.model_copy(update={"seed": 1}).id == Cell(**(CELL.model_dump() | {"seed": 1})).id


@pytest.mark.parametrize(
    "wrong", [{"top_k": 0}, {"batch": 0}, {"dtype": "int8"}, {"colour": "red"}, {"image_size": 4}, {"tile": 31}]
)
def test_a_cell_refuses_values_outside_its_axes(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Cell(**(CELL.model_dump() | wrong))


def test_a_measurement_has_a_label_for_each_sample_or_none() -> None:
    with pytest.raises(ValidationError, match="2 labels for 1 samples"):
        Measurement(name="psnr", unit="dB", samples=(30.0,), labels=("a", "b"))
    with pytest.raises(ValidationError):
        Measurement(name="psnr", unit="dB", samples=())


def test_outcomes_survive_json() -> None:
    from pydantic import TypeAdapter

    from harness.record import Outcome

    adapter = TypeAdapter(Outcome)
    for outcome in (
        Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(30.0,), labels=("a",)),), notes=("n",)),
        Skipped(reason="no weights"),
        Failed(failure="crashed", error="killed"),
    ):
        assert adapter.validate_json(adapter.dump_json(outcome)) == outcome


def test_a_key_depends_on_everything_that_decides_a_number() -> None:
    base = ["cell", "psnr", "rgb", "timing", "source", "machine"]
    keys = {record_key(*base)}
    for place in range(len(base)):
        changed = list(base)
        changed[place] += "'"
        keys.add(record_key(*changed))
    assert len(keys) == len(base) + 1
