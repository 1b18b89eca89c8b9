"""A command is a frozen dataclass: its fields are the options, and `run` does the work.

The docstring below a field is its text in `--help`; a text with names from a table stands in the
field's Option. From the fields come the signature that the command line library reads, the words
that mean the same options again (`words`), and the options that differ from their defaults
(`changed`).

    @dataclass(frozen=True, kw_only=True)
    class Greet(Command):
        '''Greet somebody.'''

        name: Annotated[str, Argument()]
        '''Whom to greet.'''
        times: Annotated[int, Option(min=1)] = 1
        '''How often.'''
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from zoo.errors import UsageError

SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
"""What every command line of this package has in common."""


class Interrupted(BaseException):
    """A command ended by Ctrl-C or a signal; the text says how to resume it, if that is possible.

    It stands for a KeyboardInterrupt, which the command line library would swallow with its text.
    """


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has."""

    def run(self) -> None:
        """Do what the options ask for. Raises a ZooError for what cannot be done."""
        raise NotImplementedError


AnyCommand = TypeVar("AnyCommand", bound=Command)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One option or argument of a command."""

    name: str
    """Of the field."""
    flag: str | None
    """`--save-every` for the field `save_every`, `--set` for `set_`; None for an argument."""
    kind: Any
    """The type; a tuple may be given any number of times."""
    default: Any
    """MISSING if it must be given."""
    info: OptionInfo | ArgumentInfo
    """The rest that the command line library wants to know, the help text among it."""


def parameters(command: type[Command]) -> tuple[Parameter, ...]:
    """The parameters of a command: its own in their order, then those that it shares."""
    hints = get_type_hints(command, include_extras=True)
    defaults = {field.name: field.default for field in fields(command)}
    texts: dict[str, str] = {}
    for parent in reversed(command.__mro__):
        texts |= _docstrings(parent.__module__).get(parent.__name__, {})
    names = (name for parent in command.__mro__ for name in inspect.get_annotations(parent))
    return tuple(
        _parameter(name, hints[name], defaults[name], texts.get(name))
        for name in dict.fromkeys(names)
        if name in defaults
    )


def _parameter(name: str, hint: Any, default: Any, text: str | None) -> Parameter:
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    info = copy(extras[0]) if extras else typer.Option()
    info.help = info.help or text
    flag = None
    if isinstance(info, OptionInfo):
        flag = "--" + name.rstrip("_").replace("_", "-")
        info.param_decls = (flag,)
    return Parameter(name=name, flag=flag, kind=kind, default=default, info=info)


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> the docstring below it, of one module's source."""
    if module == "builtins":
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        each.name: {
            field.target.id: " ".join(text.value.value.split())
            for field, text in pairwise(each.body)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for each in tree.body
        if isinstance(each, ast.ClassDef)
    }


def callback(command: type[AnyCommand], then: Callable[[AnyCommand], Any]) -> Callable[..., Any]:
    """A function with the signature of the command, which gives the options to `then`."""

    def call(**given: Any) -> Any:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        try:
            return then(command(**values))
        except KeyboardInterrupt as stop:
            raise Interrupted(*stop.args) from None

    rows = []
    for each in parameters(command):
        repeated = get_origin(each.kind) is tuple
        kind: Any = list[get_args(each.kind)[0]] if repeated else each.kind  # type: ignore[misc]
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        hint = Annotated[kind, each.info]
        keyword = inspect.Parameter.KEYWORD_ONLY
        rows.append(inspect.Parameter(each.name, keyword, annotation=hint, default=default))
    call.__signature__ = inspect.Signature(rows)  # type: ignore[attr-defined]
    call.__annotations__ = {row.name: row.annotation for row in rows}
    call.__doc__ = command.__doc__
    return call


def parse(command: type[AnyCommand], given: Sequence[str]) -> AnyCommand:
    """The options that these words mean. Raises UsageError for words that mean none."""
    line = typer.Typer(**SETTINGS, context_settings={"help_option_names": []})
    line.command()(callback(command, lambda options: options))
    try:
        options = line(list(given), standalone_mode=False)
    except Exception as error:
        said = usage_fault(error)
        if said is None:
            raise
        raise UsageError(said) from None
    assert isinstance(options, command)
    return options


def usage_fault(error: Exception) -> str | None:
    """What the command line library says of a mistyped command, in one line; None for others."""
    message = getattr(error, "format_message", None)
    return None if message is None else " ".join(message().split())


def words(options: Command, *, without: Collection[str] = ()) -> list[str]:
    """What follows the command's name to mean these options again.

    Values that equal a default are written too: the words keep their meaning when it changes.
    `without` names fields to leave out.
    """
    arguments: list[str] = []
    flags: list[str] = []
    for each in parameters(type(options)):
        value = getattr(options, each.name)
        if value is None or value is False or each.name in without:
            continue
        values = list(map(str, value if isinstance(value, tuple) else (value,)))
        if each.flag is None:
            arguments += values
        elif value is True:
            flags.append(each.flag)
        else:
            flags += [word for one in values for word in (each.flag, one)]
    if any(word.startswith("-") for word in arguments):
        return [*flags, "--", *arguments]
    return [*arguments, *flags]


def changed(options: Command, *, without: Collection[str] = ()) -> list[str]:
    """The flags, or names of arguments, whose values are not the defaults."""
    return [
        each.flag or each.name
        for each in parameters(type(options))
        if each.name not in without and getattr(options, each.name) != each.default
    ]
