import json
import time

import pyoxigraph as oxigraph
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdflib import Graph

from headstream.schemas.facts import Fact, Identified, Origin
from headstream.sinks.errors import IllegalFact
from headstream.sinks.statements import NTriplesRenderer, render, statements

BASE = "https://provml.example.org/id/"
XSD = "http://www.w3.org/2001/XMLSchema#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
VALUE = "prov:value"


def identified(*events: tuple[Fact, ...]) -> Identified:
    return Identified(
        workflow="w",
        execution="r",
        origin=Origin(topic="t", partition=0, offset=0),
        facts=tuple(fact for event in events for fact in event),
        counts=tuple(map(len, events)),
        event_times=(0,) * len(events),
    )


def objects(document: bytes) -> list[object]:
    return [quad.object for quad in oxigraph.parse(document, oxigraph.RdfFormat.N_TRIPLES)]


@pytest.mark.parametrize(
    ("kind", "text", "written"),
    [
        ("id", "wf/a", f"<{BASE}wf/a>"),
        ("iri", "http://example.org/é", "<http://example.org/é>"),
        ("term", "provml:Training", "<https://w3id.org/provml/ns#Training>"),
        ("string", "a", '"a"'),
        ("integer", "7", f'"7"^^<{XSD}integer>'),
        ("double", "1e-05", f'"1e-05"^^<{XSD}double>'),
        ("double", "NaN", f'"NaN"^^<{XSD}double>'),
        ("boolean", "true", f'"true"^^<{XSD}boolean>'),
        ("dateTime", "2026-01-02T03:04:05.123456Z", f'"2026-01-02T03:04:05.123456Z"^^<{XSD}dateTime>'),
        ("JSON", '{"a":[1]}', f'"{{\\"a\\":[1]}}"^^<{RDF}JSON>'),
        (f"^^{XSD}date", "2026-01-02", f'"2026-01-02"^^<{XSD}date>'),
        (f"^^{XSD}string", "plain all the same", '"plain all the same"'),
        ("@pt-BR", "olá", '"olá"@pt-BR'),
    ],
)
def test_every_kind_of_object_is_written_as_its_term(kind: str, text: str, written: str) -> None:
    document = render([("wf/a", VALUE, kind, text)], BASE).decode()
    assert document == f"<{BASE}wf/a> <http://www.w3.org/ns/prov#value> {written} .\n"


def test_a_subject_with_a_colon_is_absolute_and_a_predicate_may_be_an_iri() -> None:
    document = render([("urn:x:1", "http://example.org/p", "string", "a")], BASE)
    assert document == b'<urn:x:1> <http://example.org/p> "a" .\n'


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_any_text_comes_back_from_a_parser_as_it_was_and_is_one_line(texts: list[str]) -> None:
    document = render([("a", VALUE, "string", text) for text in texts], BASE)
    assert document.count(b"\n") == len(document.splitlines()) == len(texts)
    assert [term.value for term in objects(document)] == texts  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text", ["\0", "\x01\x1f\x7f", "\u202eabc", "\u2028\u0085", "😀\uffff", 'a"\\\n\r\t\b\f']
)
def test_controls_and_bidirectional_marks_come_back_from_rdflib(text: str) -> None:
    graph = Graph().parse(data=render([("a", VALUE, "string", text)], BASE), format="nt")
    assert [str(value) for value in graph.objects()] == [text]


def test_a_lone_surrogate_is_replaced() -> None:
    assert '"a\ufffdb"' in render([("a", VALUE, "string", "a\ud800b")], BASE).decode()


def test_a_character_beyond_the_bmp_is_never_escaped() -> None:
    # Blazegraph reads \U0001F600 as \uF600.
    assert b"\\U" not in render([("a", VALUE, "string", "😀"), ("a", VALUE, "iri", "http://x/😀")], BASE)


@pytest.mark.parametrize(
    "fact",
    [
        ("a b", VALUE, "string", "x"),
        ("a|b", VALUE, "string", "x"),
        ("a>b", VALUE, "string", "x"),
        ("a\nb", VALUE, "string", "x"),
        ("a\ud800", VALUE, "string", "x"),
        ("a\x7f", VALUE, "string", "x"),
        ("a%zz", VALUE, "string", "x"),
        ("a%4", VALUE, "string", "x"),
        ("a[b]", VALUE, "string", "x"),
        ("a#b#c", VALUE, "string", "x"),
        ("a", VALUE, "id", "a^b"),
        ("a", VALUE, "iri", "no-scheme"),
        ("a", VALUE, "iri", "http://x/a b"),
        ("a", VALUE, "iri", "http://x/%zz"),
        ("a", VALUE, "iri", "http://[x/"),
        ("http://x/<", VALUE, "string", "x"),
        ("a", "not a name", "string", "x"),
        ("a", VALUE, "term", "nothing"),
        ("a", VALUE, "^^nothing", "x"),
        ("a", VALUE, f"^^{RDF}langString", "x"),
        ("a", VALUE, f"^^{RDF}dirLangString", "x"),
        ("a", VALUE, "@", "x"),
        ("a", VALUE, "@en_GB", "x"),
        ("a", VALUE, "number", "1"),
    ],
)
def test_what_no_store_may_be_given_names_its_event(fact: Fact) -> None:
    good = ("a", VALUE, "string", "x")
    with pytest.raises(IllegalFact) as caught:
        statements(identified((good,), (good, good), (good, fact)), BASE)
    assert caught.value.event == 2


# Texts made of what IRIs trip over, beside anything else.
_TEXTS = st.text("aé/:%4z[]#?@\x7f <>\\\u202e😀", max_size=8) | st.text(max_size=8)
_KINDS = st.sampled_from(["id", "iri", "term", "string", "@en", f"^^{RDF}langString"]) | st.builds(
    str.__add__, st.sampled_from(["^^", "@", "^^urn:"]), _TEXTS
)


@given(st.lists(st.tuples(_TEXTS, st.just(VALUE) | _TEXTS, _KINDS, _TEXTS), max_size=4))
def test_what_is_rendered_every_strict_parser_reads(facts: list[Fact]) -> None:
    """So a store may skip these checks, and no two stores hold different graphs."""
    try:
        document = render(facts, BASE)
    except IllegalFact:
        return
    assert len(objects(document)) == len(facts)


@given(st.lists(st.text("aé/%4z[]#?@<", min_size=1, max_size=5), min_size=2, max_size=5))
def test_names_checked_together_are_refused_as_if_each_were_alone(names: list[str]) -> None:
    def legal(*these: str) -> bool:
        try:
            render([(name, VALUE, "string", "x") for name in these], BASE)
        except IllegalFact:
            return False
        return True

    assert legal(*names) == all(map(legal, names))


def test_an_illegal_name_is_refused_the_second_time_too() -> None:
    renderer = NTriplesRenderer(BASE)
    for _ in range(2):
        with pytest.raises(IllegalFact):
            renderer.render([("good", VALUE, "id", "a b")])
    assert renderer.render([("good", VALUE, "id", "a")])


@pytest.mark.parametrize("base", ["not an iri", "http://host:"])
def test_a_base_that_makes_no_iris_is_refused_at_once(base: str) -> None:
    with pytest.raises(IllegalFact):
        NTriplesRenderer(base)


def test_each_event_has_its_statements() -> None:
    one, two = ("a", VALUE, "integer", "1"), ("a", VALUE, "integer", "2")
    documents = statements(identified((one,), (), (two, one)), BASE)
    assert [document.count(b"\n") for document in documents] == [1, 0, 2]


def test_rendering_is_quick() -> None:
    """Bounds the time loosely; the benchmark is for figures."""
    facts = [
        (f"dte/w/r/train/{i // 20}", "prov:used", "id", f"val/w/r/train/{i // 4}") if i % 2 else
        (f"dte/w/r/train/{i // 20}", VALUE, "string", json.dumps(i))
        for i in range(20_000)
    ]  # fmt: skip
    renderer = NTriplesRenderer(BASE)
    started = time.process_time()
    renderer.render(facts)
    assert (time.process_time() - started) / 1000 < 100e-6
