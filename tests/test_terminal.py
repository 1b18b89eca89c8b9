"""What a file or a folder's name says never controls the terminal that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compile.errors import BadArtifact, ZooError, printable
from compile.loading import load
from compile.report import show, table
from tests.support.forgery import put_manifest
from tests.support.runner import write_artifact
from zoo.cli import _run
from zoo.cli.tables import wrapped

EVIL = "a\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\nzoo: rebuilt"
PROGRAM = {"file": "model.onnx", "batch": [1, 8], "entry": None}


def harmless(text: str) -> bool:
    return all(part == printable(part) for part in text.split("\n"))


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all strings in a JSON document."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(inner, (*path, key))


def poisoned(manifest: dict[str, Any], path: tuple[Any, ...]) -> bytes:
    """The manifest with one string poisoned. Every program that shows it shows that one too."""
    changed = json.loads(json.dumps(manifest))
    *outer, last = path
    holder = changed
    for key in outer:
        holder = holder[key]
    holder[last] = EVIL
    return json.dumps(changed).encode()


def test_inspect_shows_no_string_of_a_manifest_raw(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_artifact(tmp_path / "artifact", {"model.onnx": b"x"}, [PROGRAM])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"][0]["classes"] = ["a", "b", "c"]
    shown = 0
    for path in texts(manifest):
        put_manifest(folder, poisoned(manifest, path))
        code = _run(["inspect", str(folder)])
        out, err = capfd.readouterr()
        assert code in (0, 3) and harmless(out) and harmless(err), path
        assert not re.search("^zoo: rebuilt", out + err, re.MULTILINE), path
        shown += "owned" in out
    assert shown >= 5


def test_every_command_shows_names_of_files_harmlessly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{EVIL}-12345678"
    folder = Path("artifacts", name, "onnx-fp32-b1-cpu")
    folder.mkdir(parents=True)
    run = Path("runs", EVIL, "20260101-000000")
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    put_manifest(folder, json.dumps({"build": {"command": f"zoo compile '{EVIL}'"}}).encode())
    for words, code in (
        (["list"], 0),
        (["recompile", str(folder)], 3),
        (["inspect", str(folder)], 3),
        (["check", name], 3),
        (["eval", str(run)], 3),
        (["compile", EVIL], 2),
        (["list", "--json"], 0),
    ):
        assert _run(words) == code, words
        out, err = capfd.readouterr()
        assert harmless(out) and harmless(err), words
        assert not re.search("^zoo: rebuilt", out + err, re.MULTILINE), words


def test_a_name_that_is_not_utf_8_is_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(b"artifacts/a\x9b-12345678/onnx-fp32-b1-cpu".decode("utf-8", "surrogateescape")).mkdir(
        parents=True
    )
    assert _run(["list"]) == 0
    assert "artifacts/a?-12345678/onnx-fp32-b1-cpu" in capfd.readouterr().out


def test_errors_of_python_are_one_harmless_line(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact) as caught:
        load(tmp_path / EVIL)
    assert harmless(str(caught.value)) and "\n" not in str(caught.value)
    assert str(ZooError("two\n  lines")) == "two lines"


def test_tables_show_names_harmlessly(capfd: pytest.CaptureFixture[str]) -> None:
    show(table(("name",), [(EVIL,)]), EVIL)
    assert harmless(capfd.readouterr().out)


def test_any_script_stays_as_it_is() -> None:
    assert printable("模型 é 😀 שלום") == "模型 é 😀 שלום"
    assert printable("\x00\x1b\x7f\x85\x9b\u2028\u202e\u2066\udc9b") == 9 * "?"


def test_a_narrow_table_breaks_names_and_cuts_no_number(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    cells = ("backbone.layer3.0.conv2.a_long_name", "N x 16x16x16", "4,096")
    show(table(("output", "shape", "values"), [cells], left=("output", "shape")))
    header, _, *lines = capfd.readouterr().out.splitlines()
    assert lines[0].endswith("N x 16x16x16   4,096")
    assert "".join(line[: header.index("shape")].strip() for line in lines) == cells[0]
    assert max(map(len, wrapped(["one word after another " * 9]))) < 40
