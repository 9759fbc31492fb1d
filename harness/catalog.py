"""A folder of files as a dictionary: the file name is the name, and a file is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from typing import Generic, TypeVar, cast

Thing = TypeVar("Thing")


class UnknownName(LookupError):
    """A name that the catalog does not have; the message offers the nearest one and lists all."""


def suggest(name: str, names: list[str]) -> str:
    """Return ` Did you mean 'x'?`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


class Catalog(Generic[Thing]):
    """All modules of a package, and of the plug-ins that an entry-point group names, each holding one thing.

    `Catalog("harness.metrics", "METRIC", kind="metric")` finds `harness/metrics/psnr.py` under the name
    `psnr` and returns its `METRIC`. A plug-in outside the tree registers its module under the entry-point
    group `semanir_bench.metrics` (the package's last word) and is found the same way. The tree's own names win.
    """

    def __init__(self, package: str, attribute: str, *, kind: str) -> None:
        self.package = package
        self.attribute = attribute
        self.kind = kind
        self._loaded: dict[str, Thing] = {}

    @cached_property
    def _modules(self) -> dict[str, str]:
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"the catalog's package {self.package} does not exist")
        group = f"semanir_bench.{self.package.rpartition('.')[2]}"
        found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=group)}
        for module in pkgutil.iter_modules(spec.submodule_search_locations):
            if not module.name.startswith("_"):
                found[module.name] = f"{self.package}.{module.name}"
        return found

    def names(self) -> list[str]:
        """All names, sorted; imports none of the modules."""
        return sorted(self._modules)

    def module_of(self, name: str) -> str:
        """Return the dotted module behind a name. Raises `UnknownName`."""
        try:
            return self._modules[name]
        except KeyError:
            raise UnknownName(self.unknown(name)) from None

    def unknown(self, name: str) -> str:
        """Say that a name does not exist, which one is near, and which there are."""
        return f"no {self.kind} '{name}'.{suggest(name, self.names())} It has: {', '.join(self.names())}"

    def __getitem__(self, name: str) -> Thing:
        if name not in self._loaded:
            module = importlib.import_module(self.module_of(name))
            self._loaded[name] = cast(Thing, getattr(module, self.attribute))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
