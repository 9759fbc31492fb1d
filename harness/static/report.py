"""The three things that `semanir-bench static` does: show, check against the baseline, write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.catalog import suggest
from harness.static import baseline
from harness.static.comparison import compare
from harness.static.cost import TARGETS, Compiled, StaticError
from harness.static.measure import measure, triton_version
from harness.static.table import as_table

Say = Callable[[str], None]


def targets(names: str) -> list[str]:
    """Read a list of targets as in `sm_80,sm_90`; all of them where it is empty. Raises `StaticError`."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(TARGETS)
    for name in wanted:
        if name not in TARGETS:
            raise StaticError(f"no target '{name}'.{suggest(name, list(TARGETS))} There are: {', '.join(TARGETS)}")
    return wanted


def show(names: Sequence[str], *, only: str, say: Say) -> None:
    """Compile and say the table of each target."""
    for target in names:
        say(as_table(target, _measured(target, only)))


def check(names: Sequence[str], *, only: str, say: Say) -> bool:
    """Compile, say what differs from the baseline, and return whether nothing got worse."""
    version = triton_version()
    committed = {target: baseline.read(version, target) for target in names}
    is_good = True
    for target in names:
        compiled = _measured(target, only)
        expected = {name: cost for name, cost in committed[target].items() if only in name}
        differences = compare(expected, compiled, target)
        for difference in differences:
            say(f"{'WORSE' if difference.is_worse else 'changed, not worse'}: {difference}")
        worse = sum(difference.is_worse for difference in differences)
        same = sum(entry.cost == expected.get(entry.name) for entry in compiled)
        say(f"{target}, triton {version}: {same} of {len(compiled)} kernels as in the baseline, {worse} worse")
        is_good = is_good and not worse
    if not is_good:
        say("if this is wanted, write the baseline anew and commit it: semanir-bench static --write")
    return is_good


def write(names: Sequence[str], *, say: Say) -> bool:
    """Compile and make the costs the baseline; return False, and write nothing, where a kernel does not compile."""
    found = {target: _measured(target, "") for target in names}
    for target, compiled in found.items():
        say(as_table(target, compiled))
    if any(entry.cost is None for compiled in found.values() for entry in compiled):
        say("nothing was written: every kernel has to compile")
        return False
    costs = {
        target: {entry.name: entry.cost for entry in compiled if entry.cost is not None}
        for target, compiled in found.items()
    }
    say(str(baseline.write(triton_version(), costs)))
    return True


def _measured(target: str, only: str) -> list[Compiled]:
    if not (compiled := measure(target, only=only)):
        raise StaticError(f"no kernel's name holds '{only}'; semanir-bench static shows all names")
    return compiled
