from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import restoration
from harness.catalog import UnknownName
from harness.restoration import PAGE, RestorationError, destinations, make_folder, set_up, weights_for
from semanir.weights import Card, cards

SHIPPED = "denoise-gray-25"


def test_the_task_and_its_default_setting_find_the_shipped_network() -> None:
    assert weights_for("denoise").card.name == SHIPPED
    assert weights_for("denoise", "sigma=25.0").card.name == SHIPPED
    assert weights_for(name=SHIPPED).card.name == SHIPPED


def test_the_only_network_of_a_task_is_taken_where_no_setting_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Card(
        name="pairs", model="semanir/small", task="deblur", setting="kernel=pairs", channels=3, scale=1, sha256=""
    )
    monkeypatch.setattr(restoration, "cards", lambda: {"pairs": made})
    assert weights_for("deblur").card.name == "pairs"
    with pytest.raises(
        RestorationError, match=r"no network ships for deblur kernel=motion,length=9; shipped are: pairs"
    ):
        weights_for("deblur", "kernel=motion,length=9")


def test_a_setting_without_a_network_is_answered_with_those_there_are_and_how_to_train_one() -> None:
    with pytest.raises(RestorationError) as refused:
        weights_for("denoise", "sigma=40")
    said = str(refused.value)
    assert "no network ships for denoise sigma=40" in said
    assert f"{SHIPPED} (denoise sigma=25)" in said
    assert "semanir-bench train denoise --set setting=sigma=40" in said


def test_the_training_that_an_error_proposes_is_a_valid_one() -> None:
    from harness.training.spec import load

    spec = Path(restoration.__file__).parents[1] / "experiments" / "train" / "denoise.yaml"
    assert load(spec, ["setting=sigma=40"]).setting == ("sigma=40",)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"name a task with --task, or weights with --weights; shipped are: .*denoise-gray-25"),
        ({"task": "denoise", "setting": "sigma=hot"}, "setting of denoise: sigma: 'hot' is no number"),
        ({"task": "jpeg", "setting": "sigma=25"}, "setting of jpeg: unknown key 'sigma'"),
        ({"name": "denoise-grey-25"}, r"no weights of this name\. Did you mean 'denoise-gray-25'\?"),
        ({"name": "mine.safetensors"}, r"there is no file mine\.safetensors"),
        ({"name": SHIPPED, "setting": "sigma=15"}, "trained for denoise sigma=25, not for denoise sigma=15; leave"),
        ({"name": SHIPPED, "task": "jpeg"}, "trained for denoise sigma=25, not for jpeg; leave"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused_with_the_remedy(asked: dict[str, str], said: str) -> None:
    with pytest.raises(RestorationError, match=said):
        weights_for(**asked)


def test_a_task_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'denoise'"):
        weights_for("denoize")


def test_weights_of_ones_own_need_their_card(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"")
    with pytest.raises(RestorationError, match=r"there is no file .*mine\.json"):
        weights_for(name=str(file))
    card: dict[str, Any] = json.loads(cards()[SHIPPED].file.with_suffix(".json").read_text())
    wrong: tuple[Mapping[str, Any], ...] = (
        {"a": 1},
        card | {"task": "dehaze"},
        card | {"model": "x"},
        card | {"scale": 2},
    )
    for content in wrong:
        file.with_suffix(".json").write_text(json.dumps(content))
        with pytest.raises(RestorationError, match=r"mine\.json: is no card of weights"):
            weights_for(name=str(file))
    file.with_suffix(".json").write_text(json.dumps(card))
    assert weights_for(name=str(file)).file == file
    assert weights_for(name=str(file.with_suffix(".json"))).file == file


def test_window_and_k_are_those_of_the_card_unless_others_are_given() -> None:
    weights = weights_for("denoise")
    own = set_up(weights, backend="mask")
    assert (own.window, own.top_k) == (8, 16)
    assert (own.request.window, own.request.top_k, own.request.channels) == (8, 16, 1)
    other = set_up(weights, backend="mask", window=16, top_k=100)
    assert (other.window, other.top_k) == (16, 100)
    assert other.words == f"{SHIPPED}: semanir/small for denoise sigma=25, window 16, k 100, attention by mask"


def test_tiles_grow_with_wide_windows() -> None:
    weights = weights_for("denoise")
    sides = [set_up(weights, backend="mask", window=window).tile for window in (8, 128)]
    assert sides == [512, 512]
    assert set_up(weights, backend="mask", window=256).tile == 1024


def test_a_k_that_its_window_cannot_hold_is_refused() -> None:
    with pytest.raises(RestorationError, match=r"k 100 exceeds the 64 tokens of window 8; write --top-k 64 or less"):
        set_up(weights_for("denoise"), backend="mask", top_k=100)


def test_a_backend_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mask'"):
        set_up(weights_for("denoise"), backend="mass")


def test_pictures_are_written_by_their_names() -> None:
    assert destinations([Path("x/a.jpg"), Path("y/b.tif")], Path("out")) == (Path("out/a.png"), Path("out/b.png"))


@pytest.mark.parametrize("other", ["y/a.png", "x/a.png", "x/A.jpg"])
def test_two_pictures_never_become_one_file(other: str) -> None:
    with pytest.raises(RestorationError, match=r"x/a\.jpg and .* would both become out/"):
        destinations([Path("x/a.jpg"), Path(other)], Path("out"), force=True)


@pytest.mark.parametrize("present", ["a.png", PAGE])
def test_nothing_is_replaced_without_force(tmp_path: Path, present: str) -> None:
    (tmp_path / present).write_text("mine")
    with pytest.raises(
        RestorationError, match=rf"{present} would be replaced; choose another folder with -o, or add --force"
    ):
        destinations([Path("x/a.jpg")], tmp_path)
    assert destinations([Path("x/a.jpg")], tmp_path, force=True) == (tmp_path / "a.png",)


def test_a_picture_is_never_replaced_by_its_own_restoration(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(RestorationError, match="would replace the picture that it is made of"):
        destinations([tmp_path / "a.png"], tmp_path, force=True)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RestorationError, match="cannot be written to"):
            make_folder(folder)
    make_folder(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())
