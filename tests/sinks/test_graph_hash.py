import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.sinks import graph_hash as module
from headstream.sinks.errors import BlankNodeFound
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import canonical_literal, fingerprint, graph_hash
from headstream.sinks.stores import OxigraphStore

XSD = "http://www.w3.org/2001/XMLSchema#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


@pytest.mark.parametrize(
    ("datatype", "one", "other"),
    [
        ("integer", "007", "7"),
        ("integer", "-0", "0"),
        ("integer", "+" + "9" * 5000, "9" * 5000),
        ("double", "1e-05", "1.0E-5"),
        ("double", "-0.0", "0"),
        ("double", "4.9E-324", "5e-324"),
        ("double", "+INF", "INF"),
        ("decimal", "1.50", "01.5"),
        ("decimal", "2.0", "2"),
        ("boolean", "1", "true"),
        ("dateTime", "2026-11-23T15:12:54.100Z", "2026-11-23T16:12:54.1+01:00"),
        ("dateTime", "2026-11-23T15:12:54Z", "2026-11-23T15:12:54.000+00:00"),
        ("dateTime", "2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"),
    ],
)
def test_equal_values_have_one_text(datatype: str, one: str, other: str) -> None:
    assert canonical_literal(one, XSD + datatype) == canonical_literal(other, XSD + datatype)


@pytest.mark.parametrize(
    ("datatype", "one", "other"),
    [
        ("double", "NaN", "INF"),
        ("double", "0.1", "0.10000000000000002"),
        ("dateTime", "2026-11-23T15:12:54.123456Z", "2026-11-23T15:12:54.123Z"),
        ("dateTime", "2026-11-23T15:12:54Z", "2026-11-23T15:12:54"),
        ("string", "1", "01"),
        ("integer", "abc", "abd"),
        ("boolean", "yes", "true"),
    ],
)
def test_different_values_have_different_texts(datatype: str, one: str, other: str) -> None:
    assert canonical_literal(one, XSD + datatype) != canonical_literal(other, XSD + datatype)


def test_plain_and_string_are_one_and_json_is_compared_as_json() -> None:
    assert canonical_literal("a", f"{XSD}string") == '"a"'
    one, other = (
        canonical_literal('{"b": 1, "a":[]}', f"{RDF}JSON"),
        canonical_literal('{"a":[],"b":1}', f"{RDF}JSON"),
    )
    assert one == other
    assert canonical_literal("a", f"{RDF}langString", "en-GB") == canonical_literal(
        "a", f"{RDF}langString", "en-gb"
    )
    assert canonical_literal("a", f"{RDF}langString", "en") != canonical_literal("a", f"{XSD}string")


LINES = [f'<urn:s{i % 7}> <urn:p{i % 3}> "{i}"^^<{XSD}integer> .'.encode() for i in range(100)]


def test_order_repetition_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = graph_hash(LINES)
    shuffled = LINES * 3
    random.Random(1).shuffle(shuffled)
    assert graph_hash([b"\n".join(shuffled)]) == expected
    monkeypatch.setattr(module, "_HELD", 10)  # Digests go to files.
    assert graph_hash(shuffled) == expected


def test_one_triple_more_or_less_changes_the_hash_and_is_named() -> None:
    assert graph_hash(LINES[1:]) != graph_hash(LINES)
    found = difference(LINES[1:], LINES[:-1])
    assert found.first(0) == [f'<urn:s1> <urn:p0> "99"^^<{XSD}integer>']
    assert found.first(1) == [f'<urn:s0> <urn:p0> "0"^^<{XSD}integer>']
    prints = fingerprint(LINES[1:]), fingerprint(LINES[:-1])
    known = difference(LINES[1:], LINES[:-1], prints)
    assert (known.counts, known.first(0), known.first(1)) == ([1, 1], found.first(0), found.first(1))


def test_of_a_large_difference_all_is_counted_and_the_first_are_kept() -> None:
    lines = [f'<urn:s{number:05d}> <urn:p> "x" .'.encode() for number in range(5000)]
    noted: list[int] = []
    found = difference(lines, lines[:1], limit=3, noted=lambda side, text: noted.append(side))
    assert found.counts == [4999, 0] and noted == [0] * 4999
    assert found.first(0) == [line.decode().removesuffix(" .") for line in lines[1:4]]


def test_an_empty_graph_has_a_hash() -> None:
    assert graph_hash([]) == graph_hash([b"", b"\n"]) == "0" * 64


def test_predicates_can_be_left_out_by_name_or_iri() -> None:
    clock = b'<urn:s> <http://www.w3.org/ns/prov#startedAtTime> "x" .'
    assert graph_hash([*LINES, clock], without={"prov:startedAtTime"}) == graph_hash(LINES)
    assert graph_hash(LINES, without={"urn:p0"}) == graph_hash(
        [line for line in LINES if b"urn:p0" not in line]
    )


def test_a_blank_node_is_refused() -> None:
    with pytest.raises(BlankNodeFound):
        graph_hash([b"_:a <urn:p> <urn:o> ."])
    with pytest.raises(BlankNodeFound):
        graph_hash([b"<urn:s> <urn:p> _:b ."])


def test_what_is_no_ntriples_is_never_hashed() -> None:
    with pytest.raises(SyntaxError):
        graph_hash([b"<html>", *LINES])


@given(st.floats())
def test_oxigraph_keeps_the_value_of_any_double(value: float) -> None:
    text = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}.get(repr(value), repr(value))
    document = f'<urn:s> <urn:p> "{text}"^^<{XSD}double> .\n'.encode()
    store = OxigraphStore()
    store.write(document)
    assert graph_hash(store.dump()) == graph_hash([document])
