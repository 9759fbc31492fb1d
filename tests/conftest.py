"""Every test runs under the shape checker, on one thread, with Triton's interpreter where there is no GPU."""

import os
import shutil
from pathlib import Path

if not shutil.which("nvidia-smi"):
    os.environ["TRITON_INTERPRET"] = "1"  # read by triton at its import
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on two busy cores wait for each other, ten times slower

# jit code must not be wrapped: imported before the hook, it stays as it is.
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

import semanir.attention.backends.flex.kernels
import semanir.attention.backends.triton.kernels.backward
import semanir.attention.backends.triton.kernels.forward
import semanir.attention.selection.kernels  # noqa: F401

ROOT = Path(__file__).parents[1]
# The checker makes every call many times slower: it watches what annotates shapes, mypy the rest.
SHAPED = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in (ROOT / "harness").rglob("*.py")
    if "from jaxtyping import" in file.read_text(encoding="utf-8")
]

pytest_plugins = ["tests.chromium"]
install_import_hook(["semanir", *SHAPED], "beartype.beartype")
torch.set_num_threads(1)
settings.register_profile("project", deadline=None, max_examples=25, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")
