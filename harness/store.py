"""The results store: a folder with an append-only database, content-addressed artifacts and exports."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import psutil

from harness.paper import Paper
from harness.record import Cell, Failed, Frozen, Record, Timing, digest, to_json

if TYPE_CHECKING:
    pass

DATABASE = "records.sqlite"
SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0
LEASE_SECONDS = 120.0
"""A lease whose heart has not beaten for so long is taken over, even if its process cannot be looked up."""
STALE_SECONDS = 3600.0
"""Age at which a temporary file has no writer any more."""

NETWORK_FILE_SYSTEMS = frozenset(
    (
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb", "smb2", "smb3", "smbfs", "vboxsf", "webdav"),
        *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS cells (id TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, cell TEXT NOT NULL REFERENCES cells, metric TEXT NOT NULL,
    status TEXT NOT NULL, started_at TEXT NOT NULL, json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_key ON records (key, id, status);
CREATE INDEX IF NOT EXISTS records_by_cell ON records (cell);
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
CREATE TRIGGER IF NOT EXISTS records_last BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
CREATE TABLE IF NOT EXISTS plans (
    id INTEGER PRIMARY KEY, spec TEXT NOT NULL, content TEXT NOT NULL, json TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS leases (
    cell TEXT PRIMARY KEY, token TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL,
    heartbeat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exports (name TEXT PRIMARY KEY, newest INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
"""Every statement may run again, for two runs may make one store at once."""

BEST_FIRST = "status = 'measured' DESC, id DESC"
"""Of the records with one key the newest measured one speaks; a failed repetition does not displace it."""
NEWEST = f"""
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY key ORDER BY {BEST_FIRST}) AS place FROM records)
    WHERE place = 1
"""

Status = Literal["measured", "skipped", "out_of_memory", "timeout", "crashed", "error"]
"""An outcome's kind, or the kind of its failure."""
ExportFormat = Literal["csv", "jsonl"]
Hook = Callable[[], None]


class StoreError(Exception):
    """The store cannot do what was asked; the message names the place, the rule and the remedy."""


class LeaseLost(StoreError):
    """Another run has taken the cell over, so what was measured under this lease is not kept."""


class PlanEntry(Frozen):
    """One number that a plan asks for."""

    cell: Cell
    metric: str
    key: str
    """Where its record is found, whether it was measured for this plan or for an earlier one."""


class StoredPlan(Frozen):
    """What a report needs of a plan: the question and which records answer it."""

    digest: str
    """Digest of the spec."""
    name: str
    question: str
    text: str
    """The YAML as it was written."""
    created_at: str
    """UTC, ISO 8601."""
    timing: Timing = Timing()
    """How its latencies are sampled."""
    cell_seconds: float = 120.0
    """Its time limit of one cell, in seconds."""
    page: str = ""
    """The page that tells its story; empty for `ablation`."""
    paper: Paper = Paper()
    """Caption, label and names of its tables in print."""
    comparisons: tuple[tuple[str, str], ...] = ()
    """Pairs of training arms, reference first, that its page compares; empty for every arm with the first."""
    entries: tuple[PlanEntry, ...]


@dataclass(frozen=True)
class Lease:
    """The right to measure one cell, until it is released."""

    cell: str
    token: str


@dataclass(frozen=True)
class HeldBy:
    """Another run is at work on the cell."""

    pid: int


def _no_store(folder: Path) -> str:
    """Say that a folder holds no store, and what would be one."""
    if (folder / "records.jsonl").is_file():
        return f"{folder} holds no results store; it holds records: name {folder / 'records.jsonl'}"
    if folder.suffix:
        return f"there is no file {folder}; name one that `semanir-bench export --to records` wrote, or a store"
    return f"{folder} holds no results store; `semanir-bench run SPEC --out {folder}` makes one"


class ResultStore:
    """A store that is open. Safe against `kill -9` at any moment and against other runs that use it at once.

    Its connection belongs to the thread that opened it.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection

    @classmethod
    def open(cls, folder: Path | str, *, create: bool = True) -> ResultStore:
        """Open a store, or make one where `create` allows it. Raises `StoreError`."""
        folder = Path(folder).absolute()
        try:
            folder.exists()
        except OSError as error:
            raise StoreError(f"{folder} cannot be a folder: {error.strerror}; name another") from None
        refuse_network(folder)
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder} is a file; a store is a folder, so name one that is new or holds a store")
        if not create and not (folder / DATABASE).is_file():
            raise StoreError(_no_store(folder))
        if not create and (folder / DATABASE).stat().st_size == 0:
            raise StoreError(f"{folder / DATABASE} is empty, so its records are lost; name another store")
        if not create and not os.access(folder, os.W_OK):
            with _rephrased(folder):
                return cls(folder, _connect_read_only(folder))
        try:
            for room in ("artifacts", "exports"):
                (folder / room).mkdir(parents=True, exist_ok=True)
                _sweep(folder / room)
        except OSError as error:
            raise StoreError(f"{folder} cannot hold a store: {error.strerror}; name a folder you can write") from None
        with _rephrased(folder):
            return cls(folder, _connect(folder))

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        self._connection.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Records

    def append(
        self, records: Iterable[Record], *, release: Lease | None = None, before_commit: Hook = lambda: None
    ) -> None:
        """Add records, all or none, and release the cell's lease in the same transaction.

        Raises `LeaseLost`, and adds nothing, when another run has taken the cell over.
        """
        records = tuple(records)
        rows = [_row(record) for record in records]
        cells = {record.cell.id: record.cell for record in records}
        with self._transaction():
            if release is not None and not self._released(release):
                raise LeaseLost(f"cell {release.cell} was taken over by another run on {self.folder}")
            self._remember_cells(cells)
            self._connection.executemany("INSERT INTO records VALUES (NULL, ?, ?, ?, ?, ?, ?)", rows)
            before_commit()

    def latest(self, keys: Iterable[str] | None = None) -> dict[str, Record]:
        """Return the newest record of each key that has one; all keys where none are named."""
        with _rephrased(self.folder):
            return {key: Record.model_validate_json(text) for key, text in self._latest("json", keys)}

    def statuses(self, keys: Iterable[str]) -> dict[str, Status]:
        """Return what became of each key that has a record, from an index alone: no record is read."""
        with _rephrased(self.folder):
            return dict(self._latest("status", keys))

    def history(self, cell_prefix: str) -> list[Record]:
        """Return every record of one cell, oldest first. Raises `StoreError` as `find_cell` does."""
        cell = self.find_cell(cell_prefix)
        with _rephrased(self.folder):
            rows = self._connection.execute("SELECT json FROM records WHERE cell = ? ORDER BY id", [cell.id])
            return [Record.model_validate_json(text) for (text,) in rows]

    def inputs(self) -> list[Record]:
        """Return a record of each cell and each set of degraded images that it was measured on, oldest first."""
        first: dict[tuple[str, str], str] = {}
        with _rephrased(self.folder):
            query = "SELECT cell, json FROM records WHERE status = 'measured' ORDER BY id"
            for cell_id, text in self._connection.execute(query):
                # Python's reader, not SQLite's: a record may hold an infinity.
                if degraded := json.loads(text)["degraded"]:
                    first.setdefault((cell_id, json.dumps(degraded, sort_keys=True)), text)
        return [Record.model_validate_json(text) for text in first.values()]

    def find_cell(self, prefix: str) -> Cell:
        """Return the one cell, measured or planned, whose id starts so. Raises `StoreError`."""
        with _rephrased(self.folder):
            query = "SELECT id, json FROM cells WHERE substr(id, 1, ?) = ? ORDER BY id LIMIT 6"
            found = dict(self._connection.execute(query, [len(prefix), prefix]).fetchall())
        if not found:
            raise StoreError(f"{self.folder}: no cell's id starts with '{prefix}'; the report names each cell's id")
        if len(found) > 1:
            some = ", ".join(list(found)[:5]) + (", ..." if len(found) > 5 else "")
            raise StoreError(f"{self.folder}: '{prefix}' fits several cells ({some}); give more digits")
        return Cell.model_validate_json(*found.values())

    # Plans

    def remember(self, plan: StoredPlan) -> None:
        """Store a plan, unless the newest one of its spec says the same."""
        cells = {entry.cell.id: entry.cell for entry in plan.entries}
        entries = [[entry.cell.id, entry.metric, entry.key] for entry in plan.entries]
        head = plan.model_dump(mode="json", exclude={"entries", "created_at"})
        content = digest([head, entries])
        with self._transaction():
            query = "SELECT content FROM plans WHERE spec = ? ORDER BY id DESC LIMIT 1"
            if self._connection.execute(query, [plan.digest]).fetchone() == (content,):
                return
            self._remember_cells(cells)
            text = json.dumps({**head, "created_at": plan.created_at, "entries": entries})
            self._connection.execute("INSERT INTO plans VALUES (NULL, ?, ?, ?)", [plan.digest, content, text])

    def plans(self) -> list[StoredPlan]:
        """Return the newest plan of each spec, newest first."""
        with _rephrased(self.folder):
            cells = dict(self._connection.execute("SELECT id, json FROM cells").fetchall())
            newest = "SELECT max(id) FROM plans GROUP BY spec"
            query = f"SELECT json FROM plans WHERE id IN ({newest}) ORDER BY id DESC"
            plans = [json.loads(text) for (text,) in self._connection.execute(query)]

        @cache
        def cell(cell_id: str) -> Cell:
            return Cell.model_validate_json(cells[cell_id])

        return [
            StoredPlan(
                **{
                    **plan,
                    "entries": [PlanEntry(cell=cell(c), metric=m, key=k) for c, m, k in plan["entries"]],
                }
            )
            for plan in plans
        ]

    # Leases

    def acquire(self, cell: str, *, now: Callable[[], float] = time.time) -> Lease | HeldBy:
        """Lease a cell to this process, or say which process holds it.

        A lease is taken over once its process is gone (by pid and start time, on this host) or its heart has
        not beaten for `LEASE_SECONDS`.
        """
        host, pid = _host(), os.getpid()
        lease = Lease(cell, uuid.uuid4().hex)
        with self._transaction():
            query = "SELECT host, pid, born, heartbeat FROM leases WHERE cell = ?"
            held = self._connection.execute(query, [cell]).fetchone()
            if held is not None:
                its_host, its_pid, its_birth, heartbeat = held
                dead = its_host == host and process_birth(its_pid) != its_birth
                if not dead and now() - heartbeat < LEASE_SECONDS:
                    return HeldBy(its_pid)
            self._connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)",
                [cell, lease.token, host, pid, process_birth(pid), now()],
            )
        return lease

    def beat(self, lease: Lease, *, now: Callable[[], float] = time.time) -> None:
        """Say that the process which holds the lease is still at work."""
        with self._transaction():
            query = "UPDATE leases SET heartbeat = ? WHERE cell = ? AND token = ?"
            self._connection.execute(query, [now(), lease.cell, lease.token])

    def release(self, lease: Lease) -> None:
        """Give a cell back; nothing happens where another run has taken it over."""
        with self._transaction():
            self._released(lease)

    # Files

    @property
    def artifacts(self) -> Path:
        """The folder of pictures and traces that records name."""
        return self.folder / "artifacts"

    def write_artifact(self, content: bytes, suffix: str) -> str:
        """Store a file under its content's sha256 and return its name."""
        return write_artifact(self.artifacts, content, suffix)

    def artifact(self, name: str) -> Path:
        """Return the path of an artifact. Raises `StoreError` where it is missing."""
        path = self.artifacts / name
        if path.parent != self.artifacts or not path.is_file():
            raise StoreError(f"{self.artifacts} has no '{name}'; was the store copied without its artifacts?")
        return path

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the newest record of each key as rows of `COLUMNS`, one a sample, oldest first."""
        with _rephrased(self.folder):
            query = f"SELECT key, json FROM records WHERE id IN ({NEWEST}) ORDER BY id"
            for key, text in self._connection.execute(query):
                yield from tidy(key, json.loads(text))

    def export(self, path: Path, kind: ExportFormat, *, before_rename: Hook = lambda: None) -> None:
        """Write `rows()` as CSV or JSON lines; the file is there as a whole or as it was before."""
        write = {"csv": _write_csv, "jsonl": _write_jsonl}[kind]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, "w", before_rename) as file:
                write(file, self.rows())
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error

    def refresh_exports(self, *, before_rename: Callable[[Path], None] = lambda path: None) -> None:
        """Write `exports/records.csv` and `.jsonl`, unless they hold all there is.

        Other runs wait meanwhile, so that none of them puts an older export over a newer one.
        """
        for kind in get_args(ExportFormat):
            path = self.folder / "exports" / f"records.{kind}"
            with self._transaction():
                (newest,) = self._connection.execute("SELECT ifnull(max(id), 0) FROM records").fetchone()
                query = "SELECT newest FROM exports WHERE name = ?"
                if self._connection.execute(query, [path.name]).fetchone() == (newest,) and path.is_file():
                    continue
                self.export(path, kind, before_rename=partial(before_rename, path))
                self._connection.execute("INSERT OR REPLACE INTO exports VALUES (?, ?)", [path.name, newest])

    # What the above share

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _rephrased(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has SQLite roll back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _latest(self, column: str, keys: Iterable[str] | None) -> list[tuple[str, Any]]:
        if keys is None:
            query = f"SELECT key, {column} FROM records WHERE id IN ({NEWEST})"
            return self._connection.execute(query).fetchall()
        newest = f"(SELECT id FROM records WHERE key = asked.value ORDER BY {BEST_FIRST} LIMIT 1)"
        query = f"SELECT r.key, r.{column} FROM json_each(?) AS asked JOIN records AS r ON r.id = {newest}"
        return self._connection.execute(query, [json.dumps(list(keys))]).fetchall()

    def _remember_cells(self, cells: Mapping[str, Cell]) -> None:
        rows = ((cell_id, json.dumps(to_json(cell))) for cell_id, cell in cells.items())
        self._connection.executemany("INSERT OR IGNORE INTO cells VALUES (?, ?)", rows)

    def _released(self, lease: Lease) -> bool:
        query = "DELETE FROM leases WHERE cell = ? AND token = ?"
        return self._connection.execute(query, [lease.cell, lease.token]).rowcount == 1


def write_artifact(folder: Path, content: bytes, suffix: str) -> str:
    """Write a file named by its content's sha256 and return the name.

    The file is there whole or not at all, also when the power fails: it lies on the disk, under its name, before a
    record can name it.
    """
    name = f"{hashlib.sha256(content).hexdigest()}{suffix}"
    if not (folder / name).exists():
        with replacing(folder / name, "wb") as file:
            file.write(content)
    return name


def utc_now() -> str:
    """Return the time as records write it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def choose_plan(plans: Sequence[StoredPlan], wanted: str, place: Path) -> StoredPlan:
    """Return the plan of this name, or whose digest starts so; the first where none is wanted. Raises `StoreError`."""
    for plan in plans:
        if not wanted or plan.digest.startswith(wanted) or plan.name == wanted:
            return plan
    if not plans:
        raise StoreError(f"{place} holds no plan yet; `semanir-bench run SPEC --out {place}` stores one")
    names = ", ".join(f"{plan.name} ({plan.digest[:7]})" for plan in plans)
    raise StoreError(f"{place} holds no plan '{wanted}'; it has: {names}")


def refuse_network(folder: Path) -> None:
    """Raise `StoreError` where a folder lies on a network file system: SQLite's locks do not hold there."""
    mounts = [(Path(mount.mountpoint), mount.fstype) for mount in psutil.disk_partitions(all=True)]
    mount, kind = file_system_of(folder.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{folder} lies on the network file system {kind} (mounted at {mount}), where two runs would corrupt "
            "a store; name a folder on a local disk and copy the store when the run has ended"
        )


def file_system_of(path: Path, mounts: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
    """Return mount point and type of the file system that holds `path`; of two on one point the later."""
    holding = [(point, kind.lower()) for point, kind in mounts if path.is_relative_to(point)]
    # `max` keeps the first of equals.
    return max(reversed(holding), key=lambda mount: len(mount[0].parts), default=(Path("/"), "unknown"))


def process_birth(pid: int) -> float | None:
    """Return when a process was started, in units of this host; None once it has ended, reaped or not."""
    try:
        # Ticks since boot: psutil's wall-clock time moves when the clock is set.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else float(fields[19])
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    return None


@cache
def _host() -> str:
    """Digest of this boot and this namespace of pids: only within one does a pid say anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return digest([boot, str(Path("/proc/self/ns/pid").readlink())])
    except OSError:
        return digest([psutil.boot_time()])


def _connect_read_only(folder: Path) -> sqlite3.Connection:
    """Open a store in a folder that cannot be written, a mounted archive say: to be read, never to be run."""
    wal = folder / f"{DATABASE}-wal"
    if wal.exists() and wal.stat().st_size:
        raise StoreError(
            f"{folder} cannot be written and its run did not end in order; copy the store, then read the copy"
        )
    uri = f"{(folder / DATABASE).as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / DATABASE, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _set_up(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, folder: Path) -> None:
    # One statement, so that both are read at one moment: another process may be making the store just now.
    seen = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    version, tables = connection.execute(seen).fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{folder / DATABASE} has schema {version} and this version reads up to {SCHEMA_VERSION}; "
            "upgrade semanir-bench, or name another folder"
        )
    if version == 0 and tables:
        raise StoreError(f"{folder / DATABASE} is a database of something else; name another folder")
    _turn_on_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if version == 0:
        connection.executescript(SCHEMA)


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """Switch the journal's mode, kept in the file; SQLite does not wait for another that does so too."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def _rephrased(folder: Path) -> Iterator[None]:
    """Say what an error of SQLite means for the user."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text:
            remedy = "another process has held it for long; end that one, or try again"
        elif "malformed" in text or "not a database" in text:
            remedy = "it is damaged: put a copy back, or save the rest with `sqlite3 records.sqlite .recover`"
        elif "readonly" in text or "unable to open" in text or "full" in text:
            remedy = "make the folder writable and its disk roomy, or copy the store elsewhere"
        else:
            remedy = "copy the store before anything else is done with it"
        raise StoreError(f"{folder / DATABASE}: {text}; {remedy}") from error


def _row(record: Record) -> tuple[str, str, str, str, str, str]:
    outcome = record.outcome
    status = outcome.failure if isinstance(outcome, Failed) else outcome.kind
    # Not pydantic's own JSON, which writes an infinite PSNR as null.
    text = json.dumps(to_json(record), separators=(",", ":"))
    return record.key, record.cell.id, record.metric, status, record.started_at, text


COLUMNS = (
    "cell",
    *Cell.model_fields,
    *("metric", "status", "measurement", "unit", "label", "sample", "value", "reason", "notes"),
    *("protocol", "timing", "source", "key", "spec", "commit", "dirty"),
    *(
        "machine_class",
        "cpu",
        "accelerator",
        "threads",
        "python",
        "torch",
        "triton",
        "started_at",
        "duration_s",
    ),
)
"""Columns of an export: the cell's axes, the number, what it rests on, where it was measured."""


def tidy(key: str, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a record as rows of `COLUMNS`, one a sample; a record without numbers is one row with its reason."""
    outcome, environment = record["outcome"], record["environment"]
    cell = Cell.model_validate(record["cell"])
    shared = dict.fromkeys(COLUMNS, "") | {
        "cell": cell.id,
        **to_json(cell),
        **{name: record[name] for name in ("metric", "protocol", "timing", "source", "spec", "commit", "dirty")},
        "key": key,
        "status": outcome.get("failure", outcome["kind"]),
        "reason": outcome.get("reason", outcome.get("error", "")),
        "notes": "; ".join(outcome.get("notes", ())),
        **{name: environment[name] for name in ("machine_class", "cpu", "threads", "python")},
        "accelerator": environment["device"],
        "torch": environment["versions"].get("torch", ""),
        "triton": environment["versions"].get("triton", ""),
        "started_at": record["started_at"],
        "duration_s": record["duration_s"],
    }
    if "measurements" not in outcome:
        yield shared
        return
    for measurement in outcome["measurements"]:
        labels = measurement["labels"] or [""] * len(measurement["samples"])
        for index, (label, value) in enumerate(zip(labels, measurement["samples"], strict=True)):
            number = {"measurement": measurement["name"], "unit": measurement["unit"], "label": label}
            yield shared | number | {"sample": index, "value": value}


def _write_csv(file: IO[str], rows: Iterator[dict[str, Any]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.values() for row in rows)


def _write_jsonl(file: IO[str], rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        if isinstance(row["value"], float) and row["value"] - row["value"] != 0:
            row["value"] = str(row["value"])  # JSON has no word for inf and nan
        file.write(json.dumps(row, allow_nan=False) + "\n")


def _sweep(room: Path) -> None:
    """Remove what writers that were killed have left."""
    for path in room.glob(".*.tmp"):
        with suppress(FileNotFoundError):  # another run sweeps too
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


@contextmanager
def replacing(path: Path, mode: Literal["w", "wb"], before_rename: Hook = lambda: None) -> Iterator[IO[Any]]:
    """Open a file that takes the path's place once it is written and on the disk, or never."""
    encoding, newline = ("utf-8", "") if mode == "w" else (None, None)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_usual_mode())  # mkstemp's own keeps everybody else from reading
        before_rename()
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _usual_mode() -> int:
    """Return the permissions that a new file has here."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Put the folder's names on the disk: a renamed file that is synced itself may still be under its old one."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
