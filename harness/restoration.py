"""What `restore` is asked: which weights, with which window and k, and where every picture goes, without torch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import tiles
from harness.catalog import suggest
from harness.catalogs import BACKENDS, MODELS, TASKS
from harness.channels import Bits
from harness.task import InvalidSetting
from harness.weights import CardError, own, read_card, switches
from semanir.model import Model, Request
from semanir.weights import Card, cards

PAGE = "restored.html"
"""The page that is written beside the pictures."""

TILE = 512
"""Side in pixels of the tiles that larger pictures are restored in; wide windows take larger ones."""

MOSAICS = ("demosaic",)
"""Tasks whose networks receive colour that was interpolated before: a gray picture would be the mosaic itself."""


class RestorationError(Exception):
    """Nothing can be restored as it was asked for, or one picture cannot; the message says what would work."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Trained weights and what is known of them."""

    card: Card
    file: Path
    """The safetensors file."""


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """A network as it is applied to every picture of a call."""

    weights: Weights
    backend: str
    """`none` for a network without attention."""
    window: int | None
    """Side of the attention window in tokens; None takes the configuration's."""
    top_k: int | None
    """Keys kept per query; None keeps every key."""

    @property
    def model(self) -> Model:
        """The family of the network."""
        return MODELS[self.weights.card.model.partition("/")[0]]

    @property
    def tile(self) -> int:
        """Side of a tile in input pixels, wide enough to begin in step with the windows."""
        return max(TILE, 2 * tiles.grid_of(self.window))

    @property
    def request(self) -> Request:
        """The network, for one tile."""
        card = self.weights.card
        task = TASKS[card.task]
        return Request(
            configuration=card.model.partition("/")[2],
            channels=card.channels,
            scale=card.scale,
            height=self.tile,
            width=self.tile,
            window=self.window,
            top_k=self.top_k,
            holds=task.holds(task.parse(card.setting)),
            **switches(card),
        )

    @property
    def words(self) -> str:
        """As in `denoise-gray-25: semanir/small for denoise sigma=25, window 8, k 16, attention by mask`."""
        card = self.weights.card
        parts = [f"{card.name}: {card.model} for {card.task} {card.setting}"]
        parts += [f"window {self.window}"] if self.window else []
        parts += [f"k {self.top_k}"] if self.top_k else []
        parts += [f"attention by {self.backend}"] if self.backend != "none" else []
        return ", ".join(parts)

    def progress(self, picture: Restored) -> str:
        """As in `a.jpg: 768x512 pixels, 2.4 s -> results/restored/a.png`, and what happened to its channels."""
        note = self.channels_note(picture.channels)
        size = f"{picture.width}x{picture.height} pixels, {picture.seconds:.1f} s"
        return f"{picture.source}: {size} -> {picture.file}{f' ({note})' if note else ''}"

    def channels_note(self, channels: int) -> str:
        """Say what happens to a picture whose channels are not the network's; empty where they are."""
        match channels, self.weights.card.channels:
            case 3, 1:
                return "a network for gray: red, green and blue each restored by themselves"
            case 1, 3:
                return "a network for colour: gray repeated in its three channels, then averaged"
            case _:
                return ""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A picture that was restored and written."""

    source: Path
    file: Path
    height: int
    """Of the source, in pixels, as all below."""
    width: int
    channels: int
    bits: Bits
    seconds: float
    """Of restoring alone, without reading and writing."""


@dataclass(frozen=True, kw_only=True)
class Unrestored:
    """A picture that could not be restored."""

    source: Path
    reason: str


def weights_for(task: str = "", setting: str = "", name: str = "") -> Weights:
    """Return the weights that fit a task and its setting, or those of a name or a file; these may stand alone.

    Without a setting, the task's default one counts, or the only one that a network ships for. Raises
    `RestorationError`, and `UnknownName` for a task that there is not.
    """
    if name:
        return _agreeing(_named(name), task, setting)
    if not task:
        raise RestorationError(f"name a task with --task, or weights with --weights; shipped are: {_listed()}")
    wanted = _canonical(task, setting)
    fitting = [card for card in cards().values() if card.task == task]
    exact = [card for card in fitting if card.setting == wanted]
    if not setting and not exact and len(fitting) == 1:
        exact = fitting
    if not exact:
        raise RestorationError(
            f"no network ships for {task} {wanted}; shipped are: {_listed()}. To train one: semanir-bench train "
            f"{task} --set setting={wanted}; then name the file that it writes with --weights"
        )
    return Weights(card=exact[0], file=exact[0].file)


def set_up(weights: Weights, *, backend: str, window: int | None = None, top_k: int | None = None) -> Restoration:
    """Return the network with this window and k, by default those that its card was judged with.

    Raises `RestorationError` for what the network, its attention or the tiles refuse, and `UnknownName` for a backend
    that there is not.
    """
    card = weights.card
    uses = MODELS[card.model.partition("/")[0]].uses
    for option, value, axis in (("--window", window, "window"), ("--top-k", top_k, "top_k")):
        if value is not None and axis not in uses:
            raise RestorationError(f"{option}: {card.model} has no choice of it; leave it out")
    judged = card.training.get("validation")
    judged = judged if isinstance(judged, dict) else {}
    restoration = Restoration(
        weights=weights,
        backend=backend if "backend" in uses else "none",
        window=window or judged.get("window"),
        top_k=top_k or judged.get("top_k"),
    )
    if (reason := _refusal(restoration)) is not None:
        raise RestorationError(reason)
    return restoration


def destinations(sources: Sequence[Path], folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Return the file that each picture is written to. Raises `RestorationError` where one would be lost.

    Two pictures never become one file, and none replaces a picture that is being restored. A file that is there
    already is replaced only with `force`; the page counts among them.
    """
    taken: dict[str, Path] = {}
    files = tuple(folder / f"{source.stem}.png" for source in sources)
    for source, file in zip(sources, files, strict=True):
        key = file.name.casefold()
        if key in taken:
            raise RestorationError(
                f"{taken[key]} and {source} would both become {file}; restore them in two calls with their own -o"
            )
        taken[key] = source
    originals = {source.resolve() for source in sources}
    for file in files:
        if file.resolve() in originals:
            raise RestorationError(
                f"{file} would replace the picture that it is made of; choose another folder with -o"
            )
    present = [file for file in (*files, folder / PAGE) if file.exists()]
    if present and not force:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise RestorationError(f"{present[0]}{more} would be replaced; choose another folder with -o, or add --force")
    return files


def make_folder(folder: Path) -> None:
    """Make the folder where there is none. Raises `RestorationError` where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RestorationError(
            f"-o {folder}: cannot be written to ({error.strerror}); choose a folder of yours"
        ) from None


def _agreeing(weights: Weights, task: str, setting: str) -> Weights:
    """Return the weights. Raises `RestorationError` where they were made for something else than is asked for."""
    card = weights.card
    if (task and task != card.task) or (setting and _canonical(card.task, setting) != card.setting):
        asked = f"{task or card.task} {setting}".strip()
        raise RestorationError(
            f"--weights {card.name} were trained for {card.task} {card.setting}, not for {asked}; leave --task and the "
            "setting out to use them all the same"
        )
    return weights


def _named(name: str) -> Weights:
    if name in cards():
        return Weights(card=cards()[name], file=cards()[name].file)
    if (found := own(name)) is not None:
        if isinstance(found, str):
            raise RestorationError(f"--weights {name}: {found}")
        return Weights(card=found.card, file=found.file)
    path = Path(name)
    if path.suffix not in (".safetensors", ".json"):
        raise RestorationError(
            f"--weights {name}: no weights of this name.{suggest(name, list(cards()))} Shipped are: {_listed()}; a "
            "file that `semanir-bench train` wrote is named with its suffix .safetensors"
        )
    file, described = path.with_suffix(".safetensors"), path.with_suffix(".json")
    for needed in (file, described):
        if not needed.is_file():
            raise RestorationError(
                f"--weights {name}: there is no file {needed}; weights and the card beside them are both needed, as "
                "`semanir-bench train` writes them"
            )
    return Weights(card=_read(described), file=file)


def _read(path: Path) -> Card:
    """Read the card of a person's own weights. Raises `RestorationError` for what is none."""
    try:
        return read_card(path)
    except CardError as error:
        raise RestorationError(
            f"{path}: is no card of weights ({error}); take the one that `semanir-bench train` wrote beside them"
        ) from None


def _canonical(task: str, setting: str) -> str:
    try:
        return TASKS[task].canonical(TASKS[task].parse(setting))
    except InvalidSetting as error:
        raise RestorationError(f"setting of {task}: {error}") from None


def _listed() -> str:
    return ", ".join(f"{card.name} ({card.task} {card.setting})" for card in cards().values()) or "none"


def _refusal(restoration: Restoration) -> str | None:
    """Return the first reason why no picture can be restored so, with the remedy, or None."""
    window, top_k, request = restoration.window, restoration.top_k, restoration.request
    if window and top_k and top_k > window**2:
        remedy = f"write --top-k {window**2} or less, or a larger --window"
        return f"k {top_k} exceeds the {window**2} tokens of window {window}; {remedy}"
    if (reason := restoration.model.unsupported(request)) is not None:
        return f"{reason}; leave --window and --top-k out to take those of the card"
    if restoration.backend == "none":
        return None
    backend = BACKENDS[restoration.backend]
    for problem in restoration.model.problems(request):
        if (reason := backend.unsupported(problem)) is not None:
            return f"--backend {restoration.backend}: {reason}; choose another of: {', '.join(BACKENDS)}"
    return None
