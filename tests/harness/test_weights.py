from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.catalogs import MODELS, TASKS
from harness.plan import request_for
from harness.record import Cell, Timing
from harness.sources import source_digest
from harness.trial import prepare
from harness.weights import Foreign, card_of, missing
from semanir.weights import Card

DENOISE = {"model": "dncnn/S", "task": "denoise", "dataset": "bundled", "setting": "sigma=25", "images": 1}


def cell(**axes: object) -> Cell:
    return Cell(**({**DENOISE, "image_size": 16, "weights": "DnCNN-S/net.pth"} | axes))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of third parties' weights, with a random network in it."""
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    folder = tmp_path / "weights" / "DnCNN-S"
    folder.mkdir(parents=True)
    write(folder / "net.pth", seed=0)
    return folder


def write(file: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    network = MODELS["dncnn"].build(request_for(cell()), attend=None, forms=frozenset())
    torch.save(network.state_dict(), file)


def test_a_path_names_a_file_below_the_data_root(folder: Path) -> None:
    found = card_of(cell())
    assert isinstance(found, Foreign)
    assert (found.name, found.file) == ("DnCNN-S/net.pth", folder / "net.pth")
    assert missing(cell()) is None


def test_a_cell_restores_with_the_weights_of_the_file(folder: Path) -> None:
    trial = prepare(cell(seed=5), Timing())
    torch.manual_seed(0)
    network = MODELS["dncnn"].build(trial.request, attend=None, forms=frozenset()).eval()
    with torch.inference_mode():
        expected = network(trial.input)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(next(iter(trial.restored.values())), expected)


def test_other_content_under_the_same_name_is_another_source(folder: Path) -> None:
    before = source_digest(cell(), "psnr")
    write(folder / "net.pth", seed=1)
    assert source_digest(cell(seed=1), "psnr") != before  # digests are kept for a process by cell
    assert source_digest(cell(seed=1), "psnr") == source_digest(cell(seed=2), "psnr")


def test_a_missing_file_is_a_reason_that_says_where_it_is_looked_for(folder: Path) -> None:
    asked = cell(weights="DnCNN-S/nett.pth")
    assert card_of(asked) is None
    assert missing(asked) == (
        "no file 'DnCNN-S/nett.pth': it is looked for in $SEMANIR_DATA/weights, else in the user's data directory. "
        "Did you mean 'DnCNN-S/net.pth'?"
    )
    assert str(folder) not in str(missing(asked))


def test_without_any_data_the_reason_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path / "nowhere"))
    assert str(missing(cell())).startswith("no file 'DnCNN-S/net.pth': it is looked for in ")


@pytest.mark.parametrize("name", ["../secret.pth", "/etc/secret.pth", "DnCNN-S/../../secret.pth"])
def test_a_path_that_leads_out_of_the_folder_is_refused(name: str, folder: Path) -> None:
    (folder.parents[1] / "secret.pth").write_bytes(b"")
    asked = cell(weights=name)
    assert card_of(asked) is None
    assert "lead out of the data root's folder 'weights'" in str(missing(asked))


def test_a_file_that_the_model_cannot_read_is_a_reason(folder: Path) -> None:
    (folder / "net.bin").write_bytes(b"")
    assert missing(cell(weights="DnCNN-S/net.bin")) == "dncnn reads .mat and .pth files; 'DnCNN-S/net.bin' is none"
    asked = cell(model="semanir/small", backend="sdpa")
    assert "semanir reads no weights of third parties" in str(missing(asked))


def test_a_matlab_file_without_h5py_is_a_reason_that_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "net.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: TEST")
    (folder / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: TEST")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "h5py" else find(name))
    assert "pip install 'semanir-bench[foreign]'" in str(missing(cell(weights="DnCNN-S/net.mat")))
    assert missing(cell(weights="DnCNN-S/old.mat")) is None


def test_names_of_our_own_mean_what_they_meant() -> None:
    own = {"model": "semanir/small", "backend": "sdpa"}
    assert isinstance(card_of(cell(**own, weights="shipped")), Card)
    assert isinstance(card_of(cell(**own, weights="denoise-gray-25")), Card)
    assert missing(cell(**own, weights="shipped", setting="sigma=50")) == "no weights"
    assert missing(cell(**own, weights="none")) == "no weights"
    assert "belong to semanir/small for denoise" in str(missing(cell(weights="denoise-gray-25")))
    assert "Did you mean 'denoise-gray-25'?" in str(missing(cell(**own, weights="denoise-grey-25")))


def test_a_model_without_weights_needs_none() -> None:
    assert missing(cell(model="identity", weights="none")) is None


def test_only_an_uninterpolated_mosaic_is_handed_over_as_one() -> None:
    mosaic = {"model": "malvar", "task": "demosaic", "weights": "none"}
    assert request_for(cell(**mosaic, setting="pattern=rggb,interpolation=none")).holds == "mosaic"
    assert request_for(cell(**mosaic, setting="pattern=rggb")).holds == "image"
    for task in TASKS.names():
        assert TASKS[task].holds(TASKS[task].defaults) == "image"
