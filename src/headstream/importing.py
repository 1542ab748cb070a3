"""Import what other trackers recorded: told into the spool, or into a store of its own, and counted."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headstream.capture.ingest.told import Item, Refused, Told, Unmapped
from headstream.capture.publishing import Runs, leave
from headstream.errors import Unreadable
from headstream.places import Places
from headstream.publish import read_documents
from headstream.schemas.definition import Definition, Store
from headstream.schemas.documents import Document, Person, content, document
from headstream.schemas.events import event_count
from headstream.schemas.mounts import Mounts

if TYPE_CHECKING:
    from headstream.rebuilding import Rebuilt

_EXAMPLES: Final = 3


@dataclass(slots=True)
class Report:
    """What an import did: what was told, and by reason what was refused or has no place."""

    runs: set[tuple[str, str]] = field(default_factory=set)
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    # The first of each reason, as (message, where).
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    on_refused: Callable[[Refused], object] = lambda refused: None

    def note(self, item: Refused | Unmapped) -> None:
        if isinstance(item, Refused):
            self.refused[item.reason] += 1
            self.on_refused(item)
        else:
            self.unmapped[item.reason] += item.count
        kept = self.examples.setdefault(item.reason, [])
        if len(kept) < _EXAMPLES:
            kept.append((item.message, item.where))

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": len(self.runs),
            "events": self.events,
            "refused": dict(sorted(self.refused.items())),
            "unmapped": dict(sorted(self.unmapped.items())),
            "examples": {
                reason: [{"message": message, "where": where} for message, where in kept]
                for reason, kept in sorted(self.examples.items())
            },
        }


@dataclass(frozen=True, slots=True)
class Known:
    """Documents that a user gives along: definitions, by which text may be a reference, and stores."""

    documents: tuple[Document, ...] = ()

    @property
    def definitions(self) -> tuple[Definition, ...]:
        return tuple(each for each in map(content, self.documents) if isinstance(each, Definition))

    @property
    def mounts(self) -> Mounts:
        """Where stores are mounted, those of the definitions included."""
        stores = [store for each in self.definitions for store in each.stores]
        given = [each for each in map(content, self.documents) if isinstance(each, Store)]
        return Mounts.of([*stores, *given])


def known(definitions: Iterable[Path], stores: Path | None) -> Known:
    """Read the files of definitions and stores; raises Unreadable for one that is not what it should be."""
    found: list[Document] = []
    for path in definitions:
        documents = read_documents(path)
        if not any(isinstance(content(each), Definition) for each in documents):
            raise Unreadable(f"{path} holds no definition; give its stores by --stores")
        found.extend(documents)
    if stores is not None:
        documents = read_documents(stores)
        if not all(isinstance(content(each), Store) for each in documents):
            raise Unreadable(f"{stores} holds other things than stores; write `stores:` and a list of them")
        found.extend(documents)
    return Known(tuple(found))


def count(items: Iterable[Item], report: Report) -> None:
    """Read and map everything, and tell nobody."""
    for item in items:
        _note(report, item)


def tell(
    items: Iterable[Item],
    source: str,
    environ: Mapping[str, str],
    report: Report,
    documents: tuple[Document, ...] = (),
) -> list[Path]:
    """Leave everything in the spool; the spools that it lies in now.

    What is told survives a kill: the same call then tells it again, which changes nothing.
    """
    left = [leave(documents, environ)] if documents else []
    runs = Runs(environ, source)
    people: dict[Person, None] = {}
    try:
        for item in items:
            _note(report, item)
            if isinstance(item, Person):
                people[item] = None
            elif isinstance(item, Told):
                for size in runs.tell(item.workflow, item.execution, item.definition, item.events):
                    where = f"run {item.workflow} {item.execution}"
                    report.note(Refused(reason="too-large", message=size, where=where))
    finally:
        runs.close()
    if people:
        left.append(leave([document(each) for each in people], environ))
    return [*left, *runs.left]


def fill(
    items: Iterable[Item],
    source: str,
    environ: Mapping[str, str],
    report: Report,
    places: Places,
    into: str,
    *,
    documents: tuple[Document, ...] = (),
    into_live: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Rebuilt | None:
    """Build the graph of everything in a store at once; nothing of it stays in the spool.

    None, and the store is not touched, if there is nothing.
    """
    from headstream.rebuilding import Options, replay  # With all that fills stores, which most need not load.

    with tempfile.TemporaryDirectory(prefix="headstream-ingest-") as folder:
        root = Path(folder) / "spool"
        if not tell(items, source, {**environ, "HEADSTREAM_SPOOL": str(root)}, report, documents):
            return None
        options = Options(resume=False, into_live=into_live)
        return replay(places, into, source=str(root), options=options, say=say)


def _note(report: Report, item: Item) -> None:
    if isinstance(item, Told):
        report.runs.add((item.workflow, item.execution))
        report.events += sum(map(event_count, item.events))
    elif not isinstance(item, Person):
        report.note(item)
