from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.catalog import Catalog, UnknownName, suggest
from harness.catalogs import BACKENDS, METRICS, MODELS, TASKS


@pytest.mark.parametrize("catalog", [BACKENDS, METRICS, MODELS, TASKS], ids=lambda catalog: catalog.kind)
def test_everything_in_a_catalog_has_one_line_about_itself(catalog: Catalog) -> None:
    assert catalog.names() == sorted(catalog.names())
    for name in catalog:
        summary = catalog[name].summary
        assert summary
        assert "\n" not in summary


def test_a_wrong_name_is_answered_with_the_nearest_and_with_all() -> None:
    with pytest.raises(UnknownName) as caught:
        BACKENDS["tritan"]
    message = str(caught.value)
    assert message.startswith("no backend 'tritan'. Did you mean 'triton'? It has: ")
    assert "gather, mask, sdpa, triton" in message


def test_a_name_that_is_near_nothing_gets_no_suggestion() -> None:
    assert suggest("qqqqqq", ["mask", "gather"]) == ""


def test_asking_for_one_name_imports_no_other() -> None:
    code = (
        "import sys; from harness.catalogs import METRICS; METRICS['psnr']; METRICS.names();"
        "print([m for m in sys.modules if m.startswith('harness.metrics.')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['harness.metrics.psnr']"


def test_a_catalog_of_nothing_says_which_package_is_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package"):
        Catalog("no_such_package.metrics", "METRIC", kind="metric").names()


PLUGINS = {
    "backends": (
        "'first_key'",
        """
        from semanir.attention.problem import Backend, dense_flops
        BACKEND = Backend(
            summary="as mask, from elsewhere", module="semanir.attention.backends.mask.attend",
            needs=frozenset({"additive"}), unsupported=lambda problem: None, flops=dense_flops,
            extra_bytes=lambda problem: 0,
        )
        """,
    ),
    "tasks": (
        "'darken'",
        """
        import numpy as np
        from harness.protocol import Protocol
        from harness.task import Task
        TASK = Task(
            summary="half the light", defaults={"stops": 1.0}, rules={"stops": (0.0, 4.0)},
            channels=lambda setting: 3, scale=lambda setting: 1,
            protocol=lambda setting: Protocol(channel="rgb"),
            prepare_target=lambda image, setting: image if image.shape[2] == 3 else image.repeat(3, axis=2),
            degrade=lambda target, setting, randomness: (target / 255 / 2 ** setting["stops"]).astype(np.float32),
        )
        """,
    ),
    "models": (
        "'echo'",
        """
        from torch import nn
        from semanir.model import Model
        MODEL = Model(
            summary="gives its input back", module="plugin_models", configurations=("",), uses=frozenset(),
            unsupported=lambda request: None, problems=lambda request: (), flops=lambda request: {},
            parameters=lambda request: 0,
        )
        def build(request, attend, forms):
            return nn.Identity()
        """,
    ),
    "metrics": (
        "'brightness'",
        """
        from harness.metric import Metric, Reading
        from harness.record import Measurement
        def measure(trial):
            values = tuple(float(pair.degraded.mean()) for pair in trial.pairs)
            return Reading(measurements=(Measurement(name="brightness", unit="1", samples=values),))
        METRIC = Metric(summary="mean of the degraded image", unit="1", better="neither", measure=measure)
        """,
    ),
    "pages": (
        "'plain'",
        """
        from reports.document import Document
        def build(records, plan, **options):
            return Document(title=plan.question, sections=())
        """,
    ),
}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A distribution outside the tree with one new thing of each kind, a file each."""
    import textwrap

    lines = []
    for kind, (name, source) in PLUGINS.items():
        (tmp_path / f"plugin_{kind}.py").write_text(textwrap.dedent(source))
        lines += [f"[semanir_bench.{kind}]", f"{name.strip(chr(39))} = plugin_{kind}", ""]
    info = tmp_path / "semanir_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: semanir-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def test_a_backend_task_model_metric_and_page_are_added_by_one_file_each(plugin: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "question: does a plug-in work?\n"
        "axes: {model: [semanir/nano, echo], task: darken, dataset: bundled, backend: first_key, top_k: 4,\n"
        "  window: 4, image_size: 16, images: 1}\n"
        "metrics: [brightness, agreement, degraded]\n"
    )
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from harness.plan import expand\n"
        "from harness.runner import run\n"
        "from harness.spec import load\n"
        "from harness.store import ResultStore\n"
        "from reports.publish import publish\n"
        "with ResultStore.open(Path('store')) as store:\n"
        "    summary = run(expand(load('spec.yaml')), store)\n"
        "    assert (summary.measured, summary.failed) == (5, 0), summary\n"
        "    print(publish(store, Path('out.html'), page='plain').read_text())\n"
    )
    import os

    environment = os.environ | {"PYTHONPATH": str(plugin)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "does a plug-in work?" in ran.stdout
