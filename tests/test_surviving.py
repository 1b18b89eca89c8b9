"""A step that ends its process does not end the command: here a child really crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = """
import os, signal, sys, time, typer
from compile.errors import ZooError
from zoo.cli.surviving import in_child

try:
    steps = in_child()
    for name in ("first", "second", "third"):
        try:
            with steps.step(name):
                if name == "second":
                    exec(sys.argv[1])
                print("did", name, flush=True)
        except ZooError as error:
            print(name, error.exit_code, error, flush=True)
    exec(sys.argv[2])
except typer.Exit as stop:
    sys.exit(stop.exit_code)
except ZooError as error:
    sys.exit(f"raised {error}")
"""

END_BY = "os.kill(os.getpid(), signal.{})".format


def run(inside: str, after: str = "pass") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", COMMAND, inside, after]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_crash_each_step_is_done_once() -> None:
    done = run("pass", "sys.exit(3)")
    assert (done.returncode, done.stdout.split()) == (3, "did first did second did third".split())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGSEGV", "second 1 the process crashed (SIGSEGV) while the artifact was built; try"),
        ("SIGABRT", "second 1 the process crashed (SIGABRT) while the artifact was built; try"),
        ("SIGKILL", "second 4 the process was ended by SIGKILL while the artifact was built; if"),
    ],
)
def test_a_step_that_ends_the_process_is_left_out(name: str, said: str) -> None:
    done = run(END_BY(name))
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert [*lines[:2], lines[3]] == ["did first", "did first", "did third"]
    assert lines[2].startswith(said)


def test_a_crash_outside_of_the_steps_is_one_line() -> None:
    done = run("pass", END_BY("SIGSEGV"))
    assert done.returncode == 1
    assert done.stderr.startswith("raised the process crashed (SIGSEGV) while the network was prep")


def test_a_step_that_crashes_once_more_ends_the_command() -> None:
    done = run(END_BY("SIGSEGV"), "steps._say('second'); " + END_BY("SIGSEGV"))
    assert done.returncode == 1 and done.stderr.count("raised") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_signal_to_the_command_reaches_the_process_that_works(name: str) -> None:
    stop = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(os.getpid(), flush=True);"
    words = [sys.executable, "-c", COMMAND, stop + "time.sleep(60)", "pass"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "did first\n"
        worker = int(command.stdout.readline())
        command.send_signal(getattr(signal, name))
        assert command.wait(30) == (7 if name == "SIGTERM" else -signal.SIGKILL)
    assert worker != command.pid
    until = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


CRASHING = """
import os, signal
from compile.backends import onnx
from tests.support.networks import small_net

def crash(*_, **__):
    os.kill(os.getpid(), signal.SIGSEGV)

onnx.build = crash
make = small_net
"""


def test_a_compiler_that_crashes_does_not_end_the_other_builds(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    words = "compile crashing:make --input 1x2x8x8 --backend onnx,torchscript --out here".split()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "zoo", *words],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300, "check": False},
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
    )
    assert done.returncode == 1
    assert done.stdout.count("from crashing:make") == 1
    assert [line.split()[-1] for line in done.stdout.splitlines()[3:5]] == ["FAILED", "built"]
    assert done.stderr.splitlines()[-1] == (
        "zoo: onnx fp32: the process crashed (SIGSEGV) while the artifact was built; "
        "try another backend or precision"
    )
