"""The house rules that a reviewer would otherwise have to look for. Each is seen to fail once."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import zoo
from tests.support.layout import (
    FLOORS,
    ROOT,
    circle,
    import_faults,
    module_arrows,
    module_name,
    room_arrows,
    sources,
)
from tests.support.lengths import cpp_functions, python_functions

ALL = ("zoo", "compile", "runtime_cpp", "tests")

MAX_LINES, MAX_FUNCTION = 300, 50
"""Of a file, and of a function in it without its docstring."""


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


def tracked() -> list[str]:
    """Files under version control; the test that asks is skipped in a copy without it."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in result.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("path", sources(".py", folders=ALL), ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    assert import_faults(path.read_text(), module_name(path)) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("compile.spec", "from compile.api import load", "may not import"),
        ("compile.api", "from zoo.models import build", "may not import"),
        ("compile.api", "def f():\n    from zoo import models", "may not import"),
        ("compile.graphs.names", "from compile.artifact import manifest", "may not import"),
        ("compile.backends.onnx", "from compile.network.prepare import cast", "may not import"),
        ("compile.backends.onnx", "from compile.proof import gates", "may not import"),
        ("compile.measure.bench", "from compile.proof.golden import Golden", "may not import"),
        ("zoo.training.train", "from compile.api import load", "may not reach into"),
        ("zoo.models", "from . import resnet", "full name"),
        ("zoo.models.resnet", "from zoo.data import digits", "may not import"),
        ("zoo.cli", "import compile.api", "hides the builtin"),
        ("tests.test_api", "import compile", "hides the builtin"),
        ("compile.novelty.new", "from compile.errors import ZooError", "no row"),
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
        ("zoo.runs.checkpoint", "from compile.network.weights import weights_sha256"),
    ],
)
def test_a_right_import_is_not(module: str, source: str) -> None:
    assert import_faults(source, module) == []


def test_imports_run_in_no_circle() -> None:
    arrows = module_arrows()
    assert circle(arrows) is None
    rooms = room_arrows(arrows)
    assert circle((room, target) for room, targets in rooms.items() for target in targets) is None
    assert {room for floor in FLOORS for room in floor} == {*rooms}
    assert all(rooms[room] for room in rooms if room != "compile"), "a row that names no room"


def test_a_circle_is_found() -> None:
    assert circle([("a", "b"), ("b", "c"), ("c", "a")]) == ["a", "b", "c", "a"]
    assert circle([("a", "b"), ("a", "c"), ("b", "c")]) is None


@pytest.mark.parametrize("path", sources(".py", folders=ALL), ids=module_name)
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
    files = sources(".py", ".cpp", ".h", folders=ALL)
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_no_function_is_long() -> None:
    files = [
        *((path, python_functions) for path in sources(".py", folders=ALL)),
        *((path, cpp_functions) for path in sources(".cpp", ".h", folders=ALL)),
    ]
    long = {
        f"{path.relative_to(ROOT)}: {name}": lines
        for path, functions in files
        for name, lines in functions(path.read_text())
        if lines > MAX_FUNCTION
    }
    assert long == {}


CPP = """
#include "x{"
namespace a {
enum class E { A, B };
struct S {
  int x{0};
  explicit S(int v) : x{v}, z_(1) {
    f("}");
  }
  // not code {
};
const std::vector<int> kRows = {1, (2)};
template <class T>
T two(T a,
      T b) {
  for (;;) {
    g({1, 2}, '{');
  }
}
}  // namespace a
TEST(Suite, Name) { two(1, 2); }
"""


def test_functions_are_found_with_their_lines() -> None:
    nested = "class A:\n    def f(self):\n        def g():\n            pass\n\n        return g\n"
    assert dict(python_functions(nested)) == {"f": 5, "g": 2}
    documented = 'def h():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert dict(python_functions(documented)) == {"h": 2}
    found = [("explicit S", 3), ("template <class T> T two", 7), ("TEST", 1)]
    assert list(cpp_functions(CPP)) == found


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
        pytest.skip("zoo-run is not built; `./setup runner` builds it")
    result = subprocess.run([runner, "--version"], capture_output=True, text=True, check=True)
    assert re.search(rf"\b{re.escape(zoo.__version__)}\b", result.stdout)
