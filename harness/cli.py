"""The command line: the only place that reads argv, prints and exits, and the only one of `harness` that reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Everything else is imported by the command that needs it: `--help` answers at once, and torch waits for a cell.
if TYPE_CHECKING:
    from rich.console import Console

    from harness.archive import Archive
    from harness.spec import ExperimentSpec
    from harness.store import ResultStore
    from harness.training.spec import TrainingSpec

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RESULTS = Path("results")

PIPED_WIDTH = 140
"""Columns of tables that are not printed to a terminal."""

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="semanir-bench",
    help="Sweep top-k, window and attention backend of SemanIR over six restoration tasks, and report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Kind(StrEnum):
    """What `list` can list."""

    backends = "backends"
    models = "models"
    tasks = "tasks"
    metrics = "metrics"
    datasets = "datasets"
    experiments = "experiments"
    support = "support"


class FigureKind(StrEnum):
    """What `figure` can write."""

    pdf = "pdf"
    svg = "svg"


class ExportKind(StrEnum):
    """What `export` can write."""

    csv = "csv"
    jsonl = "jsonl"
    records = "records"
    tensorboard = "tensorboard"


class Family(StrEnum):
    """Whose released checkpoints `convert` reads."""

    ast = "ast"


SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A spec file, its folder, or an experiment's name, as in 'quickstart'.")
]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="A folder that 'run' has filled.")]
AnswersArgument = Annotated[
    Path,
    typer.Argument(metavar="STORE|FILE", help="A folder that 'run' has filled, or a file of 'export --to records'."),
]
PlanOption = Annotated[
    str, typer.Option("--plan", help="An experiment's name or a spec's digest, where a store holds several.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUES", help="Replace a value of the spec, as in axes.top_k=64,128."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="AXIS=VALUES|ID", help="Keep cells, as in backend=sdpa,mask or a cell id."),
]

SmokeOption = Annotated[
    bool, typer.Option("--smoke", help="Run the spec's tiny version: every line of it, anywhere, in a minute.")
]

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data root; SEMANIR_DATA or the user's data directory by default."),
]


@app.command()
def plan(
    spec: SpecArgument,
    set_: SetOption = None,
    only: OnlyOption = None,
    smoke: SmokeOption = False,
    all_: Annotated[bool, typer.Option("--all", help="List every cell, however many there are.")] = False,
    data: DataOption = None,
) -> None:
    """Show the cells of a spec, their forecast, and what is skipped.

    Runs nothing: the forecast of memory and time is made from counts. Every skip has its reason."""
    from harness.overview import print_plan
    from harness.plan import expand

    with clear_errors():
        _use_data(data)
        print_plan(expand(_load(spec, set_, smoke=smoke), only=only or ()), _console(), whole=all_)


@app.command()
def run(
    spec: SpecArgument,
    out: Annotated[Path | None, typer.Option(help="The store; results/<experiment> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a store that holds records already.")] = False,
    set_: SetOption = None,
    only: OnlyOption = None,
    smoke: SmokeOption = False,
    data: DataOption = None,
) -> None:
    """Measure the cells of a spec and store their records.

    Exits with 1 when a cell failed; the others are measured all the same."""
    from harness.overview import print_summary
    from harness.plan import NO_CUDA, expand
    from harness.progress import ProgressLine
    from harness.runner import run as run_plan
    from harness.store import ResultStore

    with clear_errors():
        _use_data(data)
        loaded = _load(spec, set_, smoke=smoke)
        expanded = expand(loaded, only=only or ())
        if loaded.smoke and not expanded.cells and {skip.reason for skip in expanded.skipped} == {NO_CUDA}:
            raise UsageError(f"{loaded.name} needs a CUDA device and this machine has none; --smoke runs it in small")
        folder = out or RESULTS / f"{loaded.name}{'-smoke' if smoke else ''}"
        console = _console()
        with ResultStore.open(folder) as store:
            if not resume and store.plans():
                raise UsageError(f"{folder} holds records already; add --resume to go on, or choose another --out")
            console.print(f"{loaded.name}: {loaded.question}", highlight=False)
            with ProgressLine(console) as progress:
                summary = run_plan(expanded, store, listener=progress)
            print_summary(summary, folder, console)
        if summary.failed:
            raise typer.Exit(FAILED)


@app.command()
def report(
    store: AnswersArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file: .html, .md, or .tex for its tables; report.html in the store by default, or"
            " results/<experiment>/<file>.html."
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="README", help="Write the tables below the marker of this file instead."),
    ] = None,
    plan_: PlanOption = "",
    page: Annotated[
        str, typer.Option(help="The page that tells it; the one that the experiment asks for by default.")
    ] = "",
    baseline: Annotated[
        str | None, typer.Option(help="The backend of latency ratios; the timed one that spends most by default.")
    ] = None,
    standalone: Annotated[
        bool,
        typer.Option("--standalone", help="Make the .tex compile as it is; without it, a paper takes it by \\input."),
    ] = False,
    paper: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Take captions and names of the .tex from this spec, as it is now."),
    ] = None,
) -> None:
    """Write the report of a store, or of a file of records, as one HTML file, or its tables for a paper.

    The file needs no network. Its path is printed."""
    from reports.publish import publish, publish_below_marker

    with clear_errors(), _answers(store) as (answers, default):
        if into is not None and out is not None:
            raise UsageError("--out writes a file of its own and --into a part of one: choose one")
        if (standalone or paper is not None) and (out is None or out.suffix != ".tex"):
            raise UsageError("--standalone and --paper are for tables in LaTeX: add --out table.tex")
        if into is not None:
            path = publish_below_marker(answers, into, page=page, plan=plan_, baseline=baseline)
        else:
            path = publish(
                answers,
                out or default,
                store_name=str(store),
                page=page,
                plan=plan_,
                baseline=baseline,
                paper=None if paper is None else _load(paper, None).paper,
                standalone=standalone,
            )
        typer.echo(path.resolve())


@app.command()
def gallery(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files of records; all experiments' by default.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where to write.")] = RESULTS / "gallery",
) -> None:
    """Write page, tables and figures of every experiment with committed records, and a page that links them.

    Needs no torch, no images and no network. The path of that page is printed."""
    from harness import archive
    from reports.publish import publish_gallery

    with clear_errors():
        found = files or sorted(EXPERIMENTS.glob("*/records.jsonl"))
        typer.echo(publish_gallery(found, out, archive.read).resolve())


@app.command()
def ledger(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[STORE|FILE]...", help="Where to look; the records beside the experiments by default."),
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The page: .html, or .md for Markdown.")
    ] = RESULTS / "ledger.html",
) -> None:
    """Say of every number that the paper prints what became of it here: reproduced, differs by so much, or not run.

    The page's path is printed."""
    from contextlib import ExitStack

    from reports.publish import publish_ledger

    with clear_errors(), ExitStack() as opened:
        found = places or sorted(EXPERIMENTS.glob("*/records.jsonl"))
        stores = [opened.enter_context(_answers(place))[0] for place in found]
        typer.echo(publish_ledger(stores, out).resolve())


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="A store, or a file of 'export --to records'.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="The other.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The page: .html, or .md for Markdown.")
    ] = RESULTS / "comparison.html",
) -> None:
    """Compare two stores: quality image by image, operations exactly; times only side by side, never with a verdict.

    What can be concluded is printed, and the page's path last."""
    from reports.publish import publish_comparison

    with clear_errors(), _answers(one) as (first, _), _answers(other) as (second, _):
        path, concluded = publish_comparison(first, second, out, names=_short_names(one, other))
    for words in concluded:
        typer.echo(words)
    typer.echo(path.resolve())


@app.command()
def figure(
    store: AnswersArgument,
    form: Annotated[FigureKind, typer.Option("--format", help="What to draw: pdf or svg, fonts embedded.")] = (
        FigureKind.pdf
    ),
    venue: Annotated[str, typer.Option(help="Whose column a figure fills: neurips, cvpr or ieee.")] = "cvpr",
    wide: Annotated[bool, typer.Option("--wide", help="Fill the width of the text instead of a column.")] = False,
    only: Annotated[str, typer.Option(metavar="WORDS", help="Draw the figures whose file name holds this.")] = "",
    grid: Annotated[
        str, typer.Option(metavar="IMAGE", help="Draw this image instead, as each method restored it, with a detail.")
    ] = "",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where to write.")] = Path("figures"),
    plan_: PlanOption = "",
    page: Annotated[str, typer.Option(help="The page whose figures are drawn; the experiment's by default.")] = "",
    baseline: Annotated[str | None, typer.Option(help="The backend that latency ratios refer to.")] = None,
    paper: Annotated[str | None, typer.Option(metavar="SPEC", help="Take names from this spec, as it is now.")] = None,
) -> None:
    """Draw the figures of a report for a paper, the data of each as CSV beside it.

    Equal records give equal files, byte for byte. Their paths are printed."""
    from reports.publish import publish_figures, publish_grids

    with clear_errors(), _answers(store) as (answers, _):
        names = None if paper is None else _load(paper, None).paper
        if grid:
            written = publish_grids(
                answers, out, image=grid, form=form.value, venue=venue, wide=wide, plan=plan_, paper=names
            )
        else:
            written = publish_figures(
                answers,
                out,
                form=form.value,
                venue=venue,
                wide=wide,
                only=only,
                page=page,
                plan=plan_,
                baseline=baseline,
                paper=names,
            )
    for path in written:
        typer.echo(path)


@app.command()
def export(
    store: StoreArgument,
    to: Annotated[
        ExportKind,
        typer.Option(
            help="One row a sample: csv for tables, jsonl for programs. A plan with its records: records. The traces"
            " of a plan, a run each: tensorboard."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write; of traces the folder.")],
    plan_: PlanOption = "",
) -> None:
    """Write all samples of a store as a tidy table, or one plan: its records to keep beside its experiment, or its
    traces.

    'report' reads records without the store; pictures are left out. Traces are those of `profile: true`, laid out
    for 'tensorboard --logdir' with the extra 'profile'."""
    import shlex

    from harness import archive, tensorboard
    from harness.store import choose_plan

    with clear_errors(), _open(store) as opened:
        if to is ExportKind.records:
            chosen = choose_plan(opened.plans(), plan_, store)
            archive.write(out, chosen, opened.latest({entry.key for entry in chosen.entries}))
        elif to is ExportKind.tensorboard:
            chosen = choose_plan(opened.plans(), plan_, store)
            runs = tensorboard.write(out, chosen, opened)
            _note(f"{len(runs):,} traces; to look at them: tensorboard --logdir {shlex.quote(str(out))}")
        elif plan_:
            raise UsageError(f"--to {to.value} takes the samples of all plans; leave --plan out, or write --to records")
        else:
            opened.export(out, "csv" if to is ExportKind.csv else "jsonl")
        typer.echo(out.resolve())


@app.command("import-benchmark")
def import_benchmark(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="What 'pytest --benchmark-json' wrote.")],
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store to add it to.")] = RESULTS / "benchmarks",
) -> None:
    """Bring a JSON file of pytest-benchmark, versions 4 and 5, into a store.

    Its times keep their own machine and commit. Importing a file again changes nothing."""
    import shlex

    from harness import pytest_benchmark
    from harness.store import ResultStore

    with clear_errors():
        plan, records = pytest_benchmark.read(file)
        with ResultStore.open(out) as store:
            new = pytest_benchmark.keep(plan, records, store)
            chosen = f" --plan {plan.digest[:7]}" if store.plans()[0].digest != plan.digest else ""
        typer.echo(f"{plan.name}: {len(records):,} benchmarks, {new:,} of them new to {out}")
        typer.echo(f"Now: semanir-bench report {shlex.quote(str(out))}{chosen}")


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], data: DataOption = None) -> None:
    """List what a spec can name, a line each."""
    from harness.overview import print_names
    from harness.support import as_markdown

    with clear_errors():
        _use_data(data)
        if kind is Kind.support:
            typer.echo(as_markdown())
            return
        print_names(kind.value, EXPERIMENTS, _console())


@app.command()
def cell(
    cell_id: Annotated[str, typer.Argument(metavar="ID", help="A cell's id or its first digits, as reports show it.")],
    store: Annotated[
        Path | None,
        typer.Option(help="The store, or a file of records; the stores below results/ by default."),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Measure the cell again; a store keeps both records, a file stays as it is.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show the newest record beside the one before.")] = False,
    data: DataOption = None,
) -> None:
    """Show one cell, or measure it again (--rerun --diff)."""
    from harness.overview import print_cell, print_mismatches
    from harness.progress import ProgressLine
    from harness.runner import remeasure

    with clear_errors(), _find(cell_id, store) as opened:
        _use_data(data)
        found = opened.find_cell(cell_id)
        console = _console()
        summary = None
        if rerun:
            with ProgressLine(console) as progress:
                summary = remeasure(found, opened, listener=progress)
        print_cell(found, opened.history(found.id), console, diff=diff)
        if summary:
            print_mismatches(summary.mismatches, console)
        if summary and summary.failed:
            raise typer.Exit(FAILED)


@app.command()
def doctor(data: DataOption = None) -> None:
    """Say what works on this machine and what does not.

    Exits with 1 when a sweep could not run."""
    from harness.doctor import examine

    with clear_errors():
        _use_data(data)
    console = _console()
    findings = list(examine(EXPERIMENTS))
    width = max(len(finding.subject) for finding in findings)
    marks = {"works": "[green]ok[/green]  ", "absent": "[yellow]--[/yellow]  ", "broken": "[red]FAIL[/red]"}
    for finding in findings:
        console.print(f"{marks[finding.state]} {finding.subject:<{width}}  ", finding.words, highlight=False)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def static(
    target: Annotated[
        str, typer.Option(metavar="NAMES", help="GPUs to compile for, as in sm_80,sm_90; these two by default.")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Compare with the committed baseline.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Make the kernels as they are the baseline.")] = False,
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Take kernels whose name holds this, as in forward/N=1024.")
    ] = "",
) -> None:
    """Compile every kernel and show what it costs, without a GPU.

    Registers, spills, shared memory, resident warps and the instructions of the inner loop, as the compiler leaves
    them. With --check, exits with 1 when something got worse."""
    from harness.static import report

    with clear_errors():
        if check and write:
            raise UsageError("--check compares and --write replaces: choose one")
        if write and only:
            raise UsageError("--write takes all kernels; leave --only out")
        targets = report.targets(target)
        if check and not report.check(targets, only=only, say=typer.echo):
            raise typer.Exit(FAILED)
        if write and not report.write(targets, say=typer.echo):
            raise typer.Exit(FAILED)
        if not (check or write):
            report.show(targets, only=only, say=typer.echo)


@app.command()
def gate(
    base: Annotated[
        str | None, typer.Option(metavar="REV", help="The revision before; where HEAD left the main branch by default.")
    ] = None,
    head: Annotated[str, typer.Option(metavar="REV|worktree", help="The revision after, or the files as they lie.")] = (
        "HEAD"
    ),
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="Cells and rule; experiments/gate by default.")] = (
        None
    ),
    margin: Annotated[str, typer.Option(metavar="SHARE", help="What matters to nobody; the spec's by default.")] = "",
    budget: Annotated[str, typer.Option(metavar="TIME", help="At most this long, as in 6m.")] = "8m",
    exact: Annotated[
        bool, typer.Option("--exact", help="Time nothing; compare exact figures with the baseline, or with --base.")
    ] = False,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Make the exact figures as they are the baseline.")
    ] = False,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Let slower cells fail where no certificate holds, too.")
    ] = False,
    self_test: Annotated[
        Path | None,
        typer.Option("--self-test", metavar="DIR", help="Measure this gate's own error rates into a folder."),
    ] = None,
    simulate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the false alarms of all rules on simulated data.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="VERDICT.json", help="Write the page of an earlier verdict again.")
    ] = None,
    recount: Annotated[
        Path | None,
        typer.Option(metavar="README", help="Count all certificates again, and write their tables into this file."),
    ] = None,
    schema_: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a verdict.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the order of blocks; drawn by default.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write gate.json, gate.html and all samples.")
    ] = None,
) -> None:
    """Say whether this commit made anything slower, larger or worse, and be right.

    Both source trees are measured interleaved in one run. Exits with 0 when nothing got worse, with 1 when something
    did, a declared cell was not measured or the budget ended before it was decided, with 2 when there is no verdict,
    and with 3 when the run is void."""
    from harness.gate import command
    from reports.publish import publish_certificates, publish_gate, publish_gate_summary

    with clear_errors(kept="nothing was written"):
        if self_test is not None and seed is not None:
            raise UsageError("--self-test draws an order for each of its runs: leave --seed out")
        if page is not None:
            typer.echo(publish_gate(page, out / f"{page.stem}.html" if out else None).resolve())
            return
        if schema_:
            typer.echo(command.schema(), nl=False)
            return
        if simulate is not None:
            command.simulate(simulate, say=typer.echo)
            return
        options = command.Options(
            repository=EXPERIMENTS.parent,
            base=base,
            head=head,
            spec=spec,
            margin=margin,
            budget=budget,
            exact=exact,
            enforce=enforce,
            out=out,
            seed=seed,
        )
        if recount is not None:
            typer.echo(publish_certificates(command.recounted(options), recount).resolve())
            return
        if write_baseline:
            command.write_baseline(options, say=typer.echo, note=_note)
            return
        if self_test is not None:
            command.self_test(options, self_test, say=typer.echo, note=_note)
            return
        found = command.gate(options, say=typer.echo, note=_note)
        if out is not None:
            _note(f"written: {publish_gate(out / command.VERDICT)}")
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):  # the file that GitHub Actions shows with the job
            publish_gate_summary(found, Path(summary))
        if found.exit_code:
            raise typer.Exit(found.exit_code)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from harness.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def train(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="A training spec, or a name: experiments/train/NAME.yaml.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to train in; OUT/<name> where the spec declares several trainings."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Of several trainings, do this one.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the newest checkpoint there; of several, pass finished ones by."),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, as in steps=200 or windows.1.top_k=[8, 16]."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Train networks by a spec and write their weights and cards, below results/training by default.

    Started by torchrun, it trains on several processes. Exits with 1 when a training failed; where the numbers of one
    went wrong, the others of the spec are trained all the same."""
    import importlib.util

    if importlib.util.find_spec("lightning_fabric") is None:
        typer.echo("training needs Lightning Fabric: pip install -c constraints.txt -e '.[train]'", err=True)
        raise typer.Exit(WRONG_INPUT)
    from harness.training.spec import load_all
    from harness.weights import TRAINED

    with clear_errors():
        _use_data(data)
        declared = load_all(_training_file(spec), set_ or ())
        several = len(declared) > 1
        ended = [
            _train(one, (out or TRAINED) / one.name if several or out is None else out, resume=resume, several=several)
            for one in _chosen(declared, only or [])
        ]
        if not all(ended):
            raise typer.Exit(FAILED)


@app.command()
def convert(
    family: Annotated[Family, typer.Argument(metavar="MODEL", help="The network whose authors wrote it: ast.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Their file, as they released it.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.safetensors", help="The file to write.")],
    configuration: Annotated[
        str | None, typer.Option(help="B or T; the one of the checkpoint's width by default.")
    ] = None,
) -> None:
    """Turn a released checkpoint into safetensors with our names.

    Only tensors are read: a checkpoint that could run code is refused."""
    from harness.catalog import suggest
    from harness.catalogs import MODELS

    with clear_errors():
        known = MODELS[family.value].configurations
        if configuration is not None and configuration not in known:
            hint = suggest(configuration, list(known))
            raise UsageError(f"{family.value} has no configuration '{configuration}'.{hint} It has: {', '.join(known)}")
        from semanir.checkpoints import CheckpointError
        from semanir.models.ast import official

        try:
            found = official.convert(checkpoint, out, configuration=configuration)
        except CheckpointError as error:
            raise UsageError(str(error)) from error
        typer.echo(f"{out.resolve()}: {family.value}/{found}")


@app.command("eval")
def eval_(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder of restored images, named as the dataset's are.")
    ] = None,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The dataset that holds their targets.")] = "",
    protocol: Annotated[
        str, typer.Option(metavar="NAME|list", help="How they are judged, as in sr-y-x4; 'list' shows all.")
    ] = "",
    crop: Annotated[int | None, typer.Option(min=0, help="Pixels cut from each border instead of its own.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")] = None,
    csv_: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a row for each image.")] = None,
    data: DataOption = None,
) -> None:
    """Score restored images of any method against a dataset.

    PSNR and SSIM as for the project's own networks. Exits with 1 when images are missing."""
    from harness import evaluate

    with clear_errors():
        if protocol == "list":
            for judged in evaluate.judgements().values():
                typer.echo(f"{judged.name:<14}{judged.protocol.id}")
            return
        if folder is None or not dataset or not protocol:
            raise UsageError("write: semanir-bench eval DIR --dataset NAME --protocol NAME; --protocol list shows all")
        _use_data(data)
        try:
            found = evaluate.evaluate(folder, dataset, evaluate.judgement(protocol, crop=crop))
        except evaluate.EvaluationError as error:
            raise UsageError(str(error)) from None
        typer.echo(evaluate.as_table(found))
        for name in found.extra:
            typer.echo(f"extra, not scored: {name}", err=True)
        for name in found.missing:
            typer.echo(f"missing: no file is named for {name}", err=True)
        for file, text in ((json_, evaluate.as_json), (csv_, evaluate.as_csv)):
            if file is not None:
                try:
                    file.write_text(text(found), encoding="utf-8")
                except OSError as error:
                    raise UsageError(f"{file}: cannot be written ({error.strerror}); name a file elsewhere") from None
        if found.missing:
            raise typer.Exit(FAILED)


@app.command()
def restore(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Degraded pictures, taken as they are.")],
    task: Annotated[str, typer.Option(metavar="NAME", help="What is to be undone, as in denoise.")] = "",
    setting: Annotated[
        str, typer.Option(metavar="KEY=VALUE", help="How it was degraded, as in sigma=25; the task's own by default.")
    ] = "",
    sigma: Annotated[str, typer.Option(metavar="NUMBER", help="Short for --setting sigma=NUMBER.")] = "",
    weights: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="Weights by name, or a file that 'train' wrote; may replace --task."),
    ] = "",
    top_k: Annotated[int | None, typer.Option(min=1, help="Keys kept per query; the card's by default.")] = None,
    window: Annotated[
        int | None, typer.Option(min=2, max=128, help="Side of the window in tokens; the card's by default.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="The attention backend.")] = "sdpa",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder to write.")] = RESULTS
    / "restored",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Restore your own pictures with a shipped network, or one of yours.

    Writes DIR/<name>.png of the same depth and colour, and DIR/restored.html to compare before and after. Pictures
    above 512 pixels are restored in overlapping tiles. A network for gray restores red, green and blue of a colour
    picture each by themselves; one for colour gets gray in all three channels. Exits with 1 when some pictures could
    not be restored and with 2 when none could."""
    from harness import restoration
    from harness.datasets import DatasetError
    from reports.publish import publish_restored

    with clear_errors(kept="the pictures that were restored are kept, without a page"):
        settings = ",".join(part for part in (setting, f"sigma={sigma}" if sigma else "") if part)
        try:
            chosen = restoration.weights_for(task, settings, weights)
            setup = restoration.set_up(chosen, backend=backend, window=window, top_k=top_k)
            files = restoration.destinations(images, out, force=force)
            restoration.make_folder(out)
            from harness.restoring import Restorer

            restorer = Restorer(setup)
        except restoration.RestorationError as error:
            raise UsageError(str(error)) from None
        typer.echo(setup.words)
        done, failed = [], []
        for number, (image, file) in enumerate(zip(images, files, strict=True), start=1):
            try:
                found = restorer.restore_file(image, file)
            except (DatasetError, restoration.RestorationError) as error:
                failed.append(restoration.Unrestored(source=image, reason=str(error)))
                typer.echo(f"[{number}/{len(images)}] {error}", err=True)
                continue
            done.append(found)
            typer.echo(f"[{number}/{len(images)}] {setup.progress(found)}")
        if not done:
            raise typer.Exit(WRONG_INPUT)
        typer.echo(publish_restored(setup, done, failed, out / restoration.PAGE).resolve())
        if failed:
            raise typer.Exit(FAILED)


data_app = typer.Typer(
    help="The standard datasets: what is here, where the others come from, and your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list(data: DataOption = None) -> None:
    """List every registered set and your own: what for, whether it is here, and how to get it."""
    from rich.table import Table

    from harness.fetch import overview

    with clear_errors():
        _use_data(data)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("name", "role", "tasks", "files", "here", "how to get it"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "name")
        for line in overview():
            table.add_row(*line)
        _console().print(table, highlight=False, markup=False)


@data_app.command("verify")
def data_verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A set; all that are here by default.")] = None,
    data: DataOption = None,
) -> None:
    """Compare the files that are here with their recorded checksums.

    Exits with 1 when a file has changed."""
    from harness.fetch import verify_here

    with clear_errors():
        _use_data(data)
        changed = False
        for entry, found in verify_here(name):
            counts = f"{len(found.ok)} ok, {len(found.missing)} missing, {len(found.changed)} changed"
            typer.echo(f"{entry.name}: {counts if entry.files else 'no checksums are recorded'}  ({found.folder})")
            for file in found.changed:
                typer.echo(f"  changed: {found.folder / file}")
            changed = changed or bool(found.changed)
        if changed:
            typer.echo("a changed file is replaced by: semanir-bench data fetch NAME", err=True)
            raise typer.Exit(FAILED)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A set of 'data list'.")], data: DataOption = None
) -> None:
    """Download a set from its recorded source, each file checked.

    What is here already is kept, so a second call goes on where the first one stopped."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from harness.fetch import entry_of, fetch, folder_for

    with clear_errors():
        _use_data(data, fills=True)
        entry = entry_of(name)
        console = _console()
        received: dict[str, int] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
            row = bar.add_task(entry.name, total=sum(file.bytes for file in entry.files))

            def report(file: str, count: int) -> None:
                received[file] = count
                bar.update(row, completed=sum(received.values()), description=f"{entry.name}/{file}")

            done = fetch(entry, folder_for(entry), report=lambda file, count: report(file.name, count))
        typer.echo(f"{entry.name}: {done.fetched} files ({done.bytes / 1e6:.1f} MB) fetched, {done.kept} were here")
        typer.echo(f"licence, as its source states it: {entry.licence}")
        typer.echo(done.folder)


@data_app.command("add")
def data_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What specs will call it.")],
    gt: Annotated[Path, typer.Option("--gt", metavar="DIR", help="The clean images.")],
    lq: Annotated[
        Path | None, typer.Option("--lq", metavar="DIR", help="Their degraded partners, of the same names.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Make your own folders of images a dataset. Nothing is copied."""
    from harness import datasets

    with clear_errors():
        _use_data(data, fills=True)
        count = datasets.add(name, gt, lq)
        typer.echo(f"{name}: {count} {'pairs' if lq else 'images'}; name it on the axis dataset of a spec")


@data_app.command("leaks")
def data_leaks(
    training: Annotated[str, typer.Argument(metavar="TRAIN", help="A training set, or any other.")],
    tests: Annotated[
        list[str] | None, typer.Argument(metavar="[TEST]...", help="Test sets; all that are here by default.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Say which training images are also test images: copies, crops, turned, mirrored or resized.

    Exits with 1 when there is one."""
    from harness.leaks import find_in_sets

    with clear_errors():
        _use_data(data)
        found = find_in_sets(training, tests or ())
        for leak in found:
            typer.echo(f"{leak.training} is {leak.test}: {leak.how}")
        if found:
            typer.echo(f"{len(found)} leaks: take these images out of {training} before training", err=True)
            raise typer.Exit(FAILED)
        typer.echo("no training image is a test image")


def _use_data(root: Path | None, *, fills: bool = False) -> None:
    """Make a folder the data root of this process and its workers; a command that fills it may make it, too."""
    if root is None:
        return
    root = root.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(f"--data {root} is a file; name a folder that holds test/<Name>")
    if not fills and not root.exists():
        raise UsageError(f"--data {root} does not exist; name a folder that holds test/<Name>, or make it")
    os.environ["SEMANIR_DATA"] = str(root)


class UsageError(Exception):
    """The command cannot do what was asked; the message says what would work."""


@contextmanager
def clear_errors(*, kept: str = "what was measured is kept, --resume goes on") -> Iterator[None]:
    """Turn the errors that a user can mend into a message and an exit code; anything else is a bug and shows itself."""
    from harness.catalog import UnknownName
    from harness.datasets import DatasetError
    from harness.gate.refusal import Refusal
    from harness.spec import SpecError
    from harness.static.cost import StaticError
    from harness.store import StoreError
    from reports.publish import ReportError

    try:
        yield
    except (SpecError, StoreError, UnknownName, DatasetError, ReportError, UsageError, StaticError, Refusal) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(WRONG_INPUT) from None
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _note(words: str) -> None:
    """Say on stderr how far something is: stdout is for what was asked for."""
    typer.echo(words, err=True)


def _console() -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def _load(spec: str, overrides: list[str] | None, *, smoke: bool = False) -> ExperimentSpec:
    from harness.spec import load
    from reports.publish import PAGES

    path = Path(spec)
    if path.is_dir():
        path = path / "spec.yaml"
    elif not path.exists() and (EXPERIMENTS / spec / "spec.yaml").is_file():
        path = EXPERIMENTS / spec / "spec.yaml"
    loaded = load(path, overrides or (), smoke=smoke)
    if loaded.page and loaded.page not in PAGES:
        raise UsageError(f"{loaded.path}: page: {PAGES.unknown(loaded.page)}")
    return loaded


def _training_file(spec: str) -> Path:
    """Return the file that is meant: itself, or one of the project's by its name."""
    named = EXPERIMENTS / "train" / f"{spec}.yaml"
    return named if named.is_file() and not Path(spec).is_file() else Path(spec)


def _chosen(declared: Sequence[TrainingSpec], only: Sequence[str]) -> list[TrainingSpec]:
    """Return the trainings of these names, in the order of the spec; all where none is named."""
    from harness.catalog import suggest

    known = [spec.name for spec in declared]
    for name in only:
        if name not in known:
            near = suggest(name, known)
            raise UsageError(f"--only {name}: no training of this spec.{near} It has: {', '.join(known)}")
    return [spec for spec in declared if not only or spec.name in only]


def _train(spec: TrainingSpec, folder: Path, *, resume: bool, several: bool) -> bool:
    """Train in a folder; of several trainings, pass one by that has ended before. Return whether it ended well."""
    from harness.training.checkpoints import CheckpointFailed
    from harness.training.devices import WrongProcesses
    from harness.training.loop import Diverged
    from harness.training.progress import Board, NoTensorBoard, TrainingLine
    from harness.training.run import Event, WrongFolder, finished
    from harness.training.run import train as run_training

    kept = f"{folder} keeps the newest checkpoint, if any; --resume goes on from there"
    try:
        if several and resume and (card := finished(spec, folder)) is not None:
            if os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
                typer.echo(f"{spec.name}: finished before, {card}")
            return True
        board = Board(folder / "tensorboard") if spec.tensorboard else None
        with TrainingLine(_console(), spec) as line:

            def listen(event: Event) -> None:
                for listener in (line, board):
                    if listener is not None:
                        listener(event)

            shared = folder.parent if several else None
            run_training(spec, folder, resume=resume, listener=listen, remembering=shared)
    except (WrongFolder, WrongProcesses, NoTensorBoard) as error:
        raise UsageError(str(error)) from None
    except Diverged as error:
        typer.echo(f"{spec.name}: {error}\n{kept}" if several else f"{error}\n{kept}", err=True)
        return False
    except CheckpointFailed as error:  # no room for the next ones either
        typer.echo(f"{error}\n{kept}", err=True)
        raise typer.Exit(FAILED) from None
    return True


def _open(folder: Path) -> ResultStore:
    from harness.store import ResultStore

    return ResultStore.open(folder, create=False)


@contextmanager
def _answers(place: Path) -> Iterator[tuple[ResultStore | Archive, Path]]:
    """Open a store, or read a file of records, and say where its report goes by default."""
    from harness import archive

    if place.is_file():
        found = archive.read(place)
        # Not beside the file: it lies in a checkout, which a page would make dirty.
        yield found, RESULTS / found.plan.name / f"{place.stem}.html"
        return
    with _open(place) as store:
        yield store, place / "report.html"


def _short_names(one: Path, other: Path) -> tuple[str, str]:
    """Return as much of the ends of two paths as tells them apart."""
    parts = [path.resolve().parts for path in (one, other)]
    for count in range(1, max(map(len, parts)) + 1):
        first, second = ("/".join(each[-count:]) for each in parts)
        if first != second:
            return first, second
    return str(one), str(other)


@contextmanager
def _find(cell_id: str, folder: Path | None) -> Iterator[ResultStore]:
    """Open the store that holds a cell: the one given, or the only one below results/ that has it."""
    from harness.store import StoreError

    if folder is not None:
        with _unpacked(folder) if folder.is_file() else _open(folder) as store:
            yield store
        return
    holding = []
    for candidate in sorted(path.parent for path in RESULTS.glob("*/records.sqlite")):
        with _open(candidate) as store:
            try:
                store.find_cell(cell_id)
                holding.append(candidate)
            except StoreError:
                continue
    if len(holding) != 1:
        found = f"{len(holding)} stores below {RESULTS} hold" if holding else f"no store below {RESULTS} holds"
        raise UsageError(f"{found} a cell {cell_id}; name one with --store")
    with _open(holding[0]) as store:
        yield store


@contextmanager
def _unpacked(file: Path) -> Iterator[ResultStore]:
    """Open a store that holds what a file of records does, and is gone afterwards."""
    from tempfile import TemporaryDirectory

    from harness import archive
    from harness.store import ResultStore, StoreError

    answers = archive.read(file)
    with TemporaryDirectory(prefix="semanir-bench-") as folder, ResultStore.open(folder) as store:
        store.remember(answers.plan)
        store.append(answers.records.values())
        try:
            yield store
        except StoreError as error:
            # Nobody knows the folder, and it is gone by now.
            raise StoreError(str(error).replace(folder, str(file))) from None


def main() -> None:
    """Entry point of `semanir-bench`."""
    app()


if __name__ == "__main__":
    main()
