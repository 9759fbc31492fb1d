"""Runs a spec and kills itself, or its worker, at the chosen moments: `kill_driver.py SPEC STORE VICTIM PHASE N...`.

Every N-th event of the phase is answered with SIGKILL. Prints the pid of each worker as it starts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from harness.executors.local import Measuring, WorkerStarting
from harness.plan import expand
from harness.runner import Committing, Event, Exporting, run
from harness.spec import load
from harness.store import ResultStore

PHASES = {"import": WorkerStarting, "measuring": Measuring, "commit": Committing, "export": Exporting}


class Killer:
    def __init__(self, victim: str, phase: str, moments: set[int]) -> None:
        self.victim = victim
        self.phase = PHASES.get(phase)
        self.moments = moments
        self.seen = 0
        self.worker = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, WorkerStarting):
            self.worker = event.pid
            print(event.pid, flush=True)
        if self.phase is not None and isinstance(event, self.phase):
            self.seen += 1
            if self.seen in self.moments:
                victim = os.getpid() if self.victim == "runner" else self.worker
                # A measurement lasts: half of them are met a little later, in its midst.
                delay = 0.02 * self.seen if isinstance(event, Measuring) and self.seen % 2 else 0.0
                threading.Timer(delay, os.kill, [victim, signal.SIGKILL]).start() if delay else os.kill(
                    victim, signal.SIGKILL
                )


if __name__ == "__main__":
    spec, folder, victim, phase, *moments = sys.argv[1:]
    with ResultStore.open(Path(folder)) as store:
        run(expand(load(spec)), store, listener=Killer(victim, phase, set(map(int, moments))))
