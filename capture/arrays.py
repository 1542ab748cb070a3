"""Arrays and tensors of any library as plain data, or as what is worth saying of them where they are large.

Neither numpy nor torch is imported: an array is known by its `dtype`, `shape` and `item`, and what
a library calls in its own way is asked for by name. Everything here may raise; values.py answers.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

_HEAD: Final = 8
_TICKS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}  # Units of numpy times in whole microseconds.
_DAYS: Final = {"D": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "W": 604_800_000_000}
_PARTS: Final = {"ns": 1_000, "ps": 1_000_000, "fs": 10**9, "as": 10**12}


class Summary(NamedTuple):
    """What is said of an array instead of its elements."""

    facts: dict[str, Any]
    note: str


class Moment(NamedTuple):
    """A numpy time or duration in microseconds (None: not a time), and whether something finer was cut."""

    microseconds: int | float | None
    exact: bool


def shape_of(given: Any) -> tuple[int, ...] | None:
    """The shape of an array; None for anything that is none."""
    shape = getattr(given, "shape", None)
    if shape is None or not (hasattr(given, "dtype") and hasattr(given, "item")):
        return None
    return tuple(int(n) for n in shape)


def described(given: Any) -> str | None:
    """The text of what describes arrays: a device, a dtype, a layout; None for anything else."""
    kind = type(given)
    if kind.__module__ == "torch" and kind.__name__ in ("device", "dtype", "layout", "memory_format"):
        return str(given)
    if any((each.__module__, each.__name__) == ("numpy", "dtype") for each in kind.__mro__):
        return str(given)
    return None


def moment(given: Any) -> Moment | None:
    """A numpy scalar of time or duration; None if it is none, or counts months or bare numbers."""
    if getattr(getattr(given, "dtype", None), "kind", None) not in ("M", "m"):
        return None
    numpy = sys.modules["numpy"]
    given = given.reshape(())[()]
    if numpy.isnat(given):
        return Moment(None, True)
    unit, count = numpy.datetime_data(given.dtype)
    if given.dtype.kind == "M" and unit in ("Y", "M"):
        given, unit, count = given.astype("datetime64[D]"), "D", 1
    ticks = int(given.astype("int64")) * count
    if unit in _PARTS:
        if given.dtype.kind == "m":
            return Moment(ticks / _PARTS[unit], True)
        whole, rest = divmod(ticks, _PARTS[unit])
        return Moment(whole, rest == 0)
    factor = _TICKS.get(unit) or _DAYS.get(unit)
    return None if factor is None else Moment(ticks * factor, True)


def single(given: Any) -> Any:
    """The only element of an array, as a plain value; a masked one is None."""
    if hasattr(given, "mask") and hasattr(given, "filled"):
        found = given.tolist()
        while isinstance(found, list):
            found = found[0]
        return found
    names = getattr(given.dtype, "names", None)
    if getattr(given.dtype, "kind", None) == "m":  # Months and years, which are no number of seconds.
        return str(given.reshape(())[()])
    found = _dense(given).item()
    if names and isinstance(found, tuple):
        return dict(zip(names, found, strict=True))
    if hasattr(found, "dtype"):  # A number that Python has none for, such as numpy's longdouble.
        return (
            complex(found) if "complex" in str(found.dtype) or "clong" in str(found.dtype) else float(found)
        )
    return found


def elements(given: Any) -> Any:
    """All elements, as nested lists; records as dictionaries, masked elements as None."""
    names = getattr(given.dtype, "names", None)
    kind = getattr(given.dtype, "kind", None)
    if kind == "M":  # Python has no finer times; and it would take them as local ones.
        return _in_utc(given.astype("datetime64[us]").tolist())
    if kind == "m" and sys.modules["numpy"].datetime_data(given.dtype)[0] not in ("Y", "M", "generic"):
        return (given.astype("timedelta64[ns]").astype("int64") / 1e9).tolist()
    found = _dense(given).tolist()
    return _named(found, names) if names else found


def summary(given: Any, shape: tuple[int, ...], most: int) -> Summary:
    """Size, shape, dtype, head and digest of an array; no digest of one with more bytes than `most`."""
    size = math.prod(shape)
    facts: dict[str, Any] = {"dtype": str(given.dtype), "shape": list(shape)}
    layout = str(getattr(given, "layout", "torch.strided"))
    if layout != "torch.strided":
        facts["layout"] = layout
    if str(getattr(given, "device", "cpu")).startswith("meta"):
        return Summary(facts, "an array without data")
    if hasattr(given, "mask") and hasattr(given, "filled"):
        facts["masked"] = int(given.mask.sum())
    if layout.startswith("torch.sparse"):
        stored = given._nnz()
        return Summary(
            {**facts, "stored": int(stored)}, f"a sparse array of {stored} stored elements, by its facts"
        )
    itemsize = getattr(given.dtype, "itemsize", None) or given.element_size()
    count = size * itemsize
    facts["bytes"] = count
    flat = given.reshape(-1)[:_HEAD]
    facts["head"] = elements(flat)
    if getattr(given.dtype, "hasobject", False):
        return Summary(facts, f"array of {size} objects by its head")
    if count > most:
        return Summary(facts, f"array of {count} bytes by its head: too large for a digest")
    import hashlib  # Imported late, like all that only some scripts need.

    facts["sha256"] = hashlib.sha256(_bytes(given)).hexdigest()
    return Summary(facts, f"array of {count} bytes by its digest")


def _dense(given: Any) -> Any:
    """A tensor of torch as one whose elements can be asked for: dense, and as numbers."""
    if not hasattr(given, "detach"):
        return given
    given = given.detach()
    if getattr(given, "is_quantized", False):
        given = given.dequantize()
    return given if str(getattr(given, "layout", "torch.strided")) == "torch.strided" else given.to_dense()


def _bytes(given: Any) -> Any:
    """The elements in memory, row by row, without a copy where they lie so already."""
    if hasattr(given, "detach"):  # A tensor: its numbers are wherever the device is.
        given = given.detach()
        if getattr(given, "is_quantized", False):
            given = given.int_repr()
        given = given.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return given.view(sys.modules["torch"].uint8).numpy()
    if hasattr(given, "mask") and hasattr(given, "filled"):
        given = given.filled()  # What a mask hides is nobody's value.
    flags = getattr(given, "flags", None)
    if flags is not None and getattr(flags, "c_contiguous", False):
        return given.reshape(-1).view("uint8")
    return given.tobytes()


def _in_utc(found: Any) -> Any:
    if isinstance(found, list):
        return [_in_utc(each) for each in found]
    return found.replace(tzinfo=UTC) if isinstance(found, datetime) else found


def _named(found: Any, names: tuple[str, ...]) -> Any:
    if isinstance(found, list):
        return [_named(each, names) for each in found]
    return dict(zip(names, found, strict=True)) if isinstance(found, tuple) else found
