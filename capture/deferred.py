"""Values that only an accelerator knows: held in the hot path, and read when nobody waits for them.

Asking a GPU for a number makes the script wait for all that the GPU still has to do. So a tensor
that lies there is copied there (which only queues work), and read when its row closes one turn
later, or when its step ends. Until then a crash takes it away; everything else is said at once.
Neither torch nor any other framework is imported: a tensor is known by its `device` and `item`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def snapshot(value: Any) -> Any:
    """The tensor as it is now, without the graph that it came from: scripts change theirs in place."""
    try:
        if hasattr(value, "detach"):
            value = value.detach()
        for copy in ("clone", "copy"):
            if hasattr(value, copy):
                return getattr(value, copy)()
    except Exception:
        return value
    return value


def is_number(value: Any) -> bool:
    """Tell from its shape alone whether a tensor has one element."""
    shape = getattr(value, "shape", None)
    return shape is not None and all(int(n) == 1 for n in shape)
