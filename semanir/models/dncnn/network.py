"""DnCNN's modules, named as KAIR's published states name them."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.checkpoints import check, read_state
from semanir.matconvnet import convolutions as published_convolutions
from semanir.model import Request
from semanir.models.dncnn import convolutions


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> DnCNN:
    """Build the network; it uses no attention."""
    return DnCNN(request.configuration)


def read(network: nn.Module, file: Path) -> None:
    """Load `.mat` of MatConvNet or `.pth` of KAIR. Raises `CheckpointError`, and then changes nothing."""
    if file.suffix == ".mat":
        # Every second module holds weights: a ReLU stands between two convolutions.
        state = {
            f"model.{2 * number}.{name}": value
            for number, (weight, bias) in enumerate(published_convolutions(file))
            for name, value in (("weight", weight), ("bias", bias))
        }
    else:
        state = read_state(file)
    check(network.state_dict(), state, file)
    network.load_state_dict(state)


class DnCNN(nn.Module):
    """y - R(y) of eq. 1: convolutions with ReLU between them; every one keeps the size with zeros at the border."""

    def __init__(self, configuration: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in convolutions(configuration):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, image: Float[Tensor, "B 1 h w"]) -> Float[Tensor, "B 1 h w"]:
        """Take the predicted noise away."""
        return image - self.model(image)
