"""MATLAB's bicubic enlargement: the classical row of every super-resolution table."""

from semanir.model import Model, Request


def _unsupported(request: Request) -> str | None:
    if request.scale == 1:
        return "bicubic interpolation enlarges; at scale 1 the 'identity' is the input itself"
    return None


MODEL = Model(
    summary="MATLAB's bicubic enlargement (Keys' cubic, a = -1/2), in double precision",
    module="semanir.models.bicubic.network",
    configurations=("",),
    uses=frozenset(),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=lambda request: {},
    parameters=lambda request: 0,
)
