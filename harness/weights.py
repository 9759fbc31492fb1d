"""Which weights a cell means, and why it has none, without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.catalog import suggest
from harness.catalogs import MODELS, TASKS
from harness.material import needs_h5py, sha256_of
from harness.record import Cell
from semanir.model import Model
from semanir.weights import Card, cards

FOLDER = "weights"
"""Of the data root: where weights of third parties are looked for, and those that a person trained."""

TRAINED = Path("results", "training")
"""Where `train` leaves weights, each in a folder of its name, seen from where a command is started."""

NAME = r"[a-z0-9][a-z0-9.-]{0,63}"
"""What weights of the project, or of a person's own, may be called."""

SWITCHES = ("sharing", "similarity", "shift", "score")
"""Ablated choices of a network that its weights were trained with: axes of a cell, and keys of a recipe."""

_SEED = re.compile(r"(.+)-s([0-9]+)")


def named(name: str, arm: str = "", seed: int | None = None) -> str:
    """Return what the weights of one training of several are called: `<name>[-<arm>][-s<seed>]`."""
    return name + (f"-{arm}" if arm else "") + ("" if seed is None else f"-s{seed}")


def arm_and_seed(name: str) -> tuple[str, int | None]:
    """Split the name of weights into what repetitions share and the seed: `topk-fixed-s0` is `topk-fixed` and 0.

    The seed is None where the name tells none.
    """
    found = _SEED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


class CardError(ValueError):
    """A file is no card of weights. The message says what is wrong with it and names no folder."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """Weights that a person trained: the card, and the file beside it that it describes."""

    card: Card
    file: Path

    @property
    def sha256(self) -> str:
        """Of the file, as the card says; checked at each load."""
        return self.card.sha256


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Weights as other people published them: a file that the model itself reads."""

    name: str
    """Path below the data root's folder `weights`, as in `DnCNN-S/sigma=25.mat`."""
    file: Path
    sha256: str
    """Of the file as it is here."""


def card_of(cell: Cell) -> Card | Own | Foreign | None:
    """Return the weights that a cell names; None where it names none that exist and fit."""
    found = _find(cell)
    return None if isinstance(found, str) else found


def missing(cell: Cell) -> str | None:
    """Return the reason why a cell cannot restore anything, or None. A model without weights needs none."""
    if "weights" not in _model(cell).uses:
        return None
    found = _find(cell)
    return found if isinstance(found, str) else None


def own(name: str) -> Own | str | None:
    """Return the weights that a person trained under a name; the reason where they cannot be used; None without any.

    Looked for in the data root's folder `weights`, then where `train` leaves them. The reason names no folder of this
    machine. The files are read at each call: a training may have ended since the last one.
    """
    for file, shown in _own_cards(name):
        if file.is_file():
            return _checked(name, file, shown)
    return None


def own_names() -> list[str]:
    """Return the names under which a person's own weights would be found, sorted."""
    kept, left = foreign_folder().glob("*.json"), TRAINED.glob("*/*.json")
    names = [file.stem for file in kept] + [file.stem for file in left if file.stem == file.parent.name]
    return sorted({name for name in names if re.fullmatch(NAME, name)})


def read_card(file: Path) -> Card:
    """Read the card of weights that a person trained. Raises `CardError` for what is none."""
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("training", {}), dict):
            raise ValueError("it, or its 'training', is no mapping")  # noqa: TRY004  as all below
        card = Card(**content)
        family, _, configuration = card.model.partition("/")
        setting = TASKS[card.task].parse(card.setting)
        if configuration not in MODELS[family].configurations:
            raise ValueError(f"no configuration '{configuration}' of {family}")
        if (card.channels, card.scale) != (TASKS[card.task].channels(setting), TASKS[card.task].scale(setting)):
            raise ValueError(f"channels {card.channels} and scale {card.scale} are not those of {card.setting}")
    except OSError as error:
        raise CardError(str(error.strerror)) from error
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        raise CardError(str(error)) from error
    return card


def switches(card: Card) -> dict[str, Any]:
    """Return the ablated choices that weights were trained with, as a `Request` takes them; without its defaults."""
    recipe = card.training.get("recipe")
    known = recipe if isinstance(recipe, dict) else {}
    return {key: known[key] for key in SWITCHES if known.get(key) is not None}


def unknown(name: str) -> str | None:
    """Return what is wrong with a name that means no weights on any machine, or None.

    A path may lead to a file on another one, so here its absence is a reason to skip a cell and no mistake.
    """
    if name in ("none", "shipped") or name in cards() or _is_path(name):
        return None
    if any(file.is_file() for file, _ in _own_cards(name)):
        return None
    known = ["none", "shipped", *dict.fromkeys([*cards(), *own_names()])]
    remedy = f"a file of the data root's folder '{FOLDER}' is named with its suffix, and what is yet to be trained is"
    return f"no weights named '{name}'.{suggest(name, known)} It has: {', '.join(known)}; {remedy} listed as `awaited`"


def foreign_folder() -> Path:
    """Return the folder that holds weights of third parties, and those of a person's own that are to be kept."""
    from harness import datasets

    return datasets.data_root() / FOLDER


def _find(cell: Cell) -> Card | Own | Foreign | str:
    """Return the weights that a cell means, or why it has none: the one place that decides it.

    A shipped name is never another's. What a person trained comes next, and then what others published.
    """
    name = cell.weights
    if name == "none":
        return "no weights"
    if name == "shipped":
        wanted = (cell.model, cell.task, cell.setting)
        fitting = (card for card in cards().values() if (card.model, card.task, card.setting) == wanted)
        return next(fitting, "no weights")
    found = cards().get(name) or own(name)
    if isinstance(found, Card | Own):
        card = found if isinstance(found, Card) else found.card
        fits = (card.model, card.task) == (cell.model, cell.task)
        return found if fits else f"weights '{name}' belong to {card.model} for {card.task}"
    if found is not None:
        return found
    if not _is_path(name):
        places = f"in {TRAINED.as_posix()} or in $SEMANIR_DATA/{FOLDER}"
        words = f"no weights named '{name}' yet: awaited from `semanir-bench train`, {places}."
        return words + suggest(name, list(cards()))
    if (reason := _unreadable(cell)) is not None:
        return reason
    file = foreign_folder() / name
    return Foreign(name=name, file=file, sha256=sha256_of(file))


def _own_cards(name: str) -> Iterator[tuple[Path, str]]:
    """Yield where the card of a person's own weights may lie, and how records call that folder."""
    if re.fullmatch(NAME, name):
        yield foreign_folder() / f"{name}.json", f"$SEMANIR_DATA/{FOLDER}"
        yield TRAINED / name / f"{name}.json", (TRAINED / name).as_posix()


def _checked(name: str, file: Path, shown: str) -> Own | str:
    """Return the weights of a card, or why it cannot be used or is not theirs."""
    remedy = "copy both files as `semanir-bench train` wrote them, or train again"
    try:
        card = read_card(file)
    except CardError as error:
        return f"{name}.json in {shown} is no card of weights ({error}); {remedy}"
    tensors = file.with_suffix(".safetensors")
    if not tensors.is_file():
        return f"{name}.json in {shown} has no {tensors.name} beside it; {remedy}"
    if (digest := sha256_of(tensors)) != card.sha256:
        both = f"its sha256 is {digest[:12]}..., the card says {str(card.sha256)[:12]}..."
        return f"{tensors.name} in {shown} is not what its card describes ({both}); {remedy}"
    return Own(card=card, file=tensors)


def _is_path(name: str) -> bool:
    """Weights of third parties have a suffix; names of our own have none."""
    return PurePosixPath(name).suffix != ""


def _unreadable(cell: Cell) -> str | None:
    """Return the reason why a file of third parties cannot be used, or None. Records keep it: it names no folder."""
    family, name = cell.model.partition("/")[0], cell.weights
    formats = _model(cell).formats
    if not formats:
        return f"{family} reads no weights of third parties, so not '{name}'; write `shipped` or a name of our own"
    if PurePosixPath(name).suffix not in formats:
        return f"{family} reads {' and '.join(formats)} files; '{name}' is none"
    folder = foreign_folder()
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        return f"weights '{name}' lead out of the data root's folder '{FOLDER}'; write a path inside it"
    if not file.is_file():
        here = [found.relative_to(folder).as_posix() for found in sorted(folder.glob("**/*")) if found.is_file()]
        place = f"it is looked for in $SEMANIR_DATA/{FOLDER}, else in the user's data directory"
        return f"no file '{name}': {place}.{suggest(name, here)}"
    return needs_h5py(file, name)


def _model(cell: Cell) -> Model:
    return MODELS[cell.model.partition("/")[0]]
