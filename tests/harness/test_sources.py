from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from harness.catalogs import BACKENDS, METRICS, TASKS
from harness.environment import TREE
from harness.record import Cell
from harness.sources import ORGANISERS, closure, file_of, source_digest

CELL = {"model": "semanir/nano", "task": "denoise", "dataset": "bundled", "setting": "sigma=25", "backend": "sdpa"}
FILES = {
    "one/__init__.py": "",
    "one/inner.py": "from . import deep\nfrom .deep import far\nimport two.used as name\n",
    "one/deep/__init__.py": "from .. import beside\n",
    "one/deep/far.py": "import json\n",
    "one/beside.py": "def f():\n    from two import late\n    import two.later\n",
    "one/unused.py": "",
    "two/__init__.py": "",
    "two/used.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import two.typed\nelse:\n    import two.untyped\n"
        "import other.thing\n"
    ),
    "two/late.py": "from two.used import something\n",
    "two/later.py": "",
    "two/typed.py": "",
    "two/untyped.py": "",
    "other/__init__.py": "",
    "other/thing.py": "",
}


@pytest.fixture(scope="module", autouse=True)
def tree(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("tree")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def test_a_closure_follows_what_runs_and_imports_nothing() -> None:
    found = closure(["one.inner"], packages=frozenset({"one", "two"}))
    assert sorted(found) == [
        "one", "one.beside", "one.deep", "one.deep.far", "one.inner",
        "two", "two.late", "two.later", "two.untyped", "two.used",
    ]  # fmt: skip
    assert not {"one", "two"} & sys.modules.keys()


def test_a_closure_stops_at_other_packages() -> None:
    assert sorted(closure(["one.deep.far"], packages=frozenset({"one"}))) == [
        "one", "one.beside", "one.deep", "one.deep.far",
    ]  # fmt: skip


def test_a_root_that_does_not_exist_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module 'one\.missing'"):
        closure(["one.missing"], packages=frozenset({"one"}))


def test_every_organiser_that_exists_is_spelt_right() -> None:
    missing = {name for name in ORGANISERS if file_of(name) is None and not (TREE / name.replace(".", "/")).is_dir()}
    assert missing <= {"harness.gate"}


def test_no_closure_holds_what_makes_no_number() -> None:
    roots = ["harness.trial", *(METRICS.module_of(name) for name in METRICS), *map(TASKS.module_of, TASKS)]
    found = closure(roots, packages=frozenset({"semanir", "harness"}))
    assert not found.keys() & ORGANISERS
    assert not any(name.startswith("semanir.attention.backends.") for name in found)
    assert {"harness.fidelity", "harness.timing", "harness.datasets", "harness.protocol"} <= found.keys()


def test_digests_differ_by_backend_task_and_metric_and_by_no_other_axis() -> None:
    other = [{"backend": "mask"}, {"task": "sr", "setting": "scale=2"}]
    cells = [Cell.model_validate(CELL | change) for change in ({}, *other)]
    digests = [source_digest(cell, metric) for cell in cells for metric in ("psnr", "flops")]
    assert len(set(digests)) == 6
    assert all(len(digest) == 64 for digest in digests)
    same = [{"seed": 3}, {"top_k": 8}, {"setting": "sigma=50"}, {"dtype": "float64"}]
    assert {source_digest(Cell.model_validate(CELL | change), "psnr") for change in same} == {digests[0]}


def test_weights_are_part_of_the_digest() -> None:
    shipped = Cell.model_validate(CELL | {"weights": "shipped"})
    unknown = Cell.model_validate(CELL | {"weights": "no-such-weights"})
    plain = source_digest(Cell.model_validate(CELL), "psnr")
    assert source_digest(unknown, "psnr") == plain
    from harness.weights import card_of

    assert (source_digest(shipped, "psnr") == plain) == (card_of(shipped) is None)


def test_two_processes_agree() -> None:
    script = f"""
from harness.record import Cell
from harness.sources import source_digest
print(source_digest(Cell(**{CELL!r}), "psnr"))
"""
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=True).stdout
    assert told.strip() == source_digest(Cell.model_validate(CELL), "psnr")


def test_every_file_of_a_backend_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "contender"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dataclasses import replace\n"
        "from semanir.attention.backends.mask import BACKEND as MASK\n"
        "BACKEND = replace(MASK, module='contender')\n"
    )
    (tmp_path / "contender-1.dist-info").mkdir()
    (tmp_path / "contender-1.dist-info" / "METADATA").write_text("Name: contender\nVersion: 1\n")
    (tmp_path / "contender-1.dist-info" / "entry_points.txt").write_text(
        "[semanir_bench.backends]\ncontender = contender\n"
    )
    script = f"""
from harness.record import Cell
from harness.sources import source_digest
print(source_digest(Cell(**{CELL | {"backend": "contender"}!r}), "psnr"))
"""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    digests = []
    for change in ("", "// a kernel"):
        (package / "kernel.cu").write_text(change)
        command = [sys.executable, "-c", script]
        digests.append(subprocess.run(command, cwd=TREE, capture_output=True, check=True).stdout)
    assert digests[0] != digests[1]


def test_a_thousand_cells_take_milliseconds() -> None:
    axes = itertools.product(BACKENDS, (4, 8, 16, 24), range(1000 // len(BACKENDS.names()) // 4))
    cells = [Cell.model_validate(CELL | {"backend": b, "top_k": k, "seed": seed}) for b, k, seed in axes]
    for cell in cells[:: len(cells) // len(BACKENDS.names())]:
        source_digest(cell, "psnr")
    begun = time.process_time()
    for cell in cells:
        source_digest(cell, "psnr")
    assert time.process_time() - begun < 0.1


def test_other_images_under_the_same_name_are_measured_again(tmp_path: Path) -> None:
    code = (
        "from harness.record import Cell; from harness.sources import source_digest\n"
        "cell = Cell(model='identity', task='denoise', setting='sigma=25', dataset='Own')\n"
        "print(source_digest(cell, 'psnr'))"
    )
    folder = tmp_path / "test" / "Own"
    folder.mkdir(parents=True)
    seen = []
    for shade in (10, 10, 11):
        PIL.Image.new("L", (32, 32), shade).save(folder / "one.png")
        environment = os.environ | {"SEMANIR_DATA": str(tmp_path)}
        command = [sys.executable, "-c", code]
        seen.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert seen[0] == seen[1] != seen[2]
