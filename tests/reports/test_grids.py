"""The qualitative comparison: one scene as each method restores it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from harness.record import Measured, Measurement, Record
from reports.grids import images, scenes
from reports.publish import ReportError, publish_grids
from reports.renderers import plots
from reports.renderers.plots import VENUES
from reports.results import gather
from tests.reports.conftest import Sweep, quickstart, sweep_of


@pytest.fixture(scope="module")
def methods() -> Sweep:
    """Two models, and of one of them two sets of weights, that restore the same photograph."""
    base = quickstart(("denoise",))
    records = []
    for gain, model, weights in (
        (0.0, "dncnn/S", "shipped"),
        (1.0, "semanir/small", "one"),
        (-1.0, "semanir/small", "two"),
    ):
        for found in base.records.values():
            if found.cell.backend != "sdpa" or found.cell.top_k != 16:
                continue
            cell = found.cell.model_copy(update={"model": model, "weights": weights})
            outcome = found.outcome
            if found.metric == "psnr" and isinstance(outcome, Measured):
                first = outcome.measurements[0]
                lifted = first.model_copy(update={"samples": tuple(value + gain for value in first.samples)})
                outcome = Measured(measurements=(Measurement.model_validate(lifted.model_dump()),))
            records.append(found.model_copy(update={"cell": cell, "outcome": outcome}))
    return replace(sweep_of(records), files=base.files)


def test_methods_follow_the_truth_and_the_input_from_the_lowest_psnr_up(methods: Sweep) -> None:
    results = gather(methods.records, methods.plan)
    assert "camera" in images(results)
    found = scenes(results, "camera", names={}, artifact=methods.artifact)
    ((title, scene),) = found.items()
    assert title == "denoise sigma=25 bundled"
    roles = [picture.role for picture in scene.pictures]
    assert roles == ["ground truth", "input", "semanir/small, two", "dncnn/S", "semanir/small, one"]
    numbers = [float(picture.caption.removesuffix(" dB")) for picture in scene.pictures[2:]]
    assert numbers == sorted(numbers)
    assert scene.crop is not None


def test_a_paper_calls_methods_its_own_way(methods: Sweep) -> None:
    results = gather(methods.records, methods.plan)
    names = {"weights": {"one": "Ours"}, "model": {"dncnn/S": "DnCNN"}}
    (scene,) = scenes(results, "camera", names=names, artifact=methods.artifact).values()
    assert [picture.role for picture in scene.pictures][2:] == ["semanir/small, two", "DnCNN", "Ours"]


@pytest.mark.parametrize("wide", [False, True])
def test_equal_pictures_give_equal_bytes_at_the_width_of_the_venue(methods: Sweep, wide: bool) -> None:
    (scene,) = scenes(gather(methods.records, methods.plan), "camera", names={}, artifact=methods.artifact).values()
    drawn = [plots.draw_grid(scene, methods.artifact, form="pdf", venue=VENUES["cvpr"], wide=wide) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert f"{72 * (6.875 if wide else 3.25):g}".encode() in drawn[0][drawn[0].index(b"/MediaBox") :][:60]


def test_a_lost_picture_is_drawn_as_missing_and_a_lost_scene_is_an_error(methods: Sweep) -> None:
    (scene,) = scenes(gather(methods.records, methods.plan), "camera", names={}, artifact=methods.artifact).values()
    lost = scene.pictures[-1].artifact
    drawn = plots.draw_grid(
        scene, lambda name: b"" if name == lost else methods.artifact(name), form="svg", venue=VENUES["ieee"]
    )
    assert drawn.startswith(b"<?xml")
    with pytest.raises(ValueError, match="the picture 'ground truth' is missing from the store"):
        plots.draw_grid(scene, lambda name: b"", form="pdf", venue=VENUES["ieee"])


@pytest.fixture
def store(methods: Sweep, tmp_path: Path) -> Any:
    class Store:
        folder = artifacts = tmp_path

        def plans(self) -> list[Any]:
            return [methods.plan]

        def latest(self, keys: object = None) -> Any:
            return methods.records

        def inputs(self) -> list[Any]:
            return []

    for name, content in methods.files.items():
        (tmp_path / name).write_bytes(content)
    return Store()


def test_a_grid_has_a_table_of_its_pictures(methods: Sweep, store: Any, tmp_path: Path) -> None:
    grid, table = publish_grids(store, tmp_path / "out", image="camera", form="svg", venue="cvpr")
    assert grid.with_suffix(".csv") == table
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["picture"] for row in rows][2:] == ["semanir/small, two", "dncnn/S", "semanir/small, one"]
    cells = {record.cell.id: record.cell for record in methods.records.values()}
    assert [cells[row["cell"]].weights for row in rows][2:] == ["two", "shipped", "one"]
    assert all(row["file"] in methods.files for row in rows)
    assert all(row["PSNR"] in grid.read_text() for row in rows[1:])
    assert len({(row["left"], row["top"], row["right"], row["bottom"]) for row in rows}) == 1


def test_an_image_that_nobody_restored_is_named_with_those_that_are(store: Any, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no restored picture of 'barbara' in example; there are: chelsea, camera"):
        publish_grids(store, tmp_path, image="barbara", form="pdf", venue="cvpr")


def spy(monkeypatch: pytest.MonkeyPatch, method: str, *, argument: int) -> list[str]:
    """Return where one argument is noted of each call of a method of matplotlib's axes."""
    noted: list[str] = []
    real = getattr(Axes, method)

    def noting(axes: Axes, *arguments: Any, **more: Any) -> Any:
        noted.append(arguments[argument])
        return real(axes, *arguments, **more)

    monkeypatch.setattr(Axes, method, noting)
    return noted


@pytest.mark.parametrize("damage", [lambda content: content[:60], lambda content: b"hello"])
def test_a_damaged_picture_is_drawn_as_such_and_a_damaged_scene_is_an_error(
    methods: Sweep, store: Any, tmp_path: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = spy(monkeypatch, "text", argument=2)
    (scene,) = scenes(gather(methods.records, methods.plan), "camera", names={}, artifact=methods.artifact).values()
    truth, lost, broken = scene.pictures[:3]
    (tmp_path / lost.artifact).unlink()
    (tmp_path / broken.artifact).write_bytes(damage(methods.files[broken.artifact]))
    publish_grids(store, tmp_path / "out", image="camera", form="svg", venue="cvpr")
    assert written == ["missing", *["damaged"] * 3], "all methods restored the same"
    (tmp_path / truth.artifact).write_bytes(damage(methods.files[truth.artifact]))
    with pytest.raises(ReportError, match="the picture 'ground truth' cannot be read, for it is damaged"):
        publish_grids(store, tmp_path / "out", image="camera", form="svg", venue="cvpr")


def of_group(methods: Sweep, picture: str, *, weights: tuple[str, ...], **axes: Any) -> list[Record]:
    """Return records of some of the methods on another set of images, whose pictures are called after it."""
    return [
        each.model_copy(
            update={
                "cell": each.cell.model_copy(update=axes),
                "artifacts": {role: f"{picture} {role}" for role in each.artifacts},
            }
        )
        for each in methods.records.values()
        if each.cell.weights in weights
    ]


@pytest.mark.parametrize(
    ("axis", "values", "names"),
    [
        ("image_size", (144, 56), ("image size 144", "image size 56")),
        ("images", (3, None), ("images 3", "images all")),
        ("seed", (0, 7), ("seed 0", "seed 7")),
    ],
)
def test_pictures_of_other_crops_and_noise_are_another_scene(
    methods: Sweep, axis: str, values: tuple[int | None, ...], names: tuple[str, str]
) -> None:
    first = of_group(methods, "one", weights=("one", "shipped"), **{axis: values[0]})
    made = sweep_of([*first, *of_group(methods, "other", weights=("two", "shipped"), **{axis: values[1]})])
    found = scenes(gather(made.records, made.plan), "camera", names={}, artifact=lambda name: b"")
    assert list(found) == [f"denoise sigma=25 bundled ({name})" for name in names]
    for (title, scene), file, method in zip(found.items(), ("one", "other"), ("one", "two"), strict=True):
        assert scene.title == title
        roles = [picture.role for picture in scene.pictures]
        assert sorted(roles[2:]) == ["dncnn/S", "semanir/small"]
        assert {picture.artifact.partition(" ")[0] for picture in scene.pictures} == {file}
        cells = {record.cell.id: record.cell for record in made.records.values()}
        assert {cells[picture.cell].weights for picture in scene.pictures} == {method, "shipped"}


def test_scenes_are_called_by_what_varies_within_their_dataset_alone(methods: Sweep) -> None:
    """Another setting with another size leaves names as they were."""
    other = of_group(methods, "other", weights=("one",), setting="sigma=50", image_size=56)
    made = sweep_of([*methods.records.values(), *other])
    found = scenes(gather(made.records, made.plan), "camera", names={}, artifact=methods.artifact)
    assert list(found) == ["denoise sigma=25 bundled", "denoise sigma=50 bundled"]


def test_grids_of_several_sizes_have_files_of_their_own(methods: Sweep, store: Any, tmp_path: Path) -> None:
    small = [
        each.model_copy(update={"cell": each.cell.model_copy(update={"image_size": 56})})
        for each in methods.records.values()
    ]
    both = sweep_of([*methods.records.values(), *small])
    store.plans = lambda: [both.plan]
    store.latest = lambda keys=None: both.records
    written = publish_grids(store, tmp_path / "out", image="camera", form="pdf", venue="ieee")
    assert [path.name for path in written] == [
        f"example-denoise-sigma-25-bundled-image-size-{size}-camera.{end}"
        for size in (144, 56)
        for end in ("pdf", "csv")
    ]


def test_a_title_that_is_too_long_goes_on_below(methods: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    said = spy(monkeypatch, "set_xlabel", argument=0)
    (scene,) = scenes(gather(methods.records, methods.plan), "camera", names={}, artifact=methods.artifact).values()
    scene = replace(scene, title="denoise sigma=25 bundled (image size 56 · images 2 · seed 0)")
    plots.draw_grid(scene, methods.artifact, form="svg", venue=VENUES["cvpr"])
    plots.draw_grid(replace(scene, title="denoise (seed 0)"), methods.artifact, form="svg", venue=VENUES["cvpr"])
    assert [words for words in said if words.startswith("denoise")] == [
        "denoise sigma=25 bundled\n(image size 56 · images 2 · seed 0)",
        "denoise (seed 0)",
    ]
