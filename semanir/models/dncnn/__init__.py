"""DnCNN (Zhang et al., TIP 2017): plain convolutions that predict the noise, as its authors published them for gray.

Weights are read as they were published: MatConvNet's `.mat` (DnCNN-S, DnCNN-3) and KAIR's `.pth`, both with batch
normalisation merged into the convolutions.
"""

from semanir.model import Model, Request

LAYERS = {"S": 17, "3": 20}
"""Convolutions by configuration: `S` for one noise level, `3` for noise, JPEG and enlarged images with one network."""
WIDTH = 64


def _unsupported(request: Request) -> str | None:
    if request.channels != 1:
        return f"DnCNN-{request.configuration} is a gray network; ask for a setting with color=gray"
    if request.scale != 1:
        return "DnCNN keeps the size of its input; it does no super-resolution"
    return None


def convolutions(configuration: str) -> tuple[tuple[int, int], ...]:
    """Return channels in and out of every 3 x 3 convolution, in order."""
    return ((1, WIDTH), *[(WIDTH, WIDTH)] * (LAYERS[configuration] - 2), (WIDTH, 1))


def _flops(request: Request) -> dict[str, int]:
    pixels = request.batch * request.height * request.width
    return {"convolutions": sum(2 * 9 * inputs * outputs * pixels for inputs, outputs in _layers(request))}


def _parameters(request: Request) -> int:
    return sum(9 * inputs * outputs + outputs for inputs, outputs in _layers(request))


def _layers(request: Request) -> tuple[tuple[int, int], ...]:
    return convolutions(request.configuration)


MODEL = Model(
    summary="DnCNN (TIP 2017), gray: 17 (S) or 20 (3) convolutions that predict the noise",
    module="semanir.models.dncnn.network",
    configurations=tuple(LAYERS),
    uses=frozenset({"weights"}),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=_flops,
    parameters=_parameters,
    formats=(".mat", ".pth"),
)
