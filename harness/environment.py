"""Which machine, device, versions and commit a record comes from: never a host's or a person's name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from harness.record import Environment, digest
from semanir.attention.problem import DeviceKind

TREE = Path(__file__).resolve().parents[1]
"""The folder that holds the packages, which a worker and its runner share."""

COMPUTING = ("torch", "triton", "numpy", "scipy", "scikit-image", "pillow", "safetensors", "semanir-bench")
"""Distributions whose version can change a number."""


@cache
def machine(device: DeviceKind) -> Environment:
    """Describe this machine as seen by cells of one device, without importing torch."""
    cpu, cores, kernel = _processor(), _usable_cores(), platform.release()
    name, driver = _accelerator() if device == "cuda" else ("cpu", "")
    return Environment(
        machine_class=digest([cpu, cores, name, driver, platform.system(), kernel.partition(".")[0]]),
        cpu=cpu,
        cores=cores,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=_system(kernel),
        device=name,
        driver=driver,
        python=platform.python_version(),
        versions={name: version for name in COMPUTING if (version := version_of(name))},
    )


def revision(root: Path) -> tuple[str, bool]:
    """Return the commit of the clone at `root` and whether its files differ from it, new ones counted.

    `("unknown", True)` without git, and where `root` is no clone of its own: a package installed inside
    another project's repository must not carry that project's commit.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    if top is None or commit is None or changes is None or Path(top).resolve() != root.resolve():
        return "unknown", True
    return commit, bool(changes)


def without_folders(text: str) -> str:
    """Cut out of a message the folders that would name a person or a machine."""
    from harness.datasets import data_root

    folders = [(TREE, ""), (Path(sys.prefix), ""), (Path.home(), "~/")]
    if (root := data_root()).is_absolute():
        folders.append((root, f"$SEMANIR_DATA{os.sep}"))
    for folder, name in sorted(folders, key=lambda pair: -len(pair[0].parts)):  # one may lie inside another
        text = text.replace(f"{folder}{os.sep}", name)
    return text


@cache
def version_of(distribution: str) -> str:
    """Return the installed version, or an empty text, without importing the package."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        models = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        models = []
    return str(models[0]).strip() if models else platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def _system(kernel: str) -> str:
    release = re.match(r"\d+(\.\d+)?", kernel)
    libc = " ".join(platform.libc_ver())
    return " ".join(part for part in (platform.system(), release[0] if release else "", libc) if part.strip())


def _accelerator() -> tuple[str, str]:
    """Name and driver of the first NVIDIA device."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no CUDA device", ""
    name, _, driver = answer.partition("\n")[0].partition(",")
    return name.strip(), driver.strip()


def _git(root: Path, *arguments: str) -> str | None:
    # A hook of git exports GIT_DIR, which would answer for another repository than the one at `root`.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, env=inherited, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
