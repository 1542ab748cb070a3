"""Identifiers are exactly those of the specification, section 5."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.schemas import identifiers as ids
from headstream.schemas.errors import InvalidIdentifier

VECTORS: list[tuple[Callable[..., str], tuple[object, ...], str]] = [
    (ids.workflow, ("seismic_train",), "wf/seismic_train"),
    (ids.workflow, ("Treino é/bom",), "wf/Treino%20%C3%A9%2Fbom"),
    (ids.transformation, ("seismic_train", "epoch"), "dt/seismic_train/epoch"),
    (ids.attribute, ("seismic_train", "epoch", "out", "loss"), "attr/seismic_train/epoch/out/loss"),
    (ids.attribute, ("seismic_train", None, "out", "summary"), "attr/seismic_train/~/out/summary"),
    (ids.run, ("seismic_train", "run-1"), "wfe/seismic_train/run-1"),
    (ids.run, ("seismic_train", 1795344632.5624118), "wfe/seismic_train/1795344632.5624118"),
    (ids.run, (ids.GLOBAL_WORKFLOW, ids.GLOBAL_EXECUTION), "wfe/global_workflow/global"),
    (ids.step, ("seismic_train", "run-1", "epoch", 188), "dte/seismic_train/run-1/epoch/188"),
    (ids.step, ("seismic_train", "run-1", "batch", "188.34"), "dte/seismic_train/run-1/batch/188.34"),
    (
        ids.value,
        ("seismic_train", "run-1", "epoch", 188, "out", "loss"),
        "val/seismic_train/run-1/epoch/188/out/loss",
    ),
    (
        ids.value,
        ("seismic_train", "run-1", "training", "0", "in", "learning_rates", 1),
        "val/seismic_train/run-1/training/0/in/learning_rates/1",
    ),
    (
        ids.value,
        ("seismic_train", "run-1", "training", "0", "in", "opt", "beta/1"),
        "val/seismic_train/run-1/training/0/in/opt/beta%2F1",
    ),
    (ids.reference, ("gpfs1", "/models/model188.hdf5"), "ref/gpfs1/models/model188.hdf5"),
    (ids.reference, ("gpfs1", "/models//x/../model188.hdf5"), "ref/gpfs1/models/model188.hdf5"),
    (ids.reference, ("gpfs1", "file:///models/model188.hdf5"), "ref/gpfs1/models/model188.hdf5"),
    (ids.reference, ("gpfs1", "/data/a b#1.sgy"), "ref/gpfs1/data/a%20b%231.sgy"),
    (ids.reference, ("cos1", "s3://bucket/key/part-0"), "ref/cos1/bucket/key/part-0"),
    (
        ids.reference,
        ("agraph1", "http://ibm.com/netherlands.sgy"),
        "ref/agraph1/http%3A%2F%2Fibm.com%2Fnetherlands.sgy",
    ),
    (ids.reference, (None, "/tmp/x"), "ref/~/tmp/x"),
    (
        ids.reference,
        ("gpfs1", "/models/m.hdf5", "sha256:ab12"),
        "ref/gpfs1/models/m.hdf5;v=sha256%3Aab12",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "expected"), VECTORS, ids=[v[2] for v in VECTORS])
def test_a_vector_of_the_specification_holds(
    function: Callable[..., str], arguments: tuple[object, ...], expected: str
) -> None:
    assert function(*arguments) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", "~empty"), (".", "%2E"), ("..", "%2E%2E"), ("~", "%7E"), (True, "true"), (False, "false"),
        (7, "7"), (0.1, "0.1"), ("ABC", "ABC"), ("e\u0301", "%C3%A9"), ("\ud800", "%EF%BF%BD"),
    ],
)  # fmt: skip
def test_a_segment_is_encoded_as_the_specification_says(part: ids.Segment, expected: str) -> None:
    assert ids.enc(part) == expected


@given(st.text())
def test_a_relative_identifier_never_holds_a_colon_or_an_illegal_character(text: str) -> None:
    iri = ids.value(text, text, text, text, "in", text, text)
    assert ":" not in iri
    assert ids.external("x:" + iri) == "x:" + iri


@given(st.lists(st.text(), min_size=2, max_size=2, unique_by=lambda t: ids.enc(t)))
def test_different_texts_have_different_identifiers(texts: list[str]) -> None:
    first, second = (ids.step("w", "e", "t", text) for text in texts)
    assert first != second


@given(st.text(min_size=1))
def test_the_canonical_text_of_a_reference_is_its_own_canonical_text(text: str) -> None:
    once = ids.canonical_reference(text)
    assert ids.canonical_reference(once) == once


@pytest.mark.parametrize("bad", ["no scheme", "http://a|b", "http://a b", "http://<x>", "http://a\nb"])
def test_an_iri_that_cannot_be_is_refused_with_the_rule(bad: str) -> None:
    with pytest.raises(InvalidIdentifier, match="absolute IRI"):
        ids.external(bad)
