"""The columns of a cell: each form of zoo-run and each other tool, ready to be measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import zoo
from compile.artifact.manifest import GOLDEN
from compile.artifact.reading import Artifact, golden_input, open_artifact, open_graph
from compile.artifact.tensors import read_tensors
from compile.backends import BACKENDS, backend
from compile.errors import ZooError
from compile.runner import call_runner, has_engine, library_paths, run_inputs
from compile.spec import ROWS
from results.peers.cells import Cell
from results.peers.environments import ROOT, lacking, python_of
from results.peers.peers import PEERS, Model, Peer
from results.peers.protocol import Broken, Turns, last_line

FORM, PEER = "form", "peer"
FOLDER = ROOT / "build" / "peers"

Array = np.ndarray[Any, Any]


class Taker(Protocol):
    """What the rounds ask of a process: a Turns, or an Offline."""

    call_ns: int
    """Of one call, about."""

    def turn(self, seconds: float) -> list[int]:
        """The time of each call, in nanoseconds."""

    def end(self) -> dict[str, Any]:
        """What the process says of itself."""

    def close(self) -> None:
        """End the process, whatever it does."""


@dataclass(kw_only=True)
class Entry:
    """One column: how it is started and asked, or the reason why it is not there."""

    name: str
    kind: str
    """FORM or PEER."""
    same_engine: str = ""
    """The form that runs the same library."""
    reason: str | None = None
    """Why it was not measured."""
    start: Callable[[], Taker] | None = None
    """Starts a process for one round."""
    answer: Callable[[Array], Array] | None = None
    """The outputs of samples (N, ...)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is written into the row: times, error, settings."""


class Workshop:
    """Builds what the entries of a cell run, and keeps it."""

    def __init__(self, runner: Path, limit: float, folder: Path = FOLDER) -> None:
        """`folder` keeps artifacts and the other tools' models from run to run.

        A tool that answers the samples in more than `limit` seconds is not measured.
        """
        self.runner = runner
        self.limit = limit
        self.folder = folder
        self._built = cache(self._build)

    def artifact(self, cell: Cell, backend: str, precision: str) -> Artifact:
        """The artifact of a cell's network. Raises ZooError if it cannot be built or proved."""
        given = cell.network, backend, precision, cell.batch, cell.size
        result = self._built(*given)
        if isinstance(result, ZooError):
            raise result
        return open_artifact(result)

    def _build(
        self, network: str, backend: str, precision: str, batch: int, size: int
    ) -> Path | ZooError:
        print(f"  building {network} {backend} {precision} b{batch}", file=sys.stderr, flush=True)
        try:
            return zoo.compile(
                network,
                fresh=True,
                backend=backend,
                precision=precision,
                batch=batch,
                shape=(3, size, size),
                root=self.folder / "artifacts",
                runner=self.runner,
            ).path
        except ZooError as error:  # it is not tried again for every cell
            return error

    def entries(self, cell: Cell) -> list[Entry]:
        """All of them, those that cannot be measured with their reason."""
        return [*self._forms(cell), *(self._peer(cell, peer) for peer in PEERS)]

    def truth(self, cell: Cell) -> tuple[Array, Array]:
        """Ordinary samples (ROWS, ...), and what the network answers in float64.

        They are those of an artifact in fp32, whatever the precision of the cell.
        """
        artifact = self.artifact(cell, "onnx", "fp32")
        tensors = read_tensors(artifact.files[GOLDEN].path, GOLDEN)
        oracle = tensors[f"oracle/{artifact.manifest['outputs'][0]['name']}"]
        return golden_input(artifact)[:ROWS].numpy(), oracle[:ROWS].numpy()

    def _forms(self, cell: Cell) -> Iterator[Entry]:
        for name in BACKENDS:
            precisions = backend(name).PRECISIONS.get("cpu", ())
            if not precisions or not has_engine(self.runner, name):
                continue
            entry = Entry(name=name, kind=FORM)
            if cell.precision not in precisions:
                entry.reason = f"{name} builds no {cell.precision}"
            else:
                try:
                    artifact = self.artifact(cell, name, cell.precision)
                except ZooError as error:
                    entry.reason = str(error)
                else:
                    entry.start = partial(started_form, self.runner, artifact.path, cell)
                    entry.answer = partial(answered_form, self.runner, artifact.path, cell)
            yield entry

    def _peer(self, cell: Cell, peer: Peer) -> Entry:
        entry = Entry(name=peer.name, kind=PEER, same_engine=peer.same_engine)
        model = peer.models.get(cell.precision)
        entry.reason = lacking(peer.environment)
        if model is None:
            entry.reason = peer.reasons[cell.precision]
        if entry.reason is not None or model is None:
            return entry
        try:
            file = self.model(cell, peer, model)
        except ZooError as error:
            entry.reason = f"there is no file for it: {error}"
            return entry
        samples = self.folder / "samples.npy"
        command = worker(python_of(peer.environment), peer.tool, file, cell)
        entry.start = partial(started_peer, command, samples, cell)
        entry.answer = partial(answered_peer, command, cell, self.limit)
        return entry

    def model(self, cell: Cell, peer: Peer, model: Model) -> Path:
        """A copy of the file that a tool is given, in a folder of the tool's own."""
        artifact = self.artifact(cell, model.backend, model.precision)
        program = artifact.programs[0].file
        sealed = open_graph(artifact) if model.graph else artifact.files[program]
        name = f"{artifact.manifest_sha256[:16]}-{peer.tool}-{cell.precision}-t{cell.threads}"
        file = self.folder / "models" / name / ("graph.pt2" if model.graph else program)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sealed.path, file)
        return file


def worker(python: Path, tool: str, model: Path, cell: Cell) -> list[str]:
    """The command of a worker, without what it is to do."""
    command = [str(python), "-P", "-m", "results.peers.worker", tool, "--model", str(model)]
    command += ["--precision", cell.precision, "--batch", str(cell.batch)]
    return [*command, "--threads", str(cell.threads), "--streams", str(cell.streams)]


def environment(cell: Cell) -> dict[str, str]:
    """What a worker is told by its environment."""
    threads = str(max(1, cell.threads // cell.streams))
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "TVM_NUM_THREADS": threads}


def started_peer(command: list[str], samples: Path, cell: Cell) -> Turns:
    """A worker that waits for its first turn."""
    return Turns([*command, "--samples", str(samples)], environment(cell))


def answered_peer(command: list[str], cell: Cell, limit: float, samples: Array) -> Array:
    """What a tool computes, in at most `limit` seconds. Raises Broken if it cannot."""
    with tempfile.TemporaryDirectory(prefix="zoo-peers-") as folder:
        given, returned = Path(folder, "input.npy"), Path(folder, "output.npy")
        np.save(given, samples)
        command = [*command, "--samples", str(given), "--output", str(returned)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env={**os.environ, **environment(cell)},
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"it did not answer {len(samples)} samples in {limit:g} s"
            raise Broken(said) from None
        if done.returncode != 0:
            raise Broken(last_line(done.stderr, done.returncode))
        return np.load(returned, allow_pickle=False)


def answered_form(runner: Path, artifact: Path, cell: Cell, samples: Array) -> Array:
    """What zoo-run computes. Raises Broken if it cannot."""
    try:
        answer = run_inputs(
            runner, artifact, torch.from_numpy(samples), cell.threads, batch=cell.batch
        )
    except ZooError as error:
        raise Broken(str(error)) from error
    assert isinstance(answer, torch.Tensor)
    return answer.numpy()


def started_form(runner: Path, artifact: Path, cell: Cell) -> Turns | Offline:
    """A zoo-run that waits for its first turn."""
    options = ["--batch", str(cell.batch), "--threads", str(cell.threads), *library_paths()]
    if cell.streams > 1:
        return Offline(runner, [str(artifact), *options, "--streams", str(cell.streams)])
    return Turns([str(runner), str(artifact), "--turns", *options], {})


class Offline:
    """zoo-run's scenario `offline`: streams that call without a pause. Each turn is a process."""

    call_ns = 0

    def __init__(self, runner: Path, options: list[str]) -> None:
        """Nothing is started yet."""
        self._runner = runner
        self._options = [*options, "--scenario", "offline", "--json", "-"]
        self._said: dict[str, Any] = {}

    def turn(self, seconds: float) -> list[int]:
        """The time over the number of calls: one figure, in nanoseconds."""
        try:
            text = call_runner(self._runner, [*self._options, "--duration", str(seconds)])
        except ZooError as error:
            raise Broken(str(error)) from error
        self._said = json.loads(text)
        return [round(1e9 * self._said["batch"] / self._said["throughput_per_s"])]

    def end(self) -> dict[str, Any]:
        """The streams, and whether all answers were those that were checked."""
        settings = {name: self._said[name] for name in ("streams", "threads_per_stream", "cores")}
        stable = self._said["answers"]["wrong"] == 0
        return {"settings": settings, "output_stable": stable, "flaw": ""}

    def close(self) -> None:
        """No process is left."""
