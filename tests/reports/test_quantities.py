from __future__ import annotations

from collections.abc import Callable

from harness.record import Cell, Measured, Measurement, Record
from reports.marks import Value
from reports.quantities import latency_ms
from reports.results import Result


def test_the_kernel_that_a_library_chose_stands_beside_the_latency(make_record: Callable[..., Record]) -> None:
    cell = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25", backend="sdpa")
    times = Measurement(name="latency", unit="ms", samples=(1.0, 2.0, 3.0))
    for notes in ((), ("attention by torch's kernel: flash",)):
        record = make_record(cell, "latency", Measured(measurements=(times,), notes=notes))
        read = latency_ms(Result(cell, {"latency": record}))
        assert isinstance(read, Value)
        assert read.detail == "; ".join(("median of 3 samples, quartiles 1.5 to 2.5 ms", *notes))
