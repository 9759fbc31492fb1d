"""Two source trees side by side in one temporary folder, frozen: what is measured cannot change under the clock.

Both lie under names of equal length, so that neither has the longer paths, and neither has compiled files at first.
The folder is held by a lock that dies with its process; the next gate sweeps away what a killed one left behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.environment import revision
from harness.gate.refusal import Refusal

WORKTREE = "worktree"
"""As a revision: the files as they lie in the checkout, committed or not."""
PACKAGE = "semanir"
PREFIX = "semanir-gate-"
LOCK = "held"
MAIN_BRANCHES = ("origin/main", "main", "origin/master", "master")

Side = Literal["base", "head"]


@dataclass(frozen=True)
class Tree:
    """One side of a comparison."""

    side: Side
    folder: Path
    """Holds the package; an interpreter that starts with it on its path imports this side."""
    revision: str
    """As it was asked for."""
    commit: str
    """The full name; of `worktree` that of HEAD."""
    dirty: bool
    """True where the files differ from the commit."""
    digest: str
    """Of every file of the package."""


@contextmanager
def two_trees(
    repository: Path, base: str | None, head: str, *, work: Path | None = None
) -> Iterator[tuple[Tree, Tree]]:
    """Lay base and head out beside each other, and take both away at the end.

    `base` is a revision; None takes where HEAD left the main branch, or HEAD's parent on the main branch itself.
    `head` is a revision or `worktree`. Raises `Refusal`.
    """
    root = _root(repository)
    _refuse_shallow(root)
    changes = _changes(root)
    if head != WORKTREE and changes and _commit(root, head) == _commit(root, "HEAD"):
        raise Refusal(
            "dirty_tree",
            f"{head} is not what lies in the checkout: {changes[0]} and {len(changes) - 1} other files differ from it. "
            f"Commit them, or measure them as they are: --head {WORKTREE}",
        )
    from_commit = _commit(root, base) if base is not None else default_base(root)
    head_commit = _commit(root, "HEAD" if head == WORKTREE else head)
    with held_folder(work) as folder:
        try:
            before = _check_out(root, from_commit, folder / "a")
            as_it_lies = head == WORKTREE
            after = _copy(root, folder / "b") if as_it_lies else _check_out(root, head_commit, folder / "b")
            for path, name in ((before, base or from_commit[:12]), (after, head)):
                if not (path / PACKAGE / "__init__.py").is_file():
                    raise Refusal(
                        "no_package", f"{name} holds no package '{PACKAGE}': there is nothing to compare; name another"
                    )
            yield (
                Tree("base", before, base or from_commit[:12], from_commit, False, digest_of(before / PACKAGE)),
                Tree(
                    "head",
                    after,
                    head,
                    head_commit,
                    head == WORKTREE and bool(changes),
                    digest_of(after / PACKAGE),
                ),
            )
        finally:
            for name in ("a", "b"):
                with suppress(Refusal):
                    _git(root, "worktree", "remove", "--force", str(folder / name))


def in_place(repository: Path) -> Tree:
    """Return the checkout as it lies there, git or not: for figures that do not depend on time."""
    if not (repository / PACKAGE / "__init__.py").is_file():
        raise Refusal("no_package", f"{repository} holds no package '{PACKAGE}'; run the gate in a checkout")
    commit, dirty = revision(repository)
    return Tree("head", repository, WORKTREE, commit, dirty, digest_of(repository / PACKAGE))


def default_base(root: Path) -> str:
    """Return the commit where HEAD left the main branch; on the main branch, HEAD's parent. Raises `Refusal`."""
    head = _commit(root, "HEAD")
    for branch in MAIN_BRANCHES:
        with suppress(Refusal):
            if (fork := _git(root, "merge-base", "HEAD", branch)) != head:
                return fork
    try:
        return _commit(root, "HEAD~1")
    except Refusal:
        raise Refusal("unknown_revision", "HEAD has no parent to compare with; name one with --base") from None


def digest_of(folder: Path) -> str:
    """Return 64 hex digits of all files below a folder and their names; what Python compiled is left out."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return found.hexdigest()


@contextmanager
def held_folder(work: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder that the next call removes should this process be killed."""
    place = work or Path(tempfile.gettempdir())
    sweep(place)
    unborn = Path(tempfile.mkdtemp(prefix="new-", dir=place))
    with (unborn / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only now may another gate find it: it would take an unlocked folder for a dead one's.
        folder = unborn.rename(unborn.with_name(f"{PREFIX}{unborn.name.removeprefix('new-')}"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> list[Path]:
    """Remove the folders of gates that are no longer alive, and return them. Those of other users stay."""
    removed = []
    for folder in sorted(place.glob(f"{PREFIX}*")):
        try:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with _forgotten(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        except OSError:  # alive, or another user's
            continue
    return removed


@contextmanager
def _forgotten(folder: Path) -> Iterator[None]:
    """Have git drop the worktrees that a killed gate registered, once they are gone."""
    repositories = set()
    for name in ("a", "b"):
        with suppress(Refusal):
            repositories.add(_git(folder / name, "rev-parse", "--path-format=absolute", "--git-common-dir"))
    yield
    for repository in repositories:
        with suppress(Refusal):
            _git(Path(repository), "worktree", "prune")


def _root(repository: Path) -> Path:
    try:
        return Path(_git(repository, "rev-parse", "--show-toplevel"))
    except Refusal:
        raise Refusal(
            "no_repository", f"{repository} is no git checkout: a gate compares two revisions; run it in a clone"
        ) from None


def _refuse_shallow(root: Path) -> None:
    if _git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise Refusal(
            "shallow_clone",
            "this clone is shallow and does not know where head left the main branch; run `git fetch --unshallow`, or "
            "give actions/checkout `fetch-depth: 0`",
        )


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except Refusal:
        raise Refusal(
            "unknown_revision", f"no revision '{revision}' in this clone; fetch it, or name another (git log --oneline)"
        ) from None


def _changes(root: Path) -> list[str]:
    """Files of the package that differ from HEAD, new ones counted."""
    listed = _git(root, "status", "--porcelain", "--no-renames", "--", PACKAGE)
    return [line[3:] for line in listed.splitlines()]


def _check_out(root: Path, commit: str, folder: Path) -> Path:
    _git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
    return folder


def _copy(root: Path, folder: Path) -> Path:
    """Copy the package as it lies there: committed files and new ones, ignored ones left out."""
    folder.mkdir()
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", PACKAGE)
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():  # a deleted file is listed until it is committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    return folder


def _git(folder: Path, *arguments: str) -> str:
    # A hook of git exports GIT_DIR, which would answer for another repository.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=inherited, check=True
        )
    except FileNotFoundError:
        raise Refusal("no_repository", "there is no git here; install it: a gate compares two revisions") from None
    except subprocess.CalledProcessError as error:
        raise Refusal("no_repository", f"git {arguments[0]}: {error.stderr.strip()}") from None
    return ran.stdout.strip("\n")  # a first blank tells something in `status`
