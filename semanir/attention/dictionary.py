"""The key-semantic dictionary: for each token of a window the k most similar tokens, found once per stage.

Shapes: W windows, N tokens in a window, K keys asked for, C channels, R windows of one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int32, Integer
from torch import Tensor
from torch.nn import functional

from semanir.attention import packing, union
from semanir.attention.problem import SCORE_ELEMENTS, Form, Packing, Similarity
from semanir.attention.union import KeyUnion

Selector = Literal["torch", "triton"]
"""Who finds the k best of each row: `torch.topk`, or our kernel. Both keep the same pairs of the same scores."""

MAX_SELECTED_TOKENS = 4096
"""A row of scores lies in the registers of one program of the kernel."""


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
    """One bit for each key of a row, in the order that `semanir.attention.packing` describes."""
    column_bits: Int32[Tensor, "W N words"] | None = None
    """One bit for each query of a column: the same pairs, transposed."""
    union: KeyUnion | None = None
    """The keys that tiles of queries visit, and the bits of those alone."""

    def form(self, name: Packing) -> Tensor:
        """Return one packing. Raises `DictionaryError` when it was not asked for at the build."""
        packed: Tensor | None = getattr(self, name)
        if packed is None:
            raise _missing(name)
        return packed

    def lists(self) -> KeyUnion:
        """Return the union lists. Raises `DictionaryError` when they were not asked for at the build."""
        if self.union is None:
            raise _missing("union")
        return self.union

    def validate(self) -> None:
        """Raise `DictionaryError` for keys that do not exist, and for packings that contradict each other.

        Reads every packing back; for dictionaries that somebody else has put together.
        """
        if self.indices is not None:
            outside = (self.indices < 0) | (self.indices >= self.tokens)
            if outside.any():
                w, i, place = outside.nonzero()[0].tolist()
                index = int(self.indices[w, i, place])
                raise DictionaryError(
                    f"indices[{w}, {i}, {place}] = {index}: keys are numbered from 0 to {self.tokens - 1}"
                )
        read = self._read_back()
        for name, kept in read.items():
            wrong = kept.sum(-1) != self.counts
            if wrong.any():
                w, i = wrong.nonzero()[0].tolist()
                raise DictionaryError(
                    f"{name}: row {i} of window {w} does not keep the {int(self.counts[w, i])} keys that counts tells"
                )
        first, *others = read.values() or (self.counts,)
        if any(not torch.equal(first, other) for other in others):
            raise DictionaryError(f"the packings {', '.join(read)} keep different pairs; build them anew")

    def _read_back(self) -> dict[Form, Bool[Tensor, "W N N"]]:
        """Return each packing as booleans, a row for each query."""
        read: dict[Form, Tensor] = {}
        if self.boolean is not None:
            read["boolean"] = self.boolean
        if self.additive is not None:
            read["additive"] = self.additive[:, 0] == 0
        if self.indices is not None:
            listed = torch.arange(self.indices.shape[-1], device=self.indices.device) < self.counts[..., None]
            read["indices"] = packing.listed(self.indices, listed, self.tokens)
        if self.bits is not None:
            read["bits"] = packing.boolean(self.bits, self.tokens)
        if self.column_bits is not None:
            read["column_bits"] = packing.boolean(self.column_bits, self.tokens).mT
        if self.union is not None:
            read["union"] = self.union.boolean()
        return read


def _missing(form: Form) -> DictionaryError:
    return DictionaryError(f"the dictionary was built without the form '{form}'; pass forms={{'{form}'}} to build()")


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
    selector: Selector | None = None,
) -> KeyDictionary:
    """Score all pairs of each window in float32 and keep the `top_k` best of every row, without a gradient.

    `regions` numbers the tokens of each window of one image (see `semanir.attention.regions`); W is a multiple
    of its R windows, and pairs of unlike regions are inadmissible *before* the selection, so they take no place
    of the k. `dtype` is that of the additive form (default: the features'). `validate` searches the features for NaN
    and inf and reads the packings back, which costs passes and synchronisations. `selector` is the kernel on a GPU
    and torch elsewhere. The scores of all windows never exist at a time. Raises `DictionaryError`.
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
    if selector is None:
        # With k = N there is nothing to choose, and torch's way then scores nothing.
        selector = "triton" if features.is_cuda and top_k < tokens <= MAX_SELECTED_TOKENS else "torch"
    forms = frozenset(forms)
    if "union" in forms:
        forms |= {"bits"}  # of which the lists are made
    dtype = dtype or features.dtype
    at_once = max(1, SCORE_ELEMENTS // tokens**2)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        parts = []
        for start in range(0, max(windows, 1), at_once):
            part = features[start : start + at_once].detach()
            own = None if regions is None else regions[_repeated(start, len(part), len(regions), regions.device)]
            if selector == "triton":
                counts, packings = _by_triton(part, top_k, similarity, own, exclude_self, forms, dtype)
            else:
                counts, packings = _by_torch(part, top_k, similarity, own, exclude_self, forms, dtype)
            parts.append((counts, packings))
        counts, packings = parts[0]
        if len(parts) > 1:
            counts = torch.cat([counts for counts, _ in parts])
            packings = {form: torch.cat([packings[form] for _, packings in parts]) for form in packings}
        lists = _lists(packings["bits"], tokens, selector) if "union" in forms else None
        built = KeyDictionary(tokens=tokens, top_k=top_k, counts=counts, union=lists, **packings)
        if validate:
            built.validate()
        return built


def score(features: Float[Tensor, "W N C"], similarity: Similarity) -> Float32[Tensor, "W N N"]:
    """Compare all tokens of a window: `X X^T` (SemanIR, figure 3), or one of its two normalised switches.

    Sums are float32. Half-precision dot products go through the tensor cores of a GPU, where products are exact.
    """
    if similarity == "dot" and features.is_cuda and features.dtype in (torch.float16, torch.bfloat16):
        return torch.bmm(features, features.mT, out_dtype=torch.float32)
    features = features.float()
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
    scores: Float32[Tensor, "W N N"], top_k: int, admissible: Bool[Tensor, "#W N N"] | None = None
) -> Bool[Tensor, "W N N"]:
    """Mark the `min(top_k, admissible)` largest scores of each row; equal scores go to the lowest index."""
    if admissible is not None:
        scores = scores.masked_fill(~admissible, float("-inf"))
    # torch.topk leaves the order of ties open, so it only gives the k-th value; ties are ranked here.
    threshold = scores.topk(top_k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    above, equal = scores > threshold, scores == threshold
    places = top_k - above.sum(-1, keepdim=True, dtype=torch.int32)
    kept = above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= places))
    return kept if admissible is None else kept & admissible


def _by_torch(
    features: Float[Tensor, "W N C"],
    top_k: int,
    similarity: Similarity,
    regions: Integer[Tensor, "W N"] | None,
    exclude_self: bool,
    forms: frozenset[Form],
    dtype: torch.dtype,
) -> tuple[Int32[Tensor, "W N"], dict[Packing, Tensor]]:
    windows, tokens, _ = features.shape
    admissible = admissible_pairs(regions, tokens, exclude_self, features.device)
    if top_k < tokens:
        kept = select(score(features, similarity), top_k, admissible)
    else:  # nothing to choose: no scores are needed
        everything = torch.ones(1, tokens, tokens, dtype=torch.bool, device=features.device)
        kept = (everything if admissible is None else admissible).expand(windows, -1, -1).contiguous()
    packings = _from_boolean(kept, top_k, forms, dtype)
    if "bits" in forms:
        packings["bits"] = packing.bits(kept)
    if "column_bits" in forms:
        packings["column_bits"] = packing.bits(kept.mT)
    return kept.sum(-1, dtype=torch.int32), packings


def _by_triton(
    features: Float[Tensor, "W N C"],
    top_k: int,
    similarity: Similarity,
    regions: Integer[Tensor, "W N"] | None,
    exclude_self: bool,
    forms: frozenset[Form],
    dtype: torch.dtype,
) -> tuple[Int32[Tensor, "W N"], dict[Packing, Tensor]]:
    from semanir.attention.selection import launch

    scores = score(features, similarity)
    bits, counts = launch.select(scores, top_k, regions=regions, exclude_self=exclude_self)
    packings: dict[Packing, Tensor] = {}
    if forms & {"boolean", "additive", "indices"}:
        packings = _from_boolean(packing.boolean(bits, features.shape[1]), top_k, forms, dtype)
    if "bits" in forms:
        packings["bits"] = bits
    if "column_bits" in forms:
        packings["column_bits"] = launch.transpose(bits)
    return counts, packings


def _lists(bits: Int32[Tensor, "W N words"], tokens: int, selector: Selector) -> KeyUnion:
    if selector == "torch":
        return union.find(bits, tokens)
    from semanir.attention.selection import launch

    return launch.unite(bits, tokens)


def _from_boolean(
    kept: Bool[Tensor, "W N N"], top_k: int, forms: frozenset[Form], dtype: torch.dtype
) -> dict[Packing, Tensor]:
    packings: dict[Packing, Tensor] = {}
    if "boolean" in forms:
        packings["boolean"] = kept
    if "additive" in forms:
        packings["additive"] = packing.additive(kept, dtype)
    if "indices" in forms:
        packings["indices"] = packing.indices(kept, top_k)
    return packings


def _repeated(start: int, count: int, period: int, device: torch.device) -> Integer[Tensor, " count"]:
    return torch.arange(start, start + count, device=device) % period
