"""SwinIR's modules: stages of layers that attend to every key of their window, shifted in every second layer.

Shapes: B images, C channels, H x W tokens of the map; W windows of N tokens after partition.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semanir.attention import windows
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.position import TableBias
from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.layers import Tail, initialise, keys_of_map
from semanir.model import Request
from semanir.models.swinir import CONFIGURATIONS, Configuration, padded_side, stage_shifts, stem


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> SwinIR:
    """Build the network of a request, with the attention it is given. Raises `ValueError` without one."""
    if attend is None:
        raise ValueError("SwinIR cannot run without attention; name a backend")
    return SwinIR(CONFIGURATIONS[request.configuration], request, attend=attend, forms=forms)


class SwinIR(nn.Module):
    """The whole network: `B x channels x h x w` in units of one -> the restored image, not clipped.

    The input is centred at one half and not at the mean colour of a training set, as in the networks that this
    one is a baseline for.
    """

    def __init__(
        self, configuration: Configuration, request: Request, *, attend: Attend, forms: frozenset[Form]
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self.scale = request.scale
        self.window = request.window or configuration.window
        self.fold = stem(configuration, request.scale)
        width = configuration.width
        self.first = nn.Conv2d(request.channels * self.fold**2, width, 3, padding=1)
        self.stages = nn.ModuleList(
            Stage(configuration, layers, window=self.window, attend=attend, forms=forms)
            for layers in configuration.stages
        )
        norm = nn.LayerNorm if configuration.body_norm else nn.Identity
        self.entry, self.exit = norm(width), norm(width)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.tail = Tail(
            width,
            request.channels,
            scale=request.scale,
            fold=self.fold,
            upsampler=configuration.upsampler,
            residual=configuration.image_residual,
        )

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
        """Restore."""
        height, width = image.shape[-2:]
        padded = windows.pad_to_multiple(image, padded_side(self.configuration, 1, self.window, self.scale))
        shallow = self.first(functional.pixel_unshuffle(padded - 0.5, self.fold))
        deep = self.entry(shallow.permute(0, 2, 3, 1))
        for stage in self.stages:
            deep = stage(deep)
        deep = self.body(self.exit(deep).permute(0, 3, 1, 2)) + shallow
        restored = self.tail(deep)[..., : height * self.scale, : width * self.scale]
        if not self.configuration.image_residual:
            return restored + 0.5
        if self.scale > 1:
            image = functional.interpolate(image, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return image + restored


class Stage(nn.Module):
    """Layers, then a 3x3 convolution, then the stage input added."""

    def __init__(
        self, configuration: Configuration, layers: int, *, window: int, attend: Attend, forms: frozenset[Form]
    ) -> None:
        super().__init__()
        self.window = window
        self.forms = forms
        self.layers = nn.ModuleList(Layer(configuration, window=window, attend=attend) for _ in range(layers))
        self.conv = nn.Conv2d(configuration.width, configuration.width, 3, padding=1)

    def forward(self, features: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """Run the stage."""
        _, height, width, _ = features.shape
        shifts = stage_shifts(len(self.layers), height=height, width=width, window=self.window)
        one_channel = windows.partition(features[..., :1], self.window)  # nothing is chosen by content
        kept = {
            shift: keys_of_map(
                one_channel, None, height=height, width=width, window=self.window, shift=shift, forms=self.forms
            )
            for shift in sorted(set(shifts))
        }
        current = features
        for shift, layer in zip(shifts, self.layers, strict=True):
            tokens = layer(windows.partition(current, self.window, shift), kept[shift])
            current = windows.merge(tokens, height, width, self.window, shift)
        return self.conv(current.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + features


class Layer(nn.Module):
    """Window attention and a two-layer perceptron, each behind LayerNorm and with a residual."""

    def __init__(self, configuration: Configuration, *, window: int, attend: Attend) -> None:
        super().__init__()
        width, hidden = configuration.width, configuration.mlp_ratio * configuration.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, configuration.heads, window=window, attend=attend)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                initialise(module)

    def forward(self, x: Float[Tensor, "W N C"], kept: KeyDictionary | None) -> Float[Tensor, "W N C"]:
        """Run the layer on the tokens of all windows."""
        x = x + self.attention(self.norm1(x), kept)
        return x + self.mlp(self.norm2(x))


class WindowAttention(nn.Module):
    """Projections and a table of relative positions around the attention that the network was given."""

    def __init__(self, width: int, heads: int, *, window: int, attend: Attend) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.attend = attend
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.bias = TableBias(heads, window)
        initialise(self.qkv)
        initialise(self.project)

    def forward(self, x: Float[Tensor, "W N C"], kept: KeyDictionary | None) -> Float[Tensor, "W N C"]:
        """Attend within windows, over the key's region alone where the window is shifted."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = self.attend(q, k, v, kept, bias=self.bias(self.window), scale=q.shape[-1] ** -0.5)
        return self.project(out.transpose(1, 2).flatten(2))
