"""The training itself: one state, advanced a step at a time, that can be put on disk and taken up again."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from harness.catalogs import BACKENDS, MODELS
from harness.training import data
from harness.training.data import Batch
from harness.training.spec import Optimiser, TrainingSpec


class Diverged(Exception):
    """The loss or a gradient is no number any more."""


@dataclass(frozen=True)
class Step:
    """Progress, for whoever shows it."""

    number: int
    """Counted from 1."""
    loss: float
    gradient: float
    """Norm of all gradients before clipping."""
    learning_rate: float
    seconds: float
    """Of this step, its data included."""
    data_seconds: float


class Training:
    """A network, its average and its optimiser, after some number of steps."""

    def __init__(self, spec: TrainingSpec, fabric: Fabric) -> None:
        self.spec = spec
        self.fabric = fabric
        torch.manual_seed(spec.seed)
        self.network = build(spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = fabric.to_device(copy.deepcopy(self.network)).eval()
        self.average.requires_grad_(False)
        optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=spec.optimiser.learning_rate,
            betas=spec.optimiser.betas,
            weight_decay=spec.optimiser.weight_decay,
            fused=True,
        )
        self.step = 0
        self.seconds = 0.0
        self.data_seconds = 0.0
        self._module, self.optimiser = fabric.setup(self.network, optimiser)

    def advance(self, load: Callable[[int], Batch]) -> Step:
        """Do one step with the batch that `load` has for it. Raises `Diverged` and then changes nothing."""
        spec, number = self.spec, self.step + 1
        begun = time.perf_counter()
        degraded, target = (self.fabric.to_device(tensor) for tensor in load(self.step))
        data_seconds = time.perf_counter() - begun
        self._choose(self.step)
        rate = spec.optimiser.learning_rate * share_of_peak(self.step, spec.steps, spec.optimiser)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        difference = self._module(degraded) - target
        loss = (difference.square() + spec.loss.epsilon**2).sqrt().mean()
        self._finite("loss", loss)
        self.fabric.backward(loss)
        limit = spec.clip.first_norm if number <= spec.clip.first_steps else spec.clip.norm
        norm = self.fabric.clip_gradients(self._module, self.optimiser, max_norm=limit, error_if_nonfinite=False)
        gradient = self._finite("gradient", torch.as_tensor(norm))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._follow(1 - min(spec.ema, number / (number + 9)))
        mean = self._over_processes(loss.detach(), "mean")
        self.step = number
        seconds = time.perf_counter() - begun
        self.seconds += seconds
        self.data_seconds += data_seconds
        return Step(number, mean, gradient, rate, seconds, data_seconds)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a later process needs, by name: weights, their average, moments."""
        states = [("network", self.network.state_dict()), ("average", self.average.state_dict())]
        found = {f"{part}.{name}": value for part, state in states for name, value in state.items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                found[f"optimiser.{name}.{key}"] = value
        return found

    def take_up(self, tensors: Mapping[str, Tensor], *, step: int, seconds: float, data_seconds: float) -> None:
        """Continue where `tensors` was called; values go into memory of the layout that a fresh start has."""
        for part, module in (("network", self.network), ("average", self.average)):
            for name, value in module.state_dict().items():
                value.copy_(tensors[f"{part}.{name}"])
        for name, parameter in self.network.named_parameters():
            if f"optimiser.{name}.step" in tensors:
                self.optimiser.state[parameter] = {
                    "step": tensors[f"optimiser.{name}.step"].to(parameter.device),
                    **{
                        key: torch.empty_like(parameter).copy_(tensors[f"optimiser.{name}.{key}"])
                        for key in ("exp_avg", "exp_avg_sq")
                    },
                }
        self.step, self.seconds, self.data_seconds = step, seconds, data_seconds

    def _choose(self, step: int) -> None:
        """Give the network the window and the k of a step."""
        drawn = data.draws(self.spec, step)
        if drawn.window is not None:
            set_window(self.network, drawn.window, drawn.top_k)

    def _finite(self, what: str, value: Tensor) -> float:
        """Return the value, once every process has seen that it is a number."""
        found = float(value.detach())
        everywhere = self._over_processes(torch.tensor(float(math.isfinite(found)), device=value.device), "min")
        if everywhere < 1:
            raise Diverged(f"step {self.step + 1}: the {what} is {found}; lower optimiser.learning_rate, or clip.norm")
        return found

    def _over_processes(self, value: Tensor, how: Literal["mean", "min"]) -> float:
        return float(cast(Tensor, self.fabric.all_reduce(value, reduce_op=how)))

    @torch.no_grad()
    def _follow(self, share: float) -> None:
        """Move the average towards the network."""
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), share)
        for own, other in zip(self.average.buffers(), self.network.buffers(), strict=True):
            own.copy_(other)


def build(spec: TrainingSpec) -> nn.Module:
    """Return the untrained network of a spec, with the attention that trains it."""
    model = MODELS[spec.model.partition("/")[0]]
    first = spec.windows[0] if spec.windows else None
    request = spec.request(first.window, first.top_k[0]) if first else spec.request()
    if spec.backend == "none":
        return model.build(request, attend=None, forms=frozenset())
    backend = BACKENDS[spec.backend]
    return model.build(request, attend=backend.load(), forms=backend.forms(needs_grad=True))


def set_window(network: nn.Module, window: int, top_k: int | None) -> None:
    """Let a network with a dictionary run on other windows, with another k, from its next call on."""
    network.window, network.top_k = window, top_k  # type: ignore[assignment]


def share_of_peak(step: int, steps: int, optimiser: Optimiser) -> float:
    """Return the learning rate of a step, counted from 0, as a share of its peak: linear warm-up, then a cosine."""
    warm = optimiser.warmup
    if step < warm * steps:
        return (step + 1) / (warm * steps + 1)
    progress = (step / steps - warm) / (1 - warm)
    return optimiser.floor + (1 - optimiser.floor) * 0.5 * (1 + math.cos(math.pi * progress))
