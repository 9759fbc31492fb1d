"""Laws of specs: no text is a traceback, and a plan covers the product exactly once."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from harness.plan import expand
from harness.spec import ExperimentSpec, SpecError, load
from harness.yaml_lines import Node, Table, parse, resolve, shown

VOCABULARY = (
    "question axes metrics timing budget exclude model task dataset backend top_k window setting only where reason "
    "semanir/nano denoise sr bundled mask psnr sigma=25 scale=2 8 -1 1e9 .inf .nan 0x10 null ~ true yes "
    "!!python/object:x !t &a *a << ? | > --- ... %YAML @ ` ' \" \t # é \u2028 \ufeff 1111111111111111111111"
)
WORDS = st.sampled_from(VOCABULARY.split(" "))
MARKS = st.sampled_from(["\n", "\n  ", "\n    ", "\n  - ", ": ", ", ", "[", "]", "{", "}", " ", ":\n    ", "- "])
YAMLISH = st.lists(st.one_of(WORDS, MARKS, st.text(max_size=3)), max_size=60).map("".join)

VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6).filter(str.isprintable)
).map(lambda value: shown(value) if isinstance(value, str) else str(value).lower())
LEAF = st.one_of(WORDS.filter(str.isalnum), VALUE)
FLOW = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(WORDS.filter(str.isidentifier), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key}: {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=8,
)
KEYS = ["question", "axes", "metrics", "timing", "budget", "exclude"]
AXIS_KEYS = ["model", "task", "dataset", "backend", "setting", "top_k", "window", "seed", "dtype", "image_size"]


def outcome(text: str, *overrides: str) -> ExperimentSpec | SpecError:
    """Load a text and unfold it; a `SpecError` is the only way to fail."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            spec = load(path, overrides)
        except SpecError as error:
            return error
        expand(spec, cuda=False)
        return spec


def is_an_answer(result: ExperimentSpec | SpecError) -> bool:
    """Return whether a spec was read, or refused with problems that all say something."""
    return isinstance(result, ExperimentSpec) or (
        len(result.problems) > 0 and all(problem.message for problem in result.problems)
    )


@given(YAMLISH)
@example("a: !<")
@example('a: "\\x')
@example("? ? ?\n")
@example("%TAG !! !\n---\n!!a b")
@example("question: &a [*a]")
@example("\ud800")
def test_no_text_ends_in_a_traceback(text: str):
    assert is_an_answer(outcome(text))


@given(st.dictionaries(st.sampled_from(KEYS), FLOW, max_size=6), st.dictionaries(st.sampled_from(AXIS_KEYS), FLOW))
def test_no_wrongly_filled_form_ends_in_a_traceback(sections: dict[str, str], axes: dict[str, str]):
    lines = [f"{key}: {value}" for key, value in sections.items() if key != "axes"]
    lines += ["axes:", "  batch: 1", *(f"  {key}: {value}" for key, value in axes.items())]
    assert is_an_answer(outcome("\n".join(lines)))


@given(st.lists(YAMLISH, max_size=3))
def test_no_override_ends_in_a_traceback(overrides: list[str]):
    text = "question: Why?\naxes: {model: semanir/nano, task: sr, dataset: bundled}\nmetrics: flops\n"
    assert is_an_answer(outcome(text, *overrides))


@given(YAMLISH)
def test_every_node_knows_a_line_of_its_text(text: str):
    root, problems = parse(text, "spec.yaml")
    lines = len(text.splitlines()) + 1
    assert root is not None or problems
    assert all(1 <= problem.place.line <= lines for problem in problems)
    assert all(1 <= line <= lines for line in lines_of(root))


def lines_of(node: Node | None) -> list[int]:
    if node is None:
        return []
    below = [child for _, child in node.entries.values()] if isinstance(node, Table) else getattr(node, "nodes", ())
    return [node.place.line, *itertools.chain.from_iterable(lines_of(child) for child in below)]


@given(st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_means_itself(number: float):
    assert resolve(repr(number)) == number


def subset(*values: object) -> st.SearchStrategy[list[object]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@given(
    st.fixed_dictionaries(
        {
            "model": st.just(["semanir/nano"]),
            "task": subset("denoise", "jpeg", "sr"),
            "backend": subset("mask", "sdpa", "triton", "none"),
            "top_k": subset(1, 64, 100, "null"),
            "window": subset(8, 16),
            "seed": subset(0, 1, 2),
            "device": subset("cpu", "cuda"),
            "dtype": subset("float32", "float64"),
        }
    ),
    subset("flops", "psnr", "latency", "memory"),
)
def test_a_plan_covers_the_product_exactly_once(axes: dict[str, list[object]], metrics: list[object]):
    rows = "\n".join(f"  {axis}: [{', '.join(map(str, values))}]" for axis, values in axes.items())
    text = f"question: Is it all there?\naxes:\n  dataset: bundled\n  image_size: 64\n{rows}\nmetrics: {metrics}\n"
    spec = outcome(text)
    if isinstance(spec, SpecError):
        assert 100 in axes["top_k"]
        assert axes["window"] == [8]
        return
    plan = expand(spec, cuda=False)
    planned = [(entry.cell, metric) for entry in plan.cells for metric in entry.metrics]
    skipped = [(skip.cell, skip.metric) for skip in plan.skipped]
    seen = Counter(
        (*(getattr(cell, axis) for axis in axes), metric) for cell, metric in itertools.chain(planned, skipped)
    )
    product = itertools.product(*(plain(values) for values in (*axes.values(), metrics)))
    assert seen == Counter(product)
    assert all(skip.reason for skip in plan.skipped)
    assert all(entry.forecast.bytes > 0 and entry.forecast.seconds > 0 for entry in plan.cells)


def plain(values: list[object]) -> list[object]:
    return [None if value == "null" else value for value in values]
