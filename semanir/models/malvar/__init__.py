"""Linear demosaicking by Malvar, He and Cutler: MATLAB's `demosaic`, the classical row of demosaicking tables."""

from semanir.model import Model, Request


def _unsupported(request: Request) -> str | None:
    if request.holds != "mosaic":
        return "Malvar's filters read a Bayer mosaic; ask for demosaic with interpolation=none"
    return None


MODEL = Model(
    summary="Malvar-He-Cutler's linear demosaicking (ICASSP 2004), which MATLAB's `demosaic` computes",
    module="semanir.models.malvar.network",
    configurations=("",),
    uses=frozenset(),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=lambda request: {"convolutions": 2 * 25 * 4 * request.batch * request.height * request.width},
    parameters=lambda request: 0,
)
