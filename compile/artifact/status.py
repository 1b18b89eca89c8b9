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
from compile.artifact.manifest import Manifest
from compile.artifact.reading import Artifact, check_requirements, verify_artifact
from compile.artifact.strict_json import parse_object
from compile.errors import BadArtifact, Unavailable
from compile.files import read_regular, write_atomic

_MAX_BYTES = 2**16
_MAX_DEPTH = 8


def open_to_run(path: Path, *, accept_error: bool = False) -> Artifact:
    """Open an artifact by all steps of docs/artifact.md.

    Raises BadArtifact if it is damaged, made for something else, or may not run: see
    `require_proved`. Raises Unavailable if this machine lacks something that can be installed.
    Nothing has been loaded then.
    """
    artifact = verify_artifact(path)
    require_proved(artifact, accept_error=accept_error)
    check_requirements(artifact.manifest, path)
    return artifact


def require_proved(artifact: Artifact, *, accept_error: bool = False) -> None:
    """Step 6: raise BadArtifact unless the artifact's status lets it run here.

    `accept_error` takes one that failed its proof and was published on purpose.
    """
    status = artifact.manifest["status"]
    if status == "accepted" and not accept_error:
        raise BadArtifact(
            f"{artifact.path} was published although it failed its proof; to run it all the same, "
            "load it with accept_error=True or run zoo-run with --accept-error"
        )
    if status == "pending" and not is_proved_here(artifact):
        path, kind = artifact.path, kind_of(artifact.manifest)
        raise BadArtifact(
            f"{path} has not been proved on this machine: it was built for "
            f"{built_for(artifact.manifest)}; run zoo check {path} or zoo-run {path} --check "
            f"on such a {kind}"
        )


def built_for(manifest: Manifest) -> str:
    """The CPU level or the GPUs that a program was built for: `x86-64-v4`, `sm_89, sm_120`."""
    if manifest["device"] == "cpu":
        level: str = manifest["target"]["name"]
        return "any CPU" if level == "any" else level
    return ", ".join((manifest["requirements"]["gpu_arch"] or "any GPU").split(","))


def kind_of(manifest: Manifest) -> str:
    """`CPU` or `GPU`: what `built_for` names."""
    return "CPU" if manifest["device"] == "cpu" else "GPU"


def record_proof(artifact: Artifact) -> None:
    """Write beside the folder that its proof passed on this machine.

    Raises Unavailable if the place cannot be written, or the GPU is gone.
    """
    identity = _identity(artifact)
    if identity is None:
        raise Unavailable(
            "this machine has no NVIDIA GPU, so the proof cannot be recorded; run zoo check on one "
            "that has"
        )
    entry = {**identity, "date": machine.now()}
    write_atomic(_place(artifact.path), (json.dumps(entry, indent=1) + "\n").encode())


def is_proved_here(artifact: Artifact) -> bool:
    """Whether a proof of this very manifest on this machine stands beside the folder.

    It saves time and proves nothing: whoever can write there can write one. A damaged one counts
    as none.
    """
    with suppress(OSError, ValueError):
        entry = parse_object(read_regular(_place(artifact.path), _MAX_BYTES), depth=_MAX_DEPTH)
        identity = _identity(artifact)
        return identity is not None and identity.items() <= entry.items()
    return False


def _place(path: Path) -> Path:
    path = path.resolve()
    return path.with_name(f"proof-{path.name}.json")


def _identity(artifact: Artifact) -> dict[str, str] | None:
    """What a proof is about: these bytes on this kind of machine. None without the GPU."""
    here = _machine(artifact.manifest["device"])
    if here is None:
        return None
    return {"manifest_sha256": artifact.manifest_sha256, "machine": here}


def _machine(device: str) -> str | None:
    """`cpu: <model name>`, or `cuda: <GPU>, sm_89, driver <version>`, as the runner writes it.

    None if there is no GPU.
    """
    if device == "cpu":
        return f"cpu: {machine.cpu_model()}"
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"cuda: {torch.cuda.get_device_name()}, sm_{major}{minor}, driver {_driver()}"


def _driver() -> str:
    """The version of NVIDIA's driver, or `unknown`."""
    text = ""
    with suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text()
    found = re.search(r"[0-9]+(\.[0-9]+)+", text.partition("\n")[0])
    return found[0] if found else "unknown"
