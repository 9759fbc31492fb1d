"""Everything that can be named in a spec, each kind in its own folder."""

from __future__ import annotations

from harness.catalog import Catalog
from harness.metric import Metric
from harness.task import Task
from semanir.attention.problem import Backend
from semanir.model import Model

BACKENDS: Catalog[Backend] = Catalog("semanir.attention.backends", "BACKEND", kind="backend")
MODELS: Catalog[Model] = Catalog("semanir.models", "MODEL", kind="model")
TASKS: Catalog[Task] = Catalog("harness.tasks", "TASK", kind="task")
METRICS: Catalog[Metric] = Catalog("harness.metrics", "METRIC", kind="metric")
