"""Binary RDF holds what N-Triples of the same facts hold, for a reader of the format and for Blazegraph."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyoxigraph as oxigraph
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.schemas.facts import Fact, Identified
from headstream.sinks.binary_statements import BinaryRenderer, statements_in
from headstream.sinks.errors import IllegalFact, StoreRefused, StoreUnknown
from headstream.sinks.graph_difference import difference
from headstream.sinks.statements import NTriplesRenderer, Renderer, render
from headstream.sinks.stores import BlazegraphStore

BASE = "https://provml.example.org/id/"
VALUE = "prov:value"
RENDERERS = [BinaryRenderer, NTriplesRenderer]
Steps = Callable[..., Identified]

_NAMES = st.sampled_from(["a", "b/é", "urn:x:ü", "http://example.org/😀"]) | st.integers(0, 400).map(str)
_TEXTS = st.text() | st.text("ab", min_size=250, max_size=260) | st.sampled_from(["\ud800", "😀" * 300])
_LITERALS = st.sampled_from(["string", "integer", "JSON", "@en", "@de-AT", "^^urn:t", "^^urn:ü"])
_FACTS = st.one_of(
    st.tuples(_NAMES, st.sampled_from([VALUE, "prov:used"]), st.just("id"), _NAMES),
    st.tuples(_NAMES, st.just("rdf:type"), st.just("term"), st.sampled_from(["prov:Entity", "prov:Agent"])),
    st.tuples(_NAMES, st.just(VALUE), st.just("iri"), st.just("http://example.org/é")),
    st.tuples(_NAMES, st.sampled_from([VALUE, "rdfs:label"]), _LITERALS, _TEXTS),
)


class Reader:
    """Reads a document as the BinaryRDFParser of Sesame 2.7 does, to the letter."""

    def __init__(self, document: bytes) -> None:
        self._data = document
        self._at = 8
        self._declared: dict[int, Any] = {}
        self._room = 16
        assert document[:8] == b"BRDF\0\0\0\1"

    def triples(self) -> list[oxigraph.Triple]:
        found = []
        while (record := self._byte()) != 127:
            if record == 1:
                found.append(oxigraph.Triple(self._value(), self._value(), self._value()))
                assert self._value() is None, "in no context"
            elif record == 2:
                self._text()
            else:
                assert record == 3
                number = self._int()
                if number >= self._room:
                    self._room *= 2  # Once, however large the number is.
                assert number < self._room
                self._declared[number] = self._value()
        assert self._at == len(self._data)
        return found

    def _value(self) -> Any:
        match self._byte():
            case 0:
                return None
            case 1:
                return oxigraph.NamedNode(self._text())
            case 3:
                return oxigraph.Literal(self._text())
            case 4:
                return oxigraph.Literal(self._text(), language=self._text())
            case 5:
                return oxigraph.Literal(self._text(), datatype=oxigraph.NamedNode(self._text()))
            case 6:
                return self._declared[self._int()]
        raise AssertionError("no value")

    def _text(self) -> str:
        return self._take(2 * self._int()).decode("utf-16-be")

    def _int(self) -> int:
        return int.from_bytes(self._take(4))

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        self._at += count
        assert self._at <= len(self._data)
        return self._data[self._at - count : self._at]


def documented(*parts: list[Fact], renderer: Renderer | None = None) -> bytes:
    renderer = renderer or BinaryRenderer(BASE)
    return renderer.document([renderer.render(facts) for facts in parts], sum(map(len, parts)))


def as_ntriples(facts: list[Fact]) -> list[oxigraph.Triple]:
    return [quad.triple for quad in oxigraph.parse(render(facts, BASE), oxigraph.RdfFormat.N_TRIPLES)]


@given(st.lists(st.lists(_FACTS, max_size=8), max_size=4))
def test_a_document_says_what_n_triples_of_the_same_facts_say(parts: list[list[Fact]]) -> None:
    facts = [fact for part in parts for fact in part]
    document = documented(*parts)
    assert Reader(document).triples() == as_ntriples(facts)
    assert statements_in(document) == len(facts)


def test_thousands_of_names_in_one_document_are_told_apart() -> None:
    facts = [(f"s/{number}", f"prov:p{number % 700}", "id", f"o/{number}") for number in range(3_000)]
    assert Reader(documented(facts)).triples() == as_ntriples(facts)


@pytest.mark.parametrize("length", [255, 256, 0xD7FF, 0xD800, 0xDC05, 0xFFFF, 0x10000, 0x1D801])
@pytest.mark.parametrize("last", ["x", "é", "😀"])
def test_a_text_of_any_length_is_whole(length: int, last: str) -> None:
    facts = [("a", VALUE, kind, "x" * (length - 1) + last) for kind in ("string", "JSON")]
    assert Reader(documented(facts)).triples() == as_ntriples(facts)


_DOUBTFUL = st.text("aé/:%4z[]#?@\x7f <>\\\u202e😀", max_size=6)


@given(
    st.lists(st.tuples(_DOUBTFUL, _DOUBTFUL | st.just(VALUE), _LITERALS | _DOUBTFUL, _DOUBTFUL), max_size=3)
)
def test_it_refuses_what_n_triples_refuse(facts: list[Fact]) -> None:
    def legal(renderer: Renderer) -> bool:
        try:
            renderer.render(facts)
        except IllegalFact:
            return False
        return True

    assert legal(BinaryRenderer(BASE)) == legal(NTriplesRenderer(BASE))


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_name_that_stood_beside_another_fault_is_still_refused(renderer: Callable[[str], Renderer]) -> None:
    """It was remembered before it was checked, and taken for checked afterwards."""
    ours = renderer(BASE)
    with pytest.raises(IllegalFact, match="kind"):
        ours.render([("a b", VALUE, "string", "x"), ("a", VALUE, "no kind", "x")])
    with pytest.raises(IllegalFact, match="a b"):
        ours.render([("a b", VALUE, "string", "x")])


def test_what_is_rendered_does_not_depend_on_what_was_rendered_before(steps: Steps) -> None:
    used = BinaryRenderer(BASE)
    used.render(steps(3).facts)
    assert used.render(steps(4).facts) == BinaryRenderer(BASE).render(steps(4).facts)


def test_blazegraph_stores_the_same_graph_from_either_form(namespace: Any, steps: Steps) -> None:
    store = BlazegraphStore(namespace.url)
    texts = ("", "é", "😀", '\x01\u202e"\\\n\t', "x" * 70_000, "a\ud800b", "</script>", "\0")
    facts = [
        *steps(123456, events=30).facts,
        *(("t", f"prov:p{n}", "string", text) for n, text in enumerate(texts)),
    ]
    facts += [
        ("t", "prov:q", "^^http://www.w3.org/2001/XMLSchema#string", "plain"),
        ("t", "prov:q", "@de-AT", "ja"),
    ]
    for document in (render(facts, BASE), documented(facts[:100], facts[100:])):
        assert store.write(document).modified == len(facts)
        assert store.size() == len(facts)
        found = difference([render(facts, BASE)], store.dump())
        assert found.counts == [0, 0], [x[:200] for k in found._kept for x in k]
    store.close()


def test_a_document_that_was_cut_is_refused_as_a_whole(namespace: Any, steps: Steps) -> None:
    store = BlazegraphStore(namespace.url)
    document = documented(list(steps(1, events=40).facts))
    for cut in (len(document) - 1, len(document) // 2, 40):
        with pytest.raises((StoreUnknown, StoreRefused)) as caught:
            store.write(document[:cut])
        assert re.search("500|refused", str(caught.value))
        assert store.size() == 0
    assert store.write(document).modified == 400
    store.close()


LOOK_ALIKE = [
    ("", "\0"),
    ("ab", "a\x01b"),
    ("ab", "\ufeffab"),
    ("ab", "a\u200bb"),
    ("ab", "a\u00adb"),
    ("ab", "Ab"),
]


@pytest.mark.parametrize("form", [documented, lambda facts: render(facts, BASE)])
def test_texts_that_only_look_alike_stay_two_in_blazegraph(
    form: Callable[..., bytes], namespace: Any
) -> None:
    """Its terms are sorted by a collation, which as it comes takes no notice of what is not seen."""
    store = BlazegraphStore(namespace.url)
    facts: list[Fact] = []
    for number, texts in enumerate(LOOK_ALIKE):
        facts += [(f"s/{number}/{which}", VALUE, "string", text) for which, text in enumerate(texts)]
    store.write(form(facts))
    assert difference([render(facts, BASE)], store.dump()).counts == [0, 0]
    store.close()
