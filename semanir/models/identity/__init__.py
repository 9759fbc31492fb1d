"""The input as it came: the row that every restoration has to beat."""

from semanir.model import Model, Request


def _unsupported(request: Request) -> str | None:
    if request.scale != 1:
        return "the identity keeps the size of its input; 'bicubic' enlarges it"
    return None


MODEL = Model(
    summary="the degraded input itself, as tables print it in their first row",
    module="semanir.models.identity.network",
    configurations=("",),
    uses=frozenset(),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=lambda request: {},
    parameters=lambda request: 0,
)
