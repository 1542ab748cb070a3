"""Write tests/data/worked_example/answers.json: what rdflib, an independent engine, answers on example.ttl.

Run once (`python tests/query_api/make_answers.py`), checked by hand against spec section 8, then kept.
Parameters that are not required have no value, but for the measures of X01.
"""

import json
from pathlib import Path

import rdflib

from headstream.query_api.binding import Value, bind
from headstream.query_api.catalogue import catalogue

rdflib.NORMALIZE_LITERALS = False
DATA = Path(__file__).parents[1] / "data" / "worked_example"


def term(node: rdflib.term.Node | None) -> dict[str, str] | None:
    if node is None:
        return None
    if isinstance(node, rdflib.Literal):
        found = {"type": "literal", "value": str(node)}
        return {**found, "datatype": str(node.datatype)} if node.datatype else found
    return {"type": "bnode" if isinstance(node, rdflib.BNode) else "uri", "value": str(node)}


def main() -> None:
    graph = rdflib.Graph().parse(DATA / "example.ttl")
    answers: dict[str, object] = {}
    for question in sorted(catalogue(), key=lambda question: question.id):
        values: dict[str, Value] = {p.name: p.example for p in question.parameters if p.required}
        values |= {"measure": ["loss", "mean_iou"]} if question.id == "X01" else {}
        result = graph.query(bind(question, values))
        name = question.id
        if result.type == "CONSTRUCT":
            triples = sorted(([term(node) for node in triple] for triple in result), key=json.dumps)
            answers[name] = {"triples": triples}
        else:
            rows = [[term(node) for node in row] for row in result]
            answers[name] = {"columns": [str(name) for name in result.vars], "rows": rows}
    text = json.dumps(answers, indent=1, ensure_ascii=False)
    (DATA / "answers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
