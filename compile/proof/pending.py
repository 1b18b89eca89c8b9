"""An artifact for another machine than its builder: what can be judged without running it."""

from __future__ import annotations

from pathlib import Path

import torch

from compile import machine
from compile.artifact.manifest import Manifest
from compile.artifact.reading import verify_artifact
from compile.backends.base import Backend, Built
from compile.proof import gates
from compile.proof.prove import Proof, judge_clarity, judge_constants
from compile.proof.task import Task

_NEVER_RUN = "it has never run: it was built for another machine"
_NEED_A_RUN = ("batches", "batches refused", "determinism")


def runs_here(manifest: Manifest) -> bool:
    """Whether a program that was just built runs on this machine, so that it is proved at once."""
    gpus = manifest["build"]["request"].get("gpus")
    if gpus and _gpu() not in gpus:
        return False
    return machine.cpu_flags().issuperset(manifest["requirements"]["isa"])


def _gpu() -> str | None:
    """The architecture of the GPU of this machine, such as `sm_89`; None if it has none."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


def postpone(folder: Path, backend: Backend, built: Built, task: Task) -> Proof:
    """Judge the staged folder without loading its program; its check on its target does the rest.

    What failed stands in the proof. It must not be published then: no check could pass.
    """
    artifact = verify_artifact(folder)
    of_file, skipped = judge_constants(artifact, backend, built, task)
    judged = [*task.gates, *of_file, *judge_clarity(task)]
    later = [{"name": name, "reason": _NEVER_RUN} for name in _NEED_A_RUN]
    return Proof(
        parity={
            **artifact.manifest["parity"],
            "gates": judged,
            "skipped_gates": [*task.skipped, *skipped, *later],
        },
        determinism=None,
        nonfinite=None,
        failures=gates.failures(judged, {}),
        postponed=True,
    )
