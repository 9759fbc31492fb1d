"""scikit-image's non-local means: what a classical method reaches on noise, without training and without attention."""

from semanir.model import Model, Request


def _unsupported(request: Request) -> str | None:
    if request.scale != 1:
        return "non-local means keeps the size of its input; it does no super-resolution"
    return None


MODEL = Model(
    summary="scikit-image's non-local means (Buades et al., CVPR 2005), noise level estimated from the image",
    module="semanir.models.nonlocal_means.network",
    configurations=("",),
    uses=frozenset(),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=lambda request: {},
    parameters=lambda request: 0,
)
