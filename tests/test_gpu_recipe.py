"""`just gpu`: a dry run of all its stages on a CPU, what a stage does with time and with children,
and the folder of headers that it builds with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compile import machine
from compile.errors import Unavailable
from results.gpu import here, pack, plan, running, words
from results.gpu.__main__ import run_stage, run_stages, summary
from results.gpu.plan import REAL, STAGES, TINY, Plan, Stage
from results.gpu.running import Step
from tests.support.layout import ROOT

PYTHON = sys.executable


@pytest.fixture(scope="module")
def rows(runner: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The lines of a dry run, by their stages."""
    out = tmp_path_factory.mktemp("out")
    command = [PYTHON, "-m", "results.gpu", "--dry-run", "--out", str(out)]
    done = subprocess.run(
        [*command, "--runner", str(runner)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    assert path.name.startswith("gpu-a-gpu-that-is-made-up-") and path.suffix == ".jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["stage"] for line in lines] == [stage.name for stage in STAGES]
    return {line["stage"]: line for line in lines}


def said(row: dict[str, Any], step: int = 0) -> Any:
    """The first document that a step printed."""
    return row["steps"][step]["said"][0]


def test_a_dry_run_does_every_stage(rows: dict[str, dict[str, Any]]) -> None:
    for row in rows.values():
        assert row["reason"] is None and row["steps"]
        conditions = row["conditions"]
        assert conditions["dry_run"] and conditions["gpus"][0]["compute_capability"] == "9.0"
        assert {"cpu", "cores", "commit", "date", "versions"} <= set(conditions)
    assert said(rows["machine"])["packages"][0]["name"] == "torch"
    assert said(rows["artifacts"])["error_over_bound"] <= 1
    assert said(rows["runner"], 1)["check"]["verdict"] == "PASSED"
    timed, *_ = rows["latencies"]["steps"]
    assert timed["said"][0]["latency_ms"]["n"] >= 1 and "samples_ns" not in timed["said"][0]
    assert said(rows["training"])["speeds"][0]["name"] == "plain loop"
    collectives, torchrun, resumed = (said(rows["distributed"], n) for n in range(3))
    assert (collectives["backend"], collectives["processes"]) == ("gloo", 1)
    assert torchrun["processes"] == 1 and torchrun["results"]["epochs"] == 2
    assert 0 < resumed["interrupted_after_epochs"] < TINY.epochs == resumed["results"]["epochs"]


def test_latencies_stand_side_by_side(rows: dict[str, dict[str, Any]]) -> None:
    without, compiled = rows["latencies"]["steps"][1]["said"]
    names = [row["name"] for row in compiled["latencies"]]
    assert names == [row["name"] for row in without["latencies"]] + ["torch.compile eager"]
    assert names[:2] == ["eager", "eager, channels last"] and len(names) == 4
    for row in compiled["latencies"]:
        low, high = row["latency_ms"]["median_interval"]
        assert low <= row["latency_ms"]["median"] <= high
        assert row["latency_ms"]["n"] >= 30
    assert compiled["latencies"][0]["over_eager"] == 1.0
    assert compiled["conditions"]["batch"] == 1


def test_the_stages_fit_into_ten_minutes() -> None:
    assert sum(stage.seconds for stage in STAGES) <= 600


def test_every_backend_and_precision_of_a_gpu_is_built(tmp_path: Path) -> None:
    cells = plan.cells(REAL)
    assert len(cells) == len(set(cells)) >= 16
    assert cells[0][0] == "inductor", "it takes longest, so it begins first"


# Command lines


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("python -m results.gpu.artifact resnet18 --backnd onnx", "required: --backend"),
        ("python -m results.gpu.here --all", "takes no words: --all"),
        ("python -m zoo train resnet18 --epoch 3", "zoo train: No such option"),
        ("python -m zoo trian resnet18", "zoo trian"),
        ("/build/zoo-run A --check --cuda-graphs", "--cuda-graphs is not in"),
        ("cmake -S . -DZOO_PACK_DIR=x", "-DZOO_PACK_DIR is not in"),
        ("python -m torch.distributed.run --alone -m zoo train a", "--alone"),
        ("python -m torch.distributed.run --standalone -m zoo train resnet18 --gpu", "--gpu"),
    ],
)
def test_a_wrong_command_line_is_found(command: str, named: str) -> None:
    assert named in str(words.fault(command.split()))


def test_a_right_command_line_is_not() -> None:
    for command in (
        "zoo-run A --check --cuda-graph --json -",
        "cmake -S runtime_cpp -DCMAKE_BUILD_TYPE=Release -DZOO_DEPENDENCIES_DIR=x",
        "python -m torch.distributed.run --standalone -m zoo train resnet18 --device cuda",
        "python -m results.gpu.here",
    ):
        assert words.fault(command.split()) is None


# Time, children, failures


def stage_of(*commands: str, seconds: float = 60, at_once: int = 1) -> Stage:
    steps = [Step(name=f"step {n}", command=(PYTHON, "-c", c)) for n, c in enumerate(commands)]
    return Stage(
        name="made up", seconds=seconds, steps=lambda _: iter(steps), at_once=lambda _: at_once
    )


@pytest.fixture
def made_up(tmp_path: Path) -> Plan:
    """Of a GPU, so that no command line is looked at."""
    return Plan(size=REAL, folder=tmp_path, pack=tmp_path, runner=tmp_path / "zoo-run")


LINGERS = """
import os, subprocess, sys, time
sleep = [sys.executable, '-c', 'import time; time.sleep(600)']
child = subprocess.Popen(sleep, start_new_session=True)
open({path!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
print('{{"so": "far"}}', flush=True)
time.sleep(600)
"""


def test_a_late_step_ends_with_all_that_it_started(made_up: Plan, tmp_path: Path) -> None:
    path = tmp_path / "processes"
    stage = stage_of(LINGERS.format(path=str(path)), "print('never')", seconds=8)
    row = run_stage(stage, made_up)
    assert row["steps"][0]["reason"] == "ended: 8 s were over" and row["steps"][0]["code"] is None
    assert row["steps"][0]["said"] == [{"so": "far"}], "what it printed is kept"
    assert row["steps"][1]["reason"] == "not started: the time of the stage was over"
    for process in path.read_text().split():
        assert gone(int(process))


def gone(process: int) -> bool:
    """Whether a process ends within a second or so; a zombie has ended."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_step_that_leaves_a_child_behind_is_not_late(made_up: Plan, tmp_path: Path) -> None:
    path = tmp_path / "processes"
    code = LINGERS.format(path=str(path)).replace("time.sleep(600)\n", "")
    row = run_stage(stage_of(code), made_up)
    assert row["reason"] is None
    assert gone(int(path.read_text().split()[1]))


def test_a_failure_is_one_line_and_stops_nothing(made_up: Plan) -> None:
    row = run_stage(stage_of("raise SystemExit('no kernel image')", "print(1)"), made_up)
    assert row["reason"] == "step 0: exit code 1: no kernel image"
    assert [step["code"] for step in row["steps"]] == [1, 0]
    assert summary(row)[:2] == [
        f"made up: 1 of 2 steps in {row['seconds']} s",
        "  step 0: exit code 1: no kernel image",
    ]


def test_a_stage_that_breaks_does_not_end_the_next(made_up: Plan, tmp_path: Path) -> None:
    def broken(_: Plan) -> Any:
        raise ValueError("no manifest")

    stages = [Stage(name="broken", seconds=9, steps=broken), stage_of("print(1)")]
    assert run_stages(stages, made_up, machine.gpus(here.MADE_UP), tmp_path / "out") == 1
    (path,) = (tmp_path / "out").iterdir()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["reason"] == "ValueError: no manifest" and second["reason"] is None


def test_a_program_that_is_missing_is_named(made_up: Plan) -> None:
    stage = Stage(
        name="x", seconds=9, steps=lambda _: iter([Step(name="y", command=("/no/such",))])
    )
    assert run_stage(stage, made_up)["reason"] == (
        "y: /no/such cannot be started: No such file or directory"
    )


def test_steps_at_once_share_the_cores(made_up: Plan) -> None:
    show = "import os; print('{\"threads\": ' + os.environ['OMP_NUM_THREADS'] + '}')"
    row = run_stage(stage_of(show, show, at_once=2), made_up)
    cores = len(os.sched_getaffinity(0))
    assert [step["said"] for step in row["steps"]] == [[{"threads": max(1, cores // 2)}]] * 2


def test_a_machine_without_a_gpu_is_refused(tmp_path: Path, made_up: Plan) -> None:
    assert machine.gpus((PYTHON, "-c", "raise SystemExit(9)")) == []
    assert machine.gpus(("/no/such",)) == []
    with pytest.raises(Unavailable, match="lists no GPU here; --dry-run needs none"):
        run_stages([], made_up, [], tmp_path)
    assert list(tmp_path.iterdir()) == []


# What the machine has


def test_what_an_installer_would_refuse_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.11.0+cu130", "typer": "0.16.0", "onnxsim": None}
    monkeypatch.setattr(here, "_installed", lambda name: versions.get(name, "99.0"))
    said = here.refusals(here.packages())
    assert said[0].startswith("torch 2.11.0+cu130 is allowed by pyproject.toml (>=2.11,<2.14), but")
    assert "constraints.txt pins 2." in said[0]
    assert said[1].startswith("typer 0.16.0 is here, and pyproject.toml allows >=")
    assert said[2].startswith("onnxsim>=") and said[2].endswith("is required and not installed")
    assert len(said) == 3
    versions["torch"] = "2.14.0"
    assert "pyproject.toml allows >=2.11,<2.14" in here.refusals(here.packages())[0]


# The folder of headers


def installed(prefix: Path) -> Path:
    """A prefix with every library of the pack."""
    for library in pack.LIBRARIES:
        header = prefix / "include" / library.header
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text("// a header")
        for name in library.files:
            (prefix / "lib").mkdir(exist_ok=True)
            (prefix / "lib" / name).write_bytes(b"x" * 1000)
    return prefix


def test_a_pack_holds_what_is_installed(tmp_path: Path) -> None:
    prefix, folder = installed(tmp_path / "usr"), tmp_path / "pack"
    apart = prefix / "include" / pack.MULTIARCH / "openssl" / "configuration.h"
    apart.parent.mkdir(parents=True)
    apart.write_text("// of this machine type")
    folder.mkdir()
    (folder / "old").write_text("")
    size = pack.pack(folder, (tmp_path / "local", prefix))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {library.header for library in pack.LIBRARIES} <= {
        name.removeprefix("include/") for name in files
    }
    assert {"include/openssl/configuration.h", "lib/libcrypto.a", "packed.json"} <= files
    assert "old" not in files
    assert size == sum((folder / name).stat().st_size for name in files)
    assert pack.commit_of(folder) is not None and pack.commit_of(tmp_path) is None


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    prefix = installed(tmp_path / "usr")
    (prefix / "lib" / "libcrypto.a").unlink()
    with pytest.raises(Unavailable, match=r"libcrypto\.a not installed.*install libssl-dev"):
        pack.pack(tmp_path / "pack", (prefix,))
    assert not (tmp_path / "pack").exists()


def test_a_pack_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "LARGEST_BYTES", 4000)
    with pytest.raises(Unavailable, match="at most 4000 are allowed"):
        pack.pack(tmp_path / "pack", (installed(tmp_path / "usr"),))


def test_a_pack_is_what_the_build_takes(rows: dict[str, dict[str, Any]]) -> None:
    configured = rows["build"]["steps"][0]["command"]
    assert any(word.startswith("-DZOO_DEPENDENCIES_DIR=") for word in configured)


def test_a_build_without_a_pack_says_how_to_make_one(tmp_path: Path) -> None:
    command = ["cmake", "-S", str(ROOT / "runtime_cpp"), "-B", str(tmp_path / "build")]
    command += ["-G", "Ninja", "-DZOO_TORCH=OFF", f"-DZOO_DEPENDENCIES_DIR={tmp_path}"]
    step = Step(name="configure", command=tuple(command))
    ran = running.run(step, time.monotonic() + 60, {}, "made-up")
    assert ran.code == 1 and "CMake Error" in str(ran.reason)
