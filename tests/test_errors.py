"""What other people's code throws, as the one line that is shown."""

from __future__ import annotations

import pytest

from compile.errors import CheckFailed, Unavailable, ZooError, first_line, one_line

COMPILER = "C++ compile error\n\nCommand:\ng++ a\n\nOutput:\nIn a.h:\na.cpp:3: error: no such"

OPENVINO = """Exception from src/core.cpp:105:
Check 'false' failed at src/report.cpp:151:
FrontEnd API failed with OpConversionFailure:
Model wasn't fully converted. Failed operations detailed log:
-- Conv-20 with a message:
While validating ONNX node '<Node(Conv): a>': Check 'rank' failed at src/conv.cpp:38:
The input data tensor's rank has to be known (static)

-- Pad-20 with a message:
While validating ONNX node '<Node(Pad): b>': Exception from src/pad.cpp:32:
Unsupported padding mode: [wrap]

Summary:
-- Conversion is failed for: Conv-20, Pad-20
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(""), "RuntimeError"),
        (ValueError("bad"), "ValueError: bad"),
        (RuntimeError(COMPILER), "a.cpp:3: error: no such"),
        (RuntimeError("Exception from src/a.cpp:1:\n\nCheck failed here"), "Check failed here"),
        (RuntimeError("Check 'a' failed at src/b.cpp:7:"), "Check 'a' failed at src/b.cpp:7:"),
        (RuntimeError(OPENVINO), "Unsupported padding mode: [wrap]"),
    ],
)
def test_the_line_shows_the_cause(error: Exception, words: str) -> None:
    assert first_line(error) == words


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (KeyError("a"), CheckFailed, "a stage: KeyError: 'a'"),
        (OSError("no space left"), Unavailable, "a stage: no space left"),
        (MemoryError(), Unavailable, "a stage: out of memory; use a smaller input or batch"),
        (Unavailable("no GPU"), Unavailable, "no GPU"),
    ],
)
def test_a_stage_that_breaks_is_one_line(
    error: Exception, kind: type[ZooError], words: str
) -> None:
    with pytest.raises(kind) as caught, one_line("a stage"):
        raise error
    assert str(caught.value) == words
