from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from harness.record import Cell, Failed, Measured, Measurement, Outcome, Skipped
from reports.document import Document, Entry, Facts, Figure, Figures, Section, Table, Text
from reports.pages.arms import build
from reports.renderers import html, markdown

IMAGES = tuple(f"{number:02d}" for number in range(1, 13))
KEPT = (8, 16, 64)
GAIN = {8: 0.3, 16: 0.1, 64: 0.0}
"""By how much the random arm is better, in dB."""
Make = Callable[..., Any]


def cell(arm: str, seed: int | None, **axes: Any) -> Cell:
    fixed = {"model": "semanir/small", "task": "denoise", "dataset": "Set12", "setting": "sigma=25", "backend": "sdpa"}
    weights = arm if seed is None else f"{arm}-s{seed}"
    return Cell.model_validate({**fixed, "weights": weights, "window": 8, "top_k": 16, **axes})


def judged(values: Iterable[float], name: str = "psnr", images: Iterable[str] = IMAGES) -> Measured:
    unit = "1" if name == "ssim" else "dB"
    return Measured(
        measurements=(Measurement(name=name, unit=unit, samples=tuple(map(float, values)), labels=tuple(images)),)
    )


def drawn(arm: str, seed: int, k: int) -> np.ndarray:
    """PSNR of each image: images differ most, seeds a little, and the two arms by `GAIN`."""
    images = np.random.default_rng(0).normal(29.0, 2.0, len(IMAGES))
    ours = np.random.default_rng([seed, k, len(arm)])
    gain = GAIN[k] + ours.normal(0, 0.02) + ours.normal(0, 0.05, len(IMAGES)) if arm == "topk-random" else 0.0
    return images + 0.1 * np.log2(k) + np.random.default_rng([seed, k]).normal(0, 0.03) + gain


def two_arms(
    seeds: Iterable[int] = (0, 1, 2), kept: Iterable[int] = KEPT, **more: Outcome
) -> list[tuple[Cell, str, Outcome]]:
    """Two arms at several k; `more` replaces the PSNR of `<arm>-s<seed>`, dashes as underscores."""
    answers: list[tuple[Cell, str, Outcome]] = []
    for arm in ("topk-fixed", "topk-random"):
        for seed in seeds:
            for k in kept:
                here, psnr = cell(arm, seed, top_k=k), drawn(arm, seed, k)
                other = more.get(f"{arm}_s{seed}".replace("-", "_"))
                answers.append((here, "psnr", other or judged(psnr)))
                answers.append((here, "ssim", judged(0.8 + psnr / 1000, "ssim")))
                answers.append((here, "degraded", judged([20.2] * len(IMAGES), "degraded.psnr")))
    return answers


@pytest.fixture
def page(make_record: Make, make_sweep: Make) -> Make:
    def of(
        answers: Iterable[tuple[Cell, str, Outcome]], comparisons: tuple[tuple[str, str], ...] = (), **options: Any
    ) -> Document:
        protocols = {"psnr": "rgb-crop0-uint8", "ssim": "rgb-crop0-uint8"}
        records = [
            make_record(here, metric, outcome, protocol=protocols.get(metric, "")) for here, metric, outcome in answers
        ]
        sweep = make_sweep(records, name="topk", question="Does random k help?")
        return build(sweep.records, sweep.plan.model_copy(update={"comparisons": comparisons}), **options)

    return of


def table_of(section: Section) -> Table:
    return next(block for block in section.blocks if isinstance(block, Table))


def row_of(section: Section, *names: str) -> dict[str, Entry]:
    table = table_of(section)
    rows = [row for group in table.groups for row in group.rows]
    (row,) = (each for each in rows if tuple(entry.text for entry in each.entries[: table.stubs]) == names)
    return dict(zip((column.label for column in table.columns), row.entries, strict=True))


def tables_of(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def lead(document: Document) -> str:
    return " ".join(block.text for block in document.lead if isinstance(block, Text))


def warnings(section: Section) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Text) and block.tone == "warning"]


def said(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def figures_of(section: Section) -> tuple[Figure, ...]:
    return next((block.figures for block in section.blocks if isinstance(block, Figures)), ())


def facts_of(section: Section) -> dict[str, str]:
    return dict(next(block.items for block in section.blocks if isinstance(block, Facts)))


def test_a_row_is_an_arm_at_a_k_with_its_seeds_pooled(page: Make) -> None:
    section = page(two_arms()).sections[0]
    row = row_of(section, "8", "fixed")
    means = [drawn("topk-fixed", seed, 8).mean() for seed in range(3)]
    assert row["seeds"].text == "3"
    assert row["PSNR"].value == pytest.approx(np.mean(means))
    assert row["sd"].value == pytest.approx(np.std(means, ddof=1))
    assert row["SSIM"].value == pytest.approx(0.8 + np.mean(means) / 1000)
    assert row["difference"].text == "reference"
    assert [entry.text for entry in (row["detectable"], row["verdict"])] == ["reference"] * 2


def test_a_difference_is_paired_by_image_and_seed_and_has_a_verdict(page: Make) -> None:
    section = page(two_arms()).sections[0]
    gaps = [drawn("topk-random", seed, 8) - drawn("topk-fixed", seed, 8) for seed in range(3)]
    row = row_of(section, "8", "random")
    assert row["difference"].value == pytest.approx(np.mean(gaps))
    assert row["difference"].value == pytest.approx(0.3, abs=0.05)
    assert row["verdict"].text == "higher"
    assert "12 images, seeds 0, 1, 2" in row["difference"].detail
    assert 0 < row["detectable"].value < 0.3
    assert row_of(section, "64", "random")["verdict"].text == "cannot be told apart"


def test_comparisons_that_stand_together_are_counted(page: Make) -> None:
    words, *notes = table_of(page(two_arms()).sections[0]).notes
    assert words.startswith("In brackets 95 % intervals. Detectable: ")
    assert notes == [
        "Of 3 comparisons 2 differ from zero; with Holm's correction for their number 1.",
        "'Perhaps' marks a difference from zero that does not stand with the correction.",
    ]
    alike = [(here, metric, judged([30.0] * 12)) for here, metric, _ in two_arms() if metric == "psnr"]
    assert table_of(page(alike).sections[0]).notes[1:] == ("None of 3 comparisons differs from zero.",)


def test_what_does_not_stand_with_holms_correction_is_higher_perhaps(page: Make) -> None:
    """Of k = 8 and k = 16, which both leave out zero, only the first stands among three comparisons."""
    section = page(two_arms()).sections[0]
    verdicts = [row_of(section, k, "random")["verdict"].text for k in ("8", "16", "64")]
    assert verdicts == ["higher", "perhaps higher", "cannot be told apart"]
    shown = row_of(section, "16", "random")["difference"].text.replace(" ", " dB ", 1)
    stand = "which does not stand with Holm's correction for 3 comparisons"
    assert f"random is perhaps higher than fixed at k = 16: {shown}, {stand}." in said(section)
    alone = page([each for each in two_arms() if each[0].top_k == 16]).sections[0]
    assert row_of(alone, "random")["verdict"].text == "higher"
    assert "perhaps" not in said(alone)


def test_each_comparison_is_a_sentence(page: Make) -> None:
    text = said(page(two_arms()).sections[0])
    assert text.count("random ") == 3
    assert "random cannot be told apart from fixed at k = 64: " in text
    row = row_of(page(two_arms()).sections[0], "8", "random")["difference"]
    value, low, high = row.text.replace("[", "").replace("]", "").replace("+", "").replace(",", "").split()
    assert f"random is {value} dB [{low}, {high}] higher than fixed at k = 8." in text


def test_a_worse_arm_is_lower_by_a_positive_amount(page: Make) -> None:
    answers = [(each, metric, outcome) for each, metric, outcome in two_arms() if each.top_k == 8]
    turned = sorted(answers, key=lambda answer: "fixed" in answer[0].weights)
    section = page(turned).sections[0]
    assert row_of(section, "fixed")["verdict"].text == "lower"
    assert row_of(section, "fixed")["difference"].text.startswith("−0.")
    sentence = said(section)
    assert " lower than random." in sentence
    assert "−" not in sentence


def test_the_first_arm_that_was_measured_is_the_reference(page: Make) -> None:
    refused = Skipped(reason="no weights named 'topk-fixed-s0'.")
    document = page(two_arms(topk_fixed_s0=refused, topk_fixed_s1=refused, topk_fixed_s2=refused))
    assert row_of(document.sections[0], "8", "random")["difference"].text == "reference"
    assert row_of(document.sections[0], "8", "fixed")["difference"].reason.endswith("no weights named 'topk-fixed-s0'.")
    assert any("Not measured (9 results): no weights" in each.text for each in document.lead if isinstance(each, Text))


def test_axes_that_are_constant_in_every_arm_describe_it_and_match_nothing(page: Make) -> None:
    answers = []
    for window, gain in ((8, 0.0), (16, 0.2), (32, 0.3)):
        for seed in range(3):
            rng = np.random.default_rng([window, seed])
            psnr = drawn("topk-fixed", seed, 16) + gain + rng.normal(0, 0.05, len(IMAGES))
            answers.append((cell(f"window-{window}", seed, window=window, top_k=window**2 // 4), "psnr", judged(psnr)))
    section = page(answers).sections[0]
    row = row_of(section, "window-16")
    assert row["difference"].value == pytest.approx(0.2, abs=0.05)
    facts = facts_of(section)
    assert facts["window-16"] == "window-16, seeds 0, 1, 2 · window 16 · k 64"
    assert facts["in common"] == "model semanir/small · sdpa"
    level, gap = figures_of(section)
    assert level.title == "PSNR against window"
    assert [point.x for point in level.panels[0].series[0].points] == [8, 16, 32]
    assert [point.x for point in gap.panels[0].series[1].points] == [16, 32]


def test_sets_and_settings_have_sections_of_their_own(page: Make) -> None:
    answers = [
        (cell(arm, 0, dataset=dataset, setting=setting, top_k=16), "psnr", judged(drawn(arm, 0, 16)))
        for arm in ("topk-fixed", "topk-random")
        for dataset in ("Set12", "BSD68")
        for setting in ("sigma=25", "sigma=50")
    ]
    titles = [section.title for section in page(answers).sections]
    assert titles == [
        "denoise · sigma=25 · Set12",
        "denoise · sigma=50 · Set12",
        "denoise · sigma=25 · BSD68",
        "denoise · sigma=50 · BSD68",
        "Measure again",
    ]


def test_a_seed_that_one_arm_lacks_is_left_out_and_said(page: Make) -> None:
    failed = Failed(failure="timeout", error="took 600 s")
    section = page(two_arms(topk_random_s1=failed)).sections[0]
    row = row_of(section, "8", "random")
    gaps = [drawn("topk-random", seed, 8) - drawn("topk-fixed", seed, 8) for seed in (0, 2)]
    assert row["difference"].value == pytest.approx(np.mean(gaps))
    assert row["seeds"].text == "2 of 3"
    assert row_of(section, "8", "fixed")["seeds"].text == "3"
    (note,) = (each for each in table_of(section).notes if "leave out" in each)
    assert note == ("Differences leave out seed 1 at k = 8, 16, 64: random lacks it (timeout: took 600 s).")


def test_a_seed_that_one_arm_was_never_planned_for_is_left_out_too(page: Make) -> None:
    answers = [each for each in two_arms() if each[0].weights != "topk-fixed-s2"]
    section = page(answers).sections[0]
    assert row_of(section, "8", "random")["seeds"].text == "3"
    assert "12 images, seeds 0, 1" in row_of(section, "8", "random")["difference"].detail
    assert any("seed 2 at k = 8, 16, 64: fixed lacks it (not in the plan)" in n for n in table_of(section).notes)


def test_arms_without_a_common_seed_are_not_compared(page: Make) -> None:
    answers = [each for each in two_arms() if each[0].weights in ("topk-fixed-s0", "topk-random-s1")]
    row = row_of(page(answers).sections[0], "8", "random")
    assert row["difference"].reason == "no seed is in both random and fixed"
    assert row["PSNR"].value is not None


def test_a_k_that_the_reference_lacks_is_not_compared(page: Make) -> None:
    answers = [each for each in two_arms() if each[0].weights.startswith("topk-random") or each[0].top_k != 8]
    assert row_of(page(answers).sections[0], "8", "random")["difference"].reason == "fixed was not run here"


def test_one_seed_is_judged_over_images_alone_and_says_so(page: Make) -> None:
    from scipy.stats import ttest_rel

    section = page(two_arms(seeds=(0,))).sections[0]
    row = row_of(section, "8", "random")
    expected = ttest_rel(drawn("topk-random", 0, 8), drawn("topk-fixed", 0, 8)).confidence_interval()
    assert row["difference"].text.endswith(f"[+{expected.low:.3f}, +{expected.high:.3f}]")
    assert row["sd"].reason == "one seed"
    assert any("says nothing about other trainings" in note for note in table_of(section).notes)


def test_a_verdict_of_one_training_each_is_on_these_two(page: Make) -> None:
    document = page(two_arms(seeds=(0,)))
    section = document.sections[0]
    assert row_of(section, "8", "random")["verdict"].text == "higher on these two trainings"
    assert row_of(section, "64", "random")["verdict"].text == "cannot be told apart on these two trainings"
    assert " dB higher than" not in said(section)
    assert " higher than fixed at k = 8 on these two trainings." in said(section)
    assert "cannot be told apart from fixed at k = 64 on these two trainings: " in said(section)
    assert "speaks of other images and not of other trainings" in lead(document)
    assert [figure.note for figure in figures_of(section)] == [
        "mean over images, of one training each",
        "paired; whisker: 95 % interval over images",
    ]


def test_several_trainings_are_judged_as_drawn_from_many(page: Make) -> None:
    document = page(two_arms())
    assert "so its 95 % interval speaks of other images and of other trainings." in lead(document)
    assert "these two trainings" not in lead(document) + said(document.sections[0])
    assert [figure.note for figure in figures_of(document.sections[0])] == [
        "mean over images and seeds; whisker: range of the seeds",
        "paired; whisker: 95 % interval over images and seeds",
    ]


def test_where_some_are_compared_by_one_training_both_are_said(page: Make) -> None:
    answers = [each for each in two_arms() if each[0].top_k == 8 or each[0].weights.endswith("-s0")]
    document = page(answers)
    section = document.sections[0]
    assert "Where two arms share several seeds" in lead(document)
    assert "Where they are compared by one training each, it speaks of other images alone" in lead(document)
    assert "trainings" not in row_of(section, "8", "random")["verdict"].text
    assert row_of(section, "16", "random")["verdict"].text.endswith(" on these two trainings")
    assert [figure.note for figure in figures_of(section)] == [
        "mean over images and seeds; whisker: range of the seeds, where there are several",
        "paired; whisker: 95 % interval over images and seeds, over images alone where one training of each is"
        " compared",
    ]


@pytest.mark.parametrize(("images", "enough"), [(4, False), (5, True)])
def test_few_images_show_numbers_and_no_verdict(page: Make, images: int, enough: bool) -> None:
    fewer = {
        f"{arm}_s{seed}".replace("-", "_"): judged(drawn(arm, seed, 8)[:images], images=IMAGES[:images])
        for arm in ("topk-fixed", "topk-random")
        for seed in range(3)
    }
    section = page(two_arms(kept=(8,), **fewer)).sections[0]
    row = row_of(section, "random")
    assert row["difference"].value == pytest.approx(0.3, abs=0.1)
    assert "[" in row["difference"].text
    assert row["verdict"].text == ("higher" if enough else "too few images: 4")
    assert ("A difference over fewer than 5 images has no verdict." in table_of(section).notes) is not enough
    if not enough:
        shown = row["difference"].text.replace(" ", " dB ", 1)
        assert f"random is not judged against fixed, as 4 images are too few: {shown}." in said(section)
        assert "higher" not in said(section)


def test_comparisons_of_few_images_are_not_counted(page: Make) -> None:
    answers = [(here, metric, each) for here, metric, each in two_arms() if metric == "psnr" and here.top_k != 64]
    fewer = [
        (here, metric, judged(each.measurements[0].samples[:3], images=IMAGES[:3]))
        if here.top_k == 16
        else (here, metric, each)
        for here, metric, each in answers
        if isinstance(each, Measured)
    ]
    assert not any("comparisons" in note for note in table_of(page(fewer).sections[0]).notes)


def with_input(level: float, **more: Any) -> list[tuple[Cell, str, Outcome]]:
    noisy = judged([level] * len(IMAGES), "degraded.psnr")
    return [(here, metric, noisy if metric == "degraded" else outcome) for here, metric, outcome in two_arms(**more)]


def test_restoration_is_measured_from_its_input(page: Make) -> None:
    section = page(with_input(20.2)).sections[0]
    row = row_of(section, "8", "fixed")
    assert row["above input"].value == pytest.approx(row["PSNR"].value - 20.2)
    assert row["above input"].text.startswith("+")
    assert row["above input"].detail == "mean over 12 images and 3 seeds"
    assert warnings(section) == []


def test_what_lies_below_its_input_is_warned_of(page: Make) -> None:
    section = page(with_input(31.0, kept=(8, 16))).sections[0]
    (text,) = warnings(section)
    gap = row_of(section, "8", "fixed")["above input"]
    assert gap.value < 0
    assert f"fixed lies {gap.text.removeprefix('−')} dB below its input at k = 8, mean over 12 images." in text
    assert text.count(" below its input") == 4


def test_the_gain_over_the_input_is_of_images_that_both_have(page: Make) -> None:
    half = judged(drawn("topk-fixed", 0, 8)[:6] - 1.0, "degraded.psnr", IMAGES[:6])
    answers = [
        (here, metric, half if metric == "degraded" else outcome)
        for here, metric, outcome in two_arms(seeds=(0,), kept=(8,))
    ]
    row = row_of(page(answers).sections[0], "fixed")
    assert row["above input"].value == pytest.approx(1.0)
    assert row["above input"].detail == "mean over 6 images and 1 seed"


def test_an_input_that_was_not_measured_says_why(page: Make) -> None:
    skipped = Skipped(reason="no input today")
    answers = [(here, metric, skipped if metric == "degraded" else each) for here, metric, each in two_arms()]
    assert row_of(page(answers).sections[0], "8", "fixed")["above input"].reason == "no input today"
    unasked = page([each for each in two_arms() if each[1] != "degraded"]).sections[0]
    assert "above input" not in row_of(unasked, "8", "fixed")


def test_an_input_that_is_judged_otherwise_is_named(page: Make) -> None:
    answers = with_input(20.2, kept=(8,))
    noted = [
        (here, metric, each.model_copy(update={"notes": ("the degraded input is judged by rgb-none",)}))
        if metric == "degraded"
        else (here, metric, each)
        for here, metric, each in answers
    ]
    notes = table_of(page(noted).sections[0]).notes
    assert "Above input: the degraded input is judged by rgb-none, PSNR by rgb-crop0-uint8." in notes


def three_arms() -> list[tuple[Cell, str, Outcome]]:
    gains = {"low": 0.0, "mid": 0.5, "top": 1.0}
    return [
        (cell(arm, seed, top_k=k), "psnr", judged(drawn("topk-fixed", seed, k) + gain))
        for arm, gain in gains.items()
        for seed in range(3)
        for k in (8, 16)
    ]


def test_a_spec_says_which_arms_are_compared(page: Make) -> None:
    section = page(three_arms(), comparisons=(("mid", "top"),)).sections[0]
    row = row_of(section, "8", "top")
    assert row["difference"].value == pytest.approx(0.5)
    (table,) = tables_of(section)
    assert {column.family for column in table.columns if column.label == "verdict"} == {"against mid"}
    assert row_of(section, "8", "mid")["verdict"].text == "reference"
    assert row_of(section, "8", "low")["verdict"].reason == "the spec's comparisons leave it out"
    assert "low" not in said(section)


def test_an_arm_may_be_compared_with_two_others(page: Make) -> None:
    pairs = (("low", "mid"), ("low", "top"), ("mid", "top"))
    section = page(three_arms(), comparisons=pairs).sections[0]
    levels, differences = tables_of(section)
    assert [column.label for column in levels.columns] == ["k", "arm", "seeds", "PSNR", "sd"]
    assert differences.caption == "Differences in PSNR on denoise · sigma=25 · Set12"
    rows = [[entry.text for entry in row.entries[:3]] for row in differences.groups[0].rows]
    assert rows == [[k, arm, against] for k in ("8", "16") for against, arm in pairs]
    assert [row.entries[3].value for row in differences.groups[0].rows[:3]] == pytest.approx([0.5, 1.0, 0.5])
    assert differences.notes[1:] == ("Of 6 comparisons 6 differ from zero; with Holm's correction for their number 6.",)
    assert "top is 1.000 dB [1.000, 1.000] higher than low at k = 8." in said(section)
    assert "top is 0.500 dB [0.500, 0.500] higher than mid at k = 8." in said(section)
    titles = [figure.title for figure in figures_of(section)]
    assert titles == ["PSNR against k", "PSNR above low against k", "PSNR above mid against k"]
    level, _, above_b = figures_of(section)
    zero, c = above_b.panels[0].series
    assert (zero.label, zero.style) == ("mid", level.panels[0].series[1].style)
    assert [point.y for point in c.points] == pytest.approx([0.5, 0.5])


def test_a_short_name_means_an_arm_of_each_section(page: Make) -> None:
    answers = [
        (cell(f"{prefix}-{arm}", 0, task=task, setting=setting), "psnr", judged(drawn("topk-fixed", 0, 16) + gain))
        for prefix, task, setting in (("ablation", "denoise", "sigma=25"), ("ablation-jpeg", "jpeg", "quality=10"))
        for arm, gain in (("w8", 0.0), ("w8-dense", 0.5), ("assa", 1.0))
    ]
    document = page(answers, comparisons=(("w8-dense", "assa"),))
    for section in document.sections[:2]:
        assert row_of(section, "assa")["difference"].value == pytest.approx(0.5)
        assert row_of(section, "w8-dense")["difference"].text == "reference"


def test_a_pair_that_no_section_holds_is_named(page: Make) -> None:
    document = page(three_arms(), comparisons=(("low", "mid"), ("low", "tpo")))
    (text,) = (each for each in document.lead if isinstance(each, Text) and each.tone == "warning")
    assert text.text == "Not compared, as no section holds two arms of these names: tpo against low."
    assert row_of(document.sections[0], "8", "mid")["difference"].value == pytest.approx(0.5)
    alone = page(three_arms(), comparisons=(("low", "tpo"),)).sections[0]
    assert [column.label for column in table_of(alone).columns] == ["k", "arm", "seeds", "PSNR", "sd"]


def test_one_image_has_no_interval_and_no_verdict(page: Make) -> None:
    answers = [
        (cell(arm, seed), "psnr", judged([30.0 + (arm == "topk-random")], images=("cat",)))
        for arm in ("topk-fixed", "topk-random")
        for seed in range(3)
    ]
    section = page(answers).sections[0]
    row = row_of(section, "random")
    assert row["difference"].text == "+1.00"
    assert row["detectable"].reason == "one image has no interval"
    assert (row["verdict"].text, row["verdict"].reason) == ("too few images: 1", "a verdict takes 5 images")
    assert "random is not judged against fixed, as 1 image is too few: +1.00 dB." in said(section)


@pytest.mark.parametrize(
    ("value", "reason", "mean"),
    [(float("inf"), "03: restored perfectly", "∞"), (float("nan"), "03: no number", "undefined")],
)
def test_what_is_no_finite_number_is_shown_and_not_compared(page: Make, value: float, reason: str, mean: str) -> None:
    odd = drawn("topk-random", 0, 8)
    odd[2] = value
    section = page(two_arms(kept=(8, 16), topk_random_s0=judged(odd))).sections[0]
    row = row_of(section, "8", "random")
    assert row["difference"].reason == reason
    assert row["PSNR"].text == mean
    assert row["above input"].text == mean
    assert warnings(section) == []
    assert row["sd"].reason == "no finite mean"
    assert len(figures_of(section)[0].panels[0].series) == 1


def test_images_that_one_arm_was_not_judged_on_are_left_out(page: Make) -> None:
    fewer = {
        f"topk_random_s{seed}": judged(drawn("topk-random", seed, 8)[:10], images=IMAGES[:10]) for seed in range(3)
    }
    section = page(two_arms(kept=(8,), **fewer)).sections[0]
    assert "10 images" in row_of(section, "random")["difference"].detail
    assert any("left out of differences" in note for note in table_of(section).notes)


def test_results_of_unlike_protocols_are_not_compared(make_record: Make, make_sweep: Make) -> None:
    records = [
        make_record(cell(arm, 0), "psnr", judged(drawn(arm, 0, 16)), protocol=protocol)
        for arm, protocol in (("topk-fixed", "rgb-crop0"), ("topk-random", "rgb-crop4"))
    ]
    sweep = make_sweep(records)
    section = build(sweep.records, sweep.plan).sections[0]
    assert row_of(section, "random")["difference"].reason == "judged by different protocols"


def test_seeds_that_two_protocols_judged_have_no_mean(make_record: Make, make_sweep: Make) -> None:
    records = [
        make_record(cell(arm, seed), "psnr", judged(drawn(arm, seed, 16)), protocol=f"rgb-crop{4 * seed}")
        for arm in ("topk-fixed", "topk-random")
        for seed in (0, 1)
    ]
    sweep = make_sweep(records)
    row = row_of(build(sweep.records, sweep.plan).sections[0], "random")
    for entry in (row["PSNR"], row["sd"]):
        assert (entry.value, entry.reason) == (None, "several protocols: rgb-crop0, rgb-crop4 have no mean")


def test_figures_have_a_line_for_each_arm_and_one_at_zero_for_the_reference(page: Make) -> None:
    level, gap = figures_of(page(two_arms()).sections[0])
    assert level.title == "PSNR against k"
    assert [series.label for series in level.panels[0].series] == ["fixed", "random"]
    assert [point.x for point in level.panels[0].series[0].points] == list(KEPT)
    zero, random = gap.panels[0].series
    assert (zero.label, zero.line, {point.y for point in zero.points}) == ("fixed", "alone", {0.0})
    assert all(point.low < point.y < point.high for point in random.points)
    assert zero.style == level.panels[0].series[0].style


def test_an_arm_whose_name_begins_anothers_keeps_its_own(page: Make) -> None:
    arms = ("ablation-w16", "ablation-w16-random")
    answers = [(cell(arm, 0, top_k=k), "psnr", judged(drawn(arm, 0, k))) for arm in arms for k in KEPT]
    section = page(answers).sections[0]
    assert row_of(section, "8", "w16")["PSNR"].text
    assert row_of(section, "8", "w16-random")["verdict"].text


def test_other_axes_that_vary_within_arms_are_matched_and_have_panels(page: Make) -> None:
    answers = [
        (cell(arm, seed, top_k=k, ensemble=ensemble), "psnr", judged(drawn(arm, seed, k)))
        for arm in ("topk-fixed", "topk-random")
        for seed in range(2)
        for k in KEPT
        for ensemble in ("none", "x8")
    ]
    section = page(answers).sections[0]
    assert row_of(section, "x8", "8", "random")["verdict"].text
    assert "at ensemble x8, k = 8" in said(section)
    assert [panel.title for panel in figures_of(section)[0].panels] == ["ensemble none", "ensemble x8"]


def test_costs_have_a_table_of_their_own(page: Make) -> None:
    flops = Measured(measurements=(Measurement(name="flops.spent", unit="FLOP", samples=(2e9,)),))
    answers = [(cell(arm, seed), "psnr", judged(drawn(arm, seed, 16))) for arm in ("a", "b") for seed in (0, 1)]
    answers += [(here, "flops", flops) for here, metric, _ in answers if metric == "psnr"]
    tables = [block for block in page(answers).sections[0].blocks if isinstance(block, Table)]
    assert tables[1].caption == "Costs, of the first seed of each arm"
    assert [row.entries[1].text for row in tables[1].groups[0].rows] == ["2.00", "2.00"]


def test_a_set_of_which_costs_alone_are_asked_shows_no_quality(page: Make) -> None:
    def latency(ms: float) -> Measured:
        return Measured(measurements=(Measurement(name="latency", unit="ms", samples=(ms, ms + 1)),))

    answers = [*two_arms(kept=(8,))]
    answers += [
        (cell("shipped", None, dataset="bundled", window=window, top_k=k, backend=backend), "latency", latency(window))
        for window, k in ((8, 16), (16, 64))
        for backend in ("gather", "sdpa")
    ]
    section = page(answers).sections[1]
    assert section.title == "denoise · sigma=25 · bundled"
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [column.label for column in table.columns] == ["window", "k", "backend", "ratio", "median", "spread"]
    assert [row.entries[0].text for row in table.groups[0].rows] == ["8", "8", "16", "16"]
    (figure,) = figures_of(section)
    assert (figure.title, figure.note) == ("Latency against k", "window changes with k")
    assert [series.label for series in figure.panels[0].series] == ["gather", "sdpa"]
    assert len(figure.panels) == 1


def test_one_arm_has_nothing_to_be_compared_with(page: Make) -> None:
    answers = [each for each in two_arms() if each[0].weights.startswith("topk-fixed")]
    document = page(answers)
    labels = [column.label for column in table_of(document.sections[0]).columns]
    assert labels == ["k", "arm", "seeds", "PSNR", "sd", "above input", "SSIM"]
    assert not any("interval" in each.text for each in document.lead if isinstance(each, Text))


def test_weights_without_a_seed_and_models_without_weights_are_arms(page: Make) -> None:
    answers = [
        (cell("shipped", None), "psnr", judged(drawn("topk-random", 0, 16))),
        (cell("none", None, model="dncnn/S", top_k=None, window=None, backend="none"), "psnr", judged([28.0] * 12)),
    ]
    section = page(answers).sections[0]
    verdict = row_of(section, "dncnn/S")["verdict"].text
    assert verdict in ("lower on these two models", "cannot be told apart on these two models")
    assert facts_of(section)["shipped"] == "shipped · model semanir/small · window 8 · k 16 · sdpa"


def test_a_plan_of_which_nothing_was_run_says_so(page: Make, make_sweep: Make) -> None:
    sweep = make_sweep([])
    assert build({}, sweep.plan).sections == ()
    document = page([(cell("a", 0), "psnr", Skipped(reason="not today"))])
    assert any("No quality has been measured" in each.text for each in document.lead if isinstance(each, Text))
    assert row_of(document.sections[0], "a")["PSNR"].reason == "not today"


def test_it_renders(page: Make) -> None:
    document = page(two_arms(), store_name="runs/a")
    text = markdown.render(document)
    assert "| k | arm | seeds | PSNR, dB | sd, dB | above input, dB | SSIM | against fixed difference, dB |" in text
    assert "| 8 | random | 3 |" in text
    assert "random is " in text
    shown = html.render(document, artifact=lambda name: b"")
    assert "PSNR above fixed against k" in shown
    assert "--store runs/a" in shown
