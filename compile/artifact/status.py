"""Whether an artifact may run: `status` in the manifest, and the proof that may stand beside it.

`proved` runs. `accepted` failed its proof and was published all the same: it runs where that is
accepted again. `pending` was built for a machine that its builder did not have: it runs once its
proof has passed here, which proof-<folder>.json beside the folder remembers.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from compile import machine
from compile.artifact.reading import Artifact
from compile.artifact.strict_json import parse_object
from compile.errors import BadArtifact
from compile.files import read_regular, write_atomic

_MAX_BYTES = 2**16
_MAX_DEPTH = 8


def require_proved(artifact: Artifact, *, accept_error: bool = False) -> None:
    """Raise BadArtifact unless the artifact may run here.

    `accept_error` takes one that failed its proof and was published on purpose.
    """
    status = artifact.manifest["status"]
    if status == "accepted" and not accept_error:
        raise BadArtifact(
            f"{artifact.path} was published although it failed its proof; to run it all the same, "
            "load it with accept_error=True or run zoo-run with --accept-error"
        )
    if status == "pending" and not _is_proved_here(artifact):
        raise BadArtifact(
            f"{artifact.path} has not been proved on this machine; "
            f"run `zoo-run {artifact.path} --check`"
        )


def record_proof(artifact: Artifact) -> None:
    """Write beside the folder that its proof passed on this machine.

    Raises Unavailable if the place cannot be written.
    """
    entry = {**_identity(artifact), "date": machine.now()}
    write_atomic(_place(artifact.path), (json.dumps(entry, indent=1) + "\n").encode())


def _is_proved_here(artifact: Artifact) -> bool:
    """Whether a proof of this very manifest on this machine stands beside the folder.

    It saves time and proves nothing: whoever can write there can write one. A damaged one counts
    as none.
    """
    with suppress(OSError, ValueError):
        entry = parse_object(read_regular(_place(artifact.path), _MAX_BYTES), depth=_MAX_DEPTH)
        return all(entry.get(key) == value for key, value in _identity(artifact).items())
    return False


def _place(path: Path) -> Path:
    path = path.resolve()
    return path.with_name(f"proof-{path.name}.json")


def _identity(artifact: Artifact) -> dict[str, str]:
    """What a proof is about: these bytes on this kind of machine."""
    return {
        "manifest_sha256": artifact.manifest_sha256,
        "machine": _machine(artifact.manifest["device"]),
    }


def _machine(device: str) -> str:
    """`cpu: <model name>`, or `cuda: <GPU>, driver <version>`, as the runner writes it."""
    if device == "cpu":
        return f"cpu: {machine.cpu_model()}"
    import torch

    text = ""
    with suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text()
    driver = re.search(r"[0-9]+(\.[0-9]+)+", text.partition("\n")[0])
    version = driver[0] if driver else "unknown"
    return f"cuda: {torch.cuda.get_device_name()}, driver {version}"
