"""Any text that a script says comes, but for lone surrogates, into the graph as it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyoxigraph as ox
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headstream import capture
from headstream.capture.reading import read, spools
from headstream.capture.wire import clean
from headstream.schemas.codec import decode_bag, encode_bag
from headstream.schemas.events import Bag
from headstream.schemas.facts import Origin
from headstream.schemas.vocabulary import expand
from headstream.sinks.statements import NTriplesRenderer
from headstream.stream_processors.tracker import track

HERE = Origin(topic="t", partition=0, offset=0)


def values(spool: Path) -> dict[str, list[str]]:
    """Values of attributes, by the end of their names' identifiers, as an RDF reader finds them."""
    lines = b""
    for directory in spools(spool):
        for bag in read(directory):
            assert isinstance(bag, Bag)
            tracked = track(decode_bag(encode_bag(bag)), None, HERE)
            assert tracked.rejected == ()
            lines += NTriplesRenderer("http://x.org/id/").render(tracked.identified.facts)
    found: dict[str, list[str]] = {}
    for quad in ox.parse(lines, ox.RdfFormat.N_TRIPLES):
        if quad.predicate.value == expand("prov:value"):
            assert isinstance(quad.subject, ox.NamedNode) and isinstance(quad.object, ox.Literal)
            found.setdefault(quad.subject.value.rsplit("/", 1)[1], []).append(quad.object.value)
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Co", "Cn"])))
@example("\0\x01\x7f\x85\u2028\u202e\ufeff\ufffe\U0001f600\U0010ffff")
@example('\ud83d\ude00 \udfff\\u0000 \\ " \r\n\t')
def test_a_text_of_any_code_points_comes_through_spool_avro_and_graph(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"spool": folder, "git": False, "bootstrap": None}
        with capture.workflow("wf", settings=settings) as run, run.task("t", used={"plain": text}) as step:
            step.generated(nested={"a": [text]}, late=1.5)
            for turn in step.loop("turn", range(1)):
                turn.generated(said=text)
        found = values(Path(folder))
    assert set(found["plain"]) == {clean(text)} == set(found["said"])
    (nested,) = set(found["nested"])
    assert json.loads(nested) == {"a": [clean(text)]}
