"""Nothing here is traced for coverage, which doubles the time that Triton's interpreter takes.

The figure is that of the code without torch, and the other tests run it.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
