from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.catalogs import BACKENDS
from semanir.model import Request
from semanir.models import semanir
from semanir.models.semanir import CONFIGURATIONS, MODEL, Configuration, stage_shifts
from semanir.models.semanir.network import SemanIR


def request(configuration: str = "nano", *, scale: int = 1, height: int = 24, width: int = 40, **options) -> Request:
    return Request(configuration=configuration, channels=3, scale=scale, height=height, width=width, **options)


def build(asked: Request, backend: str = "mask") -> nn.Module:
    torch.manual_seed(0)
    network = MODEL.build(asked, attend=BACKENDS[backend].load(), forms=BACKENDS[backend].needs).eval()
    tail = network.tail.last
    nn.init.normal_(tail.weight, std=0.05)  # it starts at zero, which would hide everything before it
    return network


@pytest.mark.parametrize(
    ("configuration", "scale", "published"),
    [
        ("S", 2, 11_869_991),
        ("S", 3, 12_054_631),
        ("S", 4, 12_017_703),
        ("B", 2, 19_895_783),
        ("B", 3, 20_080_423),
        ("B", 4, 20_043_495),
        ("U", 1, 25_816_059),
    ],
)
def test_the_published_networks_have_exactly_their_parameters(configuration: str, scale: int, published: int) -> None:
    asked = request(configuration, scale=scale)
    with torch.device("meta"):
        network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset())
    assert sum(parameter.numel() for parameter in network.parameters()) == published
    assert MODEL.parameters(asked) == published


@pytest.mark.parametrize("score", ["cosine_cpb", "dot_rpb", "dot_none"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("configuration", ["small", "nano"])
def test_parameters_are_counted_without_torch_as_they_are_built(
    monkeypatch: pytest.MonkeyPatch, configuration: str, scale: int, score: str
) -> None:
    with_score(monkeypatch, configuration, score=score)
    asked = request(configuration, scale=scale, window=4)
    network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset())
    assert MODEL.parameters(asked) == sum(parameter.numel() for parameter in network.parameters())


def with_score(monkeypatch: pytest.MonkeyPatch, configuration: str, **changes: object) -> None:
    from dataclasses import replace

    monkeypatch.setitem(CONFIGURATIONS, configuration, replace(CONFIGURATIONS[configuration], **changes))


@pytest.mark.parametrize(
    "options",
    [
        {"window": 4, "top_k": 5},
        {"window": 4, "top_k": 5, "sharing": "layer"},
        {"window": 8, "top_k": 64, "batch": 2},
        {"window": 4, "top_k": 5, "scale": 2},
        {"window": 4, "top_k": 3, "scale": 4},
        {"window": 4, "top_k": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("shift", ["stage", "layer", "none"])
def test_operations_by_formula_are_those_that_the_dispatcher_counts(
    monkeypatch: pytest.MonkeyPatch, options: dict, shift: str
) -> None:
    with_score(monkeypatch, "nano", shift=shift, stages=(2, 2))
    asked = request(**options)
    network = build(asked)
    image = torch.rand(asked.batch, 3, asked.height, asked.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    attention = sum(BACKENDS["mask"].flops(problem).spent for problem in MODEL.problems(asked))
    assert sum(MODEL.flops(asked).values()) + attention == counter.get_total_flops()


def test_the_problems_of_a_network_are_the_calls_that_it_makes() -> None:
    asked = request(window=4, top_k=5, batch=2)
    made = []
    mask = BACKENDS["mask"].load()

    def spy(q, k, v, kept, **options):  # type: ignore[no-untyped-def]
        made.append((*q.shape, kept.top_k, int(kept.counts.sum())))
        return mask(q, k, v, kept, **options)

    network = MODEL.build(asked, attend=spy, forms=frozenset({"additive"}))
    network(torch.rand(2, 3, asked.height, asked.width))
    expected = [(p.windows, p.heads, p.tokens, p.head_dim, p.top_k, p.kept_pairs) for p in MODEL.problems(asked)]
    assert made == expected


@pytest.mark.parametrize("backend", ["gather", "sdpa", "triton"])
@pytest.mark.parametrize("sharing", ["stage", "layer"])
def test_every_backend_gives_the_same_network(backend: str, sharing: str) -> None:
    asked = request(window=4, top_k=5, sharing=sharing, height=23, width=37)
    image = torch.rand(1, 3, 23, 37)
    with torch.inference_mode():
        torch.testing.assert_close(build(asked, backend)(image), build(asked)(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (17, 33), (1, 5), (64, 24)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_any_size_is_restored_at_the_targets_size(height: int, width: int, scale: int) -> None:
    asked = request(scale=scale, height=height, width=width, window=8, top_k=9)
    with torch.inference_mode():
        assert build(asked)(torch.rand(1, 3, height, width)).shape == (1, 3, height * scale, width * scale)


def test_an_untrained_restoration_is_its_input() -> None:
    asked = request(window=8, top_k=9)
    network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset({"additive"}))
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        assert torch.equal(network(image), image)


def test_keeping_every_key_equals_dense_window_attention() -> None:
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        kept = build(request(window=4, top_k=16))(image)
        dense = build(request(window=4, top_k=None))(image)
    torch.testing.assert_close(kept, dense)


def test_one_dictionary_serves_all_layers_of_a_stage_unless_each_builds_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_score(monkeypatch, "nano", stages=(3, 3))
    assert [len(set(seen_dictionaries(sharing))) for sharing in ("stage", "layer")] == [2, 6]


def seen_dictionaries(sharing: str) -> list[int]:
    seen = []
    mask = BACKENDS["mask"].load()

    def spy(q, k, v, kept, **options):  # type: ignore[no-untyped-def]
        seen.append(kept)
        return mask(q, k, v, kept, **options)

    asked = request(window=4, top_k=5, sharing=sharing)
    MODEL.build(asked, attend=spy, forms=frozenset({"additive"}))(torch.rand(1, 3, 24, 40))
    return [id(kept) for kept in seen]


@pytest.mark.parametrize(
    ("shift", "expected"),
    [("stage", [(0, 0), (4, 4)]), ("layer", [(0, 4), (0, 4)]), ("none", [(0, 0), (0, 0)])],
)
def test_the_shift_rule_is_a_named_switch(shift: str, expected: list[tuple[int, int]]) -> None:
    configuration = Configuration(architecture="columnar", width=16, heads=2, stages=(2, 2), shift=shift)
    shifts = [stage_shifts(configuration, stage, height=16, width=16, window=8) for stage in (0, 1)]
    assert shifts == expected


def test_a_single_window_is_never_shifted() -> None:
    configuration = CONFIGURATIONS["nano"]
    assert stage_shifts(configuration, 1, height=8, width=8, window=8) == (0,)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_place_of_the_norm_changes_the_result_but_not_the_size(monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        before = build(request(window=4, top_k=5))(image)
        with_score(monkeypatch, "nano", norm=norm)
        after = build(request(window=4, top_k=5))(image)
    assert torch.equal(before, after) == (norm == "pre")


def test_a_u_shaped_network_restores_odd_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Configuration(architecture="unet", width=8, heads=2, stages=(1,) * 6, bias_hidden=8, scales=(1,))
    monkeypatch.setitem(semanir.CONFIGURATIONS, "tiny-u", tiny)
    asked = request("tiny-u", height=19, width=35, window=4, top_k=5)
    network = build(asked)
    assert MODEL.parameters(asked) == sum(parameter.numel() for parameter in network.parameters())
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 19, 35)).shape == (1, 3, 19, 35)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 19, 35))
    attention = sum(BACKENDS["mask"].flops(problem).spent for problem in MODEL.problems(asked))
    assert sum(MODEL.flops(asked).values()) + attention == counter.get_total_flops()


def test_all_parameters_learn() -> None:
    asked = request(window=4, top_k=5)
    network = build(asked).train()
    network(torch.rand(1, 3, 24, 40)).square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_a_network_for_another_scale_names_those_that_fit() -> None:
    assert MODEL.unsupported(request("U", scale=2)) is not None
    reason = MODEL.unsupported(request("S", scale=1))
    assert reason is not None
    assert "semanir/small" in reason
    assert MODEL.unsupported(request(window=4, top_k=17)) == "top_k 17 exceeds the 16 tokens of window 4"


def test_attention_is_given_and_never_assumed() -> None:
    with pytest.raises(ValueError, match="name a backend"):
        MODEL.build(request(), attend=None, forms=frozenset())


def test_the_published_names_exist() -> None:
    assert {"S", "B", "U"} <= set(MODEL.configurations)
    assert issubclass(SemanIR, nn.Module)


@pytest.mark.parametrize(
    ("switch", "value"), [("similarity", "cosine"), ("shift", "none"), ("score", "dot_rpb"), ("sharing", "layer")]
)
def test_an_ablated_choice_of_the_request_changes_the_network(switch: str, value: str) -> None:
    plain = request("small", window=4, top_k=5)
    ablated = request("small", window=4, top_k=5, **{switch: value})
    assert semanir.configuration_of(plain) == CONFIGURATIONS["small"]
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        assert not torch.equal(build(plain)(image), build(ablated)(image))


def test_the_configurations_own_choice_is_the_default() -> None:
    own = CONFIGURATIONS["nano"]
    named = request(window=4, similarity=own.similarity, shift=own.shift, score=own.score)
    assert semanir.configuration_of(named) == own
