from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets import DatasetError
from harness.restoration import Restoration, Restored, Unrestored, Weights, set_up, weights_for
from reports.document import Facts, Sliders, Text
from reports.publish import ReportError, publish_restored
from reports.restored import build
from semanir.weights import cards
from tests.reports.test_html import EVIL, Tags

RANDOM = np.random.default_rng(0)


@pytest.fixture
def setup() -> Restoration:
    return set_up(weights_for("denoise"), backend="mask")


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Restored]:
    """Return a way to make a restored picture: the busiest part of both files lies at the lower right."""

    def make(name: str = "a.png", width: int = 40, height: int = 30, scale: int = 1, channels: int = 1) -> Restored:
        for folder, factor in (("in", 1), ("out", scale)):
            pixels = np.full((factor * height, factor * width, channels), 90, np.uint8)
            corner = pixels[-factor * height // 4 :, -factor * width // 4 :]
            corner[...] = RANDOM.integers(0, 256, corner.shape)
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels.squeeze()).save(tmp_path / folder / name)
        return Restored(
            source=tmp_path / "in" / name,
            file=tmp_path / "out" / name,
            height=height,
            width=width,
            channels=channels,
            bits=8,
            seconds=1.26,
        )

    return make


def of(setup: Restoration, **card: object) -> Restoration:
    """Return the network with another card."""
    changed = replace(setup.weights.card, **card)  # type: ignore[arg-type]
    return replace(setup, weights=Weights(card=changed, file=setup.weights.file))


def size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.size


def test_a_small_picture_is_shown_whole_before_and_after(setup: Restoration, picture: Callable[..., Restored]) -> None:
    document, pictures = build(setup, [picture(channels=3)], [])
    assert document.title == "1 picture restored: denoise sigma=25"
    (scene,) = [block for block in document.sections[0].blocks if isinstance(block, Sliders)]
    (slider,) = scene.sliders
    assert (slider.before.role, slider.after.role, slider.frame) == ("before", "restored", None)
    assert {name: size(content) for name, content in pictures.items()} == {
        "0:whole:before": (40, 30),
        "0:whole:restored": (40, 30),
    }
    note = "a network for gray: red, green and blue each restored by themselves"
    assert scene.caption == f"40 × 30 pixels · colour · 8 bits · 1.3 s · {note} → a.png"


def test_a_large_picture_is_reduced_beside_a_detail_at_full_size(
    setup: Restoration, picture: Callable[..., Restored]
) -> None:
    document, pictures = build(setup, [picture(width=1000, height=800)], [])
    whole, detail = document.sections[0].blocks[0].sliders  # type: ignore[union-attr]
    sizes = {name: size(content) for name, content in pictures.items()}
    assert sizes["0:whole:before"] == sizes["0:whole:restored"] == (640, 512)
    assert sizes["0:detail:before"] == sizes["0:detail:restored"] == (192, 192)
    assert whole.frame.left > 0.5
    assert whole.frame.top > 0.5
    assert detail.frame is None


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_detail_of_a_smaller_input_is_the_same_place(
    setup: Restoration, picture: Callable[..., Restored], scale: int
) -> None:
    upscaling = of(setup, task="sr", setting=f"scale={scale}", scale=scale, channels=3)
    document, pictures = build(upscaling, [picture(width=300, height=250, scale=scale, channels=3)], [])
    assert size(pictures["0:detail:before"]) == (192 // scale, 192 // scale)
    assert size(pictures["0:detail:restored"]) == (192, 192)
    assert f"restored to {300 * scale} × {250 * scale}" in document.sections[0].blocks[0].caption  # type: ignore[union-attr]


def test_the_card_is_told(setup: Restoration, picture: Callable[..., Restored]) -> None:
    document, _ = build(setup, [picture()], [])
    told = dict(item for block in document.sections[-1].blocks if isinstance(block, Facts) for item in block.items)
    assert told["weights"].startswith("denoise-gray-25, sha256 ")
    assert told["task"] == "denoise sigma=25"
    assert (told["window"], told["k"], told["attention"]) == ("8 tokens a side", "16 keys a query", "mask")
    assert "BSDS500" in told["trained on"]
    assert "licence not stated" in told["licence"]
    judged = cards()["denoise-gray-25"].training["validation"]
    assert told["judged"].startswith(f"{judged['psnr_db']} dB, mean of 12 images: Set12")


def test_a_card_of_the_trainer_is_told_too_and_an_empty_one_is_named(
    setup: Restoration, picture: Callable[..., Restored]
) -> None:
    source = {"name": "BSDS500-train", "images": 200, "excluded": [], "source": "github.com/BIDS/BSDS500"}
    trained = of(setup, training={"data": [source, source], "licence": "none stated"})
    told = dict(build(trained, [picture()], [])[0].sections[-1].blocks[-1].items)  # type: ignore[union-attr]
    assert told["trained on"] == "; ".join(["BSDS500-train, 200 images, github.com/BIDS/BSDS500"] * 2)
    last = build(of(setup, training={}), [picture()], [])[0].sections[-1].blocks[-1]
    assert isinstance(last, Text)
    assert "says nothing of how these weights were trained" in last.text


def test_a_failure_is_told_without_its_folder(setup: Restoration, picture: Callable[..., Restored]) -> None:
    gone = Unrestored(source=Path("/home/someone/b.png"), reason="/home/someone/b.png: there is no such file")
    document, _ = build(setup, [picture()], [gone])
    assert [badge.text for badge in document.badges] == ["1 restored", "1 failed"]
    assert document.sections[1].blocks == (Text(text="b.png: there is no such file", tone="warning"),)


def test_a_source_that_was_cut_or_taken_away_since_is_named(
    setup: Restoration, picture: Callable[..., Restored]
) -> None:
    shown = picture()
    shown.source.write_bytes(shown.source.read_bytes()[:60])
    with pytest.raises(DatasetError, match=shown.source.name):
        build(setup, [shown], [])
    shown.source.unlink()
    with pytest.raises(DatasetError, match="there is no such file"):
        build(setup, [shown], [])


def test_the_page_is_one_file_with_a_handle_for_every_view(
    setup: Restoration, picture: Callable[..., Restored], tmp_path: Path
) -> None:
    out = publish_restored(setup, [picture(width=600, height=400), picture("b.png")], [], tmp_path / "restored.html")
    tags = Tags(out.read_text(encoding="utf-8"))
    assert not tags.open
    assert sum(" or " in attributes.get("aria-label", "") for tag, attributes in tags.found if tag == "input") == 3
    shown = [attributes for tag, attributes in tags.found if tag == "img" and "src" in attributes]
    assert len(shown) == 6
    assert all(each["src"].startswith("data:image/png;base64,") and each["alt"] for each in shown)


def test_no_name_breaks_out_of_the_page(setup: Restoration, picture: Callable[..., Restored], tmp_path: Path) -> None:
    evil = Unrestored(source=Path("x"), reason=EVIL)
    out = publish_restored(
        of(setup, name=EVIL, training={"data": EVIL}), [picture()], [evil], tmp_path / "restored.html"
    )
    tags = Tags(out.read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in tags.found) == 1
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]


def test_a_page_that_cannot_be_written_is_named(
    setup: Restoration, picture: Callable[..., Restored], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        publish_restored(setup, [picture()], [], tmp_path / "file" / "restored.html")


def test_the_page_is_built_without_torch() -> None:
    code = "import sys, reports.publish; print({'torch', 'triton'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


# In a browser


@pytest.mark.parametrize("width", [390, 1280])
def test_the_line_between_both_pictures_is_drawn_by_mouse_and_keyboard(
    setup: Restoration, picture: Callable[..., Restored], visit: Callable[..., Any], tmp_path: Path, width: int
) -> None:
    out = publish_restored(setup, [picture(width=1000, height=800)], [], tmp_path / "restored.html")
    tab = visit(out.read_text(encoding="utf-8"), width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    line = tab.locator(".slider input").first
    box = line.bounding_box()
    line.click(position={"x": box["width"] * 0.9, "y": box["height"] / 2})
    at = "() => document.querySelector('.slider').style.getPropertyValue('--at')"
    assert 85 <= int(tab.evaluate(at).rstrip("%")) <= 95
    tab.keyboard.press("Home")
    assert tab.evaluate(at) == "0%"
