"""How a loop was left: by `break` or `return`, or by an exception on its way up.

When a `for` statement drops its generator, the generator only sees that it is closed; CPython
hides an exception that is passing. But it is closed from inside the frame of the `for`, and the
instruction which that frame is at says it: leaving on purpose pops or drops the iterator, an
exception stands at the instruction that raised. Checked on CPython 3.11 to 3.13 by
tests/capture/test_loop.py. Where the frame is already gone, the step around it decides.
"""

from __future__ import annotations

import opcode
from types import CodeType, FrameType
from typing import Final

# A generator that delegates is closed at CLEANUP_THROW from CPython 3.12.3 on.
_SUSPENDED: Final = frozenset(
    {"YIELD_VALUE", "RESUME", "RETURN_GENERATOR", "SEND", "YIELD_FROM", "CLEANUP_THROW"}
)
# Instructions that give up an iterator on purpose.
_DROPS: Final = frozenset(
    {"POP_TOP", "POP_ITER", "POP_EXCEPT", "END_FOR", "FOR_ITER", "END_SEND", "NOP", "JUMP_BACKWARD", "SWAP"}
)
_DROPPING: Final = ("STORE_", "DELETE_", "RETURN_", "FOR_ITER")
_GENERATOR: Final = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


def consumer_of(frame: FrameType | None) -> CodeType | None:
    """The function that iterates, past generators that only hand on what they get."""
    while frame is not None and frame.f_code.co_flags & _GENERATOR:
        frame = frame.f_back
    return None if frame is None else frame.f_code


def left_by_exception(frame: FrameType | None, consumer: CodeType | None) -> bool:
    """Tell whether the frame that closes a loop does so because an exception passes through it."""
    while frame is not None:
        name = _instruction(frame)
        generator = bool(frame.f_code.co_flags & _GENERATOR)
        if generator and name in _SUSPENDED:
            frame = frame.f_back  # A generator between the loop and its consumer, closed like ourselves.
            continue
        if not generator and frame.f_code is not consumer:
            return False  # The frame of the `for` is gone; this one only happened to drop the rest.
        return name not in _DROPS and not name.startswith(_DROPPING)
    return False


def _instruction(frame: FrameType) -> str:
    code, at = frame.f_code.co_code, frame.f_lasti
    # A frame that called stands at the inline cache behind its CALL.
    while at >= 2 and opcode.opname[code[at]] == "CACHE":
        at -= 2
    return opcode.opname[code[at]] if 0 <= at < len(code) else "NOP"
