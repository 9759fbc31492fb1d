"""The state of a GPU while it is timed, as its driver reports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType

import torch

from semanir.attention.problem import DeviceKind

UNITS: Mapping[str, str] = {
    "sm_clock": "MHz",
    "memory_clock": "MHz",
    "temperature": "°C",
    "power": "W",
    "throttle": "NVML bits",
}
"""What is read; measurements `device.<name>` hold a sample a block."""


def reader(device: DeviceKind) -> Callable[[], Mapping[str, float]]:
    """Return a function that reads the device's state; it reads nothing on a CPU, or where nvidia-ml-py is missing."""
    if device != "cuda":
        return dict
    try:
        import pynvml
    except ModuleNotFoundError:
        return dict
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return lambda: _read(pynvml, handle)
    return dict


def _read(nvml: ModuleType, handle: object) -> Mapping[str, float]:
    # A driver may refuse one of these (a virtual GPU): then the block goes without.
    with suppress(nvml.NVMLError):
        return {
            "sm_clock": float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "memory_clock": float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            "temperature": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "power": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "throttle": float(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        }
    return {}
