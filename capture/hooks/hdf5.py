"""HDF5: the datasets of a file and its attributes, as facts about a reference to it.

    step.used(tiles=hdf5.file("/gpfs1/tiles.h5"))

No element of a dataset is read. A file that cannot be read has no facts, which is a counted
warning (`hdf5-header-not-read`).
"""

from __future__ import annotations

import os
from typing import Any

from headstream import capture
from headstream.capture.hooks.shield import need, shielded, warn

h5py = need("h5py")

_MOST_ELEMENTS = 64
_TEXT = 1000


def file(
    path: str | os.PathLike[str],
    *,
    store: str | None = None,
    version: str | None = None,
    checksum: str | None = None,
    **how: int,
) -> Any:
    """`capture.file` with the facts of the file as metadata; `how` goes to `facts`."""
    given = capture.file(path, store=store, version=version, checksum=checksum)
    found = facts(path, **how)
    return capture.metadata(given, **found) if found else given


def facts(source: Any, *, most_datasets: int = 200) -> dict[str, Any]:
    """Name, shape, dtype and attributes of every dataset, and the attributes of the file.

    `source` is a path, or an open `h5py.File` or group, which stays open. Links to other files are
    not followed. Datasets beyond `most_datasets` are only counted.
    """
    with shielded("hdf5"):
        if isinstance(source, h5py.Group):
            return _facts(source, most_datasets)
        path = os.fsdecode(source)
        try:
            # No lock: a writer that comes while we read must not be turned away by us.
            with h5py.File(path, "r", locking=False) as opened:
                return {"bytes": os.path.getsize(path), **_facts(opened, most_datasets)}
        except (OSError, RuntimeError, KeyError) as error:
            warn("hdf5-header-not-read", f"{path}: {error}")
    return {}


def _facts(group: Any, most: int) -> dict[str, Any]:
    datasets: list[dict[str, Any]] = []
    count = 0

    def visit(name: str, item: Any) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset):
            count += 1
            if count <= most:
                datasets.append(_dataset(name, item))

    group.visititems(visit)
    found: dict[str, Any] = {"datasets": datasets, "dataset_count": count}
    attributes = _attributes(group)
    return {**found, "attributes": attributes} if attributes else found


def _dataset(name: str, dataset: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "shape": None if dataset.shape is None else [int(n) for n in dataset.shape],
        "dtype": str(dataset.dtype),
    }
    if dataset.chunks is not None:
        found["chunks"] = [int(n) for n in dataset.chunks]
    if dataset.compression is not None:
        found["compression"] = str(dataset.compression)
    attributes = _attributes(dataset)
    return {**found, "attributes": attributes} if attributes else found


def _attributes(item: Any) -> dict[str, Any]:
    return {str(name): _attribute(item, name) for name in item.attrs}


def _attribute(item: Any, name: str) -> Any:
    """One attribute; what h5py cannot read, such as a type it does not know, is said by its error."""
    try:
        return _plain(item.attrs[name])
    except Exception as error:
        return f"not readable: {type(error).__name__}"


def _plain(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        if getattr(value, "size", 0) > _MOST_ELEMENTS:
            return {"dtype": str(value.dtype), "shape": [int(n) for n in value.shape]}
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")[:_TEXT]
    if isinstance(value, str):
        return value[:_TEXT]
    return value if isinstance(value, (bool, int, float)) else repr(value)[:_TEXT]
