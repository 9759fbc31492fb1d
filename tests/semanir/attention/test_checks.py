from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness.catalogs import BACKENDS
from semanir.attention.checks import AttentionError
from semanir.attention.position import relative_index
from semanir.attention.signature import Bias, Weighting
from tests.semanir.attention.cases import DEVICE, Case


def two_factors_each() -> Weighting:
    """Return what the shape checker of the tests would not let through."""
    weighting = Weighting(0.5, 0.5)
    object.__setattr__(weighting, "softmax", torch.ones(2))
    return weighting


CASE = Case("plain", window=4, top_k=5, windows=2, heads=2, head_dim=8)
WRONG: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "axes": (lambda given: {"q": given["q"][0]}, r"q: shape \(2, 16, 8\); it has four axes"),
    "shape": (lambda given: {"k": given["k"][:, :, :9]}, r"k: shape \(2, 2, 9, 8\); it must be that of q"),
    "width": (lambda given: {"v": given["v"][..., :4]}, r"v: shape \(2, 2, 16, 4\); it must be that of q"),
    "dtype": (lambda given: {"k": given["k"].half()}, r"k: dtype torch.float16; it must be that of q, torch.float32"),
    "integers": (lambda given: {name: given[name].long() for name in "qkv"}, r"q: dtype torch.int64; attention takes"),
    "device": (lambda given: {"v": given["v"].to("meta")}, r"v: on meta; it must be where q is, on (cpu|cuda)"),
    "overlap": (lambda given: {"k": given["k"][:1].expand(2, -1, -1, -1)}, r"k: strides \(0, .*pass k.contiguous\(\)"),
    "empty_head": (
        lambda given: {name: given[name][..., :0] for name in "qkv"},
        r"a head needs at least one",
    ),
    "windows": (
        lambda given: {name: given[name][:1] for name in "qkv"},
        r"kept.counts: made for 2 windows; q has 1",
    ),
    "k": (
        lambda given: {"kept": dataclasses.replace(given["kept"], top_k=17)},
        r"kept: top_k = 17; a row of 16 tokens keeps between 1 and 16 keys",
    ),
    "words": (
        lambda given: {
            "kept": dataclasses.replace(
                given["kept"], **{name: given["kept"].form(name)[..., :2] for name in ("bits", "column_bits")}
            )
        },
        r"kept.bits: shape \(2, 16, 2\); 16 tokens take 4 words a row",
    ),
    "packing_elsewhere": (
        lambda given: {"kept": dataclasses.replace(given["kept"], indices=given["kept"].indices.to("meta"))},
        r"kept.indices: on meta; it must be where q is",
    ),
    "tokens": (
        lambda given: {"kept": dataclasses.replace(CASE, window=3).kept()},
        r"kept: made for windows of 9 tokens; q has 16",
    ),
    "bias_heads": (
        lambda given: {"bias": Bias(torch.zeros(49, 3, device=DEVICE), relative_index(4, DEVICE))},
        r"bias: table \(49, 3\); 16 tokens and 2 heads need \(49, 2\)",
    ),
    "bias_window": (
        lambda given: {"bias": Bias(torch.zeros(49, 2, device=DEVICE), relative_index(3, DEVICE))},
        r"bias: index \(9, 9\)",
    ),
    "scale_heads": (
        lambda given: {"scale": torch.ones(3, device=DEVICE)},
        r"scale: shape \(3,\); one number, or one for each of 2",
    ),
    "scale_value": (lambda given: {"scale": float("nan")}, r"scale: nan; it must be a finite number"),
    "weighting": (
        lambda given: {"weighting": two_factors_each()},
        r"weighting: a factor of shape \(2,\); both are single numbers",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", BACKENDS.names())
def test_a_wrong_argument_is_named_with_its_value_and_the_rule_before_anything_runs(name: str, wrong: str) -> None:
    q, k, v = CASE.inputs()
    given = {"q": q, "k": k, "v": v, "kept": CASE.kept(), **CASE.options()}
    change, message = WRONG[wrong]
    given.update(change(given))
    # The shape checker of the tests would be faster than ours: call what it wraps.
    attend = BACKENDS[name].load()
    while hasattr(attend, "__wrapped__"):
        attend = attend.__wrapped__
    with pytest.raises(AttentionError, match=message):
        attend(given.pop("q"), given.pop("k"), given.pop("v"), given.pop("kept"), **given)
