"""Total-variation denoising: the classical method beside networks on noise and JPEG artifacts, without training.

A configuration is the weight of the variation, in images of units of one. No weight serves every picture, so tables
list several, and the best of them for a picture is a generous opponent.
"""

from semanir.model import Model, Request

WEIGHTS = ("0.01", "0.02", "0.04", "0.08", "0.12")


def _unsupported(request: Request) -> str | None:
    if request.scale != 1:
        return "total variation keeps the size of its input; it does no super-resolution"
    return None


MODEL = Model(
    summary="scikit-image's total variation (Chambolle, JMIV 2004), by the weight of the variation",
    module="semanir.models.total_variation.network",
    configurations=WEIGHTS,
    uses=frozenset(),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=lambda request: {},
    parameters=lambda request: 0,
)
