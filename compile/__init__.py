"""nn.Module -> artifact that proves itself: spec -> backend -> artifact -> parity -> bench.

Import from the submodules (``from compile.api import compile_module``). A plain import of this
package rebinds the builtin ``compile`` in the importing module, so a test forbids it.
"""
