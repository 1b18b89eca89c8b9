"""Build one artifact and prove it in Python: `python3 -m results.gpu.artifact NETWORK ...`.

`zoo compile` would build zoo-run first, which is a stage of its own here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="results.gpu.artifact", description=__doc__)
    made.add_argument("network")
    made.add_argument("--backend", required=True)
    made.add_argument("--precision", required=True)
    made.add_argument("--device", required=True)
    made.add_argument("--root", type=Path, required=True)
    return made


def main() -> int:
    """Build it, and print what came out as JSON."""
    import zoo

    given = parser().parse_args()
    try:
        result = zoo.compile(
            given.network,
            fresh=True,
            backend=given.backend,
            precision=given.precision,
            device=given.device,
            root=given.root,
        )
    except ZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(described(result.path, result.seconds, result.manifest)))
    return 0


def described(path: Path, seconds: float, manifest: Any) -> dict[str, Any]:
    """What a result says of an artifact."""
    bounds = [row for output in manifest["parity"]["outputs"] for row in output["bounds"]]
    return {
        "artifact": path.name,
        "build_seconds": round(seconds, 1),
        "precision": manifest["precision"],
        "ran_in": manifest["parity"]["ran_in"],
        "error_over_bound": max(row["rmse"] / row["bound"] for row in bounds if row["bound"]),
        "requirements": manifest["requirements"],
    }


if __name__ == "__main__":
    sys.exit(main())
