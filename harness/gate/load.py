"""What the neighbours did while a sample was taken: read from the kernel before and after, never in between."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.record import Frozen

SLOWED = 0x08 | 0x20 | 0x40 | 0x80
"""NVML bits of a clock held down by heat or by the board: hardware and software slow-down, heat, power brake."""


class Load(Frozen):
    """The machine during one sample. What a kernel does not tell is None."""

    pressure: float | None = None
    """Share of the time in which somebody waited for a processor (PSI, `some`)."""
    steal: float | None = None
    """Share of all processors' time that the host of a virtual machine kept."""
    load_average: float | None = None
    """Of one minute, at the end."""
    throttle: int | None = None
    """NVML bits of why the GPU's clock was held down, before and after joined."""
    sm_clock: int | None = None
    """MHz at the end."""


@dataclass(frozen=True)
class Counters:
    """What the kernel counts."""

    at: float
    pressure_us: float | None
    stolen: float | None
    gpu: Mapping[str, int]


class Meter:
    """Reads the counters of this machine, and of one GPU where its UUID is given and nvidia-ml-py is installed."""

    def __init__(self, gpu: str = "", *, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._nvml, self._handle = _device(gpu)

    def read(self) -> Counters:
        """Return the counters as they are now; takes about 50 us."""
        return Counters(time.monotonic(), self._pressure(), self._stolen(), self._gpu())

    def since(self, before: Counters) -> Load:
        """Return what happened since an earlier reading."""
        now = self.read()
        seconds = max(now.at - before.at, 1e-9)
        bits = before.gpu.get("throttle", 0) | now.gpu.get("throttle", 0)
        return Load(
            pressure=_share(before.pressure_us, now.pressure_us, seconds * 1e6),
            steal=_share(before.stolen, now.stolen, seconds * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)),
            load_average=round(os.getloadavg()[0], 2),
            throttle=bits if now.gpu else None,
            sm_clock=now.gpu.get("sm_clock"),
        )

    def _pressure(self) -> float | None:
        with suppress(OSError):
            if found := re.search(r"^some .*total=(\d+)", (self._proc / "pressure" / "cpu").read_text(), re.MULTILINE):
                return float(found[1])
        return None

    def _stolen(self) -> float | None:
        with suppress(OSError, IndexError, ValueError):
            return float((self._proc / "stat").read_text().partition("\n")[0].split()[8])
        return None

    def _gpu(self) -> Mapping[str, int]:
        if self._nvml is None:
            return {}
        with suppress(self._nvml.NVMLError, AttributeError):  # names change between its versions
            return {
                "throttle": int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)),
                "sm_clock": int(self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM)),
            }
        return {}


def busy_ticks(proc: Path = Path("/proc")) -> dict[int, int]:
    """Return, for each processor, how long it has worked since boot, in ticks; empty where the kernel does not tell."""
    found = {}
    with suppress(OSError):
        for number, fields in re.findall(r"^cpu(\d+) (.*)$", (proc / "stat").read_text(), re.MULTILINE):
            user, nice, system, _idle, _wait, *rest = map(int, fields.split())
            found[int(number)] = user + nice + system + sum(rest[:3])
    return found


def quietest(before: Mapping[int, int], now: Mapping[int, int]) -> int:
    """Return the processor, of those that this process may use, that worked least between two readings."""
    usable = sorted(os.sched_getaffinity(0))
    return min(usable, key=lambda core: now.get(core, 0) - before.get(core, 0))


def _share(before: float | None, now: float | None, whole: float) -> float | None:
    return None if before is None or now is None else round(min((now - before) / whole, 1.0), 4)


def _device(uuid: str) -> tuple[ModuleType | None, object]:
    if not uuid:
        return None, None
    try:
        import pynvml
    except ModuleNotFoundError:
        return None, None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid)
    return None, None
