"""What is recorded of the dictionaries that a network makes of one image, for who writes and who reads it. No torch.

Every position is a row and a column of a map of tokens, as it lies in the image: rolls and windows are undone. The
token at row r and column c of a map whose tokens have `side` pixels covers the picture's rows from `r * side` and
columns from `c * side` on. Padding may reach beyond the picture's lower and right border.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from harness.record import Frozen

ROLE = "dictionary"
"""The role of the artifact that holds a scene."""


class SceneError(ValueError):
    """Content that is no scene."""


class Locality(Frozen):
    """How near kept keys lie to their queries, beside what two rules that look at no feature would give.

    Distances are Euclidean, in tokens; a query's own token counts as a key, at distance 0. Both rules keep as many
    keys, chosen among those that the query might keep: the whole window or, where a shift cuts it, the query's part.
    """

    distance: float
    """Mean over the kept pairs of query and key."""
    random_distance: float
    """Its expectation where each query draws its keys at random."""
    nearest: float
    """Share of the kept keys that are among the nearest in space, as many as the query keeps, ties to the lowest
    index."""
    random_nearest: float
    """Its expectation for keys drawn at random: what is kept over what might be."""


class Area(Frozen):
    """A rectangle of a map, in tokens."""

    top: int
    left: int
    height: int
    width: int


class Look(Frozen):
    """What one chosen token keeps."""

    row: int
    column: int
    part: Area
    """The tokens that it might keep: its window, or its part of a window that the shift cuts."""
    kept: tuple[tuple[int, int], ...]
    """Row and column of each key, the most similar first, ties to the lowest index of the window."""
    locality: Locality


class Seen(Frozen):
    """One dictionary of one image."""

    stage: int
    """From 1, as layers are."""
    layers: tuple[int, ...]
    """Layers of the stage that attend by it."""
    stage_layers: int
    """Layers that the stage has."""
    shift: int
    """Of its windows, in tokens, in both axes."""
    rows: int
    """Of the map, padding included."""
    columns: int
    side: int
    """Pixels of the picture along a token."""
    locality: Locality
    """Over all tokens of the map."""
    looks: tuple[Look, ...]
    """One for each chosen token; a coarser map's token holds the chosen one."""

    @property
    def source(self) -> str:
        """`2` where every layer of its stage attends by it, else with the first that does: `2.1`."""
        return f"{self.stage}" if len(self.layers) == self.stage_layers else f"{self.stage}.{self.layers[0]}"


class Choice(Frozen):
    """A token of the finest map that was chosen to be looked at."""

    row: int
    column: int
    kind: Literal["detailed", "flat"]


class Scene(Frozen):
    """The dictionaries of one image, in the order of use."""

    schema_version: Literal[1] = 1
    image: str
    height: int
    """Of the picture, in pixels: the target's, as all pictures are shown."""
    width: int
    window: int
    """Side in tokens."""
    top_k: int
    choices: tuple[Choice, ...]
    """The same for every k, window and network: the target alone decides."""
    dictionaries: tuple[Seen, ...]


def encode(scene: Scene) -> bytes:
    """Return compact JSON; equal scenes give equal bytes."""
    return scene.model_dump_json().encode()


def decode(content: bytes) -> Scene:
    """Undo `encode`. Raises `SceneError` for anything else, another version among it."""
    try:
        return Scene.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise SceneError(
            f"a dictionary's scene, {place}: {first['msg']}; measure the metric anew with this version"
        ) from None
