"""Attention over union lists: our Triton kernels, whose forward visits the listed keys alone."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from semanir.attention.backends.triton.attend import visit
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.signature import SOFTMAX, Bias, Scale, Weighting


def attend(
    q: Float[Tensor, "W H N D"],
    k: Float[Tensor, "W H N D"],
    v: Float[Tensor, "W H N D"],
    kept: KeyDictionary | None,
    *,
    bias: Bias | None = None,
    scale: Scale = 1.0,
    weighting: Weighting = SOFTMAX,
) -> Float[Tensor, "W H N D"]:
    """Follow `semanir.attention.signature.Attend`; gradients visit all keys, as those of `triton` do.

    The dictionary needs the form `union`, else `DictionaryError` is raised; without one every key is visited. Raises
    `RuntimeError` on a CPU without Triton's interpreter.
    """
    return visit(q, k, v, kept, bias=bias, scale=scale, weighting=weighting, listed=True)
