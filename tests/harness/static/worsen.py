"""Compiles two launches as they are, then spoiled, and prints both lists; needs a process without the interpreter."""

import json
from dataclasses import replace

from harness.static.cost import TARGETS
from harness.static.launches import record
from harness.static.worker import compiled

TARGET = TARGETS["sm_90"]


def with_option(specialization: str, name: str, value: object) -> str:
    """Set one option of the compiler."""
    described = json.loads(specialization)
    return json.dumps(described | {"options": described["options"] | {name: value}})


launches = {launch.name: launch for launch in record(TARGET.capability)}
tight = launches["gradient_of_keys/N=64 bf16 bias"]
exact = launches["forward/N=1024 fp32 bias"]
spoiled = [
    replace(tight, specialization=with_option(tight.specialization, "maxnreg", 64)),
    replace(exact, specialization=exact.specialization.replace('"tf32x3"', '"ieee"')),
]
for chosen in ([tight, exact], spoiled):
    print(json.dumps([compiled(place, launch, TARGET).model_dump() for place, launch in enumerate(chosen)]))
