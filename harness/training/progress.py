"""Shows a training while it goes on: a bar in a terminal, plain lines elsewhere, TensorBoard's files if asked for."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.training.loop import Step
from harness.training.run import Begun, Event, Judged, Saved, Shipped
from harness.training.spec import TrainingSpec

PLAIN_SECONDS = 30.0
"""Between two lines where nobody sees a bar."""
SMOOTHED = 50
"""Steps over which losses and speeds are averaged for reading."""


class NoTensorBoard(RuntimeError):
    """A spec asks for TensorBoard's files and the package is missing."""


class TrainingLine:
    """A listener of `harness.training.run.train`; use it as a context manager."""

    def __init__(self, console: Console, spec: TrainingSpec) -> None:
        self.console = console
        self.spec = spec
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._row: TaskID | None = None
        self._recent: list[Step] = []
        self._psnr = ""
        self._said = 0.0

    def __enter__(self) -> TrainingLine:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Begun():
                self._begin(event)
            case Step():
                self._recent = [*self._recent[1 - SMOOTHED :], event]
                self._show(event.number)
            case Judged(step=step, judgement=judgement):
                self._psnr = f"{judgement.mean_db:.2f} dB"
                name, count = self.spec.validation.dataset, len(judgement.psnr_db)
                self._say(f"step {step}: {judgement.mean_db:.3f} dB on {name} ({count} images)")
            case Saved():
                pass
            case Shipped(card=card, seconds=seconds, data_seconds=data_seconds):
                share = data_seconds / max(seconds, 1e-9)
                self._say(f"trained for {seconds / 60:.1f} min, {share:.1%} of it waiting for data")
                self._say(str(card.resolve()))

    def _begin(self, event: Begun) -> None:
        self._row = self.bar.add_task(self.spec.name, total=event.steps, completed=event.done, now="")
        guarded = event.guarded
        words = f"{event.parameters:,} parameters, {sum(event.images):,} images"
        words += f", {event.processes} processes" if event.processes > 1 else ""
        words += f", {event.done:,} of {event.steps:,} steps done before" if event.done else f", {event.steps:,} steps"
        self._say(f"{self.spec.name}: {words}")
        self._say(f"no training image is in {', '.join(guarded.compared) or 'any test set that is here'}")
        if guarded.absent:
            self._say(f"not here, so not compared: {', '.join(guarded.absent)}")

    def _show(self, number: int) -> None:
        seconds = sum(step.seconds for step in self._recent)
        each = seconds / len(self._recent)
        loss = sum(step.loss for step in self._recent) / len(self._recent)
        share = sum(step.data_seconds for step in self._recent) / max(seconds, 1e-9)
        words = [f"loss {loss:.5f}", self._psnr, f"{self.spec.batch / each:.1f} images/s", f"data {share:.0%}"]
        now = ", ".join(filter(None, words))
        if self._row is not None:
            self.bar.update(self._row, completed=number, now=now)
        last = number == self.spec.steps
        if not self.console.is_terminal and (last or time.monotonic() - self._said >= PLAIN_SECONDS):
            self._said = time.monotonic()
            left = each * (self.spec.steps - number) / 60
            self._say(f"step {number}/{self.spec.steps}, {now}, about {left:.1f} min left")

    def _say(self, words: str) -> None:
        self.console.print(words, highlight=False, markup=False, soft_wrap=True)


class Board:
    """Writes TensorBoard's files: loss, gradient and learning rate, PSNR, and the first validation image."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made when the training begins. Raises `NoTensorBoard`."""
        if importlib.util.find_spec("tensorboard") is None:
            raise NoTensorBoard("tensorboard: true needs the package tensorboard: pip install 'tensorboard<3'")
        self.folder = folder
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Write one event."""
        match event:
            case Begun(done=done):
                from torch.utils.tensorboard import SummaryWriter

                # What a process wrote after the checkpoint from which this one goes on is shown no more.
                self._writer = SummaryWriter(str(self.folder), purge_step=done + 1)
            case Step():
                for name in ("loss", "gradient", "learning_rate"):
                    self._writer.add_scalar(f"train/{name}", getattr(event, name), event.number)
            case Judged(step=step, judgement=judgement):
                self._writer.add_scalar("validation/psnr_db", judgement.mean_db, step)
                for role, picture in judgement.pictures.items():
                    self._writer.add_image(f"validation/{role}", picture, step, dataformats="HWC")
            case Shipped():
                self._writer.close()
            case _:
                pass
