"""A folder of images -> clean files and, where it holds pairs, the degraded file that belongs to each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.datasets.pictures import SUFFIXES, DatasetError

CLEAN = frozenset({"gt", "sharp", "clean", "clean_image", "clear", "target", "norain", "groundtruth", "hr"})
"""Folders of clean images, and the words that mark a clean file's name as in `0_clean`, in small letters."""

DEGRADED = frozenset(
    {"lq", "blur", "in", "input", "rain_image", "rain", "rainy", "hazy", "haze", "snow", "synthetic", "data", "noisy"}
)
"""The same of degraded images. `data` is RainDrop's."""

SUFFIX_WORDS = re.compile(rf"(?:^|(?<=[_-]))(?:{'|'.join(sorted(CLEAN | DEGRADED))})(?=\d*$|[_-])", re.IGNORECASE)


@dataclass(frozen=True)
class Shot:
    """One image of a set: its name there, and its files."""

    name: str
    clean: Path
    degraded: Path | None = None


@dataclass(frozen=True)
class Arranged:
    """The files of a set, each with its path below the set, its part in pairs left out."""

    clean: dict[PurePosixPath, Path]
    degraded: dict[PurePosixPath, Path]

    def photographs(self) -> list[Shot]:
        """Return the clean images in natural order of their names."""
        return _named({key: (file, None) for key, file in self.clean.items()})

    def pairs(self, set_name: str) -> list[Shot]:
        """Return every degraded image with its clean one, named for the degraded. Raises `DatasetError`.

        Partners have the same name, or the same but for a word as in `0_rain` and `0_clean`, or the degraded
        name begins with the clean one, as `im_0001_s80_a04` with `im_0001`.
        """
        if not self.degraded:
            raise DatasetError(no_pairs(set_name))
        bare = {_bare(key): key for key in self.clean}
        found: dict[PurePosixPath, tuple[Path, Path | None]] = {}
        for key, file in self.degraded.items():
            partner = key if key in self.clean else bare.get(_bare(key)) or self._prefix(key)
            if partner is None:
                wanted = next(iter(self.clean.values())).parent if self.clean else "a folder gt"
                raise DatasetError(f"{file}: has no clean partner; put one of the same name into {wanted}")
            found[key] = (self.clean[partner], file)
        used = {clean for clean, _ in found.values()}
        if lonely := [file for file in self.clean.values() if file not in used]:
            more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
            folder = next(iter(self.degraded.values())).parent
            raise DatasetError(f"{lonely[0]}{more}: has no degraded partner; put it into {folder} or remove the file")
        return _named(found)

    def _prefix(self, key: PurePosixPath) -> PurePosixPath | None:
        """Return the longest clean name that this one goes on from, with a separator or as in `0001x4`."""
        stem = key.name
        for end in range(len(stem) - 1, 0, -1):
            begins = key.with_name(stem[:end])
            if begins in self.clean and re.match(r"[_-]|x\d", stem[end:]):
                return begins
        return None


def no_pairs(set_name: str) -> str:
    """Say that a set has clean images only, and what pairs look like."""
    return f"{set_name} holds no pairs; lay them out as gt/ and lq/, or ask for a synthetic degradation"


def holds_images(folder: Path) -> bool:
    """Return whether there is any image in or below a folder."""
    return next(_images(folder), None) is not None


def arrange(folder: Path, *, clean: str = "", degraded: str = "") -> Arranged:
    """Sort the images of a folder into clean and degraded ones. Raises `DatasetError` for two of one name.

    In this order: by globs where a set has its own; by folders such as `gt/` and `lq/`, at any depth, as
    in `<sequence>/blur/1.png`; by the ends of names such as `_sharp1` and `_blur1`; else all are clean, those
    at the top of the folder where there are any.
    """
    if clean:
        return Arranged(_keyed(folder.glob(clean), folder, CLEAN), _keyed(folder.glob(degraded), folder, DEGRADED))
    files = list(_images(folder))
    by_folder = [[file for file in files if _parts(file, folder) & words] for words in (CLEAN, DEGRADED)]
    if by_folder[0]:
        return Arranged(_keyed(by_folder[0], folder, CLEAN), _keyed(by_folder[1], folder, DEGRADED))
    top = [file for file in files if file.parent == folder]
    by_name = [[file for file in top if words & _last_words(file.stem)] for words in (CLEAN, DEGRADED)]
    if all(by_name) and sum(map(len, by_name)) == len(top):
        return Arranged(_keyed(by_name[0], folder, set()), _keyed(by_name[1], folder, set()))
    return Arranged(_keyed(top or files, folder, set()), {})


def arrange_two(clean: Path, degraded: Path | None) -> Arranged:
    """Take all images of one folder as clean, and those of another as their degraded partners."""
    return Arranged(
        _keyed(_images(clean), clean, set()), _keyed(_images(degraded), degraded, set()) if degraded else {}
    )


def _images(folder: Path) -> Iterator[Path]:
    """Yield image files at any depth; hidden files and folders are left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent) / name


def _keyed(
    files: Iterator[Path] | list[Path], folder: Path, role: set[str] | frozenset[str]
) -> dict[PurePosixPath, Path]:
    """Return files by their path below the folder, without suffix and without the folder that tells their role."""
    found: dict[PurePosixPath, Path] = {}
    for file in files:
        parents = [part for part in file.parent.relative_to(folder).parts if part.lower() not in role]
        key = PurePosixPath(*parents, file.stem)
        if (other := found.setdefault(key, file)) != file:
            told = other.name if other.parent == file.parent else other
            raise DatasetError(f"{file}: {told} has the same name; rename one of them")
    return found


def _named(files: dict[PurePosixPath, tuple[Path, Path | None]]) -> list[Shot]:
    """Return shots in natural order, `2` before `10`; a path within the set becomes a name with `_`."""
    ordered = sorted(files, key=lambda key: [_natural(part) for part in key.parts])
    return [Shot("_".join(key.parts), *files[key]) for key in ordered]


def _parts(file: Path, folder: Path) -> set[str]:
    return {part.lower() for part in file.parent.relative_to(folder).parts}


def _last_words(stem: str) -> set[str]:
    """Return `blur` of `Istanbul_blur1`."""
    match = re.search(r"[_-]([A-Za-z]+)\d*$", stem)
    return {match[1].lower()} if match else set()


def _bare(key: PurePosixPath) -> PurePosixPath:
    """Return `0_` of both `0_rain` and `0_clean`."""
    bare = SUFFIX_WORDS.sub("", key.name)
    return key.with_name(bare) if bare else key


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]
