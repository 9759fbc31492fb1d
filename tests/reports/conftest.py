"""Fabricated sweeps: records as a run would leave them, without running anything."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image

from harness.record import Cell, Environment, Failed, Measured, Measurement, Outcome, Record, Skipped
from harness.store import PlanEntry, StoredPlan
from reports.document import Document
from reports.pages.ablation import build
from reports.renderers.html import render

TASKS = {
    "denoise": "sigma=25",
    "jpeg": "quality=10",
    "demosaic": "pattern=rggb",
    "sr": "scale=2",
    "deblur": "length=15",
    "weather": "kind=rain",
}
BACKENDS = ("triton", "gather", "mask", "sdpa")
METRICS = ("degraded", "psnr", "ssim", "pictures", "agreement", "flops", "memory", "latency")
PHOTOGRAPHS = ("chelsea.png", "camera.png", "astronaut.png")
SIDE = 144

MACHINE = Environment(
    machine_class="0d1f2a3b4c5d6e7f",
    cpu="Example CPU @ 2.10GHz",
    cores=2,
    memory_gib=15.6,
    system="Linux 6.1 glibc 2.36",
    device="cpu",
    python="3.11.7",
    versions={"torch": "2.13.0", "triton": "3.7.1", "numpy": "2.3.1"},
    threads=1,
    tf32=False,
    deterministic=True,
    load_average=0.41,
)


@dataclass
class Sweep:
    """A plan, the records that answer it, and the pictures that they name."""

    plan: StoredPlan
    records: dict[str, Record]
    files: dict[str, bytes] = field(default_factory=dict)

    def artifact(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def document(self, **options: Any) -> Document:
        return build(self.records, self.plan, artifact=self.artifact, **options)

    def html(self, **options: Any) -> str:
        return render(self.document(**options), artifact=self.artifact)

    def keep(self, content: bytes) -> str:
        name = f"{hashlib.sha256(content).hexdigest()}.png"
        self.files[name] = content
        return name


def record(cell: Cell, metric: str, outcome: Outcome, **fields: Any) -> Record:
    """Make a record with everything that the outcome does not say."""
    return Record.model_validate(
        {
            "cell": cell,
            "metric": metric,
            "outcome": outcome,
            "source": "feedface00000000",
            "environment": MACHINE,
            "spec": "5eed5eed5eed5eed",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "dirty": False,
            "started_at": "2026-11-20T10:00:00+00:00",
            "duration_s": 0.5,
            **fields,
        }
    )


def sweep_of(records: Iterable[Record], *, question: str = "Does it hold?", name: str = "example") -> Sweep:
    """Put a plan around records."""
    found = list(records)
    entries = tuple(PlanEntry(cell=each.cell, metric=each.metric, key=each.key) for each in found)
    plan = StoredPlan(
        digest="5eed5eed5eed5eed",
        name=name,
        question=question,
        text=f"question: {question}\naxes: {{}}\n",
        created_at="2026-11-20T09:59:00+00:00",
        entries=entries,
    )
    return Sweep(plan, {each.key: each for each in found})


def quickstart(tasks: Iterable[str] = TASKS, images: Iterable[str] = PHOTOGRAPHS) -> Sweep:
    """Make six tasks x four backends x three k x two windows, as a machine without a GPU leaves them."""
    names = [Path(image).stem for image in images]
    sweep = sweep_of(())
    records = [
        each
        for task in tasks
        for window in (8, 16)
        for top_k in (8, 16, 64)
        for backend in BACKENDS
        for each in _records(sweep, task, window, top_k, backend, names)
    ]
    whole = sweep_of(records, question="How much attention does restoration need?", name="quickstart")
    whole.files = sweep.files
    return whole


def _records(sweep: Sweep, task: str, window: int, top_k: int, backend: str, names: list[str]) -> Iterator[Record]:
    trained = task == "denoise"
    cell = Cell(
        model="semanir/small",
        task=task,
        dataset="bundled",
        setting=TASKS[task],
        backend=backend,
        weights="shipped",
        top_k=top_k,
        window=window,
        image_size=SIDE,
        images=len(names),
    )
    rng = np.random.default_rng([*cell.id.encode()])
    before = {name: 20.2 + 0.3 * i for i, name in enumerate(names)}
    after = {name: value + 8.9 + 0.25 * math.log2(top_k) + 0.1 * (window == 16) for name, value in before.items()}
    dense, useful = 2.1e8 * (window / 8) ** 2, 2.1e8 * top_k / 64
    spent = {"triton": useful, "gather": useful * 1.02, "mask": dense, "sdpa": dense}[backend]
    numbers: Mapping[str, tuple[Measurement, ...]] = {
        "degraded": (
            _judged("degraded.psnr", "dB", before),
            _judged("degraded.ssim", "1", dict.fromkeys(names, 0.43)),
        ),
        "psnr": (_judged("psnr", "dB", after),),
        "ssim": (_judged("ssim", "1", {name: 0.82 + 0.004 * math.log2(top_k) for name in names}),),
        "pictures": (Measurement(name="pictures", unit="pictures", samples=(3.0 * len(names),)),),
        "agreement": (
            Measurement(
                name="agreement",
                unit="relative error",
                samples=(2.3e-7 * (1 + rng.random()),),
                labels=("stage 0",),
            ),
        ),
        "flops": tuple(
            Measurement(name=f"flops.{kind}", unit="FLOP", samples=(6.4e8 + value,))
            for kind, value in {"spent": spent, "useful": useful, "dense": dense}.items()
        ),
        "memory": (
            Measurement(
                name="memory.peak",
                unit="MiB",
                samples=(58 + (40 * top_k / 64 if backend == "gather" else 22 * window / 8),),
            ),
        ),
        "latency": (
            Measurement(
                name="latency",
                unit="ms",
                samples=tuple(
                    ({"gather": 30 + 0.9 * top_k, "mask": 52, "sdpa": 47}.get(backend, 1) + 12 * (window == 16))
                    * (1 + rng.gamma(2, 0.01, 10))
                ),
            ),
        ),
    }
    for metric in METRICS:
        outcome: Outcome = Measured(measurements=numbers[metric])
        artifacts: dict[str, str] = {}
        if metric in ("psnr", "ssim") and not trained:
            outcome = Skipped(reason="no weights")
        elif metric == "latency" and backend == "triton":
            outcome = Skipped(reason="interpreter: not a speed")
        elif metric == "memory" and (task, backend, window) == ("weather", "gather", 16):
            outcome = Failed(
                failure="out_of_memory",
                error="Traceback (most recent call last):\n  ...\nMemoryError: 4.1 GiB",
            )
        elif metric == "pictures":
            for name in names:
                for role, picture in pictures(f"{name}", task).items():
                    if role != "restored" or trained:
                        artifacts[f"{role}:{name}"] = sweep.keep(picture)
        protocol = "rgb-crop0-uint8" if metric in ("psnr", "ssim", "degraded") else ""
        timing = "a1b2c3d4e5f60718" if metric == "latency" else ""
        yield record(cell, metric, outcome, artifacts=artifacts, protocol=protocol, timing=timing)


@cache
def pictures(name: str, task: str) -> dict[str, bytes]:
    """Degrade one of scikit-image's bundled photographs, roughly as the task would."""
    folder = Path(skimage.__file__).parent / "data"
    with Image.open(next(folder.glob(f"{name}.*"))) as photograph:
        width, height = photograph.size
        left, top = (width - 2 * SIDE) // 2, (height - 2 * SIDE) // 2
        target = photograph.crop((left, top, left + 2 * SIDE, top + 2 * SIDE)).resize((SIDE, SIDE))
    target = target.convert("L" if task == "denoise" else "RGB")
    rng = np.random.default_rng(0)
    pixels = np.asarray(target, dtype=float)
    match task:
        case "jpeg":
            file = io.BytesIO()
            target.save(file, "JPEG", quality=10)
            worse = Image.open(file)
        case "sr":
            worse = target.resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        case "deblur":
            worse = _image(np.mean([np.roll(pixels, shift, axis=1) for shift in range(-7, 8)], axis=0))
        case "demosaic":
            mosaic = np.zeros_like(pixels)
            for channel, rows, columns in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)):
                mosaic[rows::2, columns::2, channel] = pixels[rows::2, columns::2, channel]
            worse = _image(mosaic)
        case "weather":
            rain = rng.random(pixels.shape[:2]) > 0.985
            worse = _image(pixels + 160 * np.max([np.roll(rain, i, axis=0) for i in range(9)], axis=0)[..., None])
        case _:
            worse = _image(pixels + rng.normal(0, 25, pixels.shape))
    better = _image(pixels + rng.normal(0, 6, pixels.shape))
    return {"degraded": _png(worse), "target": _png(target), "restored": _png(better)}


def _judged(name: str, unit: str, values: Mapping[str, float]) -> Measurement:
    return Measurement(name=name, unit=unit, samples=tuple(values.values()), labels=tuple(values))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def whole() -> Sweep:
    """The quickstart, complete."""
    return quickstart()


@pytest.fixture(scope="session")
def small() -> Sweep:
    """One task with weights and one without, one image each."""
    return quickstart(("denoise", "jpeg"), PHOTOGRAPHS[:1])


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    return record


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Sweep]:
    return sweep_of
