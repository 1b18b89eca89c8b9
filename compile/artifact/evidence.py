"""The manifest's `evidence`: why an artifact was chosen over others. docs/artifact.md has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from compile.artifact.manifest import MANIFEST, MANIFEST_HASH, Manifest, write_manifest
from compile.artifact.publishing import publish, staging
from compile.artifact.reading import verify_artifact
from compile.errors import Unavailable


def write_evidence(final: Path, evidence: dict[str, Any]) -> Manifest:
    """Write into a published artifact why it was chosen, and return its new manifest.

    A manifest is sealed by its hash, so the folder is replaced by a copy, in one step: a reader
    sees the old folder or the new one. The proof and every other file stay as they are.

    Raises BadArtifact if the artifact is damaged, and Unavailable if the folder cannot be written.
    """
    manifest = {**verify_artifact(final).manifest, "evidence": evidence}
    sealed = shutil.ignore_patterns(MANIFEST, MANIFEST_HASH)
    with staging(final) as copy:
        try:
            shutil.copytree(final, copy, symlinks=True, ignore=sealed, dirs_exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot copy {final} ({error})") from None
        write_manifest(copy, manifest)
        publish(copy, final)
    return manifest
