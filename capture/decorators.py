"""Functions whose calls are steps: `@capture.task`.

A call becomes a step inside the innermost open step or run of this thread or asyncio task: that of
the decorated call around it, of the `with` around it, or what `current` names (place.py). Where none
is open, the function just runs. What the function returns, yields and raises passes through unchanged.

A generator runs in the context of whoever asks it for the next item, so it takes its place anew at
each item and leaves it before the item is handed out.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, ParamSpec, Protocol, TypeVar, overload

from headstream.capture.errors import WARNINGS, swallow
from headstream.capture.opening import Opener
from headstream.capture.outcomes import describe, failed
from headstream.capture.place import Place, innermost, leave, only_run, still_open
from headstream.capture.references import AsDict, AsList, Described, Given
from headstream.capture.step import PLACE, Step
from headstream.capture.wire import OUT
from headstream.schemas.values import Reference
from headstream.schemas.vocabulary import ERRORED, FINISHED

P = ParamSpec("P")
R = TypeVar("R")

_SCALARS: Final = frozenset({bool, int, float, str})
_SAYABLE: Final = (
    *(str, numbers.Number, PurePath, Enum, date, timedelta),
    *(Given, Reference, Described, AsList, AsDict),
)
# A text under such a name is not for the graph unless `used` asks for it; `max_tokens` is a number.
_SECRET: Final = re.compile(r"(?i)passw|secret|api_?key|credential|(^|_)token$")


class Decorator(Protocol):
    """Makes the calls of a function steps; the function keeps its type."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def task(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def task(
    name: str | None = None,
    *,
    used: str | Iterable[str] | None = None,
    generated: str | Iterable[str] | None = None,
    person: str | None = None,
    inside: Opener | None = None,
) -> Decorator: ...
def task(
    name: Callable[..., Any] | str | None = None,
    *,
    used: str | Iterable[str] | None = None,
    generated: str | Iterable[str] | None = None,
    person: str | None = None,
    inside: Opener | None = None,
) -> Any:
    """Make each call of a function a step of the transformation `name`, by default the function's name.

    `used` names the arguments to keep; without it those that are scalars, texts, paths or
    references, defaults included, but no text that is called like a secret. `generated` names
    what is returned: one name for all of it, several for the elements of a tuple or for keys of
    a dictionary, `()` for nothing. Without it a dictionary is kept by key and anything else as
    `result`. `None` is nothing. `inside` is the run or step to use where nothing else is open.
    """
    if name is not None and not isinstance(name, str):
        return _decorate(name, Task(name, None, None, None, None, None))

    def decorator(function: Any) -> Any:
        return _decorate(function, Task(function, name, used, generated, person, inside))

    return decorator


class Task:
    """What is settled when a function is decorated: how its arguments and results are called."""

    def __init__(
        self,
        function: Any,
        name: str | None,
        used: str | Iterable[str] | None,
        generated: str | Iterable[str] | None,
        person: str | None,
        inside: Opener | None,
    ) -> None:
        plain = getattr(function, "__func__", function)  # Of a staticmethod or classmethod object.
        self.name = name or getattr(plain, "__name__", None) or type(plain).__name__
        self.used = (used,) if isinstance(used, str) else None if used is None else tuple(used)
        self.one = generated if isinstance(generated, str) else None
        self.several = None if generated is None or self.one is not None else tuple(generated)
        self.person = person
        self.inside = inside
        self.warned = False
        self._learn(plain)
        self._check()

    def _learn(self, function: Any) -> None:
        """The names of the parameters, by position, and their defaults; none of what C does not tell."""
        try:
            found = tuple(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            found = ()
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.positional = tuple(one.name for one in found if one.kind in by_position)
        self.rest = next((one.name for one in found if one.kind is inspect.Parameter.VAR_POSITIONAL), None)
        self.any_keyword = not found or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found)
        self.defaults = {one.name: one.default for one in found if one.default is not inspect.Parameter.empty}
        self.parameters = frozenset(one.name for one in found)
        # The object of a method is nobody's value, whatever `used` says.
        self.bound = self.positional[0] if self.positional[:1] in (("self",), ("cls",)) else None

    def _check(self) -> None:
        unknown = set(self.used or ()) - self.parameters
        if unknown and not self.any_keyword:
            WARNINGS.add("argument-unknown", len(unknown), f"{self.name} has no {', '.join(sorted(unknown))}")

    def values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call that its step uses, in the order of the parameters.

        It never raises for arguments that do not fit: calling the function says so better.
        """
        if self.used == ():
            return {}
        bound = {**self.defaults, **kwargs, **dict(zip(self.positional, args, strict=False))}
        if self.rest is not None and len(args) > len(self.positional):
            bound[self.rest] = args[len(self.positional) :]
        if self.bound is not None:
            bound.pop(self.bound, None)
        if self.used is not None:
            return {name: bound[name] for name in self.used if name in bound}
        return {name: value for name, value in bound.items() if _worth_keeping(name, value)}

    def results(self, result: Any) -> dict[str, Any]:
        """What a call has generated, by name."""
        if result is None:
            return {}
        if self.one is not None:
            return {self.one: result}
        if self.several is None:
            if isinstance(result, Mapping):
                return {str(key): value for key, value in result.items()}
            return {"result": result}
        return self._several(self.several, result)

    def _several(self, names: Sequence[str], result: Any) -> dict[str, Any]:
        if not names:
            return {}
        if isinstance(result, Mapping):
            found = {name: result[name] for name in names if name in result}
        elif isinstance(result, tuple) and (len(names) > 1 or len(result) == 1):
            found = dict(zip(names, result, strict=False))
        else:
            found = {names[0]: result}
        unlike = isinstance(result, tuple) and len(result) > len(names) > 1
        if len(found) < len(names) or unlike:
            WARNINGS.add("result-unmatched", message=f"{self.name} returned other than {', '.join(names)}")
        return found

    def open(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """Begin the step of a call; None where no run is open."""
        try:
            outer = PLACE.get()
            opener = innermost(outer) or still_open(self.inside)
            if opener is None and outer is None:
                opener = only_run()
            if opener is None:
                self._warn()
                return None
            step = opener.task(self.name, used=self.values(args, kwargs), person=self.person).begin()
            return Call(self, step, Place(step, outer))
        except Exception as error:
            swallow(error, "decorator")
            return None

    def _warn(self) -> None:
        """Once a function: a script that is run without capture must not pay for it at each call."""
        if not self.warned:
            self.warned = True
            WARNINGS.add(
                "function-outside-run",
                message=f"{self.name}: no run is open by `with`, nor named by capture.current",
            )


class Call:
    """The step of one call. As a context manager it is the place of what is called meanwhile."""

    __slots__ = ("_place", "_step", "_task", "_token")

    def __init__(self, task: Task, step: Step, place: Place) -> None:
        self._task = task
        self._step = step
        self._place = place

    def __enter__(self) -> None:
        self._token = PLACE.set(self._place)

    def __exit__(self, *_: object) -> None:
        leave(self._token)

    def returned(self, result: Any, yielded: int | None = None) -> None:
        """End the step, with what the function returned and how many items it yielded."""
        try:
            said = self._task.results(result)
            if yielded is not None:
                said["yielded"] = yielded
            self._step._add(OUT, said)
        except Exception as error:
            swallow(error, "decorator")
        self._step.end()

    def raised(self, error: BaseException, yielded: int | None = None) -> None:
        """End the step as the exception says: a generator that is closed has not failed."""
        try:
            if yielded is not None:
                self._step._add(OUT, {"yielded": yielded})
        except Exception as failure:
            swallow(failure, "decorator")
        if failed(error):
            self._step.end(ERRORED, describe(error))
        else:
            self._step.end(FINISHED)


def _decorate(function: Any, task: Task) -> Any:
    """The function with the same name, signature and kind, whose calls are steps."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorate(function.__func__, task))
    if inspect.isasyncgenfunction(function):
        return functools.wraps(function)(_async_generator(function, task))
    if inspect.isgeneratorfunction(function):
        return functools.wraps(function)(_generator(function, task))
    if inspect.iscoroutinefunction(function):
        return functools.wraps(function)(_coroutine(function, task))
    return functools.wraps(function)(_function(function, task))


def _function(function: Any, task: Task) -> Any:
    def called(*args: Any, **kwargs: Any) -> Any:
        call = task.open(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        try:
            with call:
                result = function(*args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        call.returned(result)
        return result

    return called


def _coroutine(function: Any, task: Task) -> Any:
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        call = task.open(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        try:
            with call:
                result = await function(*args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        call.returned(result)
        return result

    return awaited


def _generator(function: Any, task: Task) -> Any:
    """Delegates as `yield from` does (PEP 380), but takes and leaves its place around each item."""

    def iterated(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = task.open(args, kwargs)
        if call is None:
            return (yield from function(*args, **kwargs))
        yielded, sent, thrown = 0, None, None
        try:
            with call:
                inner = function(*args, **kwargs)
            while True:
                try:
                    with call:
                        item = inner.send(sent) if thrown is None else inner.throw(thrown)
                except StopIteration as stop:
                    result = stop.value
                    break
                yielded, sent, thrown = yielded + 1, None, None
                try:
                    sent = yield item
                except GeneratorExit:
                    with call:
                        inner.close()
                    raise
                except BaseException as error:
                    thrown = error
                item = None  # A batch may be large: it is not kept while the next is made.
        except BaseException as error:
            call.raised(error, yielded)
            raise
        finally:
            thrown = None  # It holds this frame.
        call.returned(result, yielded)
        return result

    return iterated


def _async_generator(function: Any, task: Task) -> Any:
    """The same for asynchronous generators, which have no `yield from` and return nothing."""

    async def iterated(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = task.open(args, kwargs)
        yielded, sent, thrown = 0, None, None
        try:
            inner = function(*args, **kwargs)
            while True:
                try:
                    with call or nullcontext():
                        item = await (inner.asend(sent) if thrown is None else inner.athrow(thrown))
                except StopAsyncIteration:
                    break
                yielded, sent, thrown = yielded + 1, None, None
                try:
                    sent = yield item
                except GeneratorExit:
                    with call or nullcontext():
                        await inner.aclose()
                    raise
                except BaseException as error:
                    thrown = error
                item = None  # A batch may be large: it is not kept while the next is made.
        except BaseException as error:
            if call is not None:
                call.raised(error, yielded)
            raise
        finally:
            thrown = None  # It holds this frame.
        if call is not None:
            call.returned(None, yielded)

    return iterated


def _worth_keeping(name: str, value: object) -> bool:
    """Tell whether an argument is kept that nobody has asked for: only what is small and says itself."""
    kind = type(value)
    if kind is str:
        return _SECRET.search(name) is None
    if kind in _SCALARS:
        return True
    try:
        if isinstance(value, _SAYABLE):
            return not (isinstance(value, str) and _SECRET.search(name))
        # An array or tensor without dimensions is a number; it is asked only if its class says it is one.
        return hasattr(kind, "dtype") and getattr(value, "shape", None) == ()
    except Exception:
        return False  # An object that cannot even be asked does not say itself.
