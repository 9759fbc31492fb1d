from __future__ import annotations

import csv
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from harness import cli
from harness.catalogs import BACKENDS
from semanir.attention.problem import dense_flops
from semanir.checkpoints import CheckpointError, restore
from semanir.model import Request
from semanir.models.ast import CONFIGURATIONS, MODEL, Configuration, drop_path_rates, stage_shapes
from semanir.models.ast.official import convert, from_official, official_name, our_name, to_official

NAMES_FILE = "ast_b_state_dict.csv"


def request(configuration: str = "nano", *, height: int = 24, width: int = 40, **options) -> Request:
    return Request(configuration=configuration, scale=1, height=height, width=width, **{"channels": 3, **options})


def build(asked: Request, backend: str = "mask") -> nn.Module:
    torch.manual_seed(0)
    network = MODEL.build(asked, attend=BACKENDS[backend].load(), forms=BACKENDS[backend].needs).eval()
    nn.init.normal_(network.last.weight, std=0.05)  # it starts at zero, which would hide everything before it
    return network


def on_meta(configuration: str) -> nn.Module:
    with torch.device("meta"):
        return MODEL.build(request(configuration), attend=BACKENDS["mask"].load(), forms=frozenset())


@pytest.mark.parametrize(("configuration", "published"), [("B", 65_362_455), ("T", 6_645_347), ("B-256", 65_362_455)])
def test_the_published_networks_have_exactly_their_parameters(configuration: str, published: int) -> None:
    assert sum(parameter.numel() for parameter in on_meta(configuration).parameters()) == published
    assert MODEL.parameters(request(configuration)) == published


def test_ast_b_takes_exactly_the_published_multiply_adds() -> None:
    asked = request("B", height=256, width=256)
    elsewhere = sum(MODEL.flops(asked).values()) / 2
    attention = sum(dense_flops(problem).spent for problem in MODEL.problems(asked)) / 2
    assert [round(count / 1e9, 2) for count in (elsewhere, attention, elsewhere + attention)] == [107.11, 2.72, 109.83]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("configuration", MODEL.configurations)
def test_parameters_are_counted_without_torch_as_they_are_built(configuration: str, channels: int) -> None:
    asked = request(configuration, channels=channels)
    with torch.device("meta"):
        network = MODEL.build(asked, attend=BACKENDS["mask"].load(), forms=frozenset())
    assert MODEL.parameters(asked) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("configuration", ["nano", "nano-dense", "nano-sparse", "nano-mlp", "small"])
@pytest.mark.parametrize("options", [{}, {"batch": 2, "channels": 1}, {"height": 5, "width": 33}], ids=str)
def test_operations_by_formula_are_those_that_the_dispatcher_counts(configuration: str, options: dict) -> None:
    asked = request(configuration, **options)
    image = torch.rand(asked.batch, asked.channels, asked.height, asked.width)
    network = build(asked)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    attention = sum(BACKENDS["mask"].flops(problem).spent for problem in MODEL.problems(asked))
    assert sum(MODEL.flops(asked).values()) + attention == counter.get_total_flops()


@pytest.mark.parametrize(
    ("configuration", "kinds"), [("nano", "sparse"), ("nano-dense", "softmax"), ("nano-sparse", "sparse")]
)
def test_the_problems_of_a_network_are_the_calls_that_it_makes(configuration: str, kinds: str) -> None:
    asked = request(configuration, batch=2)
    made = []
    mask = BACKENDS["mask"].load()

    def spy(q, k, v, kept, **options):  # type: ignore[no-untyped-def]
        pairs = q.shape[0] * q.shape[2] ** 2 if kept is None else int(kept.counts.sum())
        made.append((*q.shape, pairs, options["weighting"].kind))
        return mask(q, k, v, kept, **options)

    MODEL.build(asked, attend=spy, forms=frozenset({"additive"}))(torch.rand(2, 3, asked.height, asked.width))
    problems = MODEL.problems(asked)
    assert made == [(p.windows, p.heads, p.tokens, p.head_dim, p.kept_pairs, p.weighting) for p in problems]
    assert {problem.weighting for problem in problems} == {kinds}


@pytest.mark.parametrize("configuration", ["nano", "nano-dense"])
@pytest.mark.parametrize("backend", [name for name in BACKENDS.names() if name not in ("mask", "triton_union")])
def test_every_backend_gives_the_same_network_or_says_why_not(backend: str, configuration: str) -> None:
    asked = request(configuration, height=9, width=21)
    for problem in MODEL.problems(asked):
        if reason := BACKENDS[backend].unsupported(problem):
            assert configuration == "nano", f"{backend} refuses plain softmax: {reason}"
            return
    image = torch.rand(1, 3, 9, 21)
    with torch.inference_mode():
        torch.testing.assert_close(build(asked, backend)(image), build(asked)(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 33), (1, 5), (64, 24)])
@pytest.mark.parametrize("configuration", ["nano", "small"])
def test_any_size_is_restored(configuration: str, height: int, width: int) -> None:
    with torch.inference_mode():
        restored = build(request(configuration))(torch.rand(1, 3, height, width))
    assert restored.shape == (1, 3, height, width)


def test_an_untrained_restoration_is_its_input() -> None:
    network = MODEL.build(request(), attend=BACKENDS["mask"].load(), forms=frozenset({"additive"}))
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        assert torch.equal(network(image), image)


@pytest.mark.parametrize("configuration", ["nano", "nano-dense", "nano-sparse", "nano-mlp"])
def test_all_parameters_learn(configuration: str) -> None:
    network = build(request(configuration)).train()
    network(torch.rand(1, 3, 24, 40)).square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_stochastic_depth_rises_to_the_bottleneck_and_is_off_in_restoration(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = drop_path_rates(CONFIGURATIONS["B"])
    assert [len(stage) for stage in rates] == list(CONFIGURATIONS["B"].blocks)
    assert rates[0] == (0.0,)
    assert rates[4] == (0.1, 0.1)
    assert rates[8] == (0.0,)
    monkeypatch.setitem(CONFIGURATIONS, "nano", replace(CONFIGURATIONS["nano"], drop_path=0.9))
    network, image = build(request()), torch.rand(4, 3, 24, 40)
    with torch.inference_mode():
        assert torch.equal(network(image), network(image))
        assert not torch.equal(network.train()(image), network(image))


def test_the_branches_start_equal_and_their_factors_add_up_to_one() -> None:
    network, seen = build(request()), []

    def spy(q, k, v, kept, *, weighting, **options):  # type: ignore[no-untyped-def]
        seen.append((float(weighting.softmax), float(weighting.relu_squared)))
        return v

    for block in network.bottleneck.blocks:
        block.attention.attend = spy
    with torch.inference_mode():
        network(torch.rand(1, 3, 24, 40))
        network.bottleneck.blocks[0].attention.branches[0] = 3.0
        network(torch.rand(1, 3, 24, 40))
    assert seen[0] == (0.5, 0.5)
    assert seen[2][0] > 0.8
    assert sum(seen[2]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [("B", (0, 0)), ("B-256", (0, 4)), ("T", (0, 0)), ("T-256", (0, 4))],
)
def test_the_training_size_decides_whether_the_bottleneck_shifts(configuration: str, expected: tuple) -> None:
    shapes = stage_shapes(CONFIGURATIONS[configuration])
    assert shapes[4].shifts == expected
    assert shapes[5].shifts[:2] == (0, 4)


def test_what_it_cannot_do_is_said_with_what_would_work() -> None:
    assert "semanir and swinir have" in MODEL.unsupported(
        Request(configuration="T", channels=3, scale=2, height=8, width=8)
    )
    assert "made for window 8, not 16" in MODEL.unsupported(request(window=16))
    assert "leave top_k out" in MODEL.unsupported(request(top_k=16))
    assert MODEL.unsupported(request(window=8, top_k=64)) is None
    with pytest.raises(ValueError, match="name a backend"):
        MODEL.build(request(), attend=None, forms=frozenset())
    with pytest.raises(ValueError, match="128 or more would do"):
        replace(CONFIGURATIONS["B"], train_size=64)
    with pytest.raises(ValueError, match="around one bottleneck"):
        replace(CONFIGURATIONS["B"], blocks=(1, 2))


# The official state, by the rule that its names and shapes follow.


def official_shapes(width: int, head_dim: int, blocks: tuple[int, ...], channels: int = 3) -> dict[str, tuple]:
    """Names and shapes of a five-level AST as its authors publish it."""

    def conv(name: str, *shape: int, out: int | None = None) -> dict[str, tuple]:
        return {f"{name}.weight": shape, f"{name}.bias": (shape[0] if out is None else out,)}

    def block(name: str, c: int, attends: bool) -> dict[str, tuple]:
        shapes = conv(f"{name}.norm2", c)
        if attends:
            shapes |= {
                **conv(f"{name}.norm1", c),
                f"{name}.attn.relative_position_bias_table": (225, c // head_dim),
                f"{name}.attn.w": (2,),
                f"{name}.attn.relative_position_index": (64, 64),
                **conv(f"{name}.attn.qkv.to_q", c, c),
                **conv(f"{name}.attn.qkv.to_kv", 2 * c, c),
                **conv(f"{name}.attn.proj", c, c),
            }
        return {
            **shapes,
            **conv(f"{name}.mlp.linear1.0", 8 * c, c),
            **conv(f"{name}.mlp.dwconv.0", 4 * c, 1, 3, 3),
            **conv(f"{name}.mlp.linear2.0", c, 4 * c),
            f"{name}.mlp.partial_conv3.weight": (c // 4, c // 4, 3, 3),
        }

    shapes = conv("input_proj.proj.0", width, channels, 3, 3) | conv("output_proj.proj.0", channels, 2 * width, 3, 3)
    for i in range(4):
        c = width * 2**i
        for j in range(blocks[i]):
            shapes |= block(f"encoderlayer_{i}.blocks.{j}", c, attends=False)
        shapes |= conv(f"dowsample_{i}.conv.0", 2 * c, c, 4, 4)
    for j in range(blocks[4]):
        shapes |= block(f"conv.blocks.{j}", 16 * width, attends=True)
    wide = 16 * width
    for i in range(4):
        c = 8 * width // 2**i
        shapes |= conv(f"upsample_{i}.deconv.0", wide, c, 2, 2, out=c)
        wide = 2 * c
        for j in range(blocks[5 + i]):
            shapes |= block(f"decoderlayer_{i}.blocks.{j}", wide, attends=True)
    return shapes


def official_state(width: int, blocks: tuple[int, ...], *, seed: int = 0) -> dict[str, Tensor]:
    """A random state with weights large enough that both branches, masks and tables matter."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in official_shapes(width, width, blocks).items():
        if name.endswith("relative_position_index"):
            state[name] = index_by_loops()
            continue
        spread = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.3
        state[name] = torch.randn(shape, generator=generator) * (1.0 if "table" in name else spread)
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    return state


def index_by_loops() -> Tensor:
    rows = [
        [(qy - ky + 7) * 15 + (qx - kx + 7) for ky in range(8) for kx in range(8)] for qy in range(8) for qx in range(8)
    ]
    return torch.tensor(rows)


# A second forward pass in float64, written from the description alone; it shares no code with the package.


def official_forward(state: dict[str, Tensor], blocks: tuple[int, ...], head_dim: int, image: Tensor, train_size: int):  # type: ignore[no-untyped-def]
    s = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}

    def pair(name: str) -> tuple[Tensor, Tensor]:
        return s[f"{name}.weight"], s[f"{name}.bias"]

    def level(x: Tensor, name: str, count: int, *, attends: bool, train_side: int) -> Tensor:
        for j in range(count):
            shift = 4 if attends and j % 2 and train_side > 8 else 0
            x = block(x, f"{name}.blocks.{j}", attends, shift)
        return x

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = pair(name)
        return functional.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, 1e-5).movedim(-1, 1)

    def block(x: Tensor, name: str, attends: bool, shift: int) -> Tensor:
        if attends:
            x = x + assa(norm(x, f"{name}.norm1"), f"{name}.attn", shift)
        return x + frfn(norm(x, f"{name}.norm2"), f"{name}.mlp")

    def assa(x: Tensor, name: str, shift: int) -> Tensor:
        batch, c, height, width = x.shape
        heads = c // head_dim
        rolled = torch.roll(x, (-shift, -shift), (2, 3))
        zone = torch.zeros(height, width)
        if shift:  # nine regions
            for a, ys in enumerate((range(height - 8), range(height - 8, height - 4), range(height - 4, height))):
                for b, xs in enumerate((range(width - 8), range(width - 8, width - 4), range(width - 4, width))):
                    zone[ys.start : ys.stop, xs.start : xs.stop] = 10 * a + b
        weight_kv, bias_kv = pair(f"{name}.qkv.to_kv")
        table = s[f"{name}.relative_position_bias_table"]
        bias = table[s[f"{name}.relative_position_index"].flatten()].reshape(64, 64, heads)
        g = s[f"{name}.w"].exp()
        g = g / g.sum()
        out = torch.empty_like(x)
        for n in range(batch):
            for top in range(0, height, 8):
                for left in range(0, width, 8):
                    tokens = rolled[n, :, top : top + 8, left : left + 8].reshape(c, 64).T
                    q = functional.linear(tokens, *pair(f"{name}.qkv.to_q")) * head_dim**-0.5
                    k = functional.linear(tokens, weight_kv[:c], bias_kv[:c])
                    v = functional.linear(tokens, weight_kv[c:], bias_kv[c:])
                    ids = zone[top : top + 8, left : left + 8].flatten()
                    minus_hundred = -100.0 * (ids[:, None] != ids[None, :]).double()
                    parts = []
                    for h in range(heads):
                        columns = slice(h * head_dim, (h + 1) * head_dim)
                        z = q[:, columns] @ k[:, columns].T + bias[:, :, h] + minus_hundred
                        weights = g[0] * torch.softmax(z, -1) + g[1] * torch.relu(z) ** 2
                        parts.append(weights @ v[:, columns])
                    done = functional.linear(torch.cat(parts, -1), *pair(f"{name}.proj"))
                    out[n, :, top : top + 8, left : left + 8] = done.T.reshape(c, 8, 8)
        return torch.roll(out, (shift, shift), (2, 3))

    def frfn(x: Tensor, name: str) -> Tensor:
        c = x.shape[1]
        enhanced = functional.conv2d(x[:, : c // 4], s[f"{name}.partial_conv3.weight"], padding=1)
        x = torch.cat([enhanced, x[:, c // 4 :]], 1).movedim(1, -1)
        hidden = functional.gelu(functional.linear(x, *pair(f"{name}.linear1.0"))).movedim(-1, 1)
        u, gate = hidden[:, : 4 * c], hidden[:, 4 * c :]
        u = functional.gelu(functional.conv2d(u, *pair(f"{name}.dwconv.0"), padding=1, groups=4 * c))
        return functional.linear((u * gate).movedim(1, -1), *pair(f"{name}.linear2.0")).movedim(-1, 1)

    image = image.double()
    x = functional.leaky_relu(functional.conv2d(image, *pair("input_proj.proj.0"), padding=1), 0.01)
    encoded = []
    for i in range(4):
        x = level(x, f"encoderlayer_{i}", blocks[i], attends=False, train_side=train_size // 2**i)
        encoded.append(x)
        x = functional.conv2d(x, *pair(f"dowsample_{i}.conv.0"), stride=2, padding=1)
    x = level(x, "conv", blocks[4], attends=True, train_side=train_size // 16)
    for i in range(4):
        x = functional.conv_transpose2d(x, *pair(f"upsample_{i}.deconv.0"), stride=2)
        x = torch.cat([x, encoded[3 - i]], 1)
        x = level(x, f"decoderlayer_{i}", blocks[5 + i], attends=True, train_side=train_size // 2 ** (3 - i))
    return image + functional.conv2d(x, *pair("output_proj.proj.0"), padding=1)


TINY = (1, 1, 1, 1, 2, 2, 2, 1, 1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Configuration:
    tiny = Configuration(width=4, head_dim=4, blocks=TINY)
    monkeypatch.setitem(CONFIGURATIONS, "tiny", tiny)
    monkeypatch.setitem(CONFIGURATIONS, "tiny-256", replace(tiny, train_size=256))
    return tiny


@pytest.mark.parametrize(("height", "width"), [(128, 128), (128, 256)])
@pytest.mark.parametrize("train_size", [128, 256])
def test_a_converted_official_state_computes_what_the_description_says(
    tiny: Configuration, tmp_path: Path, train_size: int, height: int, width: int
) -> None:
    """The second forward pass is ours as well: it was not compared with the authors' code, which is not at hand."""
    state = official_state(4, TINY)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "official.pth")
    name = "tiny" if train_size == 128 else "tiny-256"
    convert(tmp_path / "official.pth", tmp_path / "ours.safetensors", configuration=name)
    network = build(request(name, height=height, width=width))
    restore(network, tmp_path / "ours.safetensors")
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        out = network(image)
        expected = official_forward(state, TINY, 4, image, train_size)
        other = official_forward(state, TINY, 4, image, 384 - train_size)
    residual = expected - image
    assert (out - expected).norm() / residual.norm() < 1e-5
    assert (other - expected).norm() / residual.norm() > 1e-3, "the training size changes the output"


def test_in_double_precision_the_two_forward_passes_are_one(tiny: Configuration) -> None:
    state = official_state(4, TINY, seed=2)
    network = build(request("tiny-256")).double()
    network.load_state_dict(from_official(state, Path("official.pth")))
    image = torch.rand(2, 3, 128, 128, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), official_forward(state, TINY, 4, image, 256), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(("configuration", "head_dim"), [("B", 32), ("T", 16)])
def test_every_official_name_has_one_of_ours_and_comes_back(configuration: str, head_dim: int) -> None:
    made = CONFIGURATIONS[configuration]
    official = official_shapes(made.width, head_dim, made.blocks)
    ours = {name: tuple(value.shape) for name, value in on_meta(configuration).state_dict().items()}
    learned = {name: shape for name, shape in official.items() if not name.endswith("relative_position_index")}
    assert {our_name(name): shape for name, shape in learned.items()} == ours
    assert {official_name(name) for name in ours} == set(learned)


def test_the_rule_gives_the_published_names_and_shapes() -> None:
    """The list of names is published beside the data; without it the rule stands alone."""
    data = Path(os.environ.get("SEMANIR_DATA", "/nowhere"))
    file = next((path for path in (data / NAMES_FILE, data.parent / "published" / NAMES_FILE) if path.is_file()), None)
    if file is None:
        pytest.skip(f"SEMANIR_DATA names no folder beside published/{NAMES_FILE}")
    with file.open() as lines:
        published = {row["name"]: tuple(int(side) for side in row["shape"].split("x")) for row in csv.DictReader(lines)}
    assert official_shapes(32, 32, CONFIGURATIONS["B"].blocks) == published


def test_a_state_goes_to_official_names_and_back_unchanged(tiny: Configuration) -> None:
    state = official_state(4, TINY)
    back = to_official(from_official(state, Path("official.pth")), window=8)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    with pytest.raises(KeyError, match="no such tensor"):
        to_official(build(request("nano-mlp")).state_dict(), window=8)


def test_a_released_checkpoint_is_read_without_conversion_too(tiny: Configuration, tmp_path: Path) -> None:
    state = official_state(4, TINY)
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 1e-4, "state": {}}}, tmp_path / "official.pth")
    network = build(request("tiny"))
    MODEL.read(network, tmp_path / "official.pth")
    assert torch.equal(network.first.weight, state["input_proj.proj.0.weight"])
    assert ".pth" in MODEL.formats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"head.weight": torch.rand(2)}, r"head\.weight is no tensor of an official AST"),
        (lambda state: state | {"conv.blocks.0.attn.v": torch.rand(2)}, "is no tensor of an official AST"),
        (lambda state: state | {"input_proj.proj.0.bias": torch.full((4,), math.nan)}, "holds NaN or inf"),
        (lambda state: state | {"conv.blocks.0.attn.relative_position_index": torch.zeros(64, 64)}, "is damaged"),
        (lambda state: state | {"conv.blocks.0.attn.relative_position_index": torch.zeros(3)}, "is damaged"),
        (lambda state: {k: v for k, v in state.items() if "dwconv" not in k}, "lacks 24 of its tensors"),
        (lambda state: state | {"conv.blocks.0.attn.w": torch.rand(3)}, r"has shape \(3,\), the network wants \(2,\)"),
    ],
    ids=["foreign", "part", "nan", "index", "index-shape", "missing", "shape"],
)
def test_a_state_of_another_network_is_refused_and_nothing_written(
    tiny: Configuration, tmp_path: Path, change, message: str
) -> None:
    torch.save(change(official_state(4, TINY)), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        convert(tmp_path / "other.pth", tmp_path / "ours.safetensors", configuration="tiny")
    assert "other.pth" in str(caught.value)
    assert not (tmp_path / "ours.safetensors").exists()


def test_the_configuration_is_known_by_its_width(tmp_path: Path) -> None:
    torch.save(official_state(16, (2,) * 9), tmp_path / "t.pth")
    assert convert(tmp_path / "t.pth", tmp_path / "ours.safetensors") == "T"
    torch.save(official_state(4, TINY), tmp_path / "tiny.pth")
    with pytest.raises(CheckpointError, match=r"has width 4, the published ones 32 \(B\) and 16 \(T\)"):
        convert(tmp_path / "tiny.pth", tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"made for another network; it lacks \d+"):
        convert(tmp_path / "t.pth", tmp_path / "other.safetensors", configuration="B")


def test_one_command_converts_a_released_checkpoint(tmp_path: Path) -> None:
    state = official_state(16, (2,) * 9)
    wrapped = {"epoch": 1, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(wrapped, tmp_path / "a.pth")
    for options, name in [((), "T"), (("--configuration", "T-256"), "T-256")]:
        code, out, _ = command("ast", tmp_path / "a.pth", "-o", tmp_path / "a.safetensors", *options)
        assert (code, out.strip()) == (0, f"{tmp_path.resolve() / 'a.safetensors'}: ast/{name}")
    network = build(request("T"))
    restore(network, tmp_path / "a.safetensors")
    assert torch.equal(network.last.weight, state["output_proj.proj.0.weight"])


def test_a_checkpoint_that_cannot_be_converted_ends_with_2_and_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"no tensors")
    torch.save(official_state(16, (2,) * 9), tmp_path / "t.pth")
    out = tmp_path / "a.safetensors"
    for arguments, message in [
        (("ast", tmp_path / "a.pth", "-o", out), "save its state_dict() by itself"),
        (("ast", tmp_path / "gone.pth", "-o", out), "check the path"),
        (("ast", tmp_path / "t.pth", "-o", out, "--configuration", "B"), "made for another network"),
        (
            ("ast", tmp_path / "t.pth", "-o", out, "--configuration", "TT"),
            "has no configuration 'TT'. Did you mean 'T'?",
        ),
        (("ast", tmp_path / "t.pth", "-o", tmp_path / "gone" / "a.safetensors"), "cannot be written"),
        (("restormer", tmp_path / "t.pth", "-o", out), "'restormer' is not"),
    ]:
        code, _, error = command(*arguments)
        assert code == 2
        assert message in " ".join(error.split())
        assert not out.exists()


def command(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["convert", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
