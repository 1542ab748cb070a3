"""A letter from its refusal to the graph that is whole again: worker, command and sink on a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from confluent_kafka import Producer

from headstream.schemas.codec import encode_bag, encode_document
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, StepEnded, StepRef
from headstream.schemas.facts import Origin
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import PARTITIONER, Topics, run_key
from headstream.schemas.vocabulary import ERRORED, FINISHED
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.statements import render
from headstream.stream_processors.tracker import describe, track

NOWHERE = Origin(topic="", partition=0, offset=0)
DEFINITION = parse_definition({"dataflow_name": "fit", "data_transformations": {"train": {}}})
# A worker of a release that does not know one of the outcomes yet.
OLDER = """\
import sys
from headstream.schemas import vocabulary
vocabulary.OUTCOMES = frozenset({vocabulary.FINISHED})
from headstream.stream_processors.__main__ import main
sys.argv[1:] = []
main()
"""


def bag(execution: str, *outcomes: str) -> Bag:
    events = tuple(
        StepEnded(step=StepRef("train", str(number)), started=1, ended=2 + number, outcome=outcome)
        for number, outcome in enumerate(outcomes)
    )
    return Bag(workflow="fit", execution=execution, definition=DEFINITION.content_hash, events=events)


def letters(pipeline: Any, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "headstream", "dead-letters", *arguments, "--json"],
        env={**os.environ, **pipeline.env}, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_redrive_after_the_worker_was_mended_completes_the_graph(pipeline: Any) -> None:
    sent = [bag("whole", FINISHED), bag("partly", FINISHED, ERRORED, FINISHED, ERRORED)]
    facts = [fact for each in sent for fact in track(each, DEFINITION, NOWHERE).identified.facts]
    facts += describe(document(DEFINITION), NOWHERE).facts
    expected = graph_hash([render(sorted(set(facts)), DEFAULT_BASE)])
    names = Topics(pipeline.env["HEADSTREAM_TOPIC_PREFIX"])
    producer = Producer(
        {"bootstrap.servers": pipeline.env["HEADSTREAM_BOOTSTRAP"], "partitioner": PARTITIONER}
    )
    made = document(DEFINITION)
    producer.produce(names.definitions, encode_document(made), made.key.encode())
    for each in sent:
        producer.produce(names.events, encode_bag(each), run_key(each.workflow, each.execution))
    assert producer.flush(30) == 0

    older = pipeline.start("older", program=[sys.executable, "-c", OLDER])
    pipeline.start("sink")
    pipeline.until(lambda: len(letters(pipeline, "list")) == 1, 90, "the letter")
    (letter,) = letters(pipeline, "list")
    assert (letter["reason"], letter["error"]) == ("invalid-event", "MalformedMessage")
    assert (letter["workflow"], letter["run"], letter["topic"]) == ("fit", "partly", names.events)
    shown = letters(pipeline, "show", letter["id"])
    assert [event["outcome"] for event in shown["payload"]["events"]] == [ERRORED, ERRORED]
    good = [replace(sent[1], events=sent[1].events[::2]), sent[0]]
    partial = [fact for each in good for fact in track(each, DEFINITION, NOWHERE).identified.facts]
    partial += describe(document(DEFINITION), NOWHERE).facts
    pipeline.wait_for_hash(graph_hash([render(sorted(set(partial)), DEFAULT_BASE)]), 90)

    older.stop()
    pipeline.start("tracker")
    assert letters(pipeline, "redrive", "--reason", "invalid-event")["sent"] == 1
    pipeline.wait_for_hash(expected, 90)
    assert letters(pipeline, "list") == []
    (settled,) = letters(pipeline, "list", "--all")
    assert (settled["id"], settled["state"]) == (letter["id"], "redriven")
