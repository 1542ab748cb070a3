"""The demo: start the services, run the use case, ask Q1 to Q6, say the hash, stop (paper, section V)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from headstream import comparing, modes
from headstream.asking import Asker, asker
from headstream.capture.publishing import leave
from headstream.demo.errors import DemoFailed, GraphIncomplete
from headstream.demo.scripts import Scripts, find_folder
from headstream.modes import Mode
from headstream.places import Places
from headstream.publish import read_documents
from headstream.query_api.catalogue import catalogue
from headstream.schemas import identifiers as ids
from headstream.schemas.documents import Document
from headstream.services import ports
from headstream.services.settings import Settings
from headstream.services.stack import Stack

RUNS = ("seismic_curation", "seismic_create_data", "seismic_train")
EXECUTION = "demo"
STORE = "gpfs1"
GRAPH_SECONDS = 60.0
# Questions whose answers a reader of the paper looks for first (Table I).
QUESTIONS = ("q1", "q2", "q3", "q4", "q5", "q6")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question, the values it was asked with, and its answer as a table."""

    id: str
    title: str
    parameters: Mapping[str, Sequence[str]]
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What a demo led to."""

    mode: Mode
    data: Path
    store: str
    answers: tuple[Answered, ...]
    triples: int
    hash: str
    hash_without_clocks: str
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user may choose: another survey, and how long to train."""

    segy: Path | None = None
    learning: tuple[str, ...] = ()
    curation: tuple[str, ...] = ()


@dataclass(slots=True)
class _Clock:
    say: Say
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.say(name)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def run_demo(mode: Mode, home: Places, wishes: Wishes, stage: Say, say: Say) -> Demo:
    """Run the use case in a data directory of its own, made anew; `stage` and `say` tell what goes on."""
    folder = find_folder()
    places = Places(home.data / "demo")
    stack = Stack(places.data)
    stack.down(say)
    if places.data.exists():
        shutil.rmtree(places.data)
    places.data.mkdir(parents=True)
    settings = demo_settings(places)
    env = demo_env(places)
    options = modes.Options(api_port=ports.free_ports(1)[0], env=env)
    scripts = Scripts(folder=folder, out=places.data / "work", env=env)
    clock = _Clock(stage)
    with clock.stage(f"start {mode} services"):
        stack.up(mode, modes.parts(mode, places, settings, options), say)
    try:
        model, dataset, domain = _use_case(scripts, wishes, clock, say)
        with clock.stage("wait until the graph has it all"), asker(places) as answers:
            _wait_for_graph(answers, domain)
            given = _parameters(answers, model, dataset)
        with clock.stage("ask Q1 to Q6"), asker(places) as answers:
            answered = tuple(_ask(answers, question, given) for question in QUESTIONS)
        location = modes.store_location(mode, places, settings)
        if mode == "embedded":
            stack.down(say)  # The store on disk has one owner; it is free once the service has stopped.
        with clock.stage("hash the graph"):
            graph = comparing.hash_of(location)
            quiet = comparing.hash_of(location, comparing.CLOCK_READINGS)
            triples = comparing.size_of(location)
    finally:
        stack.down(say)
    return Demo(
        mode=mode,
        data=places.data,
        store=location,
        answers=answered,
        triples=triples,
        hash=graph,
        hash_without_clocks=quiet,
        seconds=clock.seconds,
    )


def _use_case(
    scripts: Scripts, wishes: Wishes, clock: _Clock, say: Say
) -> tuple[Path, Path, Sequence[Document]]:
    """Curation, preparation and learning; the best model, the training set, the domain data."""
    fixed = ("--execution", EXECUTION)
    segy = () if wishes.segy is None else ("--segy", str(wishes.segy.absolute()))
    with clock.stage("curation"):
        curated = scripts.run("curation", (*fixed, *segy, *wishes.curation), say)
    annotations = sorted((scripts.out / "domain").glob("*.nt"))
    # What geoscientists know of the survey (basin, field, wells): domain data of Q1 and Q6.
    domain = [document for path in annotations for document in read_documents(path)]
    if domain:
        leave(domain, {**os.environ, **scripts.env})
    with clock.stage("preparation"):
        data = scripts.run("preparation", (*fixed, "--curated", str(curated)), say)
    with clock.stage("learning"):
        model = scripts.run("learning", (*fixed, "--data", str(data), *wishes.learning), say)
    return model, data / "train.h5", domain


def demo_env(places: Places) -> dict[str, str]:
    """What every process of a demo is told; a spool of the user's own choice is none of the demo's."""
    return {
        "HEADSTREAM_DATA": str(places.data),
        "HEADSTREAM_SPOOL": str(places.data / "spool"),
        "HEADSTREAM_FILE_FACTS": "on",  # They are waited for.
    }


def demo_settings(places: Places) -> Settings:
    """The demo stands beside whatever else runs: ports of its own, data of its own."""
    kafka, controller, blazegraph = ports.free_ports(3)
    return replace(
        Settings.from_env(os.environ),
        data=places.data,
        kafka_port=kafka,
        kafka_controller_port=controller,
        blazegraph_port=blazegraph,
    )


# Only a definition says a phase, so the definition of each run is there too.
_ENDED = """PREFIX provml: <https://w3id.org/provml/ns#>
PREFIX prov: <http://www.w3.org/ns/prov#>
SELECT (COUNT(DISTINCT ?run) AS ?ended) WHERE {{
  VALUES ?run {{ {runs} }}
  ?run prov:endedAtTime ?end ; provml:wasDerivedFromWorkflow/provml:lifecyclePhase ?phase . }}"""

_STORES = """PREFIX provml: <https://w3id.org/provml/ns#>
ASK { ?reference provml:wasInStore ?store . FILTER NOT EXISTS { ?store provml:storeType ?type } }"""

# What files are like is found out aside, so it may come after the end of a run.
_FILES = """PREFIX provml: <https://w3id.org/provml/ns#>
ASK {
  ?file provml:wasInStore ?store .
  ?store provml:storeType "FileSystem" .
  FILTER NOT EXISTS { ?file provml:sizeBytes ?size } }"""

_RANGES = """PREFIX provml: <https://w3id.org/provml/ns#>
PREFIX prov: <http://www.w3.org/ns/prov#>
SELECT ?name ?start ?end WHERE {{
  ?step provml:wasMemberOfWorkflowExecution {run} ; prov:used ?value .
  ?value provml:wasDerivedFromAttribute/provml:name ?name ;
         provml:rangeStart ?start ; provml:rangeEnd ?end . }}"""


def _wait_for_graph(answers: Asker, domain: Sequence[Document]) -> None:
    """Wait for the runs and for what was published beside them.

    A run's end is its last event, and one run stays in order: when it is there, all of it is. Documents
    take a way of their own, so each kind of them is asked for.
    """
    base = os.environ.get("HEADSTREAM_BASE_IRI") or ids.DEFAULT_BASE
    runs = " ".join(f"<{base}{ids.run(workflow, EXECUTION)}>" for workflow in RUNS)
    deadline = time.monotonic() + GRAPH_SECONDS
    while True:
        (row,) = rows(answers.sparql(_ENDED.format(runs=runs), "json"))
        if (
            int(row["ended"]) == len(RUNS)
            and not _truth(answers.sparql(_STORES, "json"))
            and not _truth(answers.sparql(_FILES, "json"))
            and all(_truth(answers.sparql(f"ASK {{ {each.body} }}", "json")) for each in domain)
        ):
            return
        if time.monotonic() > deadline:
            raise GraphIncomplete(
                f"{row['ended']} of {len(RUNS)} runs, or the stores, domain data and sizes of files beside "
                f"them, are in the graph after {GRAPH_SECONDS:.0f} s; "
                "the logs of the services say why"
            )
        time.sleep(0.1)


def _parameters(answers: Asker, model: Path, dataset: Path) -> dict[str, str]:
    """Values for Q1 to Q6: the best model, its training set, and the range of slices it was made from."""
    base = os.environ.get("HEADSTREAM_BASE_IRI") or ids.DEFAULT_BASE
    run = f"<{base}{ids.run('seismic_create_data', EXECUTION)}>"
    found = {row["name"]: row for row in rows(answers.sparql(_RANGES.format(run=run), "json"))}
    try:
        inlines, crosslines = found["inline_range"], found["crossline_range"]
    except KeyError as missing:
        raise DemoFailed(f"the graph has no {missing} of the preparation") from None
    return {
        "model": ids.reference(STORE, str(model)),
        "dataset": ids.reference(STORE, str(dataset)),
        "inlineMin": inlines["start"],
        "inlineMax": inlines["end"],
        "crosslineMin": crosslines["start"],
        "crosslineMax": crosslines["end"],
    }


def _ask(answers: Asker, question_id: str, given: Mapping[str, str]) -> Answered:
    question = catalogue().find(question_id)
    wanted = {each.name: [given[each.name]] for each in question.parameters if each.name in given}
    return Answered(
        id=question.id,
        title=question.title,
        parameters=wanted,
        table=answers.question(question_id, wanted, "table"),
    )


def rows(text: str) -> list[dict[str, str]]:
    bindings = json.loads(text)["results"]["bindings"]
    return [{name: term["value"] for name, term in row.items()} for row in bindings]


def _truth(text: str) -> bool:
    return bool(json.loads(text)["boolean"])


def command_for(answered: Answered, demo: Demo) -> str:
    """The command that asks a question of the demo again."""
    params = " ".join(
        f"--param {shlex.quote(f'{name}={value}')}"
        for name, values in answered.parameters.items()
        for value in values
    )
    return f"headstream query {answered.id.lower()} {params} --data {shlex.quote(str(demo.data))}"
