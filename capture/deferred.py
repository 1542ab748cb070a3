"""Values that only an accelerator knows: held in the hot path, and read when nobody waits for them.

Asking a GPU for a number makes the script wait for all that the GPU still has to do. So a tensor
that lies there is copied (which only queues work), and read when its row closes: a turn later or as
soon after as the copy has come, at the latest at the end of the loop or step. Until then a crash
takes it away; everything else is said at once. Neither torch nor any other framework is imported: a
tensor is known by its `device` and `item`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from headstream.capture.errors import WARNINGS

Values = list[tuple[str, str, Any]]  # Direction, name of the attribute, tensor.


def split(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Those of the values that are tensors of an accelerator, copied; None if there are none."""
    late = None
    for name, value in given.items():
        if type(value) not in _PLAIN and on_accelerator(value):
            late = late or {}
            late[name] = snapshot(value)
    return late


_PLAIN = frozenset({float, int, bool, str, type(None), bytes, list, dict, tuple})


def on_accelerator(value: Any) -> bool:
    """Tell whether reading this value would wait for a device; asks for its facts and never its data."""
    try:
        device = getattr(value, "device", None)
        if device is None or not (hasattr(value, "item") and hasattr(value, "dtype")):
            return False
        # torch: device.type, JAX: device.platform, NumPy: the text "cpu"; CuPy's device has none of them.
        kind = getattr(device, "type", None) or getattr(device, "platform", None) or device
        return not (isinstance(kind, str) and kind == "cpu")
    except Exception:
        return False


class Coming:
    """A number of a CUDA device on its way to the host: nobody has to wait for what was queued behind it."""

    __slots__ = ("_event", "_host", "shape")

    def __init__(self, torch: Any, value: Any) -> None:
        self.shape = value.shape
        self._host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        self._host.copy_(value, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record(torch.cuda.current_stream(value.device))

    def is_ready(self) -> bool:
        return bool(self._event.query())

    def read(self) -> Any:
        self._event.synchronize()
        return self._host


def snapshot(value: Any) -> Any:
    """The tensor as it is now, without the graph that it came from: scripts change theirs in place."""
    try:
        if hasattr(value, "detach"):
            value = value.detach()
        torch = sys.modules.get("torch")
        # While a graph is recorded, copies would be part of it, and events cannot be asked.
        if torch is not None and isinstance(value, torch.Tensor) and value.is_cuda:
            if torch.cuda.is_current_stream_capturing():
                return value
            if value.numel() == 1 and not value.is_complex():
                return Coming(torch, value)
        for copy in ("clone", "copy"):
            if hasattr(value, copy):
                return getattr(value, copy)()
    except Exception as error:
        WARNINGS.add("tensor-not-copied", message=f"{type(error).__name__}: {error}")
        return value
    return value


def is_ready(value: Any) -> bool:
    """Tell whether reading a snapshot waits for nothing; one that cannot tell counts as ready."""
    ask = getattr(value, "is_ready", None)  # JAX has it too.
    try:
        return ask is None or bool(ask())
    except Exception:
        return True


def read(value: Any) -> Any:
    """What a snapshot is a copy of; waits for it if it has not come.

    A device that has failed gives the snapshot itself, which becomes its repr with a note (values.py):
    the end of a step that a CUDA error has ended must be told all the same.
    """
    try:
        return value.read() if isinstance(value, Coming) else value
    except Exception:
        return value


def is_number(value: Any) -> bool:
    """Tell from its shape alone whether a tensor has one element."""
    shape = getattr(value, "shape", None)
    return shape is not None and all(int(n) == 1 for n in shape)
