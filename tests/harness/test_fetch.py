"""Fetching: from a real server on this machine, whole and broken in every way that a server can be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from harness import fetch as fetching
from harness.datasets import DatasetError, registry
from harness.datasets.registry import Entry, File
from harness.fetch import FetchError, entry_of, verify

CONTENT = {"a.png": b"first" * 1000, "gt/b 2.png": b"second" * 30_000}
COMMIT = "0" * 40


class Handler(BaseHTTPRequestHandler):
    """Answers what the test has put under a path: bytes, and how many of them are sent."""

    answers: ClassVar[dict[str, tuple[bytes, int | None]]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path not in self.answers:
            self.send_error(404)
            return
        content, sent = self.answers[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Recorded(Entry):
    """A set whose files stand in the test, not in the registry's table."""

    listed: ClassVar[tuple[File, ...]] = ()

    @property
    def files(self) -> tuple[File, ...]:
        return self.listed


def url_path(path: str) -> str:
    return f"/someone/pictures/{COMMIT}/{path.replace(' ', '%20')}"


def file_of(name: str, content: bytes, path: str = "") -> File:
    return File(name=name, path=path or f"sets/{name}", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def set_of(*files: File) -> Entry:
    class Listed(Recorded):
        listed = files

    return Listed(
        name="Tiny",
        role="test",
        tasks=("sr",),
        folder="test/Tiny",
        licence="none stated",
        repository="someone/pictures",
        commit=COMMIT,
        where="nowhere",
    )


@pytest.fixture
def mirror() -> Iterator[str]:
    Handler.answers = {url_path(f"sets/{name}"): (content, None) for name, content in CONTENT.items()}
    Handler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tiny() -> Entry:
    return set_of(*(file_of(name, content) for name, content in CONTENT.items()))


def fetch(entry: Entry, folder: Path, mirror: str) -> fetching.Fetched:
    return fetching.fetch(entry, folder, mirror=mirror, retries=0)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_set_is_fetched_whole_and_told_byte_by_byte(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    told: dict[str, int] = {}

    def report(file: File, received: int) -> None:
        assert received >= told.get(file.name, 0)
        told[file.name] = received

    done = fetching.fetch(tiny, tmp_path, mirror=mirror + "/", report=report)
    assert (done.kept, done.fetched, done.bytes) == (0, 2, sum(map(len, CONTENT.values())))
    assert {name: (tmp_path / name).read_bytes() for name in CONTENT} == CONTENT
    assert told == {name: len(content) for name, content in CONTENT.items()}


def test_the_mirror_may_be_named_by_the_environment(
    tiny: Entry, tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMANIR_MIRROR", mirror)
    assert fetching.fetch(tiny, tmp_path).fetched == 2
    monkeypatch.setenv("SEMANIR_MIRROR", "file:///etc")
    with pytest.raises(FetchError, match=r"SEMANIR_MIRROR is 'file:///etc', no address; write it like https://"):
        fetching.fetch(tiny, tmp_path)


def test_a_second_fetch_takes_only_what_is_missing_or_changed(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    fetch(tiny, tmp_path, mirror)
    Handler.asked.clear()
    assert fetch(tiny, tmp_path, mirror).fetched == 0
    (tmp_path / "a.png").write_bytes(b"firsT" * 1000)
    done = fetch(tiny, tmp_path, mirror)
    assert (done.kept, done.fetched) == (1, 1)
    assert Handler.asked == [url_path("sets/a.png")]
    assert (tmp_path / "a.png").read_bytes() == CONTENT["a.png"]


def test_a_wrong_checksum_names_the_address_and_leaves_nothing(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    Handler.answers[url_path("sets/a.png")] = (b"other" * 1000, None)
    with pytest.raises(FetchError, match=r"/sets/a\.png: has another sha256 than the [0-9a-f]{64} recorded") as error:
        fetch(tiny, tmp_path, mirror)
    assert "SEMANIR_MIRROR" in str(error.value)
    assert files_below(tmp_path) == set()


def test_a_wrong_checksum_leaves_the_older_file_as_it_was(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    Handler.answers[url_path("sets/a.png")] = (b"other" * 1000, None)
    with pytest.raises(FetchError):
        fetch(tiny, tmp_path, mirror)
    assert (tmp_path / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("sent", [0, 100_000])
def test_a_transfer_that_breaks_off_keeps_verified_files_alone(
    tiny: Entry, tmp_path: Path, mirror: str, sent: int
) -> None:
    Handler.answers[url_path("sets/gt/b 2.png")] = (CONTENT["gt/b 2.png"], sent)
    with pytest.raises(FetchError, match=r"b%202\.png: broke off after \d+ of 180000 bytes; fetch again"):
        fetch(tiny, tmp_path, mirror)
    assert files_below(tmp_path) == {"a.png"}
    Handler.answers[url_path("sets/gt/b 2.png")] = (CONTENT["gt/b 2.png"], None)
    assert fetch(tiny, tmp_path, mirror).kept == 1


def test_a_short_answer_that_claims_to_be_whole_is_told_from_a_changed_one(
    tiny: Entry, tmp_path: Path, mirror: str
) -> None:
    Handler.answers[url_path("sets/a.png")] = (CONTENT["a.png"][:100], None)
    with pytest.raises(FetchError, match="broke off after 100 of 5000 bytes"):
        fetch(tiny, tmp_path, mirror)


def test_an_answer_longer_than_recorded_is_stopped(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    Handler.answers[url_path("sets/a.png")] = (CONTENT["a.png"] * 100, None)
    with pytest.raises(FetchError, match="sends more than the 5000 bytes recorded"):
        fetch(tiny, tmp_path, mirror)
    assert files_below(tmp_path) == set()


def test_a_file_that_the_server_lacks_is_named_with_its_answer(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    del Handler.answers[url_path("sets/a.png")]
    with pytest.raises(FetchError, match=r"/sets/a\.png: the server answers 404 Not Found; the file was not kept"):
        fetch(tiny, tmp_path, mirror)


def test_no_server_at_all_is_a_message(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(FetchError, match=r"no connection .*refused.*; check the network"):
        fetch(tiny, tmp_path, "http://127.0.0.1:9")


def test_a_full_disk_is_named_and_leaves_no_half_file(tiny: Entry, tmp_path: Path, mirror: str) -> None:
    """A process may write no file larger than 64 kB: for it the disk is full in the middle of the second file."""
    code = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[3]);"
        "import test_fetch as t; from harness.fetch import FetchError, fetch;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "entry = t.set_of(*(t.file_of(n, c) for n, c in t.CONTENT.items()))\n"
        "try: fetch(entry, Path(sys.argv[1]), mirror=sys.argv[2], retries=0)\n"
        "except FetchError as error: print(error)"
    )
    arguments = [sys.executable, "-c", code, os.fspath(tmp_path), mirror, os.fspath(Path(__file__).parent)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'gt' / 'b 2.png'}: the disk is full (" in ran.stdout
    assert "choose another data root with --data or SEMANIR_DATA" in ran.stdout
    assert files_below(tmp_path) == {"a.png"}


def test_a_set_larger_than_the_free_space_is_not_begun(tmp_path: Path, mirror: str) -> None:
    huge = File(name="a.png", path="sets/a.png", sha256="0" * 64, bytes=2**62)
    with pytest.raises(FetchError, match=r"the disk is full \([\d.]+ MB are needed and [\d.]+ MB are free\)"):
        fetch(set_of(huge), tmp_path / "new", mirror)
    assert Handler.asked == []


@pytest.mark.parametrize("name", ["../evil.png", "gt/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:/evil.png"])
def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_fetched(
    tmp_path: Path, mirror: str, name: str
) -> None:
    good = file_of("a.png", CONTENT["a.png"])
    with pytest.raises(FetchError, match=r"evil\.png: leads out of .*; nothing was fetched"):
        fetch(set_of(good, file_of(name, b"evil")), tmp_path / "set", mirror)
    assert Handler.asked == []


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need rights on other systems")
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, mirror: str, tiny: Entry) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "gt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FetchError, match=r"b 2\.png: leads out of"):
        fetch(tiny, tmp_path / "set", mirror)
    assert files_below(tmp_path / "elsewhere") == set()


def test_verify_counts_what_is_whole_missing_and_changed(tiny: Entry, tmp_path: Path) -> None:
    assert verify(tiny, tmp_path).missing == tuple(CONTENT)
    (tmp_path / "a.png").write_bytes(CONTENT["a.png"])
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "b 2.png").write_bytes(b"no" * 90_000)
    found = verify(tiny, tmp_path)
    assert (found.ok, found.missing, found.changed) == (("a.png",), (), ("gt/b 2.png",))


def test_a_set_without_a_source_says_where_a_person_gets_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"GoPro has no recorded source: get it from https://\S+ and lay it out as"):
        fetching.fetch(entry_of("gopro"), tmp_path)


def test_an_unregistered_name_offers_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"no registered set 'Set15'\. Did you mean 'Set5'"):
        entry_of("Set15")


def test_every_registered_file_stays_below_its_folder(tmp_path: Path) -> None:
    for entry in registry.entries().values():
        names = [file.name for file in entry.files]
        assert len(set(names)) == len(names)
        for file in entry.files:
            assert fetching._place(file, tmp_path).is_relative_to(tmp_path)
            assert len(file.sha256) == 64
            assert file.bytes > 0
        assert bool(entry.files) == bool(entry.repository and len(entry.commit) == 40) != bool(entry.where)
