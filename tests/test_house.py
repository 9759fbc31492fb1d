"""What holds for the repository as a whole."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import archive
from reports.publish import publish_figures

ROOT = Path(__file__).parents[1]
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".svg", ".pdf", ".html"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_committed_pictures_and_reports_show_bundled_photographs_only() -> None:
    """Each one is listed with the datasets that its store held, and is still the file that was listed."""
    listed = json.loads((ROOT / "docs" / "pictures.json").read_text())
    found = {path.name: path for path in tracked() if path.suffix.lower() in PICTURES}
    assert found.keys() == listed.keys()
    for name, path in found.items():
        assert "figure_of" in listed[name] or listed[name]["datasets"] == ["bundled"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name]["sha256"]


def test_figures_of_the_readme_are_what_their_records_say(tmp_path: Path) -> None:
    listed = json.loads((ROOT / "docs" / "pictures.json").read_text())
    figures = {name: origin["figure_of"] for name, origin in listed.items() if "figure_of" in origin}
    assert figures
    for name, source in figures.items():
        records = archive.read(ROOT / source)
        publish_figures(records, tmp_path, form="svg", venue="cvpr", wide=True, only=Path(name).stem)
        for file in (Path(name).with_suffix(end) for end in (".svg", ".csv", ".txt")):
            said = f"docs/{file}: run `nox -s answers` and commit what it writes"
            assert (tmp_path / file).read_bytes() == (ROOT / "docs" / file).read_bytes(), said
            assert name in (ROOT / "README.md").read_text()


def test_no_large_file_is_committed() -> None:
    assert [path.name for path in tracked() if path.stat().st_size > 1.5 * 2**20] == []


def test_the_readme_names_commands_and_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    from harness.cli import app

    known = {command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"^semanir-bench ([a-z-]+)", text, re.MULTILINE)) <= known
    ci = (ROOT / ".ci" / "run").read_text()
    (tests,) = re.findall(r"^(python3 .*nox -s tests)", text, re.MULTILINE)
    assert tests in ci, "CI runs exactly the README's test command"


def test_workflows_give_commands_options_that_exist() -> None:
    from ruamel.yaml import YAML
    from typer.main import get_command

    from harness.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    found = 0
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        steps = [step for job in YAML(typ="safe").load(path)["jobs"].values() for step in job["steps"]]
        for name, rest in re.findall(r"semanir-bench ([a-z-]+)(.*)", "\n".join(step.get("run", "") for step in steps)):
            known = {option for each in commands[name].params for option in each.opts}
            assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", re.sub(r"\$\(.*?\)", "", rest))) <= known, path.name
            found += 1
    assert found >= 2


@pytest.mark.parametrize(
    "module", ["harness.plan", "harness.store", "harness.runner", "harness.overview", "reports.publish", "harness.cli"]
)
def test_what_plans_stores_and_reports_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'triton'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_no_model_metric_or_task_names_a_backend() -> None:
    """The ablated thing must not hide in the fixed thing: backends are named in specs, tests and the trainer."""
    from harness.catalogs import BACKENDS

    names = "|".join(BACKENDS.names())
    quoted = re.compile(rf"""["']({names})["']""")
    rooms = [ROOT / "semanir" / "models", ROOT / "harness" / "metrics", ROOT / "harness" / "tasks", ROOT / "reports"]
    files = [path for room in rooms for path in room.rglob("*.py")]
    assert len(files) > 20
    assert [str(path) for path in files if quoted.search(path.read_text())] == []
