from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.catalogs import BACKENDS
from semanir.model import Request
from semanir.models import semanir
from semanir.models.swinir import CONFIGURATIONS, MODEL, stage_shifts


def request(configuration: str = "nano", *, scale: int = 1, height: int = 24, width: int = 40, **options) -> Request:
    return Request(configuration=configuration, channels=3, scale=scale, height=height, width=width, **options)


def build(asked: Request, backend: str = "mask") -> nn.Module:
    torch.manual_seed(0)
    network = MODEL.build(asked, attend=BACKENDS[backend].load(), forms=BACKENDS[backend].needs).eval()
    nn.init.normal_(network.tail.last.weight, std=0.05)  # it starts at zero, which would hide everything before it
    return network


@pytest.mark.parametrize(("scale", "published"), [(2, 11_752_487), (3, 11_937_127), (4, 11_900_199)])
def test_the_published_networks_have_exactly_their_parameters(scale: int, published: int) -> None:
    asked = request("classical", scale=scale)
    with torch.device("meta"):
        network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset())
    assert sum(parameter.numel() for parameter in network.parameters()) == published
    assert MODEL.parameters(asked) == published


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("configuration", ["small", "nano"])
@pytest.mark.parametrize("window", [4, 8])
def test_parameters_are_counted_without_torch_as_they_are_built(configuration: str, scale: int, window: int) -> None:
    asked = request(configuration, scale=scale, window=window)
    network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset())
    assert MODEL.parameters(asked) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window": 4, "batch": 2},
        {"window": 4, "scale": 2},
        {"window": 4, "scale": 3},
        {"window": 4, "scale": 4, "height": 11, "width": 9},
        {"height": 15, "width": 3},
    ],
    ids=str,
)
def test_operations_by_formula_are_those_that_the_dispatcher_counts(options: dict) -> None:
    asked = request(**options)
    image = torch.rand(asked.batch, 3, asked.height, asked.width)
    network = build(asked)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    attention = sum(BACKENDS["mask"].flops(problem).spent for problem in MODEL.problems(asked))
    assert sum(MODEL.flops(asked).values()) + attention == counter.get_total_flops()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_operations_of_the_published_networks_are_counted_as_well(scale: int) -> None:
    asked = request("classical", scale=scale, height=16, width=24)
    with torch.device("meta"):
        network = MODEL.build(asked, attend=on_meta, forms=frozenset())
        with FlopCounterMode(display=False) as counter:
            network.body(torch.empty(1, 180, 16, 24))
            network.tail(torch.empty(1, 180, 16, 24))
            network.first(torch.empty(1, 3, 16, 24))
            for stage in network.stages:
                stage.conv(torch.empty(1, 180, 16, 24))
    assert MODEL.flops(asked)["convolutions"] == counter.get_total_flops()


def on_meta(q, k, v, kept, **options):  # type: ignore[no-untyped-def]
    return v


def test_the_problems_of_a_network_are_the_calls_that_it_makes() -> None:
    asked = request(window=4, batch=2)
    made = []
    mask = BACKENDS["mask"].load()

    def spy(q, k, v, kept, **options):  # type: ignore[no-untyped-def]
        pairs = q.shape[0] * q.shape[2] ** 2 if kept is None else int(kept.counts.sum())
        made.append((*q.shape, pairs, options["bias"] is not None))
        return mask(q, k, v, kept, **options)

    MODEL.build(asked, attend=spy, forms=frozenset({"additive"}))(torch.rand(2, 3, asked.height, asked.width))
    problems = MODEL.problems(asked)
    assert made == [(p.windows, p.heads, p.tokens, p.head_dim, p.kept_pairs, p.has_bias) for p in problems]
    assert len({problem.kept_pairs for problem in problems}) == 2, "every second layer is shifted"


@pytest.mark.parametrize("backend", [name for name in BACKENDS.names() if name != "mask"])
def test_every_backend_gives_the_same_network(backend: str) -> None:
    asked = request(window=4, height=23, width=37)
    for problem in MODEL.problems(asked):
        if reason := BACKENDS[backend].unsupported(problem):
            pytest.skip(reason)
    image = torch.rand(1, 3, 23, 37)
    with torch.inference_mode():
        torch.testing.assert_close(build(asked, backend)(image), build(asked)(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (17, 33), (1, 5), (64, 24)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_any_size_is_restored_at_the_targets_size(height: int, width: int, scale: int) -> None:
    asked = request(scale=scale, height=height, width=width)
    with torch.inference_mode():
        assert build(asked)(torch.rand(1, 3, height, width)).shape == (1, 3, height * scale, width * scale)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_untrained_restoration_is_its_input(channels: int) -> None:
    asked = Request(configuration="nano", channels=channels, scale=1, height=24, width=40)
    network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset({"additive"}))
    image = torch.rand(1, channels, 24, 40)
    with torch.inference_mode():
        assert torch.equal(network(image), image)


def test_it_is_semanir_with_a_table_all_keys_and_the_shift_of_every_second_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The two networks are written apart; with SemanIR's switches set so, they must be one and the same."""
    twin = semanir.Configuration(
        architecture="columnar", width=16, heads=2, stages=(2, 2), unshuffle=2, score="dot_rpb", shift="layer"
    )
    monkeypatch.setitem(semanir.CONFIGURATIONS, "twin", twin)
    asked = request(window=4)
    other = semanir.MODEL.build(
        request("twin", window=4), attend=BACKENDS["mask"].load(), forms=BACKENDS["mask"].needs
    ).eval()
    network = build(asked)
    other.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, 24, 40)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), other(image))


@pytest.mark.parametrize("name", ["small"])
def test_the_small_network_has_the_shape_of_semanirs(name: str) -> None:
    ours, theirs = CONFIGURATIONS[name], semanir.CONFIGURATIONS[name]
    fields = ("width", "heads", "stages", "window", "mlp_ratio", "unshuffle", "upsampler", "body_norm", "scales")
    assert [getattr(ours, field) for field in fields] == [getattr(theirs, field) for field in fields]


def test_a_token_of_a_shifted_window_does_not_see_across_the_border_of_the_map() -> None:
    """The last pixels of a row share a window with the first ones after the roll, and must not change them."""
    asked = request(height=32, width=32)
    network = build(asked)
    features = torch.randn(1, 32, 32, 16, requires_grad=True)
    layer, kept = network.stages[0].layers[1], []
    network.stages[0].layers[1].register_forward_hook(lambda module, given, out: kept.append(given[1]))
    with torch.no_grad():
        network.stages[0](features)
    from semanir.attention import windows

    out = windows.merge(layer(windows.partition(features, 8, 4), kept[0]), 32, 32, 8, 4)
    out[0, 1, 1].sum().backward()
    reached = features.grad[0].abs().sum(-1) > 0
    assert reached[:4, :4].all()
    assert not reached[4:].any()
    assert not reached[:, 4:].any()


def test_a_single_window_is_never_shifted() -> None:
    assert stage_shifts(3, height=8, width=8, window=8) == (0, 0, 0)
    assert stage_shifts(3, height=8, width=16, window=8) == (0, 4, 0)


def test_all_parameters_learn() -> None:
    network = build(request(window=4)).train()
    network(torch.rand(1, 3, 24, 40)).square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_what_it_cannot_do_is_said_with_what_would_work() -> None:
    assert MODEL.unsupported(request("classical", scale=1)) == (
        "swinir/classical has no head for scale 1; swinir/small or swinir/nano has"
    )
    assert "leave top_k out" in MODEL.unsupported(request(top_k=16))
    assert MODEL.unsupported(request("classical", scale=4)) is None
    with pytest.raises(ValueError, match="name a backend"):
        MODEL.build(request(), attend=None, forms=frozenset())
