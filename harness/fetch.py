"""Downloads the files of a registered set from its recorded source, and checks those that are here."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from harness import datasets
from harness.catalog import suggest
from harness.datasets import DatasetError, registry
from harness.datasets.registry import Entry, File

DEFAULT_MIRROR = "https://raw.githubusercontent.com"
"""Serves `/<repository>/<commit>/<path>`; the variable SEMANIR_MIRROR names another that does."""

TIMEOUT_S = 30.0
"""Until an answer begins, and between two pieces of it."""

CHUNK_BYTES = 1 << 16

Report = Callable[[File, int], None]
"""Told the file and how many bytes of it have come, again and again."""


class FetchError(DatasetError):
    """A file that could not be fetched; the message names it, what happened and what would work."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch did."""

    folder: Path
    kept: int
    """Files that were here, as recorded, and were not fetched again."""
    fetched: int
    bytes: int
    """Of the fetched files."""


@dataclass(frozen=True)
class Verified:
    """What is here of a set."""

    folder: Path
    ok: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    """Files with another checksum than the recorded one."""


def entry_of(name: str) -> Entry:
    """Return a registered set or material by name or alias. Raises `DatasetError`."""
    if (entry := registry.find(name)) is not None:
        return entry
    known = list(registry.entries())
    raise DatasetError(f"no registered set '{name}'.{suggest(name, known)} 'semanir-bench data list' shows all")


def folder_for(entry: Entry) -> Path:
    """Return where a set lies, or would be put."""
    here = None if entry.role == "material" else datasets.folder_of(entry.name)
    return here or datasets.data_root() / entry.folder


def fetch(
    entry: Entry,
    folder: Path,
    *,
    mirror: str | None = None,
    report: Report = lambda file, received: None,
    retries: int = 1,
) -> Fetched:
    """Download what is not here or differs, one verified file after the other, so that a second call goes on.

    A file appears under its name only once its sha256 is right. Raises `DatasetError` for a set without a recorded
    source, and `FetchError` with the file for whatever goes wrong.
    """
    if not entry.files:
        raise DatasetError(
            f"{entry.name} has no recorded source: get it from {entry.where} and lay it out as {folder}: {entry.layout}"
        )
    places = {file: _place(file, folder) for file in entry.files}
    wanted = [file for file, place in places.items() if not _is(place, file)]
    _check_room(folder, sum(file.bytes for file in wanted))
    base = _base(mirror)
    for file in wanted:
        url = f"{base}/{entry.repository}/{entry.commit}/{urllib.parse.quote(file.path)}"
        _fetch_one(file, url, places[file], report, retries)
    return Fetched(folder, len(entry.files) - len(wanted), len(wanted), sum(file.bytes for file in wanted))


def verify(entry: Entry, folder: Path) -> Verified:
    """Compare the files that are here with their recorded checksums; other files are not looked at."""
    states: dict[str, list[str]] = {"ok": [], "missing": [], "changed": []}
    for file in entry.files:
        place = folder / file.name
        states["missing" if not place.is_file() else "ok" if _is(place, file) else "changed"].append(file.name)
    return Verified(folder, *(tuple(states[state]) for state in ("ok", "missing", "changed")))


def verify_here(name: str | None = None) -> Iterator[tuple[Entry, Verified]]:
    """Verify one set, or every registered set that is here. Raises `DatasetError` for one that is not."""
    chosen = list(registry.entries().values()) if name is None else [entry_of(name)]
    for entry in chosen:
        folder = folder_for(entry)
        if folder.is_dir():
            yield entry, verify(entry, folder)
        elif name is not None:
            raise DatasetError(datasets.how_to_get(entry.name))


def overview() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield name, role, tasks, recorded files, whether it is here, and how to get it, of every set and material."""
    here = datasets.names()
    for entry in registry.entries().values():
        material = entry.role == "material"
        present = folder_for(entry).is_dir() if material else entry.name in here
        made = entry.derived is not None and present and datasets.folder_of(entry.name) is None
        state = f"made of {entry.derived.of}" if made and entry.derived else "yes" if present else "no"
        files = str(len(entry.files)) if entry.files else "?"
        get = f"semanir-bench data fetch {entry.name}" if entry.files else f"{entry.where}: {entry.layout}"
        yield entry.name, entry.role, " ".join(entry.tasks), files, state, get
    for name in here:
        if registry.find(name) is None:
            yield name, "own", "any", "?", "yes", str(datasets.folder_of(name))


def _place(file: File, folder: Path) -> Path:
    """Return where a file goes. Raises `FetchError` for a name that would leave the folder, links included."""
    path = PurePosixPath(file.name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in file.name or PureWindowsPath(file.name).drive
    place = folder / path
    if leaves or not place.resolve().is_relative_to(folder.resolve()):
        raise FetchError(f"{file.name}: leads out of {folder}; nothing was fetched. Remove the link, or mend the list")
    return place


def _is(place: Path, file: File) -> bool:
    """Return whether the file is here as recorded."""
    if not place.is_file() or place.stat().st_size != file.bytes:
        return False
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _check_room(folder: Path, needed: int) -> None:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise FetchError(_full(folder, f"{needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free"))


def _full(place: Path, words: str) -> str:
    return f"{place}: the disk is full ({words}); free some, or choose another data root with --data or SEMANIR_DATA"


def _base(mirror: str | None) -> str:
    base = (mirror or os.environ.get("SEMANIR_MIRROR") or DEFAULT_MIRROR).rstrip("/")
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise FetchError(f"SEMANIR_MIRROR is '{base}', no address; write it like {DEFAULT_MIRROR}")
    return base


def _fetch_one(file: File, url: str, place: Path, report: Report, retries: int) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    stream = _Stream(file, report)
    try:
        source = pooch.create(
            path=place.parent,
            base_url="",
            registry={place.name: f"sha256:{file.sha256}"},
            urls={place.name: url},
            retry_if_failed=retries,
        )
        source.fetch(place.name, downloader=stream)
    except _TooMuch:
        raise FetchError(f"{url}: sends more than the {file.bytes} bytes recorded; {_ELSEWHERE}") from None
    except requests.HTTPError as error:
        answer = f"{error.response.status_code} {error.response.reason}" if error.response is not None else "no answer"
        raise FetchError(f"{url}: the server answers {answer}; {_ELSEWHERE}") from None
    except requests.RequestException as error:
        if stream.received or isinstance(error, requests.exceptions.ChunkedEncodingError):
            raise FetchError(f"{url}: {_broke_off(file, stream.received)}") from None
        raise FetchError(f"{url}: no connection ({_innermost(error)}); check the network; {_ELSEWHERE}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise FetchError(_full(place, error.strerror or "no room")) from None
        raise FetchError(f"{place}: cannot be written ({error.strerror or error}); check its folder's rights") from None
    except ValueError:
        if stream.received < file.bytes:
            raise FetchError(f"{url}: {_broke_off(file, stream.received)}") from None
        raise FetchError(f"{url}: has another sha256 than the {file.sha256} recorded; {_ELSEWHERE}") from None


_ELSEWHERE = "the file was not kept. Fetch again later, or name another mirror with SEMANIR_MIRROR"


def _broke_off(file: File, received: int) -> str:
    return f"broke off after {received} of {file.bytes} bytes; fetch again, verified files are kept"


def _innermost(error: BaseException) -> str:
    """Return the first line of what lies at the bottom: requests wraps urllib3, which wraps the system's words."""
    while error.args and isinstance(inner := getattr(error.args[0], "reason", error.args[0]), BaseException):
        error = inner
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class _TooMuch(Exception):
    """More bytes come than were recorded."""


class _Stream:
    """A downloader for pooch that counts the bytes of one file as they come, and stops an answer that is too long."""

    def __init__(self, file: File, report: Report) -> None:
        self.file = file
        self.report = report
        self.received = 0

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Write what the address answers into `output_file`."""
        import requests

        self.received = 0
        with requests.get(url, timeout=TIMEOUT_S, stream=True) as answer, Path(output_file).open("wb") as stream:
            answer.raise_for_status()
            for chunk in answer.iter_content(CHUNK_BYTES):
                self.received += len(chunk)
                if self.received > self.file.bytes:
                    raise _TooMuch
                stream.write(chunk)
                self.report(self.file, self.received)
