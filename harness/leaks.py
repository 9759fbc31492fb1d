"""Finds training images that are also test images: the same pixels, a copy, a crop, turned, mirrored or resized.

Corners at many sizes get a small descriptor that knows its own direction and handedness, so that one look-up finds
a place again after a turn, a mirror and a change of size. Each such match says how one image would lie on the other.
They are laid so, the fit is refined, and only where fine detail correlates all over the overlap is it a leak.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from harness import datasets
from harness.channels import to_8_bits, to_gray
from harness.datasets import DatasetError, Image, registry

# N corners of an image   B bits   P pairs of corners that look alike

STEP = 2.0**0.5
"""Between the sizes at which an image is looked at."""
LARGEST_SIDE = 512
"""Pixels: a larger image is looked at from here on."""
SMALLEST_SIDE = 24
APART = 13
"""Pixels of a size within which only the strongest corner counts; a crop then has the corners of the whole."""
MARGIN = 9
"""Pixels of a size between a corner and the border."""
SPACING = 2.25
"""Pixels of a size between two samples of a descriptor."""
BETWEEN = 2.0**0.25
"""A test image is described at this size too, half-way to the next."""
GRID = 8
"""Samples of a descriptor along each side."""
AGREEING = 2
"""Other matches that have to agree with one before it is laid over."""
FEW = 60
"""An image with fewer corners is a small crop: one match that agrees is enough there, or none."""
ALONE = 0.95
"""Cosine from which a match is laid over though no other agrees with it."""
MATCHES = 100
"""Of two images, at most, that are asked whether they agree; the most alike."""
TRIED = 4
"""Matches of two images that are laid over each other, at most; those that others agree with come first."""
FINE = 0.65
"""Correlation of fine detail all over the overlap from which two images are one."""
SMALLEST_PART = 0.2
"""Share of one of the two images that both have to show."""
SMALLEST_OVERLAP = 32
"""Pixels of the coarser image along each side of what both show."""
SIDE = 48
"""Points along each side at which two images are compared."""

SURROUNDING = 16.0
"""Pixels of its size to each side of a corner that are laid over first."""
STEPS = 4
"""Refinements of a fit before it is judged and grows."""
FIRST = 0.5
"""Correlation around a match below which it is not refined."""
ROUGH = 0.5
"""Correlation of fine detail that a fit has to reach before it grows."""

Matrix = Float32[np.ndarray, "_ _"]
Points = Float[np.ndarray, "S S"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the training image."""
Similarity = Float64[np.ndarray, "2 3"]
"""From x and y of the training image to those of the test image, in pixels as read."""


class LeakError(DatasetError):
    """A training set shares images with a test set; the message names the pairs."""


@dataclass(frozen=True)
class _Guess:
    """How a training image may lie on a test image, around a point where it is likely to fit."""

    similarity: Similarity
    x: float
    y: float
    scale: float
    """Pixels of the training image for one of the size at which the point was found."""


@dataclass(frozen=True)
class Leak:
    """A training image that is also a test image."""

    training: str
    test: str
    how: str
    """As in `a crop, mirrored, 0.50 times as large`."""


def find(training: Iterable[Image], tests: Iterable[Image]) -> list[Leak]:
    """Return every training image that shows what a test image shows, in the order of training, then of tests.

    Found are equal pixels; copies through JPEG, noise or other tones; and crops from about 48 pixels a side, turns by
    any angle, mirrors and sizes between a third and three times, one after the other too. Either may be the crop.
    """
    ours, theirs = [_Seen(image) for image in training], [_Seen(image) for image in tests]
    found: dict[tuple[int, int], Leak] = {}
    by_pixels: dict[str, list[int]] = {}
    for number, seen in enumerate(theirs):
        by_pixels.setdefault(seen.sha256, []).append(number)
    for number, seen in enumerate(ours):
        for other in by_pixels.get(seen.sha256, ()):
            found[number, other] = Leak(seen.name, theirs[other].name, "the same pixels")
    for (number, other), guesses in _guesses(ours, theirs):
        if (number, other) in found:
            continue
        for guess in guesses:
            if (fit := _laid_over(ours[number], theirs[other], guess)) is not None:
                found[number, other] = Leak(ours[number].name, theirs[other].name, _words(*fit))
                break
    return [found[key] for key in sorted(found)]


def refuse_leaks(training: Iterable[Image], tests: Iterable[Image]) -> None:
    """Raise `LeakError`, with the pairs named, when a training image is also a test image."""
    if leaks := find(training, tests):
        shown = [f"{leak.training} is {leak.test} of a test set ({leak.how})" for leak in leaks[:5]]
        more = [f"and {len(leaks) - 5} more"] if len(leaks) > 5 else []
        raise LeakError("; ".join([*shown, *more]) + ": take these images out of the training set")


def find_in_sets(training: str, tests: Sequence[str] = ()) -> list[Leak]:
    """Return the leaks of one dataset into others, by name; into all test sets that are here if none is named."""
    own_name = datasets.resolve(training)
    others = [datasets.resolve(name) for name in tests] or [name for name in datasets.names() if _is_test(name)]
    images = [
        Image(f"{name}/{image.name}", image.pixels)
        for name in others
        if name != own_name
        for image in datasets.load_what_is_here(name)
    ]
    return find(datasets.load_what_is_here(own_name), images)


def _is_test(name: str) -> bool:
    """Return whether a dataset is for tests, and not made of another that is looked at anyway."""
    entry = registry.find(name)
    made = entry is not None and entry.derived is not None and datasets.folder_of(name) is None
    return name != datasets.BUNDLED and not made and (entry is None or entry.role == "test")


def known(training: str, tests: Iterable[str]) -> tuple[str, ...]:
    """Return the files of a registered training set that are known to be in one of these test sets."""
    entry = registry.find(training)
    wanted = {name.casefold() for name in tests}
    leaks = [leak for leak in (entry.in_tests if entry else ()) if wanted & {name.casefold() for name in leak.tests}]
    return tuple(sorted({file for leak in leaks for file in leak.files}))


class _Seen:
    """An image at all sizes, with its corners."""

    def __init__(self, image: Image) -> None:
        self.name = image.name
        self.sha256 = hashlib.sha256(repr(image.pixels.shape).encode() + image.pixels.tobytes()).hexdigest()
        gray = to_8_bits(to_gray(image.pixels))[..., 0]
        self.height, self.width = gray.shape
        self.scales, self.sizes = _sizes(gray)
        self._gray = gray

    @cached_property
    def corners(self) -> _Corners:
        return _corners(self.sizes, self.scales, spacings=(SPACING,))

    @cached_property
    def corners_between(self) -> _Corners:
        """As a test image: described at twice as many sizes, and both ways where its handedness is not clear."""
        return _corners(self.sizes, self.scales, spacings=(SPACING, SPACING * BETWEEN)).both_ways()

    def values(self, x: Points, y: Points, spacing: float) -> Points:
        """Return values at points so many pixels apart, from the coarsest size that still tells them apart."""
        index = max((i for i, scale in enumerate(self.scales) if scale <= spacing * 1.1), default=0)
        scale = self.scales[index]
        at_x, at_y = ((at + 0.5) / scale - 0.5 for at in (x, y))
        return _sampled(self.sizes[index], at_x, at_y)

    @cached_property
    def thumbnail(self) -> Float32[np.ndarray, "16 16"]:
        """The whole image, without mean and contrast."""
        import PIL.Image

        small = PIL.Image.fromarray(self._gray).resize((16, 16), PIL.Image.Resampling.BOX)
        values = np.asarray(small, np.float32)
        values = values - values.mean()
        return values / max(float(np.linalg.norm(values)), 1e-6)


@dataclass(frozen=True)
class _Corners:
    x: Float32[np.ndarray, " N"]
    y: Float32[np.ndarray, " N"]
    """In pixels of the image as read."""
    scale: Float32[np.ndarray, " N"]
    """Pixels of the image for one of the descriptor."""
    angle: Float32[np.ndarray, " N"]
    """Where it gets brighter."""
    hand: Float32[np.ndarray, " N"]
    """1 or -1: the sign under which it was described."""
    descriptor: Float32[np.ndarray, "N D"]
    """Of norm one; mirrored images have the same."""

    def both_ways(self) -> _Corners:
        """Add the mirrored description of corners whose handedness is not clear."""
        unsure = np.abs(self.descriptor[:, _HAND]) < 0.08
        mirrored = self.descriptor[unsure] * _MIRROR
        return _Corners(
            *(
                np.concatenate([values, more])
                for values, more in (
                    (self.x, self.x[unsure]),
                    (self.y, self.y[unsure]),
                    (self.scale, self.scale[unsure]),
                    (self.angle, self.angle[unsure]),
                    (self.hand, -self.hand[unsure]),
                    (self.descriptor, mirrored),
                )
            )
        )


def _frequencies() -> list[tuple[int, int]]:
    """Return (along the gradient, across it) of the numbers of a descriptor, lowest first; means are left out."""
    pairs = [(u, v) for u in range(GRID) for v in range(GRID) if 0 < u + v <= 7 and (u, v) != (0, 1)]
    return sorted(pairs, key=lambda pair: (pair[0] + pair[1], pair))


_FREQUENCIES = _frequencies()
_HAND = _FREQUENCIES.index((1, 1))
_MIRROR = np.array([-1.0 if v % 2 else 1.0 for _, v in _FREQUENCIES], np.float32)
_BITS = [i for i, pair in enumerate(_FREQUENCIES) if pair not in ((1, 0), (1, 1))][:22]


def _basis() -> Float32[np.ndarray, "64 D"]:
    """Return cosines under a soft round window, blind to the mean; fine ones, rarer in pictures, weigh more."""
    at = (np.arange(GRID) + 0.5) / GRID
    waves = np.cos(np.pi * np.outer(np.arange(GRID), at))
    offset = at - 0.5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 0.3**2))
    columns = [(window * np.outer(waves[u], waves[v])).ravel() for u, v in _FREQUENCIES]
    blind = [column - window.ravel() * column.sum() / window.sum() for column in columns]
    weighed = [
        column / np.linalg.norm(column) * np.hypot(u, v) for column, (u, v) in zip(blind, _FREQUENCIES, strict=True)
    ]
    return np.stack(weighed, axis=1).astype(np.float32)


_BASIS = _basis()


def _sizes(gray: UInt8[np.ndarray, "H W"]) -> tuple[list[float], list[Matrix]]:
    """Return the image at falling sizes, each a little smoothed, and how many of its pixels one of theirs is."""
    import PIL.Image
    from scipy import ndimage

    whole = PIL.Image.fromarray(gray)
    scale = max(1.0, max(gray.shape) / LARGEST_SIDE)
    scales: list[float] = []
    sizes: list[Matrix] = []
    pictures: list[PIL.Image.Image] = []
    while not sizes or min(gray.shape) / scale >= SMALLEST_SIDE:
        size = (round(gray.shape[1] / scale), round(gray.shape[0] / scale))
        source = pictures[-2] if len(pictures) > 1 else whole
        pictures.append(source.resize(size, PIL.Image.Resampling.HAMMING))
        sizes.append(ndimage.gaussian_filter(np.asarray(pictures[-1], np.float32), 0.9, truncate=2.5))
        scales.append(scale)
        scale *= STEP
    return scales, sizes


def _corners(sizes: Sequence[Matrix], scales: Sequence[float], spacings: Sequence[float]) -> _Corners:
    found = [
        part
        for image, scale in zip(sizes, scales, strict=True)
        if min(image.shape) > 2 * MARGIN + 2
        for part in _described(image, scale, *_strongest(image), spacings)
    ]
    if not found:
        empty = np.zeros(0, np.float32)
        return _Corners(empty, empty, empty, empty, empty, np.zeros((0, len(_FREQUENCIES)), np.float32))
    return _Corners(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _strongest(image: Matrix) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return rows and columns of corners (Shi and Tomasi 1994), the strongest of their neighbourhood each."""
    from scipy import ndimage

    down, right = np.gradient(image)
    xx, yy, xy = (ndimage.uniform_filter(product, 5) for product in (right * right, down * down, right * down))
    strength = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    inner = np.zeros(image.shape, bool)
    inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    highest = (strength == ndimage.maximum_filter(strength, APART)) & inner & (strength > 2.0)
    rows, columns = np.nonzero(highest)
    return rows, columns


def _described(
    image: Matrix,
    scale: float,
    rows: Int64[np.ndarray, " N"],
    columns: Int64[np.ndarray, " N"],
    spacings: Sequence[float],
) -> Iterator[tuple[np.ndarray, ...]]:
    from scipy import ndimage

    wide = ndimage.gaussian_filter(image, 2.5, truncate=2.5)
    down = (wide[rows + 1, columns] - wide[rows - 1, columns]).astype(np.float32)
    right = (wide[rows, columns + 1] - wide[rows, columns - 1]).astype(np.float32)
    angle = np.arctan2(down, right)
    steps = np.arange(GRID, dtype=np.float32) - np.float32((GRID - 1) / 2)
    along, across = np.repeat(steps, GRID), np.tile(steps, GRID)
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    for spacing in spacings:
        x = columns[:, None] + np.float32(spacing) * (cosine * along - sine * across)
        y = rows[:, None] + np.float32(spacing) * (sine * along + cosine * across)
        numbers = _sampled(image, x, y) @ _BASIS
        numbers /= np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-6)
        hand = np.where(numbers[:, _HAND] < 0, -1.0, 1.0).astype(np.float32)
        numbers = np.where(hand[:, None] < 0, numbers * _MIRROR, numbers)
        own = np.float32(scale)
        size = np.full(len(rows), scale * spacing / SPACING, np.float32)
        centre_x, centre_y = (((at + 0.5) * own - 0.5).astype(np.float32) for at in (columns, rows))
        yield centre_x, centre_y, size, angle.astype(np.float32), hand, numbers.astype(np.float32)


def _sampled(image: Matrix, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return values between pixels, those of the border beyond it."""
    height, width = image.shape
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat = image.ravel()
    at = top * width + left
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + width] * (1 - right) + flat[at + width + 1] * right
    return upper * (1 - down) + lower * down


def _guesses(ours: Sequence[_Seen], theirs: Sequence[_Seen]) -> Iterator[tuple[tuple[int, int], list[_Guess]]]:
    """Yield numbers of two images and how the first may lie on the second, the likeliest first."""
    by_pair: dict[tuple[int, int], list[_Guess]] = {}
    for key, guess in _whole_frames(ours, theirs):
        by_pair.setdefault(key, []).append(guess)
    if not ours or not theirs:
        return
    matches = _matches([seen.corners for seen in ours], [seen.corners_between for seen in theirs])
    keys = matches.ours * len(theirs) + matches.theirs
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    crowded = _crowded(keys, matches, ours, theirs)
    for rows in np.split(order, starts[1:]) if len(order) else []:
        few = _few(ours, theirs, matches, int(rows[0]))
        if not few and keys[rows[0]] not in crowded:
            continue
        pair = (int(matches.ours[rows[0]]), int(matches.theirs[rows[0]]))
        by_pair.setdefault(pair, []).extend(_likeliest(matches, rows, few=few))
    yield from sorted(by_pair.items(), key=lambda item: item[0])


def _whole_frames(ours: Sequence[_Seen], theirs: Sequence[_Seen]) -> Iterator[tuple[tuple[int, int], _Guess]]:
    """Yield images whose thumbnails are alike, turned by right angles or mirrored: smooth ones have no corners."""
    if not ours or not theirs:
        return
    thumbnails = np.stack([seen.thumbnail.ravel() for seen in ours])
    for turns, mirrored in itertools.product(range(4), (False, True)):
        turned = [np.rot90(seen.thumbnail[:, ::-1] if mirrored else seen.thumbnail, turns) for seen in theirs]
        for first, second in np.argwhere(thumbnails @ np.stack([image.ravel() for image in turned]).T > 0.97):
            one, other = ours[first], theirs[second]
            height, width = (one.height, one.width) if turns % 2 == 0 else (one.width, one.height)
            ratio = other.width / width
            if 0.97 < ratio / (other.height / height) < 1.03:
                yield (int(first), int(second)), _frame(one, other, ratio, turns, mirrored)


def _frame(one: _Seen, other: _Seen, ratio: float, turns: int, mirrored: bool) -> _Guess:
    """Return the similarity that lays one whole frame on the other: undo numpy's turns, then the mirror."""
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns % 4]
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float64)
    linear = ratio * ((np.diag([-1.0, 1.0]) @ turn) if mirrored else turn)
    centre, target = ((np.array([seen.width, seen.height]) - 1) / 2 for seen in (one, other))
    similarity = np.column_stack([linear, target - linear @ centre])
    return _Guess(similarity, float(centre[0]), float(centre[1]), float(centre.max()))


@dataclass(frozen=True)
class _Matches:
    """Pairs of corners that look alike, and the similarity that each pair stands for."""

    ours: Int64[np.ndarray, " P"]
    theirs: Int64[np.ndarray, " P"]
    likeness: Float32[np.ndarray, " P"]
    x: Float32[np.ndarray, " P"]
    y: Float32[np.ndarray, " P"]
    """Of the corner in the training image."""
    scale: Float32[np.ndarray, " P"]
    """Pixels of the training image for one of the size at which the corner was found."""
    similarity: Float64[np.ndarray, "P 2 3"]


def _matches(ours: Sequence[_Corners], theirs: Sequence[_Corners]) -> _Matches:
    image_of_ours, a = _joined(ours)
    image_of_theirs, b = _joined(theirs)
    few = np.array([len(corners.x) < FEW for corners in ours])[image_of_ours]
    rows, others = np.flatnonzero(~few), np.flatnonzero(few)
    first, second = _alike(a.descriptor[rows], b.descriptor, _MANY)
    of_tests, of_few = _alike(b.descriptor, a.descriptor[others], _SPARSE)
    first, second = np.concatenate([rows[first], others[of_few]]), np.concatenate([second, of_tests])
    ratio = (b.scale[second] / a.scale[first]).astype(np.float64)
    hand = (a.hand[first] * b.hand[second]).astype(np.float64)
    # Directions of the gradient lie on each other; a mirror turns the way in which angles grow.
    turn = b.angle[second].astype(np.float64) - hand * a.angle[first]
    cosine, sine = ratio * np.cos(turn), ratio * np.sin(turn)
    linear = np.stack([cosine, -sine * hand, sine, cosine * hand], axis=-1).reshape(-1, 2, 2)
    from_ = np.stack([a.x[first], a.y[first]], axis=-1).astype(np.float64)
    to = np.stack([b.x[second], b.y[second]], axis=-1).astype(np.float64)
    offset = to - np.einsum("pij,pj->pi", linear, from_)
    return _Matches(
        image_of_ours[first],
        image_of_theirs[second],
        np.einsum("pd,pd->p", a.descriptor[first], b.descriptor[second]),
        a.x[first],
        a.y[first],
        a.scale[first],
        np.concatenate([linear, offset[..., None]], axis=-1),
    )


def _joined(images: Sequence[_Corners]) -> tuple[Int64[np.ndarray, " N"], _Corners]:
    owner = np.repeat(np.arange(len(images)), [len(corners.x) for corners in images])
    fields = ("x", "y", "scale", "angle", "hand", "descriptor")
    return owner, _Corners(*(np.concatenate([getattr(corners, name) for corners in images]) for name in fields))


@dataclass(frozen=True)
class _Search:
    """How hard to look for corners that look alike."""

    unsure_bits: int
    """Both values are tried of this many bits of a code, those nearest to zero."""
    alike: float
    """Cosine of two descriptors from which they may be one place."""
    crowd: int
    """Codes that more corners have are of a texture or an edge and prove nothing."""


_MANY = _Search(unsure_bits=5, alike=0.92, crowd=16)
_SPARSE = _Search(unsure_bits=8, alike=0.87, crowd=64)
"""For small crops, each of whose corners counts."""


def _alike(
    table: Float32[np.ndarray, "N D"], asked: Float32[np.ndarray, "M D"], search: _Search
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Return indices of descriptors of both that are alike, found by the signs of their numbers."""
    weights = 1 << np.arange(len(_BITS), dtype=np.int64)
    codes = (table[:, _BITS] > 0) @ weights
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=1 << len(_BITS)))])
    values = asked[:, _BITS]
    base = (values > 0) @ weights
    unsure = np.argsort(np.abs(values), axis=1)[:, : search.unsure_bits]
    firsts, seconds = [], []
    for chosen in itertools.product((0, 1), repeat=search.unsure_bits):
        code = base ^ (weights[unsure] * np.array(chosen)).sum(axis=1)
        low, count = starts[code], starts[code + 1] - starts[code]
        count[count > search.crowd] = 0
        second = np.repeat(np.arange(len(asked)), count)
        within = np.arange(len(second)) - np.repeat(np.cumsum(count) - count, count)
        first = order[np.repeat(low, count) + within]
        good = np.einsum("pd,pd->p", table[first], asked[second]) > search.alike
        firsts.append(first[good])
        seconds.append(second[good])
    return np.concatenate(firsts), np.concatenate(seconds)


def _crowded(
    keys: Int64[np.ndarray, " P"], matches: _Matches, ours: Sequence[_Seen], theirs: Sequence[_Seen]
) -> set[int]:
    """Return pairs of images of which enough matches tell about the same turn, size and place (Hough's vote)."""
    if not len(keys):
        return set()
    linear = matches.similarity[:, :, :2]
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    centres = np.array([[seen.width / 2, seen.height / 2] for seen in ours])[matches.ours]
    landed = (linear @ centres[:, :, None])[:, :, 0] + matches.similarity[:, :, 2]
    longest = np.array([max(seen.width, seen.height) for seen in theirs])[matches.theirs]
    place = landed / (0.4 * longest[:, None])
    # fmt: off
    axes = np.stack([np.log(np.abs(determinant)), np.arctan2(linear[:, 1, 0], linear[:, 0, 0]) / (np.pi / 4),
                     place[:, 0], place[:, 1]], axis=1)
    # fmt: on
    found: set[int] = set()
    for shift in itertools.product((0.0, 0.5), repeat=3):
        bins = np.floor(axes + np.array([*shift, shift[2]])).astype(np.int64)
        bins[:, 1] %= 8
        cells = keys
        for column in range(4):
            cells = cells * 64 + np.clip(bins[:, column] + 32, 0, 63)
        cells, counts = np.unique(cells * 2 + (determinant > 0), return_counts=True)
        found.update((cells[counts > AGREEING] >> 25).tolist())
    return found


def _few(ours: Sequence[_Seen], theirs: Sequence[_Seen], matches: _Matches, row: int) -> bool:
    """Return whether one of the two images of a match is a small crop."""
    return min(len(ours[matches.ours[row]].corners.x), len(theirs[matches.theirs[row]].corners.x)) < FEW


def _likeliest(matches: _Matches, rows: Int64[np.ndarray, " R"], *, few: bool) -> list[_Guess]:
    """Return how two images may lie, those first on which most of their matches agree.

    Where one of the two has but few corners, a match may stand alone.
    """
    if len(rows) < AGREEING + 1 and not few:
        return []
    rows = rows[np.argsort(-matches.likeness[rows], kind="stable")][:MATCHES]
    linear = matches.similarity[rows][:, :, :2]
    points = np.stack([matches.x[rows], matches.y[rows]], axis=-1).astype(np.float64)
    own = np.einsum("rij,rj->ri", linear, points) + matches.similarity[rows][:, :, 2]
    between = points[None] - points[:, None]
    landed = own[:, None] + np.einsum("rij,rsj->rsi", linear, between)
    size = np.sqrt(np.abs(np.linalg.det(linear)))[:, None]
    reach = np.linalg.norm(between, axis=-1) * size
    apart = np.linalg.norm(landed - own[None], axis=-1)
    unlike = np.linalg.norm(linear[:, None] - linear[None], axis=(-2, -1)) / size
    agree = (apart < 3.0 * matches.scale[rows][:, None] * size + 0.15 * reach) & (unlike < 0.45) & (reach > 4.0 * size)
    votes = agree.sum(axis=1)
    best = np.argsort(-votes, kind="stable")[:TRIED]
    return [
        _Guess(matches.similarity[row], float(matches.x[row]), float(matches.y[row]), float(matches.scale[row]))
        for row, agreed in ((rows[i], votes[i]) for i in best)
        if agreed >= AGREEING or (few and (agreed or matches.likeness[row] > ALONE))
    ]


def _laid_over(one: _Seen, other: _Seen, guess: _Guess) -> tuple[Similarity, float] | None:
    """Return the refined similarity, and which part of the test image the training image shows; None if they differ.

    From a small surrounding on, the fit is refined (Lucas and Kanade 1981) and has to hold before it grows.
    """
    fit = guess.similarity
    radius = SURROUNDING * guess.scale
    box = _overlap(one, other, fit)
    if box is None:
        return None
    first = _clipped(box, guess.x, guess.y, radius)
    if _correlation(one, other, fit, first, fine=False, side=SIDE // 2) < FIRST:
        return None
    while True:
        box = _overlap(one, other, fit)
        if box is None:
            return None
        around = _clipped(box, guess.x, guess.y, radius)
        for _ in range(STEPS):
            refined = _refined(one, other, fit, around)
            if refined is None:
                return None
            fit = refined
        if _correlation(one, other, fit, around, fine=True) < ROUGH:
            return None
        if around == box:
            break
        radius *= 2.0
    size = _size(fit)
    left, top, right, bottom = box
    if min(1.0, size) * min(right - left, bottom - top) < SMALLEST_OVERLAP:
        return None
    shared = (right - left + 1) * (bottom - top + 1)
    of_ours, of_theirs = shared / (one.width * one.height), shared * size**2 / (other.width * other.height)
    if max(of_ours, of_theirs) < SMALLEST_PART or _correlation(one, other, fit, box, fine=True) < FINE:
        return None
    return fit, of_theirs


def _size(fit: Similarity) -> float:
    return float(np.sqrt(abs(np.linalg.det(fit[:, :2]))))


def _overlap(one: _Seen, other: _Seen, fit: Similarity) -> Box | None:
    """Return what of the training image may lie on the test image; None for nothing, or a size out of all reason."""
    if not 0.3 < _size(fit) < 3.4:
        return None
    right, bottom = other.width - 1, other.height - 1
    corners = np.array([[0, right, 0, right], [0, 0, bottom, bottom]], np.float64)
    x, y = np.linalg.inv(fit[:, :2]) @ (corners - fit[:, 2:])
    box = (max(0.0, x.min()), max(0.0, y.min()), min(one.width - 1.0, x.max()), min(one.height - 1.0, y.max()))
    return box if min(box[2] - box[0], box[3] - box[1]) > 8 else None


def _clipped(box: Box, x: float, y: float, radius: float) -> Box:
    """Return the part of a box around a point; the box itself where little would be left out."""
    inner = (max(box[0], x - radius), max(box[1], y - radius), min(box[2], x + radius), min(box[3], y + radius))
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return inner if max(0.0, inner[2] - inner[0]) * max(0.0, inner[3] - inner[1]) < 0.8 * whole else box


@dataclass(frozen=True)
class _Laid:
    """Values of both images at the points of a box of the training image."""

    x: Points
    y: Points
    inside: Points
    """1 where the point lies in both images."""
    ours: Points
    theirs: Points
    right: Points
    """Slope of `theirs` along its x."""
    down: Points


def _lay(one: _Seen, other: _Seen, fit: Similarity, box: Box, *, slopes: bool, side: int = SIDE) -> _Laid | None:
    left, top, right, bottom = box
    if min(right - left, bottom - top) < 4:
        return None
    x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(top, bottom, side))
    spacing = max(right - left, bottom - top) / (side - 1)
    u, v = (row[0] * x + row[1] * y + row[2] for row in fit)
    inside = (u >= 0) & (v >= 0) & (u <= other.width - 1) & (v <= other.height - 1)
    if inside.mean() < 0.2:
        return None
    theirs = other.values(u, v, spacing * _size(fit))
    half = 0.5 * spacing * _size(fit)
    none = np.zeros_like(theirs)
    return _Laid(
        x,
        y,
        inside.astype(np.float64),
        one.values(x, y, spacing),
        theirs,
        (other.values(u + half, v, 2 * half) - other.values(u - half, v, 2 * half)) / (2 * half) if slopes else none,
        (other.values(u, v + half, 2 * half) - other.values(u, v - half, 2 * half)) / (2 * half) if slopes else none,
    )


def _refined(one: _Seen, other: _Seen, fit: Similarity, box: Box) -> Similarity | None:
    """Return the similarity after one Gauss-Newton step, free in brightness and contrast; None when there is none."""
    laid = _lay(one, other, fit, box, slopes=True)
    if laid is None:
        return None
    hand = 1.0 if np.linalg.det(fit[:, :2]) > 0 else -1.0
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x, y = laid.x - centre_x, hand * (laid.y - centre_y)
    by_cosine = laid.right * x + laid.down * y
    by_sine = laid.down * x - laid.right * y
    columns = [by_cosine, by_sine, laid.right, laid.down, -laid.ours, -np.ones_like(x)]
    weight = laid.inside.ravel()
    equations = np.stack([column.ravel() * weight for column in columns], axis=1)
    try:
        step = np.linalg.solve(equations.T @ equations, -equations.T @ (laid.theirs.ravel() * weight))
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(step).all():
        return None
    cosine, sine, right, down = step[:4]
    turn = np.array([[cosine, -sine * hand], [sine, cosine * hand]])
    moved = np.array([right, down]) - turn @ np.array([centre_x, centre_y])
    return fit + np.column_stack([turn, moved])


def _correlation(one: _Seen, other: _Seen, fit: Similarity, box: Box, *, fine: bool, side: int = SIDE) -> float:
    """Return the correlation of both images over a box, of what differs from its surroundings alone if `fine`."""
    from scipy import ndimage

    laid = _lay(one, other, fit, box, slopes=False, side=side)
    if laid is None:
        return 0.0

    def surroundings(values: Points) -> Points:
        if not fine:
            return np.full_like(values, values.mean())
        return ndimage.uniform_filter(values, 9, mode="constant")

    cover = np.maximum(surroundings(laid.inside), 1e-9)
    ours, theirs = (
        laid.inside * (values - surroundings(values * laid.inside) / cover) for values in (laid.ours, laid.theirs)
    )
    if fine:  # one long edge would outweigh all that differs around it
        ours, theirs = (np.clip(values, -limit, limit) for values in (ours, theirs) for limit in (_typical(values),))
    norm = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float((ours * theirs).sum()) / norm if norm > 1e-6 else 0.0


def _typical(values: Points) -> float:
    """Return one and a half times the median size of values other than zero."""
    sizes = np.abs(values[values != 0])
    return 1.5 * float(np.median(sizes)) if len(sizes) else 0.0


def _words(fit: Similarity, part: float) -> str:
    """Say what was done to the test image to make the training image."""
    linear = np.linalg.inv(fit[:, :2])
    mirrored = bool(np.linalg.det(linear) < 0)
    unmirrored = np.diag([-1.0, 1.0]) @ linear if mirrored else linear
    degrees = round(float(np.degrees(np.arctan2(unmirrored[1, 0], unmirrored[0, 0])))) % 360
    size = 1.0 / _size(fit)
    words = ["a copy" if part > 0.95 else f"{100 * part:.0f} % of it"]
    words += [f"turned by {degrees} degrees"] if min(degrees, 360 - degrees) > 1 else []
    words += ["mirrored"] if mirrored else []
    words += [f"{size:.2f} times as large"] if abs(size - 1.0) > 0.015 else []
    return ", ".join(words)
