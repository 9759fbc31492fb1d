"""Where a training computes: one process, or as many as `torchrun` started, on the accelerator or the CPU."""

from __future__ import annotations

import os
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

Precision = Literal["bf16-mixed", "32-true"]


class WrongProcesses(ValueError):
    """A batch that the processes cannot share evenly."""


class Autocast(MixedPrecision):
    """Mixed precision that leaves the input as it is: a network that adds its input must not add a rounded one."""

    def convert_input(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data


def decided(precision: Precision | Literal["auto"]) -> Precision:
    """Return what `auto` means here: bf16 where the processor multiplies it natively, else float32.

    A CPU without such instructions runs bf16 convolutions and products in plain loops, far slower than float32.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32-true"


def connect(precision: Precision) -> Fabric:
    """Return the processes of this training, joined. One process needs no launcher, several come from `torchrun`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    launched = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    processes, here = (int(os.environ[key]) if launched else 1 for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=processes // here,
        strategy="ddp" if processes > 1 else "auto",
        plugins=Autocast("bf16-mixed", device) if precision == "bf16-mixed" else None,
    )
    fabric.launch()
    return fabric


def disconnect(fabric: Fabric) -> None:
    """Part in order: a process that ends while another still talks to it can be aborted."""
    fabric.barrier()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def share(batch: int, fabric: Fabric) -> range:
    """Return the places of a batch that this process makes. Raises `WrongProcesses` for a batch that has a rest."""
    if batch % fabric.world_size:
        raise WrongProcesses(
            f"a batch of {batch} patches cannot be shared by {fabric.world_size} processes; take a multiple"
        )
    each = batch // fabric.world_size
    return range(fabric.global_rank * each, (fabric.global_rank + 1) * each)
