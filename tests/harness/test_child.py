from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from harness.child import ERROR_LINES, Child, ChildEnded

ECHO = "import os, sys\nfor line in sys.stdin:\n    exec(line)\n    sys.stdout.flush()\n    sys.stderr.flush()\n"


@pytest.fixture
def start() -> Iterator[Callable[[str], Child]]:
    """Start children that do what a script says; whatever a test does, none stays."""
    children: list[Child] = []

    def started(script: str = ECHO) -> Child:
        children.append(Child([sys.executable, "-c", script], environment=os.environ))
        return children[-1]

    yield started
    for child in children:
        child.kill()


def the_end(child: Child) -> str:
    with pytest.raises(ChildEnded) as end:
        child.receive(20.0)
    return str(end.value)


def test_lines_come_one_by_one_however_the_pipe_cuts_them(start: Callable[..., Child]) -> None:
    child = start()
    child.send("print('ein'); print('zwölf'); sys.stdout.write('half '); sys.stdout.flush(); print('x' * 100_000)")
    assert [child.receive(20.0) for _ in range(3)] == ["ein", "zwölf", "half " + "x" * 100_000]


def test_silence_is_no_line_and_no_end(start: Callable[..., Child]) -> None:
    child = start()
    begun = time.monotonic()
    assert child.receive(0.05) is None
    assert child.receive(-1.0) is None
    assert time.monotonic() - begun < 15
    child.send("sys.stdout.write('half a line')")
    assert child.receive(0.2) is None
    child.send("print(' and the rest')")
    assert child.receive(20.0) == "half a line and the rest"


def test_an_end_names_the_code_and_the_last_lines(start: Callable[..., Child]) -> None:
    child = start()
    child.send("[print(f'line {n}', file=sys.stderr) for n in range(20)]; sys.exit(3)")
    last = "\n".join(f"line {n}" for n in range(20 - ERROR_LINES, 20))
    assert the_end(child) == f"exited with code 3; its last lines: {last}"


def test_what_it_said_of_an_earlier_question_is_no_part_of_its_end(start: Callable[..., Child]) -> None:
    child = start()
    child.send("print('a warning', file=sys.stderr, flush=True); print('answer')")
    assert child.receive(20.0) == "answer"
    child.send("print('boom', file=sys.stderr); sys.exit(1)")
    assert the_end(child) == "exited with code 1; its last lines: boom"


def test_what_it_said_before_its_first_answer_is_never_lost(start: Callable[..., Child]) -> None:
    child = start("import sys; print('no such module', file=sys.stderr); sys.exit(1)")
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    child.send("hello")
    assert the_end(child) == "exited with code 1; its last lines: no such module"


def test_who_is_killed_has_no_last_words(start: Callable[..., Child]) -> None:
    child = start()
    child.send("print('busy', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)")
    assert the_end(child) == "was killed by signal 9 (SIGKILL)"


def test_no_message_names_a_folder_of_this_machine(start: Callable[..., Child]) -> None:
    child = start()
    child.send(f"print({os.path.join(sys.prefix, 'lib', 'x.py')!r}, file=sys.stderr); sys.exit(1)")  # noqa: PTH118
    assert sys.prefix not in the_end(child)


def test_killing_ends_all_that_the_child_has_started_and_twice_is_once(start: Callable[..., Child]) -> None:
    child = start()
    child.send("import subprocess; print(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1).pid)")
    grandchild = psutil.Process(int(str(child.receive(20.0))))
    child.kill()
    child.kill()
    psutil.wait_procs([grandchild], timeout=20)
    assert not psutil.pid_exists(child.pid)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
