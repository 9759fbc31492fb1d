"""Checkpoints: all of one or nothing, whatever happens to the disk."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness.training.checkpoints import CheckpointFailed, Progress, newest, write
from harness.training.spec import TrainingSpec

Load = Callable[..., TrainingSpec]


def progress(spec: TrainingSpec, step: int) -> Progress:
    return Progress(
        step=step, seconds=1.5, data_seconds=0.1, history=(), spec=spec, fingerprints=("",), versions={"torch": "2"}
    )


def tensors(value: float) -> dict[str, torch.Tensor]:
    weight = torch.full((4, 3, 3, 3), value).to(memory_format=torch.channels_last)
    return {"network.weight": weight, "random.cpu": torch.get_rng_state()}


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_is_read_again(tiny: Load, tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    write(tmp_path, progress(tiny(), 5), tensors(0.5))
    found = newest(tmp_path)
    assert found is not None
    read, content = found
    assert (read.step, read.spec) == (5, tiny())
    assert content.keys() == tensors(0.5).keys()
    assert torch.equal(content["network.weight"], tensors(0.5)["network.weight"])


def test_the_newest_two_stay(tiny: Load, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (3, 6, 9, 12):
        write(folder, progress(tiny(), step), tensors(step))
    assert sorted(file.name for file in folder.iterdir()) == [
        "step-00000009.json",
        "step-00000009.safetensors",
        "step-00000012.json",
        "step-00000012.safetensors",
    ]


@pytest.mark.parametrize("broken", ["step-00000006.json", "step-00000006.safetensors"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_one_gives_way_to_the_one_before(tiny: Load, tmp_path: Path, broken: str, how: str) -> None:
    for step in (3, 6):
        write(tmp_path, progress(tiny(), step), tensors(step))
    file = tmp_path / broken
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    match how:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "changed":
            file.write_bytes(content)
        case _:
            file.unlink()
    found = newest(tmp_path)
    assert found is not None
    assert found[0].step == 3


def test_tensors_without_their_json_do_not_count_and_go_with_the_next_write(tiny: Load, tmp_path: Path) -> None:
    write(tmp_path, progress(tiny(), 3), tensors(3))
    (tmp_path / "step-00000006.safetensors").write_bytes(b"half")
    found = newest(tmp_path)
    assert found is not None
    assert found[0].step == 3
    write(tmp_path, progress(tiny(), 9), tensors(9))
    assert not (tmp_path / "step-00000006.safetensors").exists()


def test_a_full_disk_is_said_and_leaves_the_one_before(tiny: Load, tmp_path: Path) -> None:
    write(tmp_path, progress(tiny(), 3), tensors(3))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with (
        room_for(400),
        pytest.raises(CheckpointFailed, match=r"step-00000006: the checkpoint could not be written \(File too large\)"),
    ):
        write(tmp_path, progress(tiny(), 6), tensors(6))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
