"""What a process is told of the run, and of the step in it, that it was started in: HEADSTREAM_PARENT.

Usually JSON that `Step.environ()` made: with the steps around and what they had used, for that is
part of what a step inside them says (decision 0001), and with the definition and the stores, for
both processes must mean the same by a name. What is too long for a variable lies in a file of the
spool, which `@` and its path name. By hand it is `workflow/execution`, or that and
`/transformation/task`, percent-encoded as in an IRI.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from headstream.capture import wire
from headstream.capture.errors import WARNINGS
from headstream.capture.wire import Wire

if TYPE_CHECKING:
    from headstream.capture.settings import Settings
    from headstream.schemas.definition import Definition, Store

VARIABLE: Final = "HEADSTREAM_PARENT"
_LONGEST: Final = 32 << 10  # Linux takes 128 KiB for one variable and 2 MiB for all of them.
_FOLDER: Final = ".parents"
_DAYS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A run, and the steps of it that are around, nearest first, each with what it had used."""

    workflow: str
    execution: str
    enclosing: tuple[Wire, ...] = ()
    definition: Mapping[str, Any] | None = None
    stores: tuple[Mapping[str, Any], ...] = ()

    @property
    def said(self) -> Wire:
        """As the start of a run inside says it."""
        return [self.workflow, self.execution, self.enclosing[0][0] if self.enclosing else None]


def of(environ: Mapping[str, str]) -> Parent | None:
    """The parent that the environment names, if any; one that cannot be read is a warning."""
    given = environ.get(VARIABLE)
    return parse(given) if given else None


def parse(given: str) -> Parent | None:
    """The parent that a text names; a text that names none is a warning."""
    try:
        if given.startswith("@"):
            given = Path(given[1:]).read_text("utf-8")
        return _from_json(json.loads(given)) if given.startswith("{") else _from_path(given)
    except (OSError, ValueError, KeyError, TypeError) as error:
        WARNINGS.add("parent-unusable", message=f"{given[:200]}: {type(error).__name__}: {error}")
        return None


def _from_json(doc: Mapping[str, Any]) -> Parent:
    enclosing = tuple([[str(name), str(task)], list(used)] for (name, task), used in doc["enclosing"])
    return Parent(
        workflow=str(doc["workflow"]),
        execution=str(doc["execution"]),
        enclosing=enclosing,
        definition=doc["definition"],
        stores=tuple(doc["stores"]),
    )


def _from_path(text: str) -> Parent:
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) not in (2, 4) or not all(parts):
        raise ValueError("neither workflow/execution nor workflow/execution/transformation/task")
    return Parent(workflow=parts[0], execution=parts[1], enclosing=([parts[2:], []],) if parts[2:] else ())


def variables(parent: Parent, settings: Settings) -> dict[str, str]:
    """What to add to the environment of a process that is started there.

    The id of the run in the environment, if there is one, is taken: the process is to have its own.
    """
    return {
        VARIABLE: _value(parent, settings.spool),
        "HEADSTREAM_WORKFLOW": "",
        "HEADSTREAM_EXECUTION": "",
        "HEADSTREAM_SPOOL": "off" if settings.spool is None else os.path.abspath(settings.spool),
        "HEADSTREAM_TOPIC_PREFIX": settings.topic_prefix,
        **({} if settings.bootstrap is None else {"HEADSTREAM_BOOTSTRAP": settings.bootstrap}),
    }


def documents(definition: Definition | None, stores: tuple[Store, ...]) -> dict[str, Any]:
    """A definition and the stores that it does not hold itself, in their normal form."""
    if definition is None and not stores:
        return {"definition": None, "stores": ()}
    from headstream.schemas.definition import store_document, to_document

    held = () if definition is None else definition.stores
    return {
        "definition": None if definition is None else to_document(definition),
        "stores": tuple(store_document(store) for store in stores if store not in held),
    }


def _value(parent: Parent, spool: Path | None) -> str:
    text = _text(parent)
    if len(text.encode()) <= _LONGEST:
        return text
    if spool is None:
        nearest = tuple([step, []] for step, _ in parent.enclosing[:1])
        WARNINGS.add("parent-cut", message=f"{len(text)} characters, and no spool for a file")
        return _text(Parent(workflow=parent.workflow, execution=parent.execution, enclosing=nearest))
    return f"@{_file(text, Path(os.path.abspath(spool)) / _FOLDER)}"


def _text(parent: Parent) -> str:
    return wire.text({name: getattr(parent, name) for name in parent.__slots__})


def _file(text: str, folder: Path) -> Path:
    """A file named after its content, so that many processes share it; those of long ago are removed."""
    import hashlib  # Imported late, like all that only some scripts need.

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    for old in folder.glob("*.json"):
        if old.stat().st_mtime < time.time() - _DAYS * 86_400:
            old.unlink(missing_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
    fresh.touch(mode=0o600)
    fresh.write_text(text, "utf-8")
    fresh.rename(path)
    return path
