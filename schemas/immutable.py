"""Data that nobody changes, made at the price of data that anybody may: for what passes by the million.

`dataclass(frozen=True)` stores each field through `object.__setattr__`: 2 to 4 us for the objects of
one event, a tenth of what the tracker and capture do with it. Here the type checker refuses a
change, as it does for every frozen class, and at run time nothing stands guard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """A dataclass with slots whose instances are equal, and hash alike, by their fields."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
