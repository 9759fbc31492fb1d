"""The command line: the only place that reads argv, prints and exits, and the only one of `harness` that reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Everything else is imported by the command that needs it: `--help` answers at once, and torch waits for a cell.
if TYPE_CHECKING:
    from rich.console import Console

    from harness.spec import ExperimentSpec
    from harness.store import ResultStore

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


class ExportKind(StrEnum):
    """What `export` can write."""

    csv = "csv"
    jsonl = "jsonl"


class Family(StrEnum):
    """Whose released checkpoints `convert` reads."""

    ast = "ast"


SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A spec file, its folder, or an experiment's name, as in 'quickstart'.")
]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="A folder that 'run' has filled.")]
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
    store: StoreArgument,
    out: Annotated[
        Path | None, typer.Option(help="The file, .html or .md; report.html in the store by default.")
    ] = None,
    plan_: Annotated[
        str, typer.Option("--plan", help="An experiment's name or a spec's digest, where a store holds several.")
    ] = "",
    baseline: Annotated[
        str | None, typer.Option(help="The backend that latency ratios refer to; 'mask' where it was run.")
    ] = None,
) -> None:
    """Write the report of a store as one HTML file.

    The file needs no network. Its path is printed."""
    from reports.publish import publish

    with clear_errors(), _open(store) as opened:
        path = publish(opened, out or store / "report.html", store_name=str(store), plan=plan_, baseline=baseline)
        typer.echo(path.resolve())


@app.command()
def export(
    store: StoreArgument,
    to: Annotated[ExportKind, typer.Option(help="One row a sample; csv for tables, jsonl for programs.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
) -> None:
    """Write all samples of a store as a tidy table."""
    with clear_errors(), _open(store) as opened:
        opened.export(out, to.value)
        typer.echo(out.resolve())


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
    store: Annotated[Path | None, typer.Option(help="The store; the ones below results/ by default.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Measure the cell again; both records are kept.")] = False,
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
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from harness.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def train(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="A training spec, or the name of one in experiments/train.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to train in; results/training/<name> by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint there.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, as in steps=200 or windows.1.top_k=[8, 16]."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Train a network by a spec and write its weights and their card.

    Started by torchrun, it trains on several processes. Exits with 1 when the training failed."""
    import importlib.util

    if importlib.util.find_spec("lightning_fabric") is None:
        typer.echo("training needs Lightning Fabric: pip install -c constraints.txt -e '.[train]'", err=True)
        raise typer.Exit(WRONG_INPUT)
    from harness.training import spec as specs
    from harness.training.checkpoints import CheckpointFailed
    from harness.training.devices import WrongProcesses
    from harness.training.loop import Diverged
    from harness.training.progress import Board, NoTensorBoard, TrainingLine
    from harness.training.run import Event, WrongFolder
    from harness.training.run import train as run_training

    with clear_errors():
        _use_data(data)
        path = Path(spec)
        if not path.exists() and (named := EXPERIMENTS / "train" / f"{spec}.yaml").is_file():
            path = named
        loaded = specs.load(path, set_ or ())
        folder = out or RESULTS / "training" / loaded.name
        try:
            board = Board(folder / "tensorboard") if loaded.tensorboard else None
            with TrainingLine(_console(), loaded) as line:

                def listen(event: Event) -> None:
                    for listener in (line, board):
                        if listener is not None:
                            listener(event)

                run_training(loaded, folder, resume=resume, listener=listen)
        except (WrongFolder, WrongProcesses, NoTensorBoard) as error:
            raise UsageError(str(error)) from None
        except (Diverged, CheckpointFailed) as error:
            typer.echo(f"{error}\n{folder} keeps the newest checkpoint, if any; --resume goes on from there", err=True)
            raise typer.Exit(FAILED) from None


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
    from harness.spec import SpecError
    from harness.static.cost import StaticError
    from harness.store import StoreError
    from reports.publish import ReportError

    try:
        yield
    except (SpecError, StoreError, UnknownName, DatasetError, ReportError, UsageError, StaticError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(WRONG_INPUT) from None
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _console() -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def _load(spec: str, overrides: list[str] | None, *, smoke: bool = False) -> ExperimentSpec:
    from harness.spec import load

    path = Path(spec)
    if path.is_dir():
        path = path / "spec.yaml"
    elif not path.exists() and (EXPERIMENTS / spec / "spec.yaml").is_file():
        path = EXPERIMENTS / spec / "spec.yaml"
    return load(path, overrides or (), smoke=smoke)


def _open(folder: Path) -> ResultStore:
    from harness.store import ResultStore

    return ResultStore.open(folder, create=False)


@contextmanager
def _find(cell_id: str, folder: Path | None) -> Iterator[ResultStore]:
    """Open the store that holds a cell: the one given, or the only one below results/ that has it."""
    from harness.store import StoreError

    if folder is not None:
        with _open(folder) as store:
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


def main() -> None:
    """Entry point of `semanir-bench`."""
    app()


if __name__ == "__main__":
    main()
