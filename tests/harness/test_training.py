from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.datasets import DatasetError
from harness.training import Recipe, Step, fit, read_folder, ship
from semanir.checkpoints import restore
from semanir.weights import Card

RECIPE = Recipe(
    model="semanir/nano",
    steps=60,
    batch=4,
    crop=16,
    learning_rate=3e-3,
    top_k={4: (2, 8), 8: (4,)},
    window_odds={4: 0.5, 8: 0.5},
)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    from harness import datasets

    return [image.pixels for image in datasets.load("bundled", images=2, image_size=96)]


def losses_of(recipe: Recipe, images: list[np.ndarray]) -> tuple[torch.nn.Module, list[float]]:
    steps: list[Step] = []
    network = fit(recipe, images, report=steps.append)
    assert [step.number for step in steps] == list(range(1, recipe.steps + 1))
    return network, [step.loss for step in steps]


def test_training_lowers_the_loss_and_ships_weights_that_load_again(images: list[np.ndarray], tmp_path: Path) -> None:
    network, losses = losses_of(RECIPE, images)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])

    card = ship(RECIPE, network, name="tiny", folder=tmp_path, minutes=0.1, data="photographs", licence="none")
    read = Card(**json.loads(card.read_text()))
    assert (read.name, read.model, read.task, read.setting) == ("tiny", "semanir/nano", "denoise", "sigma=25")
    again = losses_of(replace(RECIPE, steps=1), images)[0]
    restore(again, tmp_path / "tiny.safetensors", sha256=read.sha256)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_a_seed_decides_the_weights(images: list[np.ndarray]) -> None:
    short = replace(RECIPE, steps=3)
    first, again, other = (losses_of(replace(short, seed=seed), images)[1] for seed in (0, 0, 1))
    assert first == again != other


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_step(images: list[np.ndarray]) -> None:
    with pytest.raises(FloatingPointError, match=r"step \d+: the loss is"):
        losses_of(replace(RECIPE, learning_rate=1e12), images)


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no images to train on"):
        read_folder(tmp_path)
    with pytest.raises(DatasetError, match="there is no such folder"):
        read_folder(tmp_path / "gone")
