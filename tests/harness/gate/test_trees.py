from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.gate import trees
from harness.gate.refusal import Refusal
from tests.harness.gate.conftest import Repository

HOLDER = """\
import sys, time
from pathlib import Path
from harness.gate.trees import two_trees
with two_trees(Path(sys.argv[1]), None, "HEAD", work=Path(sys.argv[2])) as (base, head):
    print(base.folder.parent, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def two(repository: Repository) -> Repository:
    repository.write(quick=100).commit("before")
    repository.write(quick=200).commit("after")
    return repository


def refused(repository: Path, base: str | None = None, head: str = "HEAD") -> Refusal:
    with pytest.raises(Refusal) as found, trees.two_trees(repository, base, head):
        pass
    return found.value


def test_both_revisions_lie_beside_each_other_under_names_of_one_length(two: Repository, tmp_path: Path) -> None:
    with trees.two_trees(two.folder, None, "HEAD", work=tmp_path) as (base, head):
        assert "_loop(100)" in (base.folder / "semanir" / "gate_cells.py").read_text()
        assert "_loop(200)" in (head.folder / "semanir" / "gate_cells.py").read_text()
        assert len(str(base.folder)) == len(str(head.folder))
        assert base.folder.parent == head.folder.parent
        assert base.commit == two.git("rev-parse", "HEAD~1")
        assert base.digest != head.digest
    assert not base.folder.parent.exists()
    assert len(two.git("worktree", "list").splitlines()) == 1


def test_the_files_as_they_lie_are_measured_new_ones_too_and_deleted_ones_not(two: Repository) -> None:
    package = two.folder / "semanir"
    (package / "new.py").write_text("x = 1\n")
    (package / "gate_cells.py").unlink()
    (two.folder / ".gitignore").write_text("*.log\n")
    (package / "run.log").write_text("ignored")
    with trees.two_trees(two.folder, "HEAD", trees.WORKTREE) as (base, head):
        assert sorted(path.name for path in (head.folder / "semanir").iterdir()) == ["__init__.py", "new.py"]
        assert head.dirty
        assert not base.dirty
        (package / "new.py").write_text("x = 2\n")
        assert (head.folder / "semanir" / "new.py").read_text() == "x = 1\n"


def test_equal_files_have_equal_digests_wherever_they_lie(two: Repository) -> None:
    with trees.two_trees(two.folder, "HEAD", trees.WORKTREE) as (base, head):
        assert base.digest == head.digest


def test_the_default_base_is_where_head_left_the_main_branch(two: Repository) -> None:
    fork = two.git("rev-parse", "HEAD")
    two.git("checkout", "--quiet", "-b", "feature")
    two.write(quick=300).commit()
    two.write(quick=400).commit()
    assert trees.default_base(two.folder) == fork


def test_a_dirty_tree_is_refused_where_a_commit_is_asked_for(two: Repository) -> None:
    (two.folder / "semanir" / "new.py").write_text("")
    found = refused(two.folder)
    assert found.kind == "dirty_tree"
    assert "semanir/new.py" in str(found)
    assert "--head worktree" in str(found)


def test_changes_outside_the_package_do_not_matter(two: Repository) -> None:
    (two.folder / "notes.txt").write_text("nothing")
    with trees.two_trees(two.folder, None, "HEAD"):
        pass


def test_a_shallow_clone_is_refused_with_the_remedy(two: Repository, tmp_path: Path) -> None:
    two.git("clone", "--quiet", "--depth", "1", f"file://{two.folder}", str(tmp_path / "shallow"))
    found = refused(tmp_path / "shallow")
    assert found.kind == "shallow_clone"
    assert "fetch-depth: 0" in str(found)


def test_an_unknown_revision_is_named(two: Repository) -> None:
    found = refused(two.folder, base="nowhere")
    assert found.kind == "unknown_revision"
    assert "'nowhere'" in str(found)
    assert refused(two.folder, head="--output=x").kind == "unknown_revision"


def test_a_first_commit_has_no_base(repository: Repository) -> None:
    repository.write().commit()
    assert refused(repository.folder).kind == "unknown_revision"


def test_a_base_without_the_package_is_refused(repository: Repository) -> None:
    repository.commit("before the package")
    repository.write().commit()
    found = refused(repository.folder)
    assert found.kind == "no_package"
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).kind == "no_repository"


def test_what_a_killed_gate_left_is_swept_away_and_what_a_living_one_holds_is_not(
    two: Repository, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLDER, str(two.folder), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        assert (folder / "a" / "semanir").is_dir()
        assert trees.sweep(tmp_path) == []
        holder.send_signal(signal.SIGKILL)
    assert trees.sweep(tmp_path) == [folder]
    assert not folder.exists()
    assert len(two.git("worktree", "list").splitlines()) == 1


def test_a_checkout_without_git_can_be_measured_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "semanir").mkdir()
    (tmp_path / "semanir" / "__init__.py").write_text("")
    assert trees.in_place(tmp_path).dirty
    with pytest.raises(Refusal, match="no package"):
        trees.in_place(tmp_path / "semanir")
