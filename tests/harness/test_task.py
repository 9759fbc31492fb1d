"""Settings: read, checked and spelled in one way; and the randomness of an image."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.catalogs import TASKS
from harness.task import InvalidSetting, generator

TASK_NAMES = TASKS.names()


@pytest.mark.parametrize("text", ["", "default", " default "])
@pytest.mark.parametrize("name", TASK_NAMES)
def test_nothing_and_default_mean_the_defaults(name: str, text: str) -> None:
    assert TASKS[name].parse(text) == TASKS[name].defaults


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_canonical_spelling_reads_as_itself(name: str) -> None:
    task = TASKS[name]
    text = task.canonical(task.defaults)
    assert task.canonical(task.parse(text)) == text
    assert text.startswith(next(iter(task.defaults)))


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_default_obeys_its_own_rule(name: str) -> None:
    task = TASKS[name]
    for key, value in task.defaults.items():
        other, values = task.only.get(key, (key, (value,)))
        parts = [f"{key}={value}"] if other == key else [f"{other}={values[0]}", f"{key}={value}"]
        assert task.parse(",".join(parts))[key] == value


@pytest.mark.parametrize("text", ["sigma=25", "sigma=25.0", " sigma = 2.5e1 ", "color=gray", "color=gray,sigma=25"])
def test_spellings_of_one_setting_have_one_canonical_form(text: str) -> None:
    denoise = TASKS["denoise"]
    assert denoise.canonical(denoise.parse(text)) == "sigma=25"


@pytest.mark.parametrize("text", ["sigma=5..50", "sigma=5.0..50", " sigma = 5 .. 5e1 ", "color=gray,sigma=5..50.0"])
def test_spellings_of_one_range_have_one_canonical_form(text: str) -> None:
    denoise = TASKS["denoise"]
    assert denoise.canonical(denoise.parse(text)) == "sigma=5..50"
    assert denoise.parse("sigma=5..50") == denoise.parse(text)


def test_a_range_may_end_in_zero_and_have_fractions() -> None:
    weather, denoise = TASKS["weather"], TASKS["denoise"]
    assert weather.canonical(weather.parse("angle=-10..0")) == "kind=rain,angle=-10..0"
    assert denoise.canonical(denoise.parse("sigma=.5..12.25")) == "sigma=0.5..12.25"


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_number_that_may_be_a_range_is_drawn_from_it_and_the_rest_is_left(name: str) -> None:
    task = TASKS[name]
    for key in task.ranged:
        other, values = task.only.get(key, (key, ()))
        low, high = task.rules[key][0], task.rules[key][-1]
        setting = task.parse(",".join([*(f"{other}={value}" for value in values[:1]), f"{key}={low}..{high}"]))
        drawn = [task.draw(setting, generator(0, str(image))) for image in range(200)]
        assert {type(one[key]) for one in drawn} == {type(task.defaults[key])}
        assert all(low <= one[key] <= high for one in drawn)
        assert min(one[key] for one in drawn) < low + 0.1 * (high - low)
        assert max(one[key] for one in drawn) > high - 0.1 * (high - low)
        assert all({**one, key: setting[key]} == setting for one in drawn)


def test_whole_numbers_reach_both_ends_of_their_range() -> None:
    jpeg = TASKS["jpeg"]
    setting = jpeg.parse("quality=10..12")
    assert {jpeg.draw(setting, generator(0, str(image)))["quality"] for image in range(60)} == {10, 11, 12}


def test_a_setting_without_a_range_draws_nothing() -> None:
    for name in TASK_NAMES:
        randomness = generator(0, "x")
        assert TASKS[name].draw(TASKS[name].defaults, randomness) == TASKS[name].defaults
        assert randomness.random() == generator(0, "x").random()


def test_minus_zero_is_zero() -> None:
    denoise = TASKS["denoise"]
    assert denoise.canonical(denoise.parse("sigma=-0")) == "sigma=0"


@pytest.mark.parametrize(
    ("task", "text", "message"),
    [
        ("denoise", "25", "'25' is no key=value pair; write it like 'sigma=25'"),
        ("denoise", "sigma=", "no key=value pair"),
        ("denoise", "sigma=25,", "no key=value pair"),
        ("denoise", "sigm=25", "unknown key 'sigm'. Did you mean 'sigma'? It has: sigma, color"),
        ("denoise", "sigma=loud", "sigma: 'loud' is no number"),
        ("denoise", "sigma=nan", "sigma: nan lies outside 0..100"),
        ("denoise", "sigma=100.5", "sigma: 100.5 lies outside 0..100"),
        ("denoise", "sigma=15,sigma=25", "sigma is given twice"),
        ("denoise", "sigma=5..", "sigma: '5..' is no range; write two ends, as in sigma=0..100"),
        ("denoise", "sigma=5..10..50", "sigma: '5..10..50' is no range"),
        ("denoise", "sigma=50..5", "sigma: 50..5 is empty; write the smaller end first, or one number alone"),
        ("denoise", "sigma=5..5", "sigma: 5..5 is empty"),
        ("denoise", "sigma=5..loud", "sigma: 'loud' is no number"),
        ("denoise", "sigma=5..101", "sigma: 101 lies outside 0..100"),
        ("jpeg", "quality=0..10", "quality: '0' is not one of 1..100"),
        ("sr", "scale=2..4", "scale: '2..4' is no whole number"),
        ("deblur", "kernel=frames,frames=4", "frames: '4' is not one of 3, 5, .. 63"),
        ("deblur", "kernel=levin,number=9", "number: '9' is not one of 0..8"),
        ("deblur", "frames=5", "frames means nothing with kernel=motion; it belongs to kernel=frames"),
        ("denoise", "color=grey", "color: 'grey' is not one of gray, rgb. Did you mean 'gray'?"),
        ("jpeg", "quality=9.5", "quality: '9.5' is no whole number"),
        ("jpeg", "quality=0", "quality: '0' is not one of 1..100"),
        ("sr", "scale=5", "scale: '5' is not one of 2, 3, 4"),
        (
            "weather",
            "kind=haze,angle=5",
            "angle means nothing with kind=haze; it belongs to kind=rain or kind=snow",
        ),
        ("deblur", "angle=5", "angle means nothing with kernel=motion; it belongs to kernel=linear"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_rule(task: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        TASKS[task].parse(text)
    assert message in str(error.value)


def test_the_randomness_of_an_image_is_the_same_in_another_process() -> None:
    code = "from harness.task import generator; print(generator(7, 'kodim01').random())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(other) == generator(7, "kodim01").random()


def test_the_randomness_never_changes() -> None:
    """Drawn once: records of old degraded images compare only while this stays."""
    assert generator(0, "astronaut").integers(2**32) == 1511375057


def test_seed_and_name_do_not_run_into_each_other() -> None:
    first = [generator(seed, name).random() for seed, name in [(1, "1"), (11, ""), (1, "1/"), (0, "1"), (1, "0")]]
    assert len(set(first)) == len(first)


def test_tasks_and_datasets_do_not_load_torch() -> None:
    code = (
        "import sys, harness.datasets; from harness.catalogs import TASKS; [TASKS[n] for n in TASKS];"
        "harness.datasets.load('bundled', images=1, image_size=32); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
