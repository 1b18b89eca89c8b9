"""The rooms of the house and the arrows between them. `just layout` prints what stands here.

A room is a folder of the project, or a file that has a row of its own. A room may import from the
rooms of the floors below it, and from none of its own floor. Inside a room imports run in no
circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

FLOORS = (
    {"compile"},
    {"compile.graphs", "compile.artifact", "compile.runner"},
    {"compile.backends", "compile.network"},
    {"compile.loading"},
    {"compile.measure", "compile.proof"},
    {"compile.bisect", "compile.page", "compile.api"},
    {"zoo.errors"},
    {"zoo.models"},
    {"zoo.data"},
    {"zoo.runs"},
    {"zoo.sources", "zoo.training"},
    {"zoo.exchange", "zoo.study"},
    {"zoo.api"},
    {"zoo"},
    {"zoo.cli"},
    {"zoo.__main__"},
)
"""From the ground up. `compile` and `zoo` stand for the files that lie in them directly."""

OPEN_TO_ZOO = {"compile.children", "compile.errors", "compile.files", "compile.machine"}
OPEN_TO_ZOO |= {"compile.network.weights", "compile.network.given", "compile.network.naming"}
OPEN_TO_ZOO |= {"compile.artifact.archive", "compile.measure.stats"}
"""What all of zoo may use; the rest of compile is for DOORS alone."""

DOORS = {"zoo.api", "zoo.cli"}

_FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}

Arrow = tuple[str, str]
"""A module and a module that it imports."""


def room_of(module: str) -> str | None:
    """The row of FLOORS that a module belongs to; None if it has none."""
    package, _, rest = module.partition(".")
    if not rest:
        return package if package in _FLOOR else None
    child = f"{package}.{rest.partition('.')[0]}"
    if child in _FLOOR:
        return child
    lies_directly = "." not in rest and not ROOT.joinpath(*child.split(".")).is_dir()
    return package if package in _FLOOR and lies_directly else None


def is_module(name: str) -> bool:
    """Whether `name` is a file or a package of the project."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


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


def own_imports(source: str) -> list[str]:
    """The modules of the project that `source` imports."""
    return [name for _, name in imports(source) if name.split(".")[0] in {"compile", "zoo"}]


def arrow_faults(module: str, target: str) -> list[str]:
    """What is wrong with `module` importing `target`; nothing if it may."""
    here, there = room_of(module), room_of(target)
    if here is None or there is None:
        return [f"{module if here is None else target} has no row in FLOORS"]
    if here != there and _FLOOR[there] >= _FLOOR[here]:
        return [f"{module} may not import {target}"]
    reaches_in = here.startswith("zoo") and there.startswith("compile")
    if reaches_in and here not in DOORS and target not in OPEN_TO_ZOO:
        return [f"{module} may not reach into {target}; {', '.join(sorted(DOORS))} may"]
    return []


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
        if not module.startswith("tests."):
            faults += arrow_faults(module, target)
    return faults


def circle(arrows: Iterable[Arrow]) -> list[str] | None:
    """The names along a circle of arrows; None if there is none."""
    targets: dict[str, set[str]] = {}
    for source, target in arrows:
        if source != target:
            targets.setdefault(source, set()).add(target)
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for target in sorted(targets.get(name, ())):
            if (found := visit(target, [*path, name])) is not None:
                return found
        done.add(name)
        return None

    return next((found for name in sorted(targets) if (found := visit(name, []))), None)


def module_name(path: Path) -> str:
    """`compile.backends` for compile/backends/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(*suffixes: str, folders: Iterable[str] = ("zoo", "compile")) -> list[Path]:
    """Every source file below the folders, built and cached ones left out."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and not {"build", "__pycache__"} & set(path.parts)
    )


def module_arrows() -> list[Arrow]:
    """Every import between two modules of the project."""
    return [
        (module_name(path), target)
        for path in sources(".py")
        for target in own_imports(path.read_text())
    ]


def room_arrows(arrows: Iterable[Arrow]) -> dict[str, set[str]]:
    """Room -> the other rooms that it imports from."""
    found: dict[str, set[str]] = {room: set() for floor in FLOORS for room in sorted(floor)}
    for module, target in arrows:
        here, there = room_of(module), room_of(target)
        if here is not None and there is not None and here != there:
            found[here].add(there)
    return found


def drawing(rooms: Mapping[str, set[str]]) -> list[str]:
    """The floors from the ground up, with each room's arrows, at most 80 columns wide."""
    lines = [f"{len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows"]
    for number, floor in enumerate(FLOORS):
        for room in sorted(floor):
            words = [f"{number:2}  {room:17}", "<-", *sorted(rooms[room], key=_FLOOR.__getitem__)]
            line = ""
            for word in words:
                if len(line) + len(word) > 78:
                    lines.append(line)
                    line = " " * 24
                line += word + " "
            lines.append(line.rstrip(" <-"))
    found = circle((room, target) for room, targets in rooms.items() for target in targets)
    lines.append(f"a circle: {' -> '.join(found)}" if found else "no circle")
    return lines


def main() -> int:
    """Print the rooms; 1 if an import is wrong."""
    print("\n".join(drawing(room_arrows(module_arrows()))))
    found = [import_faults(path.read_text(), module_name(path)) for path in sources(".py")]
    for fault in (fault for faults in found for fault in faults):
        print(fault, file=sys.stderr)
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
