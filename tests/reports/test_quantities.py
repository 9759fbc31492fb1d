from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.record import Cell, Measured, Measurement, Record
from reports.marks import Value
from reports.quantities import by_protocol, entries, latency_ms, quantities
from reports.results import Result, number_text


def test_the_kernel_that_a_library_chose_stands_beside_the_latency(make_record: Callable[..., Record]) -> None:
    cell = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25", backend="sdpa")
    times = Measurement(name="latency", unit="ms", samples=(1.0, 2.0, 3.0))
    for notes in ((), ("attention by torch's kernel: flash",)):
        record = make_record(cell, "latency", Measured(measurements=(times,), notes=notes))
        read = latency_ms(Result(cell, {"latency": record}))
        assert isinstance(read, Value)
        assert read.detail == "; ".join(("median of 3 samples, quartiles 1.5 to 2.5 ms", *notes))


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-1.234, "{:.2f}", "−1.23"),
        (-0.001, "{:.2f}", "0.00"),
        (0.004, "{:+.2f}", "0.00"),
        (-1e-7, "{:.1e}", "−1.0e−07"),
        (3, "{:d}", "3"),
        (math.inf, "{:.2f}", "∞"),
        (-math.inf, "{:+.2f}", "−∞"),
        (math.nan, "{:.2f}", "undefined"),
    ],
)
def test_a_number_is_written_for_reading(value: float, form: str, text: str) -> None:
    assert number_text(value, form) == text


def cells_of(make_record: Callable[..., Record], means: dict[tuple[str, int], float]) -> list[Result]:
    """Return cells of two settings and several k; images of a cell are 3 dB apart, whatever is compared."""
    found = []
    for (setting, k), mean in means.items():
        cell = Cell(model="m", task="denoise", dataset="Set12", setting=setting, backend="sdpa", top_k=k)
        samples = tuple(mean + 3 * n + 0.001 * (n * k % 3) for n in range(6))
        numbers = Measurement(name="psnr", unit="dB", samples=samples, labels=tuple("abcdef"))
        found.append(Result(cell, {"psnr": make_record(cell, "psnr", Measured(measurements=(numbers,)))}))
    return found


def test_the_best_is_sought_among_cells_that_saw_the_same_images(make_record: Callable[..., Record]) -> None:
    means = {("sigma=15", 4): 31.0, ("sigma=15", 8): 32.0, ("sigma=50", 4): 25.0, ("sigma=50", 8): 24.0}
    results = cells_of(make_record, means)
    (quality,) = quantities(results, None)
    assert [(entry.text, entry.best) for entry in entries(quality, results)] == [
        ("38.50", False), ("39.50", True), ("32.50", True), ("31.50", False),
    ]  # fmt: skip


def test_what_two_protocols_judged_shares_no_figure(make_record: Callable[..., Record]) -> None:
    results = cells_of(make_record, {("sigma=15", 4): 31.0, ("sigma=15", 8): 32.0, ("sigma=15", 16): 30.0})
    assert list(by_protocol(results, "psnr")) == [("", results)]
    other = results[1].records["psnr"]
    assert other is not None
    results[1] = Result(results[1].cell, {"psnr": other.model_copy(update={"protocol": "b"})})
    results[2] = Result(results[2].cell, {"psnr": None})
    own = results[0].records["psnr"]
    assert own is not None
    expected = {own.protocol: [results[0], results[2]], "b": [results[1], results[2]]}
    assert dict(by_protocol(results, "psnr")) == expected
