"""Weights that oneDNN packs where a program runs, and not where it was built.

oneDNN has several layouts for the weights of one layer. Which one its kernel wants depends on the
CPU, on the number of threads and on the batch. A weight in another layout is reordered on every
call, from one packed layout to another without a fast kernel. So the file holds plain weights:

- where the batch is known, packing is part of the file's constant graph, which AOTInductor runs
  when it loads a program: Inductor is told not to run it at build;
- for a range of batches Inductor packs no convolution. Which arguments would pack each of them is
  noted in the file's metadata, and who runs the file packs them for the batch at hand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import fx

    from compile.spec import CompileSpec

NOTE = "zoo.convolutions"
"""Metadata of a .pt2: a JSON list of the convolutions to pack for a batch, each with the name of
its constant, `padding`, `stride`, `dilation`, `groups`, and the shape of one `sample` of input."""

THREADS = "zoo.threads"
"""Metadata of a .pt2: how many threads torch had where it was built."""


def _same(weight: torch.Tensor, *_: Any) -> torch.Tensor:
    import torch

    return torch.empty_like(weight)


def _turned(weight: torch.Tensor, *_: Any) -> torch.Tensor:
    return weight.new_empty(weight.shape[::-1])


def _transposed(weight: torch.Tensor, *arguments: Any) -> torch.Tensor:
    inputs, outputs, *kernel = weight.shape
    groups = arguments[4]
    return weight.new_empty((outputs * groups, inputs // groups, *kernel))


_PACKERS: dict[tuple[str, str], Callable[..., torch.Tensor]] = {
    ("mkldnn", "_reorder_convolution_weight"): _same,
    ("mkldnn", "_reorder_convolution_transpose_weight"): _transposed,
    ("mkldnn", "_reorder_linear_weight"): _same,
    ("onednn", "qconv_prepack"): _same,
    ("onednn", "qlinear_prepack"): _turned,
}
"""Namespace and name of the operators that pack a weight -> what they return, without values.
Tracing needs that, and torch has it for none of them."""


def can_leave_packing_to_load() -> bool:
    """Whether this torch has every private part that `packed_at_load` takes hold of."""
    import torch
    from torch._inductor import config, constant_folding, virtualized

    return (
        hasattr(config.aot_inductor, "use_runtime_constant_folding")
        and hasattr(config, "post_grad_custom_pre_pass")
        and hasattr(config, "post_grad_custom_post_pass")
        and isinstance(getattr(constant_folding, "_dont_constant_fold", None), list)
        and "set_extern_kernel_nodes" in vars(type(virtualized.V))
        and all(hasattr(getattr(torch.ops, space), name) for space, name in _PACKERS)
    )


@contextmanager
def packed_at_load(spec: CompileSpec) -> Iterator[dict[str, Any]]:
    """Give the Inductor options for a program whose weights are packed when it is loaded.

    Build inside of it: what it changes in torch is as before afterwards.
    """
    with ExitStack() as changes:
        _give_shapes(changes)
        _keep_packers(changes)
        _share_extern_nodes(changes)
        yield {
            "aot_inductor.use_runtime_constant_folding": True,
            "post_grad_custom_pre_pass": lambda graph: _note_batches(graph, spec.batch[1]),
            "post_grad_custom_post_pass": _name_overloads,
            "aot_inductor.metadata": build_notes(),
        }


def build_notes() -> dict[str, str]:
    """What the metadata of every .pt2 says; a new dict, because torch writes into it."""
    import torch

    return {THREADS: str(torch.get_num_threads())}


def _packers() -> dict[Any, str]:
    """The operators that pack, as the graph names them -> their names."""
    import torch

    return {getattr(getattr(torch.ops, space), name): name for space, name in _PACKERS}


def _give_shapes(changes: ExitStack) -> None:
    """Let tracing know what the operators return."""
    import torch

    for (space, name), shape in _PACKERS.items():
        library: Any = torch.library.Library(space, "FRAGMENT")  # type: ignore[no-untyped-call]
        changes.callback(library._destroy)
        torch.library.register_fake(f"{space}::{name}", shape, lib=library)


def _keep_packers(changes: ExitStack) -> None:
    """Let freezing compute every constant except for packed weights."""
    from torch._inductor import constant_folding

    kept = list(constant_folding._dont_constant_fold)
    constant_folding._dont_constant_fold.extend(_packers())
    changes.callback(constant_folding._dont_constant_fold.__setitem__, slice(None), kept)


def _share_extern_nodes(changes: ExitStack) -> None:
    """Keep the operators of the constant graph in the list that the file is written from.

    Inductor makes a list for the constant graph and another for the network, and writes the second.
    The program then finds no operators when it packs.
    """
    from torch._inductor.virtualized import V

    kind: Any = type(V)
    original, nodes = vars(kind)["set_extern_kernel_nodes"], list[Any]()
    kind.set_extern_kernel_nodes = staticmethod(lambda _: original(nodes))
    changes.callback(setattr, kind, "set_extern_kernel_nodes", original)


def _name_overloads(graph: fx.Graph) -> None:
    """The last pass before the constant graph is taken out of the network's.

    Under their full names the operators are not on the list of `_keep_packers`, so they go into
    the constant graph, which takes full names alone.
    """
    packers = _packers()
    for node in graph.nodes:
        if node.target in packers:
            node.target = node.target.default


def _note_batches(graph: fx.Graph, largest: int) -> None:
    """The first pass after freezing: see to the layers whose batch is not known.

    oneDNN's int8 layouts depend on the size of the input, and not on the batch: any batch packs
    them. Convolutions of floating point are noted in the file's metadata.
    """
    import torch
    from torch._inductor import config

    notes = []
    for node in graph.nodes:
        if node.target is torch.ops.onednn.qconv_pointwise.default:
            _fix_batch(node, largest)
        elif node.target is torch.ops.mkldnn._convolution_pointwise.default and _is_open(node):
            notes.append(_note(node))
    uses = Counter(note["weight"] for note in notes)
    config.aot_inductor.metadata[NOTE] = json.dumps(
        [note for note in notes if uses[note["weight"]] == 1]
    )


def _fix_batch(convolution: Any, largest: int) -> None:
    """Let an int8 convolution's weight be packed for the largest batch where it is not known."""
    x, packed = convolution.args[0], convolution.args[3]
    if packed.target in _packers() and packed.args[-1] is None:
        sizes = [size if isinstance(size, int) else largest for size in x.meta["val"].shape]
        packed.args = (*packed.args[:-1], sizes)


def _is_open(convolution: Any) -> bool:
    """Whether only the batch keeps a convolution's weight from being packed."""
    x, weight = convolution.args[:2]
    batch, *sample = x.meta["val"].shape
    return bool(
        weight.op == "get_attr"
        and len(weight.users) == 1
        and all(isinstance(size, int) for size in sample)
        and not isinstance(batch, int)
        and batch.node.expr.is_Symbol
    )


def _note(convolution: Any) -> dict[str, Any]:
    x, weight, _, padding, stride, dilation, groups = convolution.args[:7]
    return {
        "weight": weight.target,
        "padding": padding,
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
        "sample": list(x.meta["val"].shape[1:]),
    }
