"""What works on this machine and what does not, with the reason and the remedy."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import datasets
from harness.environment import machine
from harness.plan import has_cuda

REPORTED = ("torch", "triton", "numpy", "pandas", "matplotlib", "scikit-image", "scipy", "pydantic", "ruamel.yaml")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    subject: str
    state: Literal["works", "absent", "broken"]
    """`absent` costs a feature; `broken` stops a sweep."""
    words: str


def examine(experiments: Path) -> Iterator[Finding]:
    """Look at everything that a sweep, a report or a test may need. Imports torch in a process of its own."""
    here = machine("cpu")
    python_fits = sys.version_info >= (3, 11)
    remedy = "" if python_fits else "; the project needs 3.11 or newer"
    yield Finding("python", "works" if python_fits else "broken", f"{here.python}{remedy}")
    yield Finding("machine", "works", f"{here.cpu}, {here.cores} cores, {here.memory_gib:.0f} GiB, {here.system}")
    yield _versions()
    yield _torch()
    yield _cuda()
    yield _interpreter()
    yield _compiler()
    yield _data()
    yield _disk()
    names = sorted(path.parent.relative_to(experiments).as_posix() for path in experiments.rglob("spec.yaml"))
    yield Finding("experiments", "works" if names else "absent", ", ".join(names) or f"none in {experiments}")


def _versions() -> Finding:
    found, missing = [], []
    for distribution in REPORTED:
        try:
            found.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(distribution)
    if missing:
        return Finding("packages", "broken", f"missing: {', '.join(missing)}; pip install -c constraints.txt -e .")
    return Finding("packages", "works", ", ".join(found))


def _torch() -> Finding:
    ran = _python("import torch; print(torch.get_num_threads(), torch.ones(2) @ torch.ones(2))")
    if ran.returncode:
        return Finding("torch", "broken", f"cannot compute: {_last_line(ran)}")
    threads = ran.stdout.split()[0]
    return Finding("torch", "works", f"imports and computes; {threads} threads by default, 1 while timing")


def _cuda() -> Finding:
    if not has_cuda():
        return Finding("GPU", "absent", "no CUDA device: times are a CPU's, and cells for 'cuda' are skipped")
    ran = _python("import torch; torch.ones(2, device='cuda').sum().item(); print(torch.cuda.get_device_name())")
    if ran.returncode:
        return Finding("GPU", "broken", f"a driver is here, but torch cannot use it: {_last_line(ran)}")
    return Finding("GPU", "works", ran.stdout.strip())


def _interpreter() -> Finding:
    if has_cuda():
        return Finding("triton", "works", "compiles for the GPU")
    code = "import semanir.attention.backends.triton.kernels as k; print(type(k.forward).__name__)"
    ran = _python(code, TRITON_INTERPRET="1")
    if ran.returncode:
        return Finding("triton", "absent", f"its interpreter does not start: {_last_line(ran)}")
    return Finding("triton", "works", "in its interpreter: right numbers, no speed")


def _compiler() -> Finding:
    found = shutil.which("g++") or shutil.which("c++")
    if found is None:
        return Finding("compiler", "absent", "no g++: torch.compile on a CPU cannot be used; apt-get install g++")
    return Finding("compiler", "works", found)


def _data() -> Finding:
    root = datasets.data_root()
    own = [name for name in datasets.names() if name != datasets.BUNDLED]
    if own:
        return Finding("data", "works", f"{root}: {', '.join(own)}; and scikit-image's bundled photographs")
    return Finding("data", "absent", f"nothing in {root / 'test'}; scikit-image's photographs serve. Set SEMANIR_DATA")


def _disk() -> Finding:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    return Finding("disk", "works" if free_gib > 1 else "broken", f"{free_gib:.0f} GiB free here")


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def _last_line(ran: subprocess.CompletedProcess[str]) -> str:
    return (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
