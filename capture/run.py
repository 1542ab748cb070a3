"""Runs of a workflow: where capture begins, and the outermost thing that it records."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from headstream.capture import context, environment, exits, wire
from headstream.capture.clock import now
from headstream.capture.errors import LOSSES, WARNINGS, swallow
from headstream.capture.recorder import Recorder
from headstream.capture.references import Catalogue
from headstream.capture.settings import Settings
from headstream.capture.step import ENDED, NEW, OPEN, Inside, Nowhere, Opener, describe, failed, verdict
from headstream.capture.values import Rules, clean
from headstream.capture.wire import OUT
from headstream.schemas.errors import SchemaError
from headstream.schemas.vocabulary import ERRORED

if TYPE_CHECKING:
    from headstream.schemas.definition import Definition, Store
    from headstream.schemas.documents import Document, Person

    DefinitionLike = str | os.PathLike[str] | Mapping[str, Any] | Definition
    StoresLike = str | os.PathLike[str] | Store | Iterable[Mapping[str, Any] | Store]
    PersonLike = str | Mapping[str, Any] | Person


class Run(Opener):
    """One execution of a workflow. Use it with `with`, or call `begin()` and `end()`."""

    __slots__ = ("_dirty", "_outputs", "_person", "_process", "_state", "execution", "started", "workflow")

    def __init__(self, recorder: Recorder, person: str | None = None) -> None:
        self.recorder = recorder
        self._inside = None
        self.workflow = recorder.workflow
        self.execution = recorder.execution
        self.started: int | None = None
        self._person = person
        self._process = recorder.process
        self._state = NEW
        self._outputs: list[str] = []
        self._dirty: context.DirtyCheck | None = None

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if failed(error):
            self.end(ERRORED, describe(error))
        else:
            self.end()

    def begin(self) -> Self:
        """Start the run now; a run that has started is left as it is."""
        try:
            if self._state == NEW:
                self._begin()
        except Exception as error:
            swallow(error, "run-begin")
        return self

    def generated(self, **values: Any) -> Self:
        """Say outputs of the run as a whole, as `attribute=value`."""
        try:
            self.begin()
            if self._state == ENDED:
                LOSSES.add("values-after-end")
            elif values:
                found = self.recorder.spell(OUT, None, values)
                before = f"[[],[{','.join(self._outputs)}],[]]" if self._outputs else "null"
                self.recorder.write(f'["V",null,"{OUT}",[{found.values}],{now()},{before}]')
                self._outputs.extend(found.held)
        except Exception as error:
            swallow(error, "run-generated")
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End the run: FINISHED, or ERRORED if that is said or an error is given. Later calls do nothing."""
        try:
            self.begin()
            if self._state == OPEN:
                self._end(*verdict(outcome, error))
        except Exception as failure:
            swallow(failure, "run-end")

    def _opened(self) -> Inside:
        self.begin()
        return super()._opened()

    @property
    def _first(self) -> bool:
        """Only one of several processes tells when the run as a whole starts and ends."""
        return self.recorder.rank in (None, "0")

    def _begin(self) -> None:
        self._state = OPEN
        self.started = now()
        code = None
        if self.recorder.settings.git:
            folder = context.code_folder()
            code = context.git_head(folder)
            if code is not None and self._first:
                self._dirty = context.DirtyCheck(folder)
        told = context.of_run(os.environ, code)
        started = self.started if self._first else None
        self.recorder.write(wire.text(["R", started, None, self._person, told]))

    def _end(self, outcome: str, error: str | None) -> None:
        self._end_inner(outcome, error)
        self._state = ENDED
        if self._process is self.recorder.process and self._first:
            self._write_end(outcome, error)
        self.recorder.close()

    def _write_end(self, outcome: str, error: str | None) -> None:
        late: wire.Wire = None
        if self._dirty is not None and self._dirty.answer is not None:
            late = wire.context(metadata=json.dumps({"git_dirty": self._dirty.answer}))
        self.recorder.write(wire.text(["Q", self.started, now(), outcome, error, None, [], late]))


def workflow(
    name: str,
    *,
    definition: DefinitionLike | None = None,
    execution: str | None = None,
    person: PersonLike | None = None,
    stores: StoresLike | None = None,
    settings: Settings | None = None,
) -> Run:
    """A run of the workflow of this name, to be begun with `with` or `begin()`.

    `definition` (a file, a parsed document or a Definition) says what is planned, `stores` the
    catalogue of data stores (likewise), `person` who runs it. Processes that share an `execution`
    need a rank each (HEADSTREAM_RANK, or that of the scheduler). Never raises: a definition that
    cannot be read is counted and reported, and the run is captured without it.
    """
    try:
        return _run(name, definition, execution, person, stores, settings or Settings.from_env(os.environ))
    except Exception as error:
        swallow(error, "workflow")
        return Run(Nowhere().recorder)


def _run(
    name: str,
    definition: DefinitionLike | None,
    execution: str | None,
    person: PersonLike | None,
    stores: StoresLike | None,
    settings: Settings,
) -> Run:
    plan = None if definition is None else _definition(definition)
    who = None if person is None or isinstance(person, str) else _person(person)
    known = () if stores is None else _stores(stores)
    documents = _documents(plan, known, who)
    catalogue = Catalogue((*known, *(plan.stores if plan is not None else ())))
    recorder = Recorder(
        workflow=clean(str(name)),
        execution=clean(str(execution or settings.execution or new_execution())),
        settings=settings,
        rules=Rules(catalogue, settings.value_bytes),
        definition=plan,
        documents=documents,
        rank=environment.rank(os.environ, settings.rank),
    )
    exits.watch()
    if isinstance(person, str):
        return Run(recorder, clean(person))
    return Run(recorder, None if who is None else who.id)


def _documents(
    plan: Definition | None, stores: tuple[Store, ...], person: Person | None
) -> tuple[Document, ...]:
    said = [content for content in (plan, *stores, person) if content is not None]
    if not said:
        return ()
    from headstream.schemas.documents import document

    return tuple(document(content) for content in said)


def new_execution() -> str:
    """An execution id that nobody else has: the second in UTC, and eight random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"


def _definition(given: DefinitionLike) -> Definition | None:
    from headstream.schemas.definition import Definition, parse_definition

    try:
        if isinstance(given, Definition):
            return given
        return parse_definition(given if isinstance(given, Mapping) else _load(Path(given)))
    except (OSError, ValueError, SchemaError) as error:
        _refused("definition-unusable", given, error)
        return None


def _stores(given: StoresLike) -> tuple[Store, ...]:
    from headstream.schemas.definition import Store, parse_store

    try:
        if isinstance(given, Store):
            return (given,)
        items = _load(Path(given)) if isinstance(given, (str, os.PathLike)) else given
        if isinstance(items, Mapping):
            items = items.get("stores", [items])
        return tuple(item if isinstance(item, Store) else parse_store(item) for item in items)
    except (OSError, ValueError, SchemaError) as error:
        _refused("stores-unusable", given, error)
        return ()


def _person(given: Mapping[str, Any] | Person) -> Person | None:
    from headstream.schemas.documents import Person, parse_person

    try:
        return given if isinstance(given, Person) else parse_person(dict(given))
    except SchemaError as error:
        _refused("person-unusable", given, error)
        return None


def _load(path: Path) -> Any:
    """The content of a JSON or YAML file; YAML is imported only for a file that is no JSON."""
    text = path.read_text("utf-8")
    if path.suffix.lower() == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _refused(reason: str, given: object, error: Exception) -> None:
    """The one mistake that is the script's and not ours: said at once, and the script goes on."""
    shown = str(given) if isinstance(given, (str, os.PathLike)) else type(given).__name__
    WARNINGS.add(reason, message=f"{shown}: {error}")
    print(f"headstream: {reason}: {shown}: {error}; the run is captured without it", file=sys.stderr)
