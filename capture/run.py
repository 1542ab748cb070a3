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

from headstream.capture import checkout, context, environment, exits, parents, ranks, wire
from headstream.capture.clock import now
from headstream.capture.configured import environment as environment_here
from headstream.capture.configured import in_force
from headstream.capture.errors import LOSSES, WARNINGS, swallow
from headstream.capture.files import FILES
from headstream.capture.gathering import Gathering, gathered
from headstream.capture.opening import ENDED, NEW, OPEN, Inside, Nowhere, Opener
from headstream.capture.outcomes import describe, failed, verdict
from headstream.capture.place import enter, leave_run
from headstream.capture.recorder import Recorder
from headstream.capture.references import Catalogue
from headstream.capture.settings import Settings
from headstream.capture.silent import Silent
from headstream.capture.values import Rules, clean
from headstream.capture.wire import OUT
from headstream.schemas.errors import InvalidDefinition, SchemaError
from headstream.schemas.vocabulary import ERRORED

if TYPE_CHECKING:
    from headstream.capture.sampling import Sampler
    from headstream.schemas.definition import Definition, Store
    from headstream.schemas.documents import Document, Person

    DefinitionLike = str | os.PathLike[str] | Mapping[str, Any] | Definition
    StoresLike = str | os.PathLike[str] | Store | Iterable[Mapping[str, Any] | Store]
    PersonLike = str | Mapping[str, Any] | Person

_FILES_SECONDS = 0.1


class Run(Opener):
    """One execution of a workflow. Use it with `with`, or call `begin()` and `end()`."""

    __slots__ = (
        "_gathering",
        "_nested_in",
        "_outputs",
        "_person",
        "_process",
        "_sampler",
        "_state",
        "_whole",
        "execution",
        "started",
        "workflow",
    )

    def __init__(
        self,
        recorder: Recorder,
        person: str | None = None,
        *,
        parent: wire.Wire = None,
        whole: Run | None = None,
    ) -> None:
        self.recorder = recorder
        self._inside = self._place = None
        self._nested_in = parent
        self._whole = whole  # The run of all ranks, which this process tells besides its own.
        self.workflow = recorder.workflow
        self.execution = recorder.execution
        self.started: int | None = None
        self._person = person
        self._process = recorder.process
        self._state = NEW
        self._outputs: list[str] = []
        self._gathering: Gathering | None = None
        self._sampler: Sampler | None = None

    def __enter__(self) -> Self:
        enter(self)
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leave_run(self)
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
                if found.files is not None:
                    self.recorder.look("null", OUT, found.files)
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
        if self._whole is not None:
            self._whole.begin()
        self.started = now()
        settings = self.recorder.settings
        folder = checkout.code_folder() if settings.git else None
        code = None if folder is None else checkout.git_head(folder)
        told = context.of_run(environment_here(os.environ), code, settings)
        started = self.started if self._first else None
        inside = () if self._nested_in is None else (self._nested_in,)
        self.recorder.write(wire.text(["R", started, None, self._person, told, *inside]))
        if self.recorder.closed:
            return
        if self._first:
            self._gathering = gathered(settings, None if code is None else folder, self._say_late)
        if settings.telemetry_seconds > 0:
            from headstream.capture.sampling import Sampler  # Only who wants telemetry loads it.

            self._sampler = Sampler(self, settings.telemetry_seconds)

    def _say_late(self, facts: Mapping[str, Any]) -> None:
        self.recorder.write(wire.text(["R", None, None, None, context.late(**facts)]))

    def _end(self, outcome: str, error: str | None) -> None:
        ours = self._process is self.recorder.process
        if ours:
            for companion in (self._sampler, self._gathering):
                if companion is not None:
                    companion.leave()
        self._end_inner(outcome, error)
        self._state = ENDED
        # Mostly they are known by now, and then the end of the run is the last that is told of it.
        FILES.wait(self.recorder, _FILES_SECONDS)
        if ours and self._first:
            self.recorder.write(wire.text(["Q", self.started, now(), outcome, error, None, [], None]))
        self.recorder.close()
        if self._whole is not None:
            self._whole._end(outcome, error)


def workflow(
    name: str,
    *,
    definition: DefinitionLike | None = None,
    execution: str | None = None,
    person: PersonLike | None = None,
    stores: StoresLike | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    parent: Opener | str | None = None,
) -> Run:
    """A run of the workflow of this name, to be begun with `with` or `begin()`.

    `definition` (a file, a parsed document or a Definition) says what is planned, `stores` the
    catalogue of data stores (likewise), `person` who runs it. Ranks of one launch tell one run
    (HEADSTREAM_RANKS). `parent` is the run or step inside which this run is another, by default the
    one that HEADSTREAM_PARENT names; from a run or step of this process it takes settings and stores
    that are not given. `settings` by name win over HEADSTREAM_* variables, and these over the settings
    file; a `Settings` counts as it is. Never raises: a definition that cannot be read is counted and
    reported, and the run is captured without it.
    """
    try:
        if isinstance(parent, Opener):
            return _inside(parent, name, definition, execution, person, stores, settings)
        found = in_force(settings, os.environ)
        if ranks.silent(os.environ, found):
            return nothing(found, name)
        part = ranks.part(os.environ, found, str(name), execution or found.execution)
        around = parents.of(os.environ) if parent is None else parents.parse(parent)
        said = None if around is None else around.said
        give = Making(found, definition, person, () if stores is None else known_stores(stores))
        if not ranks.per_rank(found, part):
            return Run(give.recorder(name, part.execution, part.rank), give.who, parent=said)
        whole = Run(give.recorder(name, part.execution), give.who, parent=said) if part.rank == "0" else None
        own = give.recorder(name, f"{part.execution}-r{part.rank}")
        return Run(own, give.who, parent=[own.workflow, clean(str(part.execution)), None], whole=whole)
    except Exception as error:
        swallow(error, "workflow")
        return Run(Nowhere().recorder)


def _inside(
    parent: Opener,
    name: str,
    definition: DefinitionLike | None,
    execution: str | None,
    person: PersonLike | None,
    stores: StoresLike | None,
    given: Settings | Mapping[str, Any] | None,
) -> Run:
    """A run inside a run or step of this process; each rank has its own, unless the id is given."""
    outer = parent.recorder
    settings = outer.settings if given is None else in_force(given, os.environ)
    if isinstance(parent, Silent):
        return nothing(settings, name)
    parent._opened()
    step = parent._parent()
    known = outer.rules.catalogue.stores if stores is None else known_stores(stores)
    part = ranks.Part() if execution is None else ranks.part(os.environ, settings, str(name), execution)
    give = Making(settings, definition, person, known)
    said = [outer.workflow, outer.execution, None if step is None else json.loads(step.ref)]
    return Run(give.recorder(name, part.execution, part.rank), give.who, parent=said)


class Making:
    """What the runs that one call makes have in common."""

    def __init__(
        self,
        settings: Settings,
        definition: DefinitionLike | None,
        person: PersonLike | None,
        stores: tuple[Store, ...],
    ) -> None:
        exits.watch()
        self.settings = settings
        self.plan = None if definition is None else _definition(definition)
        known = None if person is None or isinstance(person, str) else _person(person)
        self.who = clean(person) if isinstance(person, str) else None if known is None else known.id
        self._documents = _documents(self.plan, stores, known)
        self._catalogue = Catalogue((*stores, *(self.plan.stores if self.plan is not None else ())))

    def recorder(self, workflow: str, execution: str | None, rank: str | None = None) -> Recorder:
        return Recorder(
            workflow=clean(str(workflow)),
            execution=clean(str(execution or new_execution())),
            settings=self.settings,
            rules=_rules(self._catalogue, self.settings),
            definition=self.plan,
            documents=self._documents,
            rank=rank,
        )


def _rules(catalogue: Catalogue, settings: Settings) -> Rules:
    return Rules(
        catalogue,
        settings.value_bytes,
        settings.digest_bytes,
        settings.file_facts,
        settings.checksum,
    )


class SilentRun(Silent, Run):
    """A run that says nothing."""

    __slots__ = ()

    def begin(self) -> Self:
        self._state = OPEN
        return self

    def generated(self, **values: Any) -> Self:
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        self._state = ENDED
        self.recorder.closed = True


def nothing(settings: Settings, workflow: str = "") -> Run:
    """A run of which nobody will hear, without a spool or any file."""
    rank = environment.rank(os.environ, settings.rank)
    rules = Rules(Catalogue(), settings.value_bytes)
    return SilentRun(
        Recorder(workflow=clean(str(workflow)), execution="", settings=settings, rules=rules, rank=rank)
    )


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


def known_stores(given: StoresLike) -> tuple[Store, ...]:
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
    if isinstance(given, (str, os.PathLike)) and isinstance(error, InvalidDefinition) and error.path:
        from headstream.schemas.lines import line_of

        shown = f"{shown}:{line_of(Path(given).read_text('utf-8'), error.path)}"
    WARNINGS.add(reason, message=f"{shown}: {error}")
    print(f"headstream: {reason}: {shown}: {error}; the run is captured without it", file=sys.stderr)
