"""How a step or run ended, from what the script said or the exception that left it."""

from __future__ import annotations

from typing import Final, TypeGuard

from headstream.capture.wire import clean
from headstream.schemas.vocabulary import ERRORED, FINISHED, OUTCOMES

_ERROR_LENGTH: Final = 4000


def verdict(outcome: str | None, error: BaseException | str | None) -> tuple[str, str | None]:
    """Outcome and error text of an end as the script said it."""
    text = describe(error) if isinstance(error, BaseException) else error
    if outcome not in OUTCOMES:
        outcome = FINISHED if text is None else ERRORED
    return outcome, None if text is None else clean(str(text))[:_ERROR_LENGTH]


def failed(error: BaseException | None) -> TypeGuard[BaseException]:
    """Tell whether an exception that leaves a `with` means failure: a generator that is closed inside
    it has not failed, and neither has a script that says `sys.exit(0)`."""
    if isinstance(error, SystemExit):
        return error.code not in (None, 0)
    return error is not None and not isinstance(error, GeneratorExit)


def describe(error: BaseException) -> str:
    """`Type: message` of an exception, whatever its `__str__` does."""
    try:
        message = str(error)
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    except Exception:
        text = type(error).__name__
    return clean(text)[:_ERROR_LENGTH]
