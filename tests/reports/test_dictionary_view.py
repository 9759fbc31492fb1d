"""The dictionary made visible: what is said and drawn of kept patches, without a script and with it."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.dictionaries.scene import Area, Choice, Locality, Look, Scene, Seen, encode
from harness.record import Cell, Measured, Measurement, Skipped
from reports.dictionaries import MOST_DRAWN, dictionaries
from reports.document import Dictionary, Text
from reports.results import gather

EVIL = "<script>alert('x')</script>&\"'<img src=x onerror=alert(1)>"
WIDTH, HEIGHT = 96, 64
CHOICES = (
    Choice(row=5, column=9, kind="detailed"),
    Choice(row=20, column=30, kind="detailed"),
    Choice(row=26, column=44, kind="flat"),
)


def scene_of(
    window: int,
    top_k: int,
    *,
    image: str = "chelsea",
    stages: int = 2,
    side: int = 2,
    shape: tuple[int, int] = (HEIGHT, WIDTH),
    choices: tuple[Choice, ...] = CHOICES,
) -> Scene:
    """A scene in which the chosen tokens keep the first tokens of their windows, row by row; odd stages are whole."""
    height, width = shape
    rows, columns = (-(-length // (side * window)) * window for length in shape)

    def look(choice: Choice, shift: int) -> Look:
        top, left = ((place - shift) // window * window + shift for place in (choice.row, choice.column))
        bottom, right = min(top + window, rows), min(left + window, columns)
        part = Area(top=max(top, 0), left=max(left, 0), height=bottom - max(top, 0), width=right - max(left, 0))
        places = [(r, c) for r in range(part.top, bottom) for c in range(part.left, right)]
        near = Locality(distance=2.34, random_distance=4.26, nearest=0.5, random_nearest=top_k / window**2)
        return Look(row=choice.row, column=choice.column, part=part, kept=tuple(places[:top_k]), locality=near)

    return Scene(
        image=image,
        height=height,
        width=width,
        window=window,
        top_k=top_k,
        choices=choices,
        dictionaries=tuple(
            Seen(
                stage=number,
                layers=(1, 2),
                stage_layers=2,
                shift=window // 2 * ((number + 1) % 2),
                rows=rows,
                columns=columns,
                side=side,
                locality=Locality(distance=3.21, random_distance=4.19, nearest=0.41, random_nearest=0.25),
                looks=tuple(look(choice, window // 2 * ((number + 1) % 2)) for choice in choices),
            )
            for number in range(1, stages + 1)
        ),
    )


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((WIDTH, HEIGHT)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def sweep(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> Callable[..., Any]:
    """Make a sweep with the dictionaries of some cells: scenes, or reasons why there is none, by window and k."""

    def make(scenes: dict[tuple[int, int], Scene | str], *, backends: tuple[str, ...] = ("sdpa",), **axes: Any) -> Any:
        files: dict[str, bytes] = {"before.png": picture(1), "after.png": picture(2)}
        records = []
        for (window, top_k), scene in scenes.items():
            for backend in backends:
                fixed = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}
                cell = Cell(**{**fixed, "weights": "shipped", **axes}, backend=backend, window=window, top_k=top_k)
                if isinstance(scene, str):
                    records.append(make_record(cell, "dictionary", Skipped(reason=scene)))
                    continue
                content = encode(scene)
                files[name := f"{hashlib.sha256(content).hexdigest()}.json"] = content
                numbers = Measurement(name="dictionary.1.distance", unit="tokens", samples=(3.2,))
                told = {"degraded": {scene.image: "feed"}}
                outcome = Measured(measurements=(numbers,))
                records.append(make_record(cell, "dictionary", outcome, artifacts={"dictionary": name}, **told))
                shown = {f"degraded:{scene.image}": "before.png", f"target:{scene.image}": "after.png"}
                count = Measured(measurements=(Measurement(name="pictures", unit="pictures", samples=(2.0,)),))
                records.append(make_record(cell, "pictures", count, artifacts=shown, **told))
        made = make_sweep(records)
        made.files.update(files)
        return made

    return make


@pytest.fixture
def usual(sweep: Callable[..., Any]) -> Any:
    """Windows of 8 and 16 tokens at three k, without the one that would keep everything."""
    scenes: dict[tuple[int, int], Scene | str] = {
        (window, top_k): scene_of(window, top_k) for window in (8, 16) for top_k in (8, 16, 64)
    }
    return sweep({**scenes, (8, 64): "every key is kept, so nothing is chosen"})


def blocks_of(made: Any) -> list[Any]:
    return list(dictionaries(gather(made.records, made.plan), made.artifact, anchor="here"))


def figure_of(html: str) -> str:
    (found,) = re.findall(r'<figure class="dictionary".*?</figure>', html, re.DOTALL)
    return str(found)


class Drawing(HTMLParser):
    """What the first figure's attribute holds for the script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: Any = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if text := dict(attrs).get("data-drawing"):
            self.numbers = json.loads(text)


# What is said


def test_cells_of_one_picture_become_one_block_with_an_axis_for_each_difference(usual: Any) -> None:
    (block,) = blocks_of(usual)
    assert block.axes == (("window", ("8", "16")), ("k", ("8", "16", "64")))
    assert [view.at for view in block.views] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert block.views[block.first].title == "window 8 · k 16"  # the middle k
    assert [each.role for each in block.pictures] == ["degraded", "target"]
    assert block.patches == ("much detail", "much detail", "flat")
    assert block.notes[1] == "Not shown: window 8 · k 64, because every key is kept, so nothing is chosen."


def test_a_look_says_in_words_what_is_seen(usual: Any) -> None:
    (block,) = blocks_of(usual)
    first, second = block.views[1].stages
    assert (first.title, first.note, second.title, second.note) == ("stage 1", "", "stage 2", "shifted by 4")
    assert first.looks[0].words == (
        "Stage 1, k = 16 of 64: mean distance 2.3 patches, 4.3 for random ones; 8 are among the 16 nearest, 4 by"
        " chance."
    )
    assert first.looks[0].short == "2.3 patches"
    assert first.words == (
        "Over all patches of the picture: mean distance 3.2 patches, 4.2 for random ones; 41 % of the kept ones are"
        " among the nearest, 25 % of random ones would be."
    )


def test_a_dictionary_of_some_layers_names_them(sweep: Callable[..., Any]) -> None:
    scene = scene_of(8, 8)
    first, second = scene.dictionaries
    own = first.model_copy(update={"layers": (1, 3), "stage_layers": 3}), second.model_copy(update={"layers": (2,)})
    (block,) = blocks_of(sweep({(8, 8): scene.model_copy(update={"dictionaries": own})}))
    assert [stage.title for stage in block.views[0].stages] == ["stage 1 (layers 1, 3)", "stage 2 (layer 2)"]
    assert block.views[0].stages[0].looks[0].words.startswith("Stage 1 (layers 1, 3), k = 8 of 64: ")


def test_areas_are_pixels_of_the_picture(usual: Any) -> None:
    (block,) = blocks_of(usual)
    look = block.views[1].stages[0].looks[0]
    assert (look.patch.left, look.patch.top, look.patch.width, look.patch.height) == (18, 10, 2, 2)
    assert (look.part.left, look.part.top, look.part.width, look.part.height) == (16, 0, 16, 16)
    assert [(each.left, each.top) for each in look.kept[7:9]] == [(30, 0), (16, 2)]


def test_parts_of_windows_and_the_border_are_spoken_of(sweep: Callable[..., Any]) -> None:
    """A picture of 44 rows is padded to 48; the last token row of its windows lies in the padding."""
    odd = scene_of(8, 60, shape=(44, WIDTH), choices=(Choice(row=21, column=9, kind="flat"),))
    (block,) = blocks_of(sweep({(8, 60): odd}))
    words = [stage.looks[0].words for stage in block.views[0].stages]
    assert words[0].startswith("Stage 1, k = 60 of 64: ")
    assert words[0].endswith(" 12 lie in the mirrored border.")  # four rows in part: 60 keys end in the eighth row
    assert words[1].startswith("Stage 2, all 32 of its part of a cut window: ")


def test_equal_dictionaries_are_shown_once_and_unlike_inputs_apart(sweep: Callable[..., Any]) -> None:
    twice = sweep({(8, k): scene_of(8, k) for k in (8, 16)}, backends=("mask", "sdpa"))
    (block,) = blocks_of(twice)
    assert block.axes == (("k", ("8", "16")),)
    one, other = scene_of(8, 8), scene_of(8, 16, image="camera")
    first, second = blocks_of(sweep({(8, 8): one, (8, 16): other}))
    assert (first.title, second.title) == ("Which patches are kept: chelsea", "Which patches are kept: camera")
    assert first.anchor != second.anchor


def test_a_scene_that_is_lost_damaged_or_of_another_version_is_named(usual: Any) -> None:
    name = next(name for name in usual.files if name.endswith(".json"))
    whole, file = usual.files[name], rf"the file {name[:12]}…"
    for content, why in (
        (b"", rf"{file} is missing from the store\."),
        (whole[:60], rf"{file} cannot be read, for it is damaged\."),
        (b"\xff\xfe\x00", rf"{file} cannot be read, for it is damaged\."),
        (whole.replace(b'"schema_version":1', b'"schema_version":2'), ".* measure the metric anew with this version"),
    ):
        usual.files[name] = content
        warning, block = blocks_of(usual)
        assert isinstance(warning, Text)
        assert re.match(rf"What cell \w{{7}} keeps cannot be shown: {why}", warning.text), warning.text
        assert isinstance(block, Dictionary)
        assert len(block.views) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no picture was kept: the metric pictures keeps them"),
        (b"", "the picture is missing from the store"),
        (picture(1)[:60], "the picture cannot be read, for it is damaged"),
    ],
)
def test_without_pictures_the_patches_are_still_shown(usual: Any, content: bytes | None, reason: str) -> None:
    if content is None:
        usual.records = {key: each for key, each in usual.records.items() if each.metric != "pictures"}
    else:
        usual.files["before.png"] = usual.files["after.png"] = content
    (block,) = blocks_of(usual)
    assert [each.reason for each in block.pictures] == [reason]
    assert reason in figure_of(usual.html())


def test_of_two_pictures_the_one_that_can_be_read_is_shown(usual: Any) -> None:
    usual.files["before.png"] = usual.files["before.png"][:60]
    (block,) = blocks_of(usual)
    assert [(each.role, each.reason) for each in block.pictures] == [("target", "")]
    assert figure_of(usual.html()).count('<image href="data:image/png') == 1


def test_what_was_not_looked_at_has_no_block(sweep: Callable[..., Any], usual: Any) -> None:
    assert blocks_of(sweep({(8, 8): "no weights"})) == []
    assert list(dictionaries(gather(usual.records, usual.plan), None, anchor="here")) == []


# What the page holds


def test_the_first_view_is_drawn_without_a_script(usual: Any) -> None:
    figure = figure_of(usual.html())
    assert figure.count("<svg") == 3  # the whole picture and two stages, side by side
    assert figure.count('d="M18 10h2v2h-2z"') == 4  # the patch, twice at each stage, for its rim
    assert 'd="M16 0h2v2h-2zM18 0h2v2h-2zM20 0h2v2h-2zM22 0h2v2h-2z"' in figure  # the most similar quarter of 16
    assert 'd="M0 0h96v64h-96zM16 0h16v16h-16z"' in figure
    assert len(re.findall(r"<input[^>]* disabled", figure)) == 3 + 2
    assert '<div class="axes" hidden>' in figure
    assert "Stage 1, k = 16 of 64: mean distance 2.3 patches" in figure


def test_kept_patches_are_numbered_within_their_part(usual: Any) -> None:
    numbers = Drawing(usual.html()).numbers
    look = numbers["views"][1]["stages"][0]["looks"][1]
    assert look == {
        "patch": [60, 40],
        "part": [48, 32, 16, 16],
        "kept": list(range(16)),
        "words": look["words"],
        "short": "2.3 patches",
    }


@pytest.mark.parametrize("patch", [0, 1, 2])
def test_details_show_the_windows_of_all_stages_and_stay_within_the_picture(usual: Any, patch: int) -> None:
    numbers = Drawing(usual.html()).numbers
    assert numbers["extent"] == [WIDTH, HEIGHT]
    for view in numbers["views"]:
        left, top, side = view["frames"][patch]
        assert left >= 0
        assert top >= 0
        assert max(left + side - WIDTH, top + side - HEIGHT) <= 0 or side > HEIGHT
        for stage in view["stages"]:
            part_left, part_top, width, height = stage["looks"][patch]["part"]
            assert left <= part_left
            assert top <= part_top
            assert part_left + width <= left + side
            assert part_top + height <= top + side


def test_no_name_breaks_out_of_the_block(sweep: Callable[..., Any]) -> None:
    scenes: dict[tuple[int, int], Scene | str] = {(8, k): scene_of(8, k, image=EVIL) for k in (8, 16)}
    html = sweep({**scenes, (8, 32): EVIL}, weights=EVIL).html()
    assert html.count("<script>") == 1
    figure = figure_of(html)
    assert "<img" not in figure
    assert "&lt;script&gt;alert" in figure
    assert Drawing(html).numbers["views"][0]["title"] == "k 8"


@pytest.mark.parametrize(("window", "stages", "ks"), [(16, 3, (8, 16, 32, 64, 128, 256)), (32, 8, (64, 512))])
def test_a_block_is_small_whatever_k_and_window_are(
    sweep: Callable[..., Any], window: int, stages: int, ks: tuple[int, ...]
) -> None:
    """The largest: eight stages in windows of 32, as the published networks have them."""
    shape = (512, 512)
    choices = tuple(Choice(row=r, column=c, kind="detailed") for r, c in ((40, 40), (200, 90), (120, 220), (90, 130)))
    made = sweep({(window, k): scene_of(window, k, stages=stages, shape=shape, choices=choices) for k in ks})
    figure = figure_of(made.html())
    pictures = sum(map(len, re.findall(r'href="data:[^"]*"', figure)))
    assert len(figure) - pictures < 60_000
    (block,) = blocks_of(made)
    most = max(len(look.kept) for view in block.views for stage in view.stages for look in stage.looks)
    assert most <= MOST_DRAWN
    said = [look.words for view in block.views for stage in view.stages for look in stage.looks]
    drawn = [words for words in said if words.endswith("The 128 most similar are drawn.")]
    assert len(block.views) == len(ks) or "because the page would grow too large" in block.notes[-1]
    assert bool(drawn) == any(int(value) > MOST_DRAWN for value in dict(block.axes).get("k", ()))


# In a browser


def seen(tab: Any) -> dict[str, Any]:
    """What the figure shows: paths, frames, which stage is large, and words."""
    shown: dict[str, Any] = tab.evaluate(
        """() => {
            const figure = document.querySelector(".dictionary"), all = (what) => [...figure.querySelectorAll(what)];
            return {
                paths: all("path").map((path) => path.getAttribute("d")),
                boxes: all("svg").map((svg) => svg.getAttribute("viewBox")),
                large: figure.querySelector(".shown").getAttribute("href"),
                title: figure.querySelector("h4 small").textContent,
                words: figure.querySelector(".words").textContent,
            };
        }"""
    )
    return shown


def test_the_script_first_draws_what_is_there_without_it(visit: Callable[..., Any], usual: Any) -> None:
    html = usual.html()
    plain, scripted = visit(html, java_script_enabled=False), visit(html)
    assert seen(plain) == seen(scripted)
    assert plain.locator(".dictionary .axes").is_hidden()
    assert scripted.locator(".dictionary .axes").is_visible()


def test_patch_stage_and_k_are_chosen_with_the_mouse(visit: Callable[..., Any], usual: Any) -> None:
    tab = visit(usual.html())
    figure = tab.locator(".dictionary")
    before = seen(tab)
    figure.locator(".marks label").nth(1).click()
    patched = seen(tab)
    assert "M60 40h2v2h-2z" in patched["paths"]
    assert "M60 40h2v2h-2z" not in before["paths"]
    assert patched["boxes"][0] == before["boxes"][0]
    assert patched["boxes"][1:] != before["boxes"][1:]
    figure.locator(".stages label").nth(1).click()
    staged = seen(tab)
    assert staged["paths"] == patched["paths"]
    assert staged["large"].endswith("-stage-1")
    assert staged["words"].startswith("Stage 2, k = 16 of 64")
    figure.locator(".axis", has_text="k").locator("label", has_text="8").click()
    fewer = seen(tab)
    assert fewer["words"].startswith("Stage 2, k = 8 of 64")
    assert fewer["title"] == "window 8 · k 8"
    assert sum(path.count("h2v2") for path in fewer["paths"]) == 2 * (8 + 2)
    figure.locator(".pictures label", has_text="target").click()
    assert [image.get_attribute("display") for image in figure.locator("image").all()] == ["none", "inline"]
    assert seen(tab) == fewer


def test_a_choice_that_was_not_measured_takes_the_other_axis_along(visit: Callable[..., Any], usual: Any) -> None:
    tab = visit(usual.html())
    figure = tab.locator(".dictionary")
    assert figure.locator(".far").all_inner_texts() == ["64"]
    figure.locator(".axis label", has_text="64").click()
    assert seen(tab)["title"] == "window 16 · k 64"
    assert figure.locator(".axis :checked + span").all_inner_texts() == ["16", "64"]
    figure.locator(".axis").first.locator("label", has_text="8").click()
    assert figure.locator(".axis :checked + span").all_inner_texts()[0] == "8"
    assert seen(tab)["title"] == "window 8 · k 8"


def test_everything_is_reached_and_turned_with_the_keyboard(visit: Callable[..., Any], usual: Any) -> None:
    tab = visit(usual.html())
    tab.locator(".dictionary .axis input").first.focus()
    stops = []
    for _ in range(5):
        stops.append(tab.evaluate("document.activeElement.name").rpartition("dictionary-1-")[2])
        assert tab.evaluate("getComputedStyle(document.activeElement.nextElementSibling).outlineStyle") == "solid"
        tab.keyboard.press("Tab")
    assert stops == ["axis-0", "axis-1", "picture", "patch", "stage"]
    tab.locator(".marks input").first.focus()
    tab.keyboard.press("ArrowRight")
    assert "M60 40h2v2h-2z" in seen(tab)["paths"]
    tab.locator(".stages input").first.focus()
    tab.keyboard.press("ArrowDown")
    assert seen(tab)["words"].startswith("Stage 2")


def test_stages_that_only_another_view_has_come_and_go(visit: Callable[..., Any], sweep: Callable[..., Any]) -> None:
    tab = visit(sweep({(8, 8): scene_of(8, 8, stages=3), (8, 16): scene_of(8, 16, stages=1)}).html())
    figure = tab.locator(".dictionary")
    labels = figure.locator(".stages label")
    assert [label.is_visible() for label in labels.all()] == [True, False, False]
    figure.locator(".axis label", has_text="8").click()
    assert [label.is_visible() for label in labels.all()] == [True, True, True]
    labels.nth(2).click()
    assert seen(tab)["words"].startswith("Stage 3")
    figure.locator(".axis label", has_text="16").click()
    assert seen(tab)["words"].startswith("Stage 1")
    assert seen(tab)["large"].endswith("-stage-0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_answers_to_touch(visit: Callable[..., Any], usual: Any, scheme: str) -> None:
    tab = visit(usual.html(), 390, color_scheme=scheme, has_touch=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.locator(".marks label").nth(2).tap()
    assert tab.locator(".marks :checked").get_attribute("aria-label") == "patch 3, flat"
    sizes = tab.evaluate("[...document.querySelectorAll('.marks label')].map((each) => each.offsetWidth)")
    assert min(sizes) >= 24


def test_it_is_printed_as_it_stands(visit: Callable[..., Any], usual: Any) -> None:
    tab = visit(usual.html())
    tab.locator(".stages label").nth(1).click()
    tab.emulate_media(media="print")
    figure = tab.locator(".dictionary")
    assert figure.locator(".axes").is_hidden()
    assert all(each.is_visible() for each in figure.locator("svg").all())
    assert seen(tab)["words"].startswith("Stage 2")


def test_two_blocks_of_a_page_do_not_touch_each_other(visit: Callable[..., Any], sweep: Callable[..., Any]) -> None:
    tab = visit(sweep({(8, 8): scene_of(8, 8), (8, 16): scene_of(8, 16, image="camera")}).html())
    first, second = tab.locator(".dictionary").all()
    before = second.locator(".words").inner_text()
    first.locator(".stages label").nth(1).click()
    assert first.locator(".words").inner_text().startswith("Stage 2")
    assert second.locator(".words").inner_text() == before
    assert [each.locator(".stages :checked").count() for each in (first, second)] == [1, 1]
