"""How far a replay has come, kept in the data directory, and whether a later one may believe it.

Correctness never depends on a checkpoint: a replay repeats without effect. So one that is in doubt
(the store was emptied, the topic made again, the file is broken) is dropped, and that is said.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headstream.sinks.stores import Store
from headstream.sinks.stores.probe import holds

_FORMAT: Final = 1
_SECONDS: Final = 0.5
_WITNESSES: Final = 64


@dataclass(slots=True)
class Checkpoint:
    """Marks whose facts are in the store, and triples that are in it if it is still that store."""

    marks: dict[str, int] = field(default_factory=dict)
    witnesses: list[str] = field(default_factory=list)

    def stored(self, marks: Mapping[str, int], witness: str | None) -> None:
        """Move on; witnesses are thinned out, so that they stand for all that was written."""
        self.marks.update(marks)
        if witness is not None:
            self.witnesses.append(witness)
        if len(self.witnesses) > _WITNESSES:
            self.witnesses = [*self.witnesses[:-1:2], self.witnesses[-1]]


class Keeper:
    """The checkpoint of one source, selection and target, in a file."""

    def __init__(
        self, folder: Path, key: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = json.loads(json.dumps(key))
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"{digest}.json"
        self._clock = clock
        self._kept = 0.0
        self.checkpoint = Checkpoint()

    def load(self) -> bool:
        """Take up what was kept; False if nothing was, or it cannot be read."""
        try:
            said = json.loads(self.path.read_text("utf-8"))
            if said["format"] != _FORMAT or said["key"] != self._key:
                return False
            marks = {str(name): int(place) for name, place in said["marks"].items()}
            self.checkpoint = Checkpoint(marks, [str(each) for each in said["witnesses"]])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False
        return bool(marks)

    def believed(self, store: Store) -> bool:
        """Whether the store still holds what was written into it by then."""
        witnesses = self.checkpoint.witnesses
        return bool(witnesses) and holds(store, witnesses)

    def forget(self) -> None:
        """Begin from the beginning."""
        self.checkpoint = Checkpoint()
        with suppress(FileNotFoundError):
            self.path.unlink()

    def stored(self, marks: Mapping[str, int], witness: str | None) -> None:
        """Move on behind facts that are in the store; the file follows twice a second."""
        self.checkpoint.stored(marks, witness)
        if self._clock() - self._kept >= _SECONDS:
            self.keep()

    def keep(self) -> None:
        """Write the file: a crash leaves the old one or the new one, whole."""
        if not self.checkpoint.marks:
            return
        said = {
            "format": _FORMAT,
            "key": self._key,
            "marks": self.checkpoint.marks,
            "witnesses": self.checkpoint.witnesses,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(said), "utf-8")
        draft.replace(self.path)
        self._kept = self._clock()
