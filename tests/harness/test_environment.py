from __future__ import annotations

import getpass
import os
import platform
import subprocess
from pathlib import Path

import pytest

from harness.environment import TREE, machine, revision, version_of, without_folders

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*GIT, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_machine_tells_what_makes_numbers_comparable_and_no_name() -> None:
    described = machine("cpu")
    assert described.cores >= 1
    assert described.device == "cpu"
    assert described.versions["torch"] == version_of("torch")
    assert described.threads is None
    text = described.model_dump_json()
    assert platform.node() not in text.split('"')
    assert getpass.getuser() not in text.split('"')


def test_a_machine_is_described_without_torch() -> None:
    script = "import sys; from harness.environment import machine; machine('cuda'); assert 'torch' not in sys.modules"
    subprocess.run([os.sys.executable, "-c", script], cwd=TREE, check=True)


def test_machines_of_other_devices_are_of_another_class() -> None:
    assert machine("cpu").machine_class != machine("cuda").machine_class


def test_a_clean_clone_has_a_commit_and_a_changed_one_is_dirty(clone: Path) -> None:
    commit, dirty = revision(clone)
    assert len(commit) == 40
    assert not dirty
    (clone / "new").write_text("2")
    assert revision(clone) == (commit, True)


def test_a_folder_inside_another_clone_does_not_carry_its_commit(clone: Path) -> None:
    (clone / "below").mkdir()
    assert revision(clone / "below") == ("unknown", True)


def test_without_git_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision(tmp_path) == ("unknown", True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision(TREE) == ("unknown", True)


def test_a_hook_of_git_does_not_answer_for_another_clone(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, _ = revision(clone)
    monkeypatch.setenv("GIT_DIR", str(clone / "elsewhere"))
    assert revision(clone) == (commit, False)


def test_folders_that_name_a_person_are_cut_from_messages() -> None:
    text = f"no file {TREE}/harness/x.py nor {Path.home()}/secret/y.py"
    assert str(Path.home()) + "/" not in without_folders(text)
    assert "no file harness/x.py" in without_folders(text)


def test_a_distribution_that_is_not_installed_has_no_version() -> None:
    assert version_of("no-such-distribution") == ""
