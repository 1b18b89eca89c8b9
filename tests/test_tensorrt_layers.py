"""An engine is held to its graph, however it writes down what its layers read."""

from __future__ import annotations

import pytest

from compile.backends import tensorrt_layers
from compile.backends.tensorrt_layers import check, of_inspector, of_log
from compile.errors import CheckFailed
from tests.support.tensorrt import logged, shown

FORMS = [
    ("int8", {"Format/Datatype": "Channel major INT8 format where channel % 32 == 0"}),
    ("int8", {"Format/Datatype": "Row major Int8 format"}),
    ("int8", {"Datatype": "Int8", "Format": "(NHWC) Channel major format"}),
    ("fp8", {"DataType": "FP8", "Format": "Row major linear"}),
    ("fp32", {"Format/Datatype": "Row major linear FP32"}),
    ("fp32", {"DataType": "Float"}),
    ("fp16", {"Datatype": "Half"}),
    ("bf16", {"DataType": "BFloat16"}),
    ("bf16", {"Format/Datatype": "Row major linear BF16"}),
]


@pytest.mark.parametrize(("precision", "given"), FORMS)
@pytest.mark.parametrize("kind", ["CaskConvolution", "correlation"])
def test_the_inspector_shows_types(kind: str, precision: str, given: dict[str, str]) -> None:
    layers = of_inspector(shown(kind, **given))
    check(layers, precision, spared=0)
    for other in tensorrt_layers._TYPES.keys() - {precision}:
        with pytest.raises(CheckFailed, match=f"the graph is {other}.*multiplies {precision} in 1"):
            check(layers, other, spared=0)


@pytest.mark.parametrize("text", ["{}", '{"Layers": ["conv"]}', shown("CaskConvolution")])
def test_names_alone_show_no_type(text: str) -> None:
    check([each for each in of_inspector(text) if each.multiplies], "fp16", spared=0)


def test_the_log_shows_types() -> None:
    layers = of_log(logged("correlation", "Int8", "Float"))
    assert [layer.kind for layer in layers] == ["shape_call", "correlation", "correlation", "kgen"]
    assert [layer.multiplies for layer in layers] == [False, True, True, False]
    assert [set(layer.reads) for layer in layers] == [set(), {"int8"}, {"fp32"}, {"fp16"}]
    assert layers[1].name == "node_conv2d_0_myl0_2"
    assert of_log("") == []


@pytest.mark.parametrize(
    ("types", "precision", "spared", "wrong"),
    [
        (("Int8", "Int8", "Int8"), "int8", 0, 0),
        (("Int8", "Float", "Int8"), "int8", 0, 1),
        (("Float", "FP8", "FP8"), "fp8", 1, 0),
        (("Float", "Float", "FP8"), "fp8", 1, 2),
        (("Float", "FP8", "FP8"), "fp32", 0, 2),
        (("Float", "Float"), "fp8", 5, 2),
        (("Half", "Float"), "fp16", 0, 1),
    ],
)
def test_each_layer_counts(types: tuple[str, ...], precision: str, spared: int, wrong: int) -> None:
    """As many layers may read another type as the graph has, and never all of them."""
    layers = of_log(logged("correlation", *types))
    if not wrong:
        check(layers, precision, spared)
        return
    with pytest.raises(CheckFailed, match=f"in {wrong} of {len(types)} layers, first in node_conv"):
        check(layers, precision, spared)


def test_one_layer_is_enough_where_none_shows_that_it_multiplies() -> None:
    layers = of_log(logged("fusion", "Int8", "Float"))
    check(layers, "int8", spared=0)
    with pytest.raises(CheckFailed, match="the graph is fp8"):
        check(layers, "fp8", spared=9)


@pytest.mark.parametrize(
    ("kind", "name", "multiplies"),
    [
        ("runtime_fusion", "__myl_CorrCast_myl0_1", True),
        ("runtime_fusion", "__myl_FcAddCast_myl0_5", True),
        ("runtime_fusion", "__myl_Mean_myl0_5", False),
        ("kgen", "__myl_MulMinMaxRounCastReplConc_myl0_1", False),
        ("gemm", "node_linear_myl0_6", True),
        ("Reformat", "Reformatting CopyNode for Input Tensor 0 to node_conv2d", False),
    ],
)
def test_which_layers_multiply(kind: str, name: str, multiplies: bool) -> None:
    layer = tensorrt_layers.Layer(name=name, kind=kind, reads=frozenset({"fp16"}))
    assert layer.multiplies is multiplies
