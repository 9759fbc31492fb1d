"""Which machine a number was measured on: times and memory of two machines share no column and no curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.record import Environment, Measured
from reports.results import Result


def in_short(machine: Environment) -> str:
    """Name a machine by its processor and, as far as they are known, its cores, memory and accelerator."""
    parts = [machine.cpu]
    if machine.cores is not None:
        parts.append(f"{machine.cores} cores")
    if machine.memory_gib is not None:
        parts.append(f"{machine.memory_gib:.0f} GiB")
    if machine.device not in ("cpu", "unknown"):
        parts.append(machine.device)
    return ", ".join(parts)


def machine_of(result: Result, metric: str) -> str | None:
    """Return the class of the machine that measured a metric; None where nothing was measured."""
    record = result.records.get(metric)
    return record.environment.machine_class if record and isinstance(record.outcome, Measured) else None


def machines(results: Sequence[Result], metric: str) -> dict[str, str]:
    """Return class and name of each machine that measured a metric; of equal names each is followed by its class."""
    found = {
        record.environment.machine_class: in_short(record.environment)
        for result in results
        if (record := result.records.get(metric)) and isinstance(record.outcome, Measured)
    }
    named = Counter(found.values())
    return {
        machine: name if named[name] == 1 else f"{name}, {machine[:6]}"
        for machine, name in sorted(found.items(), key=lambda item: (item[1], item[0]))
    }


def by_machine(results: Sequence[Result], metric: str) -> Iterator[tuple[str, list[Result]]]:
    """Yield the results of each machine with its name, which is empty where one machine measured all there is.

    What has no number of this metric goes with every machine, for its reason.
    """
    found = machines(results, metric)
    for machine, name in found.items():
        members = [result for result in results if machine_of(result, metric) in (machine, None)]
        yield (name if len(found) > 1 else "", members)
