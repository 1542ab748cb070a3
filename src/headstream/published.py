"""The definitions that were published: on the topic of the full mode, or kept by the embedded one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headstream import live
from headstream.embedded import Shelf
from headstream.errors import Unreadable
from headstream.places import Places
from headstream.schemas.codec import decode_document
from headstream.schemas.definition import Definition
from headstream.schemas.errors import SchemaError
from headstream.stream_processors import bounded
from headstream.stream_processors.handling import Version, version_of
from headstream.stream_processors.settings import Settings

_HASH_AT_LEAST = 6


def versions(places: Places) -> list[Version]:
    """Every published version of every definition, the latest last."""
    found = live.up_for(places)
    full = bool(os.environ.get("HEADSTREAM_BOOTSTRAP")) if found is None else found.mode == "full"
    if not full:
        shelf = Shelf(places.documents).by_age() if places.documents.is_dir() else ()
        return [version for each in shelf if (version := version_of(each)) is not None]
    live.use_broker(places)
    return list(_of_topic(Settings.from_env(os.environ)))


def version(published: list[Version], name: str) -> Definition:
    """The version with this hash, or the latest of the workflow with this name; raises Unreadable."""
    by_hash = [
        each
        for each in published
        if len(name) >= _HASH_AT_LEAST and any(known.startswith(name) for known in each.hashes)
    ]
    distinct = {each.definition.content_hash: each.definition for each in by_hash}
    if len(distinct) > 1:
        raise Unreadable(
            f"{len(distinct)} published definitions have a hash that begins with {name}; give more"
        )
    if distinct:
        return distinct.popitem()[1]
    latest = next((each for each in reversed(published) if each.definition.workflow == name), None)
    if latest is None:
        raise Unreadable(
            f"{name} is no file, and no published definition is called so or has a hash that begins so"
        )
    return latest.definition


def is_file(name: str) -> bool:
    """Tell a file from the hash or name of something published."""
    return Path(name).suffix != "" or Path(name).is_file()


def _of_topic(settings: Settings) -> Iterator[Version]:
    reader = bounded.consumer(settings, **{"auto.offset.reset": "earliest"})
    try:
        topic = settings.topics.definitions
        for message in bounded.read(reader, topic, bounded.spans(reader, topic)):
            try:
                found = version_of(decode_document(message.value() or b""))
            except SchemaError:  # It is dead-lettered.
                continue
            if found is not None:
                yield found
    finally:
        reader.close()
