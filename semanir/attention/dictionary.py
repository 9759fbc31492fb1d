"""The key-semantic dictionary: for each token of a window the k most similar tokens, found once per stage.

Shapes: W windows, N tokens in a window, K keys asked for, C channels, R windows of one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int, Int32, Integer
from torch import Tensor
from torch.nn import functional

from semanir.attention.problem import Form, Similarity


class DictionaryError(ValueError):
    """Features or options from which no dictionary can be built."""


@dataclass(frozen=True)
class KeyDictionary:
    """The kept keys of every row, in the packings that were asked for; all describe the same set of pairs.

    Row i keeps `min(k, admissible_i)` keys; ties go to the lowest index.
    """

    tokens: int
    """N."""
    top_k: int
    """K asked of each row, at most N."""
    counts: Int32[Tensor, "W N"]
    """Keys that each row keeps."""
    boolean: Bool[Tensor, "W N N"] | None = None
    additive: Float[Tensor, "W 1 N N"] | None = None
    """0 where kept, -inf elsewhere; ready to be added to scores of all heads."""
    indices: Integer[Tensor, "W N K"] | None = None
    """Ascending; int16 up to 32,768 tokens. Entries from `counts` on are padding (0)."""
    bits: Int32[Tensor, "W N words"] | None = None
    """Bit b of word j stands for key 32 j + b."""

    def form(self, name: Form) -> Tensor:
        """Return one packing. Raises `DictionaryError` when it was not asked for at the build."""
        packed: Tensor | None = getattr(self, name)
        if packed is None:
            raise DictionaryError(
                f"the dictionary was built without the form '{name}'; pass forms={{'{name}'}} to build()"
            )
        return packed


def build(
    features: Float[Tensor, "W N C"],
    top_k: int,
    *,
    forms: Iterable[Form],
    similarity: Similarity = "dot",
    exclude_self: bool = False,
    regions: Integer[Tensor, "R N"] | None = None,
    dtype: torch.dtype | None = None,
    validate: bool = False,
) -> KeyDictionary:
    """Score all pairs of each window in float32 and keep the `top_k` best of every row, without a gradient.

    `regions` numbers the tokens of each window of one image (see `semanir.attention.regions`); W is a multiple
    of its R windows, and pairs of unlike regions are inadmissible *before* the selection, so they take no place
    of the k. `dtype` is that of the additive form (default: the features'). `validate` searches NaN and inf,
    which costs a pass and a synchronisation. Raises `DictionaryError`.
    """
    windows, tokens, _ = features.shape
    if not 1 <= top_k <= tokens:
        raise DictionaryError(f"top_k = {top_k}: a row of {tokens} tokens keeps between 1 and {tokens} keys")
    if regions is not None and (regions.shape[1] != tokens or windows % regions.shape[0]):
        raise DictionaryError(
            f"regions {tuple(regions.shape)}: they must number the {tokens} tokens of windows that divide {windows}"
        )
    if validate and not torch.isfinite(features).all():
        raise DictionaryError("features: NaN or inf found; their similarities have no order")
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        admissible = admissible_pairs(regions, tokens, exclude_self, features.device)
        if top_k < tokens:
            kept = select(score(features.detach().float(), similarity), top_k, admissible)
        else:  # nothing to choose: no scores are needed
            everything = torch.ones(1, tokens, tokens, dtype=torch.bool, device=features.device)
            kept = _for_all_windows(everything if admissible is None else admissible, windows)
        return pack(kept, top_k, forms=forms, dtype=dtype or features.dtype)


def score(features: Float32[Tensor, "W N C"], similarity: Similarity) -> Float32[Tensor, "W N N"]:
    """Compare all tokens of a window: `X X^T` (SemanIR, figure 3), or one of its two normalised switches."""
    match similarity:
        case "dot":
            return features @ features.mT
        case "cosine":
            unit = functional.normalize(features, dim=-1)
            return unit @ unit.mT
        case "scaled_dot":
            return (features * features.shape[-1] ** -0.5) @ features.mT


def admissible_pairs(
    regions: Integer[Tensor, "R N"] | None, tokens: int, exclude_self: bool, device: torch.device
) -> Bool[Tensor, "R N N"] | None:
    """Return which pairs may be kept; None admits all. A token alone in its region may keep itself."""
    if regions is None and not exclude_self:
        return None
    if regions is None:
        regions = torch.zeros(1, tokens, dtype=torch.uint8, device=device)
    admissible = regions[:, :, None] == regions[:, None, :]
    if exclude_self:
        alone = admissible.sum(-1) == 1
        admissible = admissible & (~torch.eye(tokens, dtype=torch.bool, device=device) | alone[:, :, None])
    return admissible


def select(
    scores: Float32[Tensor, "W N N"], top_k: int, admissible: Bool[Tensor, "R N N"] | None = None
) -> Bool[Tensor, "W N N"]:
    """Mark the `min(top_k, admissible)` largest scores of each row; equal scores go to the lowest index."""
    if admissible is not None:
        admissible = _for_all_windows(admissible, scores.shape[0])
        scores = scores.masked_fill(~admissible, float("-inf"))
    # torch.topk leaves the order of ties open, so it only gives the k-th value; ties are ranked here.
    threshold = scores.topk(top_k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    above, equal = scores > threshold, scores == threshold
    places = top_k - above.sum(-1, keepdim=True, dtype=torch.int32)
    kept = above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= places))
    return kept if admissible is None else kept & admissible


def _for_all_windows(pairs: Bool[Tensor, "R N N"], windows: int) -> Bool[Tensor, "W N N"]:
    return pairs.repeat(windows // pairs.shape[0], 1, 1)


def pack(kept: Bool[Tensor, "W N N"], top_k: int, *, forms: Iterable[Form], dtype: torch.dtype) -> KeyDictionary:
    """Put the kept pairs into the packings that a backend reads."""
    packings = {
        "boolean": lambda: kept,
        "additive": lambda: _additive(kept, dtype),
        "indices": lambda: _indices(kept, top_k),
        "bits": lambda: _bits(kept),
    }
    return KeyDictionary(
        tokens=kept.shape[-1],
        top_k=top_k,
        counts=kept.sum(-1, dtype=torch.int32),
        **{form: packings[form]() for form in forms},
    )


def _additive(kept: Bool[Tensor, "W N N"], dtype: torch.dtype) -> Float[Tensor, "W 1 N N"]:
    zeros = torch.zeros(kept.shape, dtype=dtype, device=kept.device)
    return zeros.masked_fill_(~kept, float("-inf")).unsqueeze(1)


def _indices(kept: Bool[Tensor, "W N N"], top_k: int) -> Integer[Tensor, "W N K"]:
    windows, tokens, _ = kept.shape
    narrow = torch.int16 if tokens <= 2**15 else torch.int32
    # Each kept pair goes to the place that its rank in the row names; rows with fewer than k leave zeros behind.
    place = kept.cumsum(-1, dtype=torch.int32) - 1
    w, i, j = kept.nonzero(as_tuple=True)
    indices = torch.zeros(windows, tokens, top_k, dtype=narrow, device=kept.device)
    indices[w, i, place[w, i, j]] = j.to(narrow)
    return indices


def _bits(kept: Bool[Tensor, "W N N"]) -> Int[Tensor, "W N words"]:
    padded = functional.pad(kept, (0, -kept.shape[-1] % 32)).unflatten(-1, (-1, 32))
    # Distinct powers of two add up to their union; the 32nd is int32's sign bit.
    values = padded.to(torch.int32) << torch.arange(32, dtype=torch.int32, device=kept.device)
    return values.sum(-1, dtype=torch.int32)
