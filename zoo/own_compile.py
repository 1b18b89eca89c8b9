"""Import the package `compile` that lies beside zoo, whatever else has that name.

Python looks into the folder of a script, or the working folder, before it looks at what is
installed. A file compile.py there would be taken for our package.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def load_own_compile() -> None:
    """Put the right `compile` into sys.modules. ImportError if another one is there already."""
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "compile")
    file = os.path.join(folder, "__init__.py")
    there = sys.modules.get("compile")
    if there is not None:
        found = getattr(there, "__file__", None)
        if found is not None and os.path.realpath(found) == os.path.realpath(file):
            return
        raise ImportError(
            f"zoo has a package called compile, and {found or there} was imported under that name; "
            "rename that file, or import zoo first"
        )
    spec = importlib.util.spec_from_file_location(
        "compile", file, submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["compile"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
