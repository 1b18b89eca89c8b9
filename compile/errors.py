"""Every error a user can meet, with its exit code. The C++ runner uses the same codes.

ZooError             one line: what was given, what is allowed, what to run next
|- CheckFailed   1   parity, accuracy, a build that broke, a non-finite loss, --strict
|- UsageError    2   an option or a name that does not exist
|- BadArtifact   3   the artifact or input is damaged, or was made for something else
`- Unavailable   4   this machine lacks something that can be installed or permitted
   `- NotBuildable   a combination of backend, precision and target that cannot be built here
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_COMPILER = re.compile(r"^.*\berror: .*$", re.MULTILINE)
"""What a C++ compiler says first, below the command and the folders that it was called with."""
_PLACES = re.compile(
    r"Exception from |Check '.*' failed at |FrontEnd API failed |While validating |Summary:"
    r"|Model wasn't fully converted|-- \S+ with a message:|-- Conversion is failed "
)
"""How lines of OpenVINO begin that say where something failed, and not what."""
_FOLLOWS = re.compile(r"must be static|has to be known \(static\)")
"""What OpenVINO says of operators behind one that it cannot read."""
_LONGEST = 300
"""Characters of someone else's message that are shown."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, colours, or breaks or turns a line; and bytes that are not UTF-8, as
Python has them in the names of files.
"""


def printable(text: str) -> str:
    """`text` in one line that a terminal only shows: what would control it becomes `?`."""
    return _CONTROLS.sub("?", text)


class ZooError(Exception):
    """The base of all errors. Each is shown as one line, without a traceback.

    A name from a file may be part of it, so its text is made printable here.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(" ".join(message.split())))


class CheckFailed(ZooError):
    """A check ran and failed."""

    exit_code = 1


class UsageError(ZooError):
    """The command or the call cannot be understood as given."""

    exit_code = 2


class BadArtifact(ZooError):
    """An artifact, checkpoint or input is damaged or does not fit here. Rebuild or fix it."""

    exit_code = 3


class Unavailable(ZooError):
    """This machine lacks something: a GPU, a driver, a library, disk space, a permission."""

    exit_code = 4


class NotBuildable(Unavailable):
    """One combination of backend, precision and target cannot be built here. Others may be."""


def by_code(code: int) -> type[ZooError]:
    """The error that an exit code of another process stands for. CheckFailed if unknown."""
    kinds: tuple[type[ZooError], ...] = (UsageError, BadArtifact, Unavailable)
    return next((kind for kind in kinds if kind.exit_code == code), CheckFailed)


def first_line(error: BaseException) -> str:
    """The message of an exception, in one line without colours.

    OpenVINO's messages begin with places in its source, which are skipped, and report what follows
    from a fault beside the fault. A C++ compiler's begin with its command: its first error is
    taken. If the message is one word, as that of a KeyError, or nothing, the exception's own name
    stands before it. Long lines are cut off.
    """
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or calls itself without end"
    text = _COLOURS.sub("", str(error))
    compiler = _COMPILER.search(text) if "C++ compile error" in text else None
    if compiler is not None:
        return compiler[0].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not _PLACES.match(line)]
    said = [line for line in said if not _FOLLOWS.search(line)] or said or lines
    kind = type(error).__name__
    if not said:
        return kind
    line = said[0].rstrip(".,;") if len(said[0]) <= _LONGEST else f"{said[0][:_LONGEST]}..."
    return line if " " in line else f"{kind}: {line}"


def root_cause(error: BaseException) -> BaseException:
    """What an exception was raised from, and that from, and so on: the last of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def one_line(doing: str, remedy: str = "") -> Iterator[None]:
    """Whatever someone else's code throws inside becomes one line that begins with `doing`, and
    ends with `remedy`.

    Raises CheckFailed; Unavailable if memory or the disk is at fault; a ZooError as it is.
    """
    try:
        yield
    except ZooError:
        raise
    except OSError as error:
        raise Unavailable(f"{doing}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and what others derive from BaseException
        full = ("allocate memory", "out of memory")  # of the machine, of a GPU
        if isinstance(error, MemoryError) or any(words in str(error) for words in full):
            raise Unavailable(f"{doing}: out of memory; use a smaller input or batch") from error
        end = f"; {remedy}" if remedy else ""
        raise CheckFailed(f"{doing}: {first_line(error)}{end}") from error
