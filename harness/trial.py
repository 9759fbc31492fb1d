"""A cell brought to life: the network with its weights, its degraded inputs and targets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from harness import datasets
from harness.catalogs import BACKENDS, MODELS, TASKS
from harness.channels import Bits, bits_of, units
from harness.inference import restorer
from harness.protocol import Protocol
from harness.record import Cell, Timing
from harness.task import Setting, Task, generator
from harness.weights import Foreign, Own, card_of, missing
from semanir.attention.problem import Backend, Form, Problem
from semanir.attention.signature import Attend
from semanir.checkpoints import restore
from semanir.model import Model, Request
from semanir.weights import Card


@dataclass(frozen=True)
class Pair:
    """One image of a trial, in units of one."""

    name: str
    degraded: Float32[np.ndarray, "h w C"]
    """Not clipped where the degradation is not."""
    target: Float32[np.ndarray, "H W C"]
    bits: Bits = 8
    """Of a value of the target before it came into units of one: what both images of the pair are judged on."""


class Trial:
    """Everything that a metric may ask of a cell. Images, network and restorations are made when first asked for."""

    def __init__(self, cell: Cell, timing: Timing) -> None:
        self.cell = cell
        self.timing = timing
        self.task: Task = TASKS[cell.task]
        self.setting: Setting = self.task.parse(cell.setting)
        self.protocol: Protocol = self.task.protocol(self.setting)
        family, _, self.configuration = cell.model.partition("/")
        self.model: Model = MODELS[family]
        self.backend: Backend | None = BACKENDS[cell.backend] if "backend" in self.model.uses else None

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The cell's images, degraded with a generator of their own each (cell's seed and image name)."""
        images = datasets.load(
            self.cell.dataset,
            images=self.cell.images,
            image_size=self.cell.image_size,
            pairs=datasets.wants_pairs(self.setting),
            average=datasets.wants_average(self.setting),
        )
        return tuple(self._pair(image) for image in images)

    @cached_property
    def degraded_digests(self) -> Mapping[str, str]:
        """Image name to sha256 of its degraded pixels."""
        return {
            pair.name: hashlib.sha256(np.ascontiguousarray(pair.degraded).tobytes()).hexdigest() for pair in self.pairs
        }

    @cached_property
    def request(self) -> Request:
        """The network of this cell for its first image, as its model understands it."""
        height, width, channels = self.pairs[0].degraded.shape
        return Request(
            configuration=self.configuration,
            channels=channels,
            scale=self.task.scale(self.setting),
            height=height,
            width=width,
            batch=self.cell.batch,
            window=self.cell.window,
            top_k=self.cell.top_k,
            sharing=self.cell.sharing,
            similarity=self.cell.similarity,
            shift=self.cell.shift,
            score=self.cell.score,
            holds=self.task.holds(self.setting),
            dtype=self.cell.dtype,
            device=self.cell.device,
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every attention call of one forward pass on `input`."""
        return self.model.problems(self.request)

    @property
    def notes(self) -> tuple[str, ...]:
        """What belongs to a cost beside its number: the kernel that a library chose for the attention, here and now."""
        if self.backend is None:
            return ()
        kernels = {self.backend.kernel(problem) for problem in set(self.problems)} - {""}
        return (f"attention by torch's kernel: {', '.join(sorted(kernels))}",) if kernels else ()

    @property
    def has_weights(self) -> bool:
        """False where a restoration would come from an untrained network."""
        return missing(self.cell) is None

    @cached_property
    def network(self) -> nn.Module:
        """The network with the cell's own backend."""
        if self.backend is None:
            return self.build(attend=None, forms=frozenset())
        return self.build(attend=self.backend.load(), forms=self.backend.forms(needs_grad=self.request.needs_grad))

    def build(self, *, attend: Attend | None, forms: frozenset[Form]) -> nn.Module:
        """Build the network around any attention; without weights it is random, the same for every backend."""
        torch.manual_seed(self.cell.seed)
        network = self.model.build(self.request, attend=attend, forms=forms)
        match card_of(self.cell):
            case Card() as card:
                restore(network, card.file, sha256=card.sha256)
            case Own() as own:
                restore(network, own.file, sha256=own.sha256)
            case Foreign() as found:
                self.model.read(network, found.file)
        return network.eval().to(self.cell.device, getattr(torch, self.cell.dtype))

    @cached_property
    def input(self) -> Tensor:
        """`batch` copies of the first degraded image, `B x C x h x w`: what cost is measured on."""
        return self._tensor(self.pairs[0]).expand(self.cell.batch, -1, -1, -1).contiguous()

    @torch.inference_mode()
    def run(self) -> Tensor:
        """One forward pass on `input`."""
        restored: Tensor = self.network(self.input)
        return restored

    @cached_property
    def restored(self) -> Mapping[str, Float32[np.ndarray, "H W C"]]:
        """Image name to restoration, not clipped. Raises `ValueError` without weights."""
        reason = missing(self.cell)
        if reason is not None:
            raise ValueError(f"cell {self.cell.id} restores nothing: {reason}")
        restore = restorer(self.network, self.cell, scale=self.task.scale(self.setting))
        with torch.inference_mode():
            return {
                pair.name: restore(self._tensor(pair))[0].permute(1, 2, 0).float().cpu().numpy() for pair in self.pairs
            }

    def _pair(self, image: datasets.Image) -> Pair:
        target = self.task.prepare_target(image.pixels, self.setting)
        if image.degraded is not None:
            degraded = units(self.task.prepare_target(image.degraded, self.setting))
        else:
            randomness = generator(self.cell.seed, image.name)
            degraded = self.task.degrade(target, self.task.draw(self.setting, randomness), randomness)
        return Pair(image.name, degraded, units(target), bits_of(target))

    def _tensor(self, pair: Pair) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(pair.degraded)).permute(2, 0, 1)[None]
        return image.to(self.cell.device, getattr(torch, self.cell.dtype))


def prepare(cell: Cell, timing: Timing) -> Trial:
    """Bring a cell to life."""
    return Trial(cell, timing)
