"""Manifests that both readers must take, and manifests that both must refuse.

The C++ tests walk the same files. `python -m tests.support.make_manifests` writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compile.artifact.manifest import read_manifest
from compile.artifact.schema import first_fault, manifest_schema
from compile.backends import BACKENDS
from compile.errors import BadArtifact
from tests.support import make_manifests
from tests.support.forgery import put_manifest
from tests.support.make_manifests import FOLDER

INDEX: dict[str, str] = json.loads((FOLDER / "forged.json").read_text())


def staged(folder: Path, text: bytes) -> Path:
    put_manifest(folder, text)
    return folder


def names(kind: str) -> list[str]:
    return sorted(path.name for path in (FOLDER / kind).iterdir())


@pytest.mark.parametrize("name", names("sound"))
def test_a_sound_manifest_is_read(name: str, tmp_path: Path) -> None:
    text = (FOLDER / "sound" / name).read_bytes()
    assert read_manifest(staged(tmp_path, text)) == json.loads(text)


@pytest.mark.parametrize("name", names("forged"))
def test_a_forged_manifest_is_refused_by_name(name: str, tmp_path: Path) -> None:
    staged(tmp_path, (FOLDER / "forged" / name).read_bytes())
    with pytest.raises(BadArtifact) as caught:
        read_manifest(tmp_path)
    message = str(caught.value)
    assert INDEX[name] in message.removeprefix(str(tmp_path)), message
    assert len(message.splitlines()) == 1


def test_the_corpus_is_what_its_script_writes() -> None:
    lying = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    assert lying == make_manifests.files()


def test_another_zoos_manifest_says_how_to_go_on(tmp_path: Path) -> None:
    staged(tmp_path, (FOLDER / "forged" / "schema-1.2.json").read_bytes())
    with pytest.raises(BadArtifact, match=r"built by another zoo.*zoo recompile"):
        read_manifest(tmp_path)


def test_every_backend_has_its_suffix() -> None:
    assert set(manifest_schema()["x-suffixes"]) == set(BACKENDS)


def test_json_schema_says_the_same() -> None:
    """The package jsonschema and our interpreter agree on what the schema alone decides."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = manifest_schema()
    theirs = jsonschema.Draft202012Validator(schema)
    theirs.check_schema(dict(schema))
    apart = {"number-for-an-integer.json"}  # 12.0 is an integer for JSON Schema
    for path in sorted(FOLDER.glob("*/*.json")):
        if path.name.startswith("json-") or path.name in apart:
            continue
        manifest = json.loads(path.read_text())
        assert theirs.is_valid(manifest) == (first_fault(manifest, schema) is None), path.name


def test_an_unknown_keyword_is_an_error_of_the_schema() -> None:
    with pytest.raises(ValueError, match="uniqueItems"):
        first_fault([], {"type": "array", "uniqueItems": True})
