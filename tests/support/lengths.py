"""How long files and functions are. A reader holds about a screen in mind."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_NO_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | R"(\w*)\(.*?\)\1" | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])+'""",
    re.DOTALL | re.VERBOSE,
)
_HOLDER = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def python_functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function of a Python file and its lines without the docstring, nested ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            docstring = _lines(node.body[0]) if has_docstring else 0
            yield node.name, _lines(node) - docstring


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def cpp_functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function of a C++ file and its lines, as clang-format writes it: no parser.

    A body is a block behind a space whose head has parentheses and names no class or namespace.
    """
    code = _NO_CODE.sub(lambda found: "\n" * found[0].count("\n"), source)
    code = re.sub(r"^[ \t]*#[^\n]*", "", code, flags=re.MULTILINE)
    holder, block = -1, -2
    inside: list[int] = []  # for each open brace where its function begins, or what else it is
    start = 0
    for place in re.finditer(r"[{};]", code):
        head = code[start : place.start()]
        if place[0] == "{":
            name = re.sub(r"<[^>]*>", "", head.partition("(")[0])  # template <class T>
            begins = ")" in head and head[-1:].isspace() and not head.rstrip().endswith("=")
            if any(kind >= 0 for kind in inside):
                inside.append(block)
            elif _HOLDER.search(name):
                inside.append(holder)
            else:
                inside.append(place.start() - len(head.lstrip()) if begins else block)
        kind = inside.pop() if place[0] == "}" and inside else holder
        if kind >= 0:
            text = code[kind : place.end()]
            yield " ".join(text.partition("(")[0].split()), text.count("\n") + 1
        if place[0] == ";" or (inside[-1:] != [block] and kind != block):
            start = place.end()  # what follows is the head of something else
