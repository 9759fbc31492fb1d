"""Names -> images, clean or in pairs: the bundled photographs, the standard sets, and a person's own folders."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt

from harness.catalog import suggest
from harness.channels import to_gray
from harness.datasets import registry
from harness.datasets.frames import Average, mean_of, windows
from harness.datasets.layout import Arranged, Shot, arrange, arrange_two, holds_images, no_pairs
from harness.datasets.pictures import SUFFIXES, DatasetError, read_image, size_of
from harness.datasets.registry import Derived, Entry

# fmt: off
__all__ = ["BUNDLED", "FRAMES", "PAIRS", "SUFFIXES", "Average", "DatasetError", "Entry", "Image", "absent", "add",
           "bundled_folder", "data_root", "fingerprint", "folder_of", "how_to_get", "known", "load",
           "load_what_is_here", "names", "read_image", "resolve", "unknown", "wants_average", "wants_pairs"]
# fmt: on

BUNDLED = "bundled"
"""The dataset that is always there: photographs inside scikit-image's wheel, the richest in texture first."""

BUNDLED_FILES = (
    "chelsea.png",
    "motorcycle_left.png",
    "camera.png",
    "astronaut.png",
    "coffee.png",
    "rocket.jpg",
)

PAIRS = "pairs"
"""The value of a setting, as in `kernel=pairs`, that takes degraded images from the dataset."""

FRAMES = "frames"
"""The value of a setting, as in `kernel=frames`, that averages consecutive images of the dataset."""

FINGERPRINT_BYTES = 64 * 1024
"""Read from both ends of each file."""

ADDED = "added.json"
"""The file of the data root that names a person's own folders."""


@dataclass(frozen=True)
class Image:
    """One image of a dataset."""

    name: str
    """Unique in its dataset: the file's name without its suffix, that of the degraded file in a pair."""
    pixels: UInt[np.ndarray, "H W C"]
    """The clean image, uint8 or uint16 as its file is; C is 1 for gray files and 3 for all others."""
    degraded: UInt[np.ndarray, "H W D"] | None = None
    """Its degraded partner of the same size and its own depth, where pairs or averaged frames were asked for."""


def data_root() -> Path:
    """Return the folder that holds `test/<Name>` and `train/<Name>`: `SEMANIR_DATA`, else the user's data directory."""
    if given := os.environ.get("SEMANIR_DATA"):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("semanir-bench"))


def names() -> list[str]:
    """All datasets that are here: `bundled`, then the others in alphabetical order, those made of others included."""
    here = dict.fromkeys([*_folders(), *_added()])
    for name, entry in registry.entries().items():
        if entry.derived and name not in here and _base_is_here(entry.derived, here):
            here[name] = None
    return [BUNDLED, *sorted(here, key=str.casefold)]


def known() -> list[str]:
    """All names that a spec may use: the datasets that are here, then the registered ones that are not."""
    return list(dict.fromkeys([*names(), *registry.image_sets()]))


def resolve(name: str) -> str:
    """Return a dataset's own spelling, here or not; names match without regard to case. Raises `DatasetError`."""
    if name == BUNDLED or name in registry.image_sets():  # known without a look at any folder
        return name
    usable = known()
    if name in usable:
        return name
    for candidate in usable:
        if candidate.casefold() == name.casefold():
            return candidate
    if (entry := registry.find(name)) and entry.role != "material":
        return entry.name
    raise DatasetError(unknown(name))


def unknown(name: str) -> str:
    """Say that a name is no dataset, which one is near, which are here, and where more are looked for."""
    has = f"It has: {', '.join(names())}. Those that can be had: semanir-bench data list."
    return f"no dataset '{name}'.{suggest(name, known())} {has} {_where()}"


def folder_of(name: str) -> Path | None:
    """Return the folder of a dataset that is here; None for one that is not, or is made of another."""
    own_name = resolve(name)
    if own_name == BUNDLED:
        return bundled_folder()
    if own_name in (added := _added()):
        return added[own_name][0]
    return _folders().get(own_name)


def wants_pairs(setting: Mapping[str, object]) -> bool:
    """Return whether a task's setting takes its degraded images from the dataset."""
    return PAIRS in setting.values()


def wants_average(setting: Mapping[str, Any]) -> Average | None:
    """Return how a task's setting makes its degraded images of consecutive ones of the dataset, if it does."""
    if FRAMES not in setting.values():
        return None
    return Average(frames=int(setting["frames"]), gamma=float(setting["gamma"]))


def absent(
    name: str, *, task: str, pairs: bool, average: Average | None = None, images: int | None = None
) -> str | None:
    """Return why a cell cannot have its images from this dataset, with the remedy, or None. Reads no image.

    The reasons: the set is not here, or not all of it and all is asked for; pairs are asked of a set that has
    none or whose pairs belong to another task; a synthetic degradation of a task whose real pairs the set holds;
    an average is asked of images that are no consecutive frames, or of too few.
    """
    own_name = resolve(name)
    entry = registry.find(own_name)
    if pairs and (own_name == BUNDLED or (entry and not entry.pairs)):
        return no_pairs(own_name)
    if entry and entry.pairs and pairs and task not in entry.tasks:
        return f"the pairs of {own_name} are for {' and '.join(entry.tasks)}, not for {task}; choose another dataset"
    if entry and entry.pairs and not pairs and task in entry.tasks:
        key = "kernel" if task == "deblur" else "kind"
        return f"{own_name} holds real pairs for {task}: ask for setting {key}={PAIRS}, or for a set of clean images"
    if average is not None:
        return _no_frames(own_name, average)
    if own_name not in names():
        return how_to_get(own_name)
    if own_name in (added := _added()):
        return no_pairs(own_name) if pairs and added[own_name][1] is None else None
    if (folder := _folders().get(own_name)) is None:
        return None
    if pairs and entry is None and not arrange(folder).degraded:
        return no_pairs(own_name)
    return _incomplete(own_name, folder) if images is None else None


def load(
    name: str,
    *,
    images: int | None = None,
    image_size: int | None = None,
    pairs: bool = False,
    average: Average | None = None,
) -> tuple[Image, ...]:
    """Read the first `images` images (None: all) in natural order of their names, `2` before `10`.

    `image_size` cuts the centred square of that side in pixels. `pairs` asks for the degraded partners; one clean
    image may come in several pairs. `average` makes the partner of each frame that has enough neighbours on both
    sides, names in natural order taken for the order of time. Raises `DatasetError` when the dataset is not here, is
    not complete and all of it was asked for, or has fewer images than asked; when a partner is missing or has
    another size; when there are no frames to average; and when an image is unreadable or smaller than asked.
    """
    own_name = resolve(name)
    if average is not None and (reason := _no_frames(own_name, average)):
        raise DatasetError(reason)
    shots, mend = _shots(own_name, pairs=pairs)
    runs = windows(shots, average.frames) if average else [(shot,) for shot in shots]
    if images is not None and images > len(runs):
        raise DatasetError(f"{own_name} holds {len(runs)} images and {images} were asked for; ask for fewer")
    if average is not None:
        return tuple(_averaged(runs[:images], average.gamma, lambda shot: _cut(_read(shot, mend), image_size)))
    if images is None and (folder := _folders().get(own_name)) and (reason := _incomplete(own_name, folder)):
        raise DatasetError(reason)
    return tuple(_cut(_read(shot, mend), image_size) for shot in shots[:images])


def fingerprint(name: str, *, images: int | None = None, pairs: bool = False, average: Average | None = None) -> str:
    """Return 64 hex digits of the files that `load` would read: their names, sizes, beginnings and ends.

    So a record knows which images it was measured on without reading gigabytes. Empty for what is not here and for
    `bundled`, whose images change with scikit-image's version alone.
    """
    if name == BUNDLED:
        return ""
    try:
        shots, _ = _shots(resolve(name), pairs=pairs)
    except DatasetError:
        return ""
    runs = windows(shots, average.frames) if average else [(shot,) for shot in shots]
    found = hashlib.sha256()
    for shot in dict.fromkeys(itertools.chain.from_iterable(runs[:images])):
        for file in (shot.clean, shot.degraded):
            if file is not None and file.is_file():
                with file.open("rb") as stream:
                    size = stream.seek(0, 2)
                    stream.seek(0)
                    found.update(f"{shot.name} {size}".encode() + stream.read(FINGERPRINT_BYTES))
                    stream.seek(max(0, size - FINGERPRINT_BYTES))
                    found.update(stream.read())
    return found.hexdigest()


def load_what_is_here(name: str) -> tuple[Image, ...]:
    """Read all clean images that are here, of a set that may be incomplete, whose average would mean nothing."""
    return load(name, images=len(_shots(resolve(name), pairs=False)[0]))


def add(name: str, clean: Path, degraded: Path | None = None) -> int:
    """Make a person's own folders a dataset by writing their places into the data root; returns how many images.

    Nothing is copied. Raises `DatasetError` for a name that is taken or no name, and for folders without images,
    with missing partners, or with partners of another size.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,63}", name):
        raise DatasetError(f"'{name}' is no name for a dataset; use letters, digits, '.', '_' and '-'")
    if registry.find(name) or name.casefold() in map(str.casefold, names()):
        raise DatasetError(f"there is a dataset '{name}' already; choose another name, or edit {data_root() / ADDED}")
    for folder in (clean, degraded):
        if folder is not None and not (folder.is_dir() and holds_images(folder)):
            raise DatasetError(f"{folder}: no folder with images ({', '.join(sorted(SUFFIXES))}); name one that has")
    arranged = arrange_two(clean, degraded)
    shots = arranged.pairs(name) if degraded else arranged.photographs()
    for shot in shots:
        sizes = [size_of(file) for file in (shot.clean, shot.degraded) if file]
        if len(set(sizes)) > 1:
            raise DatasetError(_sizes_differ(shot, *sizes))
    added = {other: _as_written(*folders) for other, folders in _added().items()}
    added[name] = _as_written(clean.resolve(), degraded.resolve() if degraded else None)
    file = data_root() / ADDED
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    beside.write_text(json.dumps(added, indent=2) + "\n", encoding="utf-8")
    beside.replace(file)
    return len(shots)


def bundled_folder() -> Path:
    """Return the folder of scikit-image's own pictures without importing it. Raises `DatasetError`."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError("scikit-image, which carries the bundled photographs, is missing; reinstall the project")
    return Path(spec.submodule_search_locations[0]) / "data"


def _shots(name: str, *, pairs: bool) -> tuple[list[Shot], Callable[[Any], Any]]:
    """Return the files of a dataset, and what turns their pixels into its images."""
    if name == BUNDLED:
        if pairs:
            raise DatasetError(no_pairs(name))
        return [Shot(Path(file).stem, bundled_folder() / file) for file in BUNDLED_FILES], lambda pixels: pixels
    if name in (added := _added()):
        return _chosen(name, arrange_two(*added[name]), pairs), lambda pixels: pixels
    entry = registry.find(name)
    if (folder := _folders().get(name)) is not None:
        arranged = arrange(folder, clean=entry.clean, degraded=entry.degraded) if entry else arrange(folder)
        return _chosen(name, arranged, pairs), lambda pixels: pixels
    if entry is None or entry.derived is None or name not in names():
        raise DatasetError(how_to_get(name))
    return _derived(entry, entry.derived, pairs)


def _chosen(name: str, arranged: Arranged, pairs: bool) -> list[Shot]:
    return arranged.pairs(name) if pairs else arranged.photographs()


def _derived(entry: Entry, rule: Derived, pairs: bool) -> tuple[list[Shot], Callable[[Any], Any]]:
    """Return the shots of the set that this one is made of, and the making."""
    if pairs:
        raise DatasetError(no_pairs(entry.name))
    shots, mend = _shots(rule.of, pairs=False)
    match rule.how:
        case "gray":
            return shots, lambda pixels: to_gray(mend(pixels))
        case "crop":
            rows, columns = slice(rule.top, rule.top + rule.side), slice(rule.left, rule.left + rule.side)
            return shots, lambda pixels: mend(pixels)[rows, columns]
        case "subset":
            wanted = {Path(file.name).stem for file in entry.files}
            kept = [shot for shot in shots if shot.name in wanted]
            if lost := sorted(wanted - {shot.name for shot in kept}):
                fetch = f"semanir-bench data fetch {entry.name}"
                raise DatasetError(f"{entry.name} is made of {rule.of}, which lacks {lost[0]} here: {fetch}")
            return kept, mend


def _read(shot: Shot, mend: Callable[[Any], Any]) -> Image:
    image = Image(shot.name, mend(read_image(shot.clean)))
    if shot.degraded is None:
        return image
    degraded = read_image(shot.degraded)
    if degraded.shape[:2] != image.pixels.shape[:2]:
        raise DatasetError(_sizes_differ(shot, image.pixels.shape[:2], degraded.shape[:2]))
    return replace(image, degraded=degraded)


def _averaged(runs: Sequence[tuple[Shot, ...]], gamma: float, read: Callable[[Shot], Image]) -> Iterator[Image]:
    """Yield the middle of each run with the mean of all of it; a frame is read once for the runs that share it."""
    remembered = lru_cache(maxsize=len(runs[0]) if runs else 0)(read)
    for run in runs:
        images = [remembered(shot) for shot in run]
        middle = images[len(images) // 2]
        for shot, image in zip(run, images, strict=True):
            if (image.pixels.shape, image.pixels.dtype) != (middle.pixels.shape, middle.pixels.dtype):
                found, wanted = (f"{one.pixels.shape} {one.pixels.dtype}" for one in (image, middle))
                raise DatasetError(f"{shot.clean}: {found}, but {middle.name} has {wanted}; a sequence is of one kind")
        yield replace(middle, degraded=mean_of([image.pixels for image in images], gamma))


def _no_frames(name: str, average: Average) -> str | None:
    """Say why the images of a dataset cannot be averaged."""
    if name == BUNDLED or registry.find(name):
        remedy = "name a folder of your own below test/, or one made known by 'semanir-bench data add'"
        return f"{name} is a standard set, and those are not averaged; {remedy}"
    shots, _ = _shots(name, pairs=False)
    if not windows(shots, average.frames):
        return f"{name} holds no {average.frames} consecutive frames in one folder; ask for fewer, or add more"
    return None


def _sizes_differ(shot: Shot, clean: tuple[int, ...], degraded: tuple[int, ...]) -> str:
    shown = [f"{height}x{width}" for height, width in (degraded, clean)]
    remedy = "cut both to one size or copy the right file"
    return f"{shot.degraded}: {shown[0]} pixels, but its clean image {shot.clean} has {shown[1]}; {remedy}"


def _cut(image: Image, side: int | None) -> Image:
    """Return the centred square."""
    if side is None:
        return image
    height, width = image.pixels.shape[:2]
    if side > (limit := min(height, width)):
        raise DatasetError(f"{image.name} has {height}x{width} pixels: image_size {side} does not fit; at most {limit}")
    top, left = (height - side) // 2, (width - side) // 2
    rows, columns = slice(top, top + side), slice(left, left + side)
    degraded = None if image.degraded is None else image.degraded[rows, columns]
    return Image(image.name, image.pixels[rows, columns], degraded)


def _folders() -> dict[str, Path]:
    """Return the datasets below the root: folders of images, under their registered names where they have one."""
    found: dict[str, Path] = {}
    by_folder = {entry.folder.casefold(): name for name, entry in registry.entries().items()}
    for role in ("test", "train"):
        parent = data_root() / role
        for folder in sorted(parent.iterdir()) if parent.is_dir() else []:
            if not folder.is_dir() or not holds_images(folder):
                continue
            registered = registry.find(folder.name)
            name = by_folder.get(f"{role}/{folder.name}".casefold())
            if name is None and registered and (role == "test" or registered.role == "train"):
                name = registered.name
            if name is None:
                name = f"{folder.name}-train" if registered or folder.name in found else folder.name
            found.setdefault(name, folder)
    return found


def _added() -> dict[str, tuple[Path, Path | None]]:
    """Return a person's own folders. Raises `DatasetError` when their list cannot be read."""
    file = data_root() / ADDED
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            name: (Path(folders["gt"]), Path(folders["lq"]) if folders.get("lq") else None)
            for name, folders in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "mend or remove it, then 'semanir-bench data add' the folders again"
        raise DatasetError(f"{file}: no list of added datasets ({error}); {remedy}") from None


def _as_written(clean: Path, degraded: Path | None) -> dict[str, str]:
    return {"gt": str(clean)} | ({"lq": str(degraded)} if degraded else {})


def _base_is_here(rule: Derived, here: Mapping[str, object]) -> bool:
    base = registry.entries()[rule.of]
    return rule.of in here or (base.derived is not None and _base_is_here(base.derived, here))


def how_to_get(name: str) -> str:
    """Say that a set is not here, and which command or which page gives it."""
    entry = registry.find(name)
    if entry is None:
        return unknown(name)
    if entry.files:
        return f"{name} is not here: semanir-bench data fetch {name}"
    return (
        f"{name} is not here: get it from {entry.where} and lay it out as {data_root() / entry.folder}: {entry.layout}"
    )


def _incomplete(name: str, folder: Path) -> str | None:
    """Say that a test set with a recorded list lacks files: its average would pass for the published one."""
    entry = registry.find(name)
    if entry is None or entry.role != "test" or not entry.files:
        return None
    arranged = arrange(folder, clean=entry.clean, degraded=entry.degraded)
    present = len(arranged.clean) + len(arranged.degraded)
    whole = len(_listed_images(entry))
    if present >= whole:
        return None
    remedy = f"semanir-bench data fetch {name}, or ask for the first ones with the axis images"
    return f"{folder} holds {present} of the {whole} images of {name}: {remedy}"


def _listed_images(entry: Entry) -> list[str]:
    """Return the recorded files of a set that are images of it; Levin's folder holds kernels too."""
    listed = [file.name for file in entry.files]
    if not entry.clean:
        return listed
    return [name for name in listed if any(PurePosixPath(name).match(glob) for glob in (entry.clean, entry.degraded))]


def _where() -> str:
    root = data_root()
    if (root / "test").is_dir():
        return f"More are looked for as folders of images in {root / 'test'}"
    if os.environ.get("SEMANIR_DATA"):
        return f"SEMANIR_DATA is {root}, which has no folder 'test'; put images in <SEMANIR_DATA>/test/<Name>"
    return "To use your own, set SEMANIR_DATA to a folder that holds images in test/<Name>"
