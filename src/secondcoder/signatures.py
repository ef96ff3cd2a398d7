"""Functions whose parameters are the fields of a dataclass, so that options are listed in one place.

In: a dataclass, and a function of one object of it. Out: a function that is called with the fields as arguments. Type
checkers and editors, `help` and `inspect.signature` show each field with its type and its default.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Fields = ParamSpec("Fields")
Arguments = TypeVar("Arguments")
Owner = TypeVar("Owner")
Result = TypeVar("Result")


def takes(
    arguments: Callable[Fields, Arguments],
) -> Callable[[Callable[[Arguments], Result]], Callable[Fields, Result]]:
    """Give a function the fields of a dataclass as its parameters; its body gets them as one object."""

    def decorate(function: Callable[[Arguments], Result]) -> Callable[Fields, Result]:
        @wraps(function)
        def call(*args: Fields.args, **kwargs: Fields.kwargs) -> Result:
            if len(args) > most:  # the dataclass would count itself
                given = f"{most} positional argument{'' if most == 1 else 's'} but {len(args)} were given"
                raise TypeError(f"{function.__qualname__}() takes {given}")
            return function(arguments(*args, **kwargs))

        shown = inspect.signature(arguments).parameters.values()
        most = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in shown)

        _show_fields(call, arguments, own=())
        return call

    return decorate


def init_takes(
    arguments: Callable[Fields, Arguments],
) -> Callable[[Callable[[Owner, Arguments], None]], Callable[Concatenate[Owner, Fields], None]]:
    """Do what `takes` does for the ``__init__`` of a class."""

    def decorate(function: Callable[[Owner, Arguments], None]) -> Callable[Concatenate[Owner, Fields], None]:
        @wraps(function)
        def call(self: Owner, /, *args: Fields.args, **kwargs: Fields.kwargs) -> None:
            function(self, arguments(*args, **kwargs))

        _show_fields(call, arguments, own=("self",))
        return call

    return decorate


def _show_fields(call: Any, arguments: Any, *, own: tuple[str, ...]) -> None:
    """Set the signature of a function: its own parameters and a dataclass's fields, those without a default first.

    A dataclass is of one function: its ``__init__`` is given the name of it, so that a wrong keyword is its error.
    """
    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in own]
    taken = inspect.signature(arguments).parameters.values()
    order = sorted(taken, key=lambda one: (one.kind, one.default is not inspect.Parameter.empty))
    returned = inspect.signature(call.__wrapped__).return_annotation
    call.__signature__ = inspect.Signature([*named, *order], return_annotation=returned)
    call.__annotations__ = {one.name: one.annotation for one in order} | {"return": returned}
    arguments.__init__.__qualname__ = call.__qualname__
