from __future__ import annotations

import pytest

from harness.contest.names import Name, absence, parse, reasons, unsupported
from harness.record import Cell

CELL = Cell(model="semanir/S", task="sr", dataset="bundled", setting="scale=2", backend="mask", top_k=4, image_size=32)


@pytest.mark.parametrize("quantity", ["forward", "bias.backward_with_table"])
def test_a_name_is_read_back(quantity: str) -> None:
    name = Name(quantity, "hot", "mask")
    assert parse(str(name)) == name


@pytest.mark.parametrize("text", ["workload.windows", "psnr", "device.sm_clock", "forward.warm.mask", ""])
def test_other_measurements_belong_to_no_contender(text: str) -> None:
    assert parse(text) is None


def test_a_reason_is_read_back_with_its_colons() -> None:
    notes = (absence("bias.forward", "mask", "interpreter: not a speed"), "a remark of another kind")
    assert reasons(notes) == {("bias.forward", "mask"): "interpreter: not a speed"}


def test_a_cell_without_a_dictionary_or_a_size_is_refused() -> None:
    assert unsupported(CELL) is None
    assert unsupported(CELL.model_copy(update={"backend": "none"})) == "no dictionary"
    assert unsupported(CELL.model_copy(update={"model": "swinir/S"})) == "no dictionary"
    assert "top_k" in str(unsupported(CELL.model_copy(update={"top_k": None})))
    assert "image_size" in str(unsupported(CELL.model_copy(update={"image_size": None})))
