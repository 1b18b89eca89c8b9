"""The house rules that a reviewer would otherwise have to look for. Each is seen to fail once."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[1]

LAYERS = (
    {"compile", "compile.errors"},
    {"compile.spec", "compile.precision", "compile.files", "compile.weights", "compile.machine"},
    {"compile.archive", "compile.backends.base"},
    {"compile.manifest", "compile.validate"},
    {"compile.artifact"},
    {"compile.prepare", "compile.quantize", "compile.blocks"},
    {"compile.backends"},
    {"compile.loading", "compile.runner", "compile.stats", "compile.tritonserver", "compile.taps"},
    {"compile.hostile"},
    {"compile.parity", "compile.bench"},
    {"compile.gates", "compile.accuracy", "compile.behaviour"},
    {"compile.subject"},
    {"compile.proof"},
    {"compile.report"},
    {"compile.check"},
    {"compile.growth"},
    {"compile.bisect"},
    {"compile.api"},
    {"zoo", "zoo.errors", "zoo.progress", "zoo.memory", "zoo.signals"},
    {"zoo.models", "zoo.parallel"},
    {"zoo.data", "zoo.stochastic_depth"},
    {"zoo.recipe", "zoo.checkpoint", "zoo.foreign"},
    {"zoo.optimizer", "zoo.draft", "zoo.evaluate", "zoo.source"},
    {"zoo.trainer", "zoo.exchange"},
    {"zoo.train", "zoo.speed"},
    {"zoo.study"},
    {"zoo.cli", "zoo.__main__"},
)
"""A module may import from the rows above its own. A package stands for the modules in it."""

SHARED = {
    "compile.backends": {"eager", "inductor", "nvidia", "onnx", "qdq"},
    "zoo.cli": {"apart", "options", "selecting", "compiling", "trainings", "tables", "matrix"},
    "zoo.study": {"lab", "drawing"},
    "zoo.models": {"sizes", "family", "unit", "resnet", "cifar", "tricks", "attention"},
    "zoo.data": {
        "augment",
        "base",
        "checking",
        "cifar",
        "digits",
        "fetch",
        "folder",
        "images",
        "memory",
        "policies",
    },
    "zoo.exchange": {"files", "preprocessing", "formats", "card"},
}
"""Modules of a package that its other modules may import, beside its own __init__."""

OPEN_TO_ZOO = {
    *("compile.errors", "compile.files", "compile.weights", "compile.machine", "compile.stats"),
    "compile.archive",  # checkpoints of others are zip archives too
}
"""What the whole of zoo may use; the rest of compile is for zoo.cli alone."""

MAX_LINES = 350


def layer(module: str) -> int | None:
    """The row of `module` or of the package around it; None if it has none."""
    rows = {name: index for index, row in enumerate(LAYERS) for name in row}
    return rows.get(module, rows.get(package(module)))


def package(module: str) -> str:
    """`zoo.models` for `zoo.models.resnet`: the name that stands in LAYERS."""
    return ".".join(module.split(".")[:2])


def is_module(name: str) -> bool:
    """Whether `name` is a file or a package of the project, on disk or in LAYERS."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists() or any(name in row for row in LAYERS)


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Each (statement, module) that `source` imports, at any depth; relative ones with dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (("import", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            target = "." * node.level + (node.module or "")
            # `from compile import api` names a module; `from compile.api import load` does not.
            names = [f"{target}.{alias.name}" for alias in node.names]
            modules = [name for name in names if not node.level and is_module(name)]
            yield from (("from", name) for name in modules or [target])


def import_faults(source: str, module: str) -> list[str]:
    """What is wrong with the imports of `source`, the text of `module`."""
    faults = []
    for kind, target in imports(source):
        if target.startswith("."):
            faults.append(f"{module}: write the full name of {target}")
        if target.split(".")[0] not in {"compile", "zoo"}:
            continue
        if kind == "import" and target.split(".")[0] == "compile":
            faults.append(f"{module}: 'import {target}' hides the builtin; write 'from ... import'")
        if module.startswith("tests."):
            continue
        mine, theirs = layer(module), layer(target)
        if mine is None or theirs is None:
            unknown = module if mine is None else target
            faults.append(f"{unknown} has no row in LAYERS")
        elif theirs > mine or (theirs == mine and not same_layer_ok(module, target)):
            faults.append(f"{module} may not import {target}")
        elif module.split(".")[0] == "zoo" and target.split(".")[0] == "compile":
            if package(module) != "zoo.cli" and target not in OPEN_TO_ZOO:
                faults.append(f"{module} may not reach into {target}; zoo.cli may")
    return faults


def same_layer_ok(module: str, target: str) -> bool:
    """Inside one package: from its __init__ anything, else its __init__ and shared modules."""
    if package(module) != package(target):
        return target in {"zoo", "compile"} or (module, target) == ("zoo.__main__", "zoo.cli")
    own = package(module)
    return module == own or target == own or target.split(".")[-1] in SHARED.get(own, set())


def danger_faults(source: str, name: str) -> list[str]:
    """Calls that run a shell or unpickle: the project needs neither."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            if (node.arg, node.value.value) in {("shell", True), ("weights_only", False)}:
                faults.append(f"{name}:{node.lineno}: {node.arg}={node.value.value}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in {"pickle", "cPickle", "dill"} and not node.attr.startswith("dump"):
                faults.append(f"{name}:{node.lineno}: {node.value.id}.{node.attr}")
            if (node.value.id, node.attr) in {("os", "system"), ("os", "popen")}:
                faults.append(f"{name}:{node.lineno}: os.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "pickle":
            faults.append(f"{name}:{node.lineno}: from pickle import")
    return faults


def tree_entries(readme: str) -> list[str] | None:
    """The paths of the fenced block after `## Tree`; None where there is no such heading.

    One path per line, then a gloss. A path ends in `/` for a folder, which stands for all that is
    in it, unless lines indented below it name its files one by one.
    """
    match = re.search(r"^## Tree\n.*?^```[a-z]*\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    if not match:
        return None
    lines = [line for line in match[1].splitlines() if line.strip()]
    entries, parents = [], [(-1, "")]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        indent = len(line) - len(line.lstrip())
        while parents[-1][0] >= indent:
            parents.pop()
        path = parents[-1][1] + line.split()[0]
        if path.endswith("/") and len(following) - len(following.lstrip()) > indent:
            parents.append((indent, path))
        else:
            entries.append(path)
    return entries


def tree_faults(entries: list[str], files: list[str]) -> list[str]:
    """Where the tree and the tracked files differ: each file has exactly one entry."""

    def covers(entry: str, file: str) -> bool:
        return file.startswith(entry) if entry.endswith("/") else file == entry

    faults = [
        f"{entry} is in the tree and not on disk"
        for entry in entries
        if not any(covers(entry, file) for file in files)
    ]
    for file in files:
        count = sum(covers(entry, file) for entry in entries)
        if count != 1:
            faults.append(f"{file} has {count} entries in the tree")
    return faults


def newest_version(changelog: str) -> str | None:
    """The first version heading, `## [1.2.3]`; None if there is none."""
    match = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    return match[1] if match else None


def sources(*suffixes: str) -> list[Path]:
    """Every source file of the project's own folders, built and cached ones left out."""
    return sorted(
        path
        for folder in ("zoo", "compile", "runtime_cpp", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and not {"build", "__pycache__"} & set(path.parts)
    )


def module_name(path: Path) -> str:
    """`compile.backends` for compile/backends/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tracked() -> list[str]:
    """Files under version control; the test that asks is skipped in a copy without it."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in result.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("path", sources(".py"), ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    assert import_faults(path.read_text(), module_name(path)) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("compile.spec", "from compile.api import load", "may not import"),
        ("compile.api", "from zoo.models import build", "may not import"),
        ("compile.api", "def f():\n    from zoo import models", "may not import"),
        ("compile.precision", "from compile.spec import CompileSpec", "may not import"),
        ("compile.backends.onnx", "from compile.backends.openvino import build", "may not import"),
        ("compile.backends.onnx", "from compile.backends import openvino", "may not import"),
        ("zoo.train", "from compile.api import load", "zoo.cli may"),
        ("zoo.models", "from . import resnet", "full name"),
        ("zoo.models.resnet", "from zoo.data import digits", "may not import"),
        ("zoo.cli", "import compile.api", "hides the builtin"),
        ("tests.test_api", "import compile", "hides the builtin"),
        ("compile.novelty", "from compile.errors import ZooError", "no row"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, fault: str) -> None:
    assert any(fault in line for line in import_faults(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("compile.backends.onnx", "from compile.backends.base import Built\nimport torch"),
        ("compile.backends", "from compile.backends.base import Backend"),
        ("zoo.errors", "from compile.errors import ZooError"),
        ("zoo.cli", "from compile.api import load\nfrom zoo import __version__"),
        ("zoo.checkpoint", "from compile.weights import weights_sha256"),
    ],
)
def test_a_right_import_is_not(module: str, source: str) -> None:
    assert import_faults(source, module) == []


@pytest.mark.parametrize("path", sources(".py"), ids=module_name)
def test_nothing_runs_a_shell_or_unpickles(path: Path) -> None:
    assert danger_faults(path.read_text(), path.name) == []


@pytest.mark.parametrize(
    "source",
    [
        "run('ls', shell=True)",
        "torch.load(f, weights_only=False)",
        "pickle.load(f)",
        "pickle.loads(b)",
        "from pickle import load",
        "os.system('ls')",
    ],
)
def test_a_dangerous_call_is_found(source: str) -> None:
    assert danger_faults(source, "x.py")


def test_no_file_is_long() -> None:
    files = sources(".py", ".cpp", ".h")
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    readme = ROOT / "README.md"
    entries = tree_entries(readme.read_text()) if readme.exists() else None
    if entries is None:
        pytest.skip("README.md has no '## Tree' yet")
    assert tree_faults(entries, tracked()) == []


def test_a_wrong_tree_is_found() -> None:
    readme = "# x\n\n## Tree\n\n```\nREADME.md  this\nzoo/  nets\n  a.py  one\n  b/  more\n```\n"
    entries = tree_entries(readme)
    assert entries == ["README.md", "zoo/a.py", "zoo/b/"]
    files = ["README.md", "zoo/a.py", "zoo/b/c.py", "zoo/b/d.py"]
    assert tree_faults(entries, files) == []
    assert tree_faults(entries, [*files, "setup"]) == ["setup has 0 entries in the tree"]
    assert tree_faults([*entries, "gone.py"], files) == ["gone.py is in the tree and not on disk"]
    assert tree_faults([*entries, "zoo/b/c.py"], files) == ["zoo/b/c.py has 2 entries in the tree"]
    assert tree_entries("# no tree\n") is None


def test_one_version_everywhere() -> None:
    assert newest_version((ROOT / "CHANGELOG.md").read_text()) == zoo.__version__
    assert newest_version("## [Unreleased]\n## [1.2.3] - x\n## [1.2.2]\n") == "1.2.3"


def test_the_runner_has_that_version() -> None:
    runner = ROOT / "build" / "runtime" / "zoo-run"
    if not runner.exists():
        pytest.skip("zoo-run is not built; `just runner` builds it")
    result = subprocess.run([runner, "--version"], capture_output=True, text=True, check=True)
    assert re.search(rf"\b{re.escape(zoo.__version__)}\b", result.stdout)
