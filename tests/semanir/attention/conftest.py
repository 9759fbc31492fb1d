"""FlexAttention is checked uncompiled here, but for `test_flex.py`, which compiles it in a process of its own."""

from __future__ import annotations

import importlib

import pytest

from harness.catalogs import BACKENDS
from semanir.attention.backends.flex import kernels


@pytest.fixture(autouse=True)
def _uncompiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape takes seconds to compile. The same functions give the scores their bias and their mask either way."""
    if "flex" in request.node.name:  # no other test waits for torch's compiler to be imported
        monkeypatch.setattr(importlib.import_module(BACKENDS["flex"].module), "compiled", lambda: kernels.attention)
