"""Several trainings in one file: arms that change a base spec, and seeds that repeat each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.spec import SpecError
from harness.training.reading import Document, overridden, plain, tree
from harness.weights import arm_and_seed
from harness.yaml_lines import Items, Node, Place, Problem, Refused, Scalar, Table, shown

KEYS = ("arms", "seeds")
"""What a file says of its trainings together; all else is said of each."""

LARGEST_SEED = 2**63 - 1

_OF_ALL = ("name", *KEYS)
"""Keys that an arm cannot set, and that a `--set` changes before there are arms."""

_ARM = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Arm:
    """A base spec with the overrides of one arm, and then those of the command line."""

    name: str
    """Empty where the file has no arms."""
    document: Document | None
    """None where problems were found."""
    problems: tuple[Problem, ...] = ()
    places: frozenset[Place] = frozenset()
    """Where its overrides stand."""


@dataclass(frozen=True)
class Study:
    """The trainings of a file: each arm with each seed."""

    arms: tuple[Arm, ...]
    """One at least."""
    seeds: tuple[int, ...] = ()
    """Empty where the file lists none, so that the spec's own seed counts."""

    def joined(self, found: Mapping[str, Sequence[Problem]]) -> list[Problem]:
        """Join the problems of all arms, by their names: what all have counts once, any other names its arm."""
        common = frozenset.intersection(*(frozenset(problems) for problems in found.values()))
        joined: dict[Problem, None] = {}
        for arm in self.arms:
            for problem in found[arm.name]:
                if arm.name and (problem not in common or problem.place in arm.places):
                    problem = replace(problem, where=": ".join(filter(None, [f"arms.{arm.name}", problem.where])))
                joined[problem] = None
        return list(joined)


def read(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a file with `--set` overrides, which come after those of the arms.

    Raises `SpecError` for what is wrong with the file as a whole; what is wrong with an arm lies in the arm.
    """
    root, problems = tree(path)
    early = [override for override in overrides if _key(override) in _OF_ALL]
    for override in early if root else ():
        root = overridden(root, override, problems) if root else None
    if root is None or problems:
        raise SpecError(problems)
    base, arms, seeds = _parted(root, problems)
    if problems:
        raise SpecError(problems)
    late = [override for override in overrides if override not in early]
    return Study(tuple(_arm(base, name, own, late) for name, own in arms.items()), seeds)


_Overrides = Sequence[tuple[Place, str]]


def _arm(base: Node, name: str, own: _Overrides, late: Sequence[str]) -> Arm:
    node, problems = base, list[Problem]()
    for place, override in own:
        node = overridden(node, override, problems, place)
    for override in late:
        node = overridden(node, override, problems)
    places = frozenset(place for place, _ in own)
    try:
        return Arm(name, plain(node, problems), places=places)
    except SpecError as error:
        return Arm(name, None, error.problems, places)


def _key(override: str) -> str:
    return override.partition("=")[0].partition(".")[0].strip()


def _parted(root: Node, problems: list[Problem]) -> tuple[Node, dict[str, _Overrides], tuple[int, ...]]:
    """Return what is said of each training, the overrides of each arm by its name, and the seeds."""
    if not isinstance(root, Table):
        return root, {"": ()}, ()
    arms: dict[str, _Overrides] = {"": ()}
    seeds: tuple[int, ...] = ()
    if "arms" in root.entries:
        arms = _arms(root.entries["arms"][1], problems)
    if "seeds" in root.entries:
        place, node = root.entries["seeds"]
        if "seed" in root.entries:
            problems.append(Problem(place, "seeds", "the spec has `seed` as well; keep one of them"))
        seeds = _seeds(node, problems)
    entries = {key: entry for key, entry in root.entries.items() if key not in KEYS}
    return replace(root, entries=entries), arms, seeds


def _arms(node: Node, problems: list[Problem]) -> dict[str, _Overrides]:
    if isinstance(node, Refused):
        return {}
    if not isinstance(node, Table) or not node.entries:
        remedy = 'write a mapping from names to overrides, as in {few: ["steps=200"], many: ["steps=2000"]}'
        problems.append(Problem(node.place, "arms", f"names no arm; {remedy}"))
        return {}
    arms: dict[str, _Overrides] = {}
    for name, (place, listed) in node.entries.items():
        if not _ARM.fullmatch(name) or arm_and_seed(f"x-{name}")[1] is not None:
            rule = "an arm's name has small letters, digits, dots and dashes, and does not end like a seed, as s0"
            problems.append(Problem(place, "arms", f"{shown(name)}: {rule}"))
        nodes = listed.nodes if isinstance(listed, Items) else (listed,)
        arms[name] = [(item.place, text) for item in nodes if (text := _override(item, f"arms.{name}", problems))]
    return arms


def _override(node: Node, where: str, problems: list[Problem]) -> str | None:
    """Return an override of an arm; None, reported, for anything else."""
    if isinstance(node, Refused):
        return None
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        message = 'is no override; write each as a text in quotes, as in "windows=[{window: 8, top_k: 16}]"'
    elif (key := _key(node.value)) in _OF_ALL:
        message = f"an arm cannot set {key}, which is said of all arms; write it beside `arms`"
    else:
        return node.value
    problems.append(Problem(node.place, where, message))
    return None


def _seeds(node: Node, problems: list[Problem]) -> tuple[int, ...]:
    nodes = node.nodes if isinstance(node, Items) else (node,)
    found: dict[int, None] = {}
    for item in nodes:
        if isinstance(item, Refused):
            continue
        value = item.value if isinstance(item, Scalar) else None
        if type(value) is not int or not 0 <= value <= LARGEST_SEED:
            written = item.text if isinstance(item, Scalar) else "a list or mapping"
            problems.append(Problem(item.place, "seeds", f"{shown(written)} is no seed; write a whole number from 0"))
        elif value in found:
            problems.append(Problem(item.place, "seeds", f"{value} is listed twice; keep one"))
        else:
            found[value] = None
    if not nodes:
        problems.append(Problem(node.place, "seeds", "empty list; write at least one seed, or remove the key"))
    return tuple(found)
