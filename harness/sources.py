"""Digest of the code and weights behind a number, so that a record is measured again once they change."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from harness import datasets
from harness.catalogs import BACKENDS, METRICS, MODELS, TASKS
from harness.environment import COMPUTING, version_of
from harness.record import Cell

DECIDING = tuple(name for name in COMPUTING if name != "semanir-bench")
"""Distributions whose version can change a number; the project's own code is hashed file by file."""
FIRST_PARTY = frozenset({"semanir", "harness"})

ORGANISERS = frozenset(
    f"harness.{name}"
    for name in (
        *("catalog", "catalogs", "cli", "environment", "executors", "gate"),
        *("plan", "record", "runner", "sources", "spec", "store", "yaml_lines"),
    )
)
"""Modules that decide which cells run and where their records go, and never make a number: a closure neither
holds nor follows them. Without this, `harness.catalogs` alone would tie each record to the whole harness, and
a new axis in `harness.record`, which keeps the ids of old cells, would still have them measured again."""


def source_digest(cell: Cell, metric: str) -> str:
    """Return 64 hex digits that change with whatever can change this number, memoised for this process.

    Hashed are the files of the static import closure of what computes (the backend's whole package, the
    modules of model, task and metric, and `harness.trial`, which brings a cell to life), the fingerprint of the
    images, the sha256 of the weights, and the versions in `DECIDING`. The closure follows imports within `semanir`,
    `harness` and a plug-in's own package, those inside functions included and those under TYPE_CHECKING not, and
    stops at `ORGANISERS`.
    """
    family = cell.model.partition("/")[0]
    images = _fingerprint(cell.dataset, cell.images, cell.task, cell.setting)
    return _digest(cell.backend, family, cell.task, metric, _weights_sha256(cell), images)


def closure(roots: Iterable[str], *, packages: frozenset[str]) -> dict[str, Path]:
    """Return module name to file of all in `packages` that importing `roots` would run, `roots` included.

    Reads the files and imports none of them. Raises `ModuleNotFoundError` for a root that does not exist.
    """
    found: dict[str, Path] = {}
    ahead = []
    for root in roots:
        if file_of(root) is None:
            raise ModuleNotFoundError(f"no module '{root}' on the import path, so its source cannot be hashed")
        ahead.extend(_with_parents(root))
    while ahead:
        module = ahead.pop()
        if module in found or module in ORGANISERS or module.partition(".")[0] not in packages:
            continue
        if (file := file_of(module)) is not None:
            found[module] = file
            ahead.extend(_imports(module, file))
    return found


@cache
def file_of(module: str) -> Path | None:
    """Find a module's file without importing its parent packages; None for a name that is no module."""
    top, _, rest = module.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.has_location and spec.origin else None
    for location in spec.submodule_search_locations or ():
        base = Path(location, *rest.split("."))
        for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
            if candidate.is_file():
                return candidate
    return None


@cache
def _digest(backend: str, family: str, task: str, metric: str, weights: str, images: str) -> str:
    roots = ["harness.trial", MODELS.module_of(family), MODELS[family].module]
    roots += [TASKS.module_of(task), METRICS.module_of(metric)]
    if METRICS[metric].timed:  # what a backend must pass before it is timed
        roots.append("harness.agreement")
    files: dict[str, Path] = {}
    contenders = BACKENDS.names() if METRICS[metric].side_by_side else [backend] if backend != "none" else []
    for name in contenders:
        roots += [BACKENDS.module_of(name), BACKENDS[name].module]
        files |= _files_under(BACKENDS.module_of(name))
    packages = FIRST_PARTY | {root.partition(".")[0] for root in roots}
    for root in roots:
        files |= _closure_of(root, packages)
    lines = [f"{name} {_sha256(file)}" for name, file in sorted(files.items())]
    lines += [f"weights {weights}", f"images {images}", *(f"{name} {version_of(name)}" for name in DECIDING)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def _closure_of(root: str, packages: frozenset[str]) -> dict[str, Path]:
    return closure([root], packages=packages)


def _files_under(module: str) -> dict[str, Path]:
    """Everything in a backend's package, also what no import shows: other languages, tables of constants."""
    init = file_of(module)
    if init is None or init.name != "__init__.py":
        return {}
    found = (path for path in init.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{module}/{path.relative_to(init.parent).as_posix()}": path for path in found}


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _fingerprint(dataset: str, images: int | None, task: str, setting: str) -> str:
    """Digest the files that make a cell's images: those of its dataset, and one that the degradation reads."""
    parsed = TASKS[task].parse(setting)
    found = datasets.fingerprint(
        dataset, images=images, pairs=datasets.wants_pairs(parsed), average=datasets.wants_average(parsed)
    )
    material = TASKS[task].material(parsed)
    return found if material is None else f"{found} {material.path} {material.sha256()}"


def _weights_sha256(cell: Cell) -> str:
    """Return the digest of the weights as they are now: a person may train them while this process lives."""
    if cell.weights == "none":
        return ""
    from harness.weights import card_of

    card = card_of(cell)
    return card.sha256 if card else ""


def _with_parents(module: str) -> list[str]:
    """`a.b.c` runs `a` and `a.b` first."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _imports(module: str, file: Path) -> Iterator[str]:
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for statement in _import_statements(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield from _with_parents(alias.name)
        else:
            base = package[: len(package) - statement.level + 1] if statement.level else []
            source = ".".join([*base, *([statement.module] if statement.module else [])])
            yield from _with_parents(source)
            # A name that is no module is found by no file, and left.
            yield from (f"{source}.{alias.name}" for alias in statement.names)


def _import_statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield from _import_statements(ast.Module([statement], []))
        else:
            yield from _import_statements(child)
