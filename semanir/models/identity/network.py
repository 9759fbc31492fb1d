"""The identity as a module, so that the degraded input stands in the same table as networks."""

from __future__ import annotations

from torch import nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.model import Request


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> nn.Identity:
    """Build the module; it has no parameters and uses no attention."""
    return nn.Identity()
