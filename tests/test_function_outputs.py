"""A module with several outputs must be a function in each of them, whatever their sizes."""

from __future__ import annotations

import pytest
import torch

from compile.backends import backend
from compile.errors import CheckFailed
from compile.network.batches import sizes_compared
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.networks import NETWORKS, wrong_outputs
from tests.networks.network import Do, Network, stem

REASONS = {
    "small_memory": "the answer changes from call to call",
    "small_draw": "the answer changes from call to call",
    "small_mixing": r"row \d+ \(.*, output1\) differs by .* in a batch of",
    "more_for_many": r"returns 3 tensors for a batch of \d+; it must return 2",
    "one_row_of_anchors": r"'output1' is \(1, 9, 4\) for a batch of \d+; it must be",
    "other_at_thirteen": r", output1\) differs by .* in a batch of 13",
    "other_at_multiples": r", output1\) differs by .* in a batch of 11",
    "as_many_as_found": r"'output1' is \(1, \d+\) for a batch of 1; it must be \(1, \d+\)",
    "no_logarithm": r"row 0 \(synthetic, log\) is not finite, in float64 either",
    "complex_numbers": r"'waves' is complex64; .* torch\.view_as_real",
    "sparse": r"'few' is sparse; .*to_dense",
}


def ready(row: Network) -> tuple[PreparedModel, CompileSpec]:
    """A network of the corpus, and what it is compiled for."""
    spec = CompileSpec(shape=row.shape, batch=row.batch)
    return PreparedModel(row.build(), row.shape), spec


@pytest.mark.parametrize("name", REASONS)
def test_a_fault_in_one_output_is_refused_each_time(name: str) -> None:
    prepared, spec = ready(NETWORKS[name])
    for one in ("torchscript", "onnx"):  # the second backend hears the same
        with pytest.raises(CheckFailed, match=REASONS[name]):
            prepared.task(spec, backend(one))


def test_each_wrong_network_has_its_reason() -> None:
    assert set(REASONS) == set(wrong_outputs.TABLE) - {"small_in_double"}


def test_a_small_output_that_reads_its_type_has_the_oracle_of_its_graph() -> None:
    prepared, _ = ready(NETWORKS["small_in_double"])
    prepared.function.check()
    assert prepared.golden("float32").way == "float64-graph"


def test_a_fault_without_an_oracle_is_told_each_time() -> None:
    bits = Do(lambda self, x: (x.float().view(torch.int32) & -4096).view(torch.float32))
    prepared = PreparedModel(torch.nn.Sequential(stem(), bits).eval(), (3, 32, 32))
    for _ in range(2):
        with pytest.raises(CheckFailed, match="needs the module's answers in float64"):
            prepared.function.check()


def test_a_buffer_is_named_as_its_author_names_it() -> None:
    count = Do(lambda self, x: (x, x + self.calls.add_(1)), calls=torch.zeros(()))
    prepared = PreparedModel(torch.nn.Sequential(stem(), count).eval(), (3, 32, 32))
    with pytest.raises(CheckFailed, match=r"a call changes buffer '1\.calls'"):
        prepared.function.check()


def test_sizes_that_are_compared_are_found() -> None:
    spec = CompileSpec(shape=(3, 32, 32), batch=(1, 64))
    assert sizes_compared(NETWORKS["other_at_thirteen"].build(), spec) == [12, 13, 14]
    assert sizes_compared(NETWORKS["pyramid"].build(), spec) == []
