"""Weights that a person trained: found by name, compared with their card, and refused in words that name no folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import restoration
from harness.catalogs import BACKENDS, MODELS
from harness.environment import without_folders
from harness.plan import expand, request_for
from harness.record import Cell, Timing
from harness.sources import source_digest
from harness.spec import ExperimentSpec, SpecError, load
from harness.trial import prepare
from harness.weights import TRAINED, Own, card_of, missing, own_names
from semanir import checkpoints
from semanir.weights import cards

SHIPPED = "denoise-gray-25"


def cell(**axes: object) -> Cell:
    network = {"model": "semanir/nano", "weights": "mine-s0", "backend": "mask", "top_k": 4, "window": 4}
    image = {"task": "denoise", "dataset": "bundled", "setting": "sigma=25", "images": 1, "image_size": 16}
    return Cell.model_validate(network | image | axes)


def network(seed: int, model: str = "semanir/nano") -> torch.nn.Module:
    torch.manual_seed(seed)
    family = MODELS[model.partition("/")[0]]
    made = family.build(request_for(cell(model=model)), attend=BACKENDS["mask"].load(), forms=frozenset({"additive"}))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def write(folder: Path, name: str = "mine-s0", *, seed: int = 0, **changes: object) -> Path:
    """Write what a training leaves, and return the card."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = checkpoints.save(network(seed), folder / f"{name}.safetensors")
    card = {"name": name, "model": "semanir/nano", "task": "denoise", "setting": "sigma=25", "channels": 1, "scale": 1,
            "sha256": digest, "training": {"recipe": {"sharing": "layer", "similarity": None}}}  # fmt: skip
    file = folder / f"{name}.json"
    file.write_text(json.dumps(card | changes))
    return file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that commands are started in; `data` below it is the data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path / "data"))
    return tmp_path


def kept(here: Path) -> Path:
    return here / "data" / "weights"


def left(here: Path, name: str = "mine-s0") -> Path:
    """Where `train` leaves weights."""
    return here / TRAINED / name


def found() -> Own:
    weights = card_of(cell())
    assert isinstance(weights, Own)
    return weights


def test_they_are_found_where_they_are_kept_and_where_a_training_leaves_them(here: Path) -> None:
    assert card_of(cell()) is None
    write(left(here), seed=1)
    assert found().file.resolve() == left(here) / "mine-s0.safetensors"
    write(kept(here), seed=2)
    assert found().file == kept(here) / "mine-s0.safetensors"
    assert missing(cell()) is None
    assert own_names() == ["mine-s0"]


def test_a_cell_restores_with_them(here: Path) -> None:
    write(left(here), seed=3)
    state = prepare(cell(), Timing()).network.state_dict()
    for name, value in network(3).state_dict().items():
        assert torch.equal(state[name], value.half().float())


def test_a_name_that_ships_is_never_another_s(here: Path) -> None:
    for folder in (kept(here), left(here, SHIPPED)):
        write(folder, SHIPPED)
    asked = cell(model="semanir/small", weights=SHIPPED)
    assert card_of(asked) == cards()[SHIPPED]
    assert missing(cell(weights=SHIPPED)) == f"weights '{SHIPPED}' belong to semanir/small for denoise"


def test_weights_of_another_model_or_task_are_no_weights_of_a_cell(here: Path) -> None:
    write(kept(here))
    assert missing(cell(model="semanir/small")) == "weights 'mine-s0' belong to semanir/nano for denoise"
    assert card_of(cell(task="jpeg", setting="quality=10")) is None


def test_weights_that_are_trained_again_count_at_once_and_are_another_source(here: Path) -> None:
    """Plans and digests of one process look again: a training may have ended meanwhile."""
    none = source_digest(cell(), "psnr")
    write(left(here), seed=1)
    one = source_digest(cell(), "psnr")
    write(left(here), seed=2)
    two = source_digest(cell(), "psnr")
    assert len({none, one, two}) == 3
    write(left(here), seed=1)
    assert source_digest(cell(), "psnr") == one


DAMAGES: Mapping[str, tuple[str, str]] = {
    "no JSON": ("{", "mine-s0.json in {place} is no card of weights (Expecting"),
    "no card": ("[]", "mine-s0.json in {place} is no card of weights ("),
    "a key too many": ('{"a": 1}', "mine-s0.json in {place} is no card of weights ("),
    "another content": (
        "",
        "mine-s0.safetensors in {place} is not what its card describes (its sha256 is {digest}",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", ["$SEMANIR_DATA/weights", "results/training/mine-s0"])
def test_what_cannot_be_used_is_a_reason_that_names_no_folder_of_this_machine(
    here: Path, damage: str, place: str
) -> None:
    (text, reason), digest = DAMAGES[damage], ""
    card = write(kept(here) if place.startswith("$") else left(here))
    if text:
        card.write_text(text)
    else:
        content: dict[str, Any] = json.loads(card.read_text())
        card.write_text(json.dumps(content | {"sha256": "f" * 64}))
        digest = content["sha256"][:12]
    said = str(missing(cell()))
    assert said.startswith(reason.format(place=place, digest=digest))
    assert said.endswith("; copy both files as `semanir-bench train` wrote them, or train again")
    assert str(here) not in said
    assert card_of(cell()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "semanir/tiny"}, "no configuration 'tiny' of semanir"),
        ({"task": "dehaze"}, "no task 'dehaze'"),
        ({"channels": 3}, "channels 3 and scale 1 are not those of sigma=25"),
        ({"training": []}, "it, or its 'training', is no mapping"),
    ],
)
def test_a_card_that_says_what_cannot_be_is_none(here: Path, changes: dict[str, object], reason: str) -> None:
    write(kept(here), **changes)
    assert f"is no card of weights ({reason}" in str(missing(cell()))


def test_a_card_without_its_weights_is_a_reason(here: Path) -> None:
    write(left(here)).with_suffix(".safetensors").unlink()
    assert str(missing(cell())).startswith("mine-s0.json in results/training/mine-s0 has no mine-s0.safetensors beside")


def test_weights_that_change_behind_a_plan_are_refused_when_they_are_loaded(here: Path) -> None:
    """A file of the same time is not read again for the plan; the load compares what it reads."""
    file = write(kept(here)).with_suffix(".safetensors")
    trial, before = prepare(cell(), Timing()), file.stat()
    assert missing(cell()) is None
    file.write_bytes(file.read_bytes()[:-4] + b"\1\2\3\4")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(checkpoints.CheckpointError, match=r"its sha256 is .* your own from where") as raised:
        _ = trial.network
    kept_in_a_record = without_folders(str(raised.value))
    assert kept_in_a_record.startswith("$SEMANIR_DATA/weights/mine-s0.safetensors: ")
    assert str(here) not in kept_in_a_record


@pytest.mark.parametrize("name", ["../mine-s0", "a/../mine-s0", "mine-s0/", "Mine-s0", ".mine", "mine s0"])
def test_only_a_name_is_looked_for(here: Path, name: str) -> None:
    write(kept(here))
    write(here / "data", "mine-s0")
    assert card_of(cell(weights=name)) is None


# specs and plans


@pytest.fixture
def spec(here: Path):
    def build(*overrides: str, awaited: str = "") -> ExperimentSpec:
        path = here / "spec.yaml"
        path.write_text(
            "question: Which weights?\n"
            "axes: {model: semanir/nano, task: denoise, dataset: bundled, backend: mask, weights: mine-s0, images: 1}\n"
            f"metrics: [psnr, degraded]\n{awaited}"
        )
        return load(path, overrides)

    return build


def test_a_spec_may_name_what_is_here_or_awaited_and_nothing_else(here: Path, spec) -> None:
    with pytest.raises(SpecError, match="no weights named 'mine-s0'"):
        spec()
    assert spec(awaited="awaited: mine-s0\n").values("weights") == ("mine-s0",)
    write(left(here))
    assert spec().values("weights") == ("mine-s0",)
    with pytest.raises(
        SpecError, match=r"no weights named 'mine-s1'\. Did you mean 'mine-s0'\? It has: none, shipped, .*mine"
    ):
        spec("axes.weights=mine-s1")


def test_a_plan_skips_awaited_weights_with_a_reason_and_runs_them_once_they_are_here(here: Path, spec) -> None:
    wanted = spec(awaited="awaited: [mine-s0]\n")
    plan = expand(wanted)
    assert [planned.metrics for planned in plan.cells] == [("degraded",)]
    assert [(skip.metric, skip.reason) for skip in plan.skipped] == [
        (
            "psnr",
            "no weights named 'mine-s0' yet: awaited from `semanir-bench train`, in results/training or in "
            "$SEMANIR_DATA/weights.",
        )
    ]
    file = write(left(here))
    assert [planned.metrics for planned in expand(wanted).cells] == [("psnr", "degraded")]
    file.write_text("{")
    [skip] = expand(wanted).skipped
    assert "mine-s0.json in results/training/mine-s0 is no card of weights" in skip.reason


# restore


def test_pictures_are_restored_with_them_by_name_and_as_they_were_trained(here: Path) -> None:
    write(kept(here))
    weights = restoration.weights_for(name="mine-s0")
    assert weights.file == kept(here) / "mine-s0.safetensors"
    request = restoration.set_up(weights, backend="mask", window=4, top_k=4).request
    assert (request.sharing, request.similarity) == ("layer", None)
    write(kept(here), channels=3)
    with pytest.raises(
        restoration.RestorationError, match=r"--weights mine-s0: mine-s0\.json in \$SEMANIR_DATA/weights is"
    ):
        restoration.weights_for(name="mine-s0")
