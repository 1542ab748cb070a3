"""What a run consists of: its steps in order, what each used and generated, and what that fills."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from headstream.query_api.export.nodes import Node
from headstream.query_api.results import plain

_NOTHING: Final = Node("", ())


@dataclass(frozen=True, slots=True)
class Contents:
    """The nodes of one run, by IRI; those of its own in the order in which they happened."""

    nodes: dict[str, Node]
    run: Node
    steps: tuple[Node, ...]
    made: dict[str, tuple[Node, ...]]

    def get(self, iri: str | None) -> Node:
        """The node, or one about which nothing is known."""
        return self.nodes.get(iri or "", Node(iri or "", ()))

    def used(self, execution: Node) -> tuple[Node, ...]:
        """What a run or step used."""
        return tuple(self.get(iri) for iri in execution.iris("prov:used"))

    def generated(self, execution: Node) -> tuple[Node, ...]:
        """What a run or step generated."""
        return self.made.get(execution.iri, ())

    def data(
        self, execution: Node, wanted: Callable[[Node], bool]
    ) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """What an execution used and made, by IRI; the run as a whole has what all of its steps did.

        What it made itself is no input of the whole.
        """
        whole = execution.iri == self.run.iri
        inside = (execution, *self.steps) if whole else (execution,)
        made = {each.iri: each for step in inside for each in self.generated(step) if wanted(each)}
        used = {each.iri: each for step in inside for each in self.used(step) if wanted(each)}
        if whole:
            used = {iri: each for iri, each in used.items() if iri not in made}
        return tuple(used[iri] for iri in sorted(used)), tuple(made[iri] for iri in sorted(made))

    def plan(self, execution: Node) -> Node:
        """The workflow or transformation that an execution carried out."""
        found = (
            *execution.iris("provml:wasDerivedFromWorkflow"),
            *execution.iris("provml:wasDerivedFromDataTransformation"),
        )
        return self.get(found[0]) if found else _NOTHING

    def attribute(self, value: Node) -> Node:
        """The first slot of this run that a value fills."""
        known = [iri for iri in value.iris("provml:wasDerivedFromAttribute") if iri in self.nodes]
        return self.nodes[known[0]] if known else _NOTHING

    def name(self, value: Node) -> str:
        """What a value is called: the name of its slot, or its key or place in what holds it."""
        return (
            self.attribute(value).text("provml:name")
            or value.text("provml:memberKey")
            or value.text("provml:position")
            or value.iri
        )

    def store(self, reference: Node) -> Node | None:
        """Where a reference is kept, if that is known."""
        found = reference.iris("provml:wasInStore")
        return self.get(found[0]) if found else None

    def loops(self, step: Node) -> bool:
        """Tell whether a step is one turn of a loop."""
        return step.is_a("provml:CycleIteration")


def contents(nodes: Iterable[Node]) -> Contents:
    """Put the nodes of a subgraph in order; the first of them is the run."""
    held = {node.iri: node for node in nodes}
    run = next(iter(held.values()))
    made: dict[str, list[Node]] = {}
    for node in held.values():
        for maker in node.iris("prov:wasGeneratedBy"):
            made.setdefault(maker, []).append(node)
    steps = [node for node in held.values() if run.iri in node.iris("provml:wasMemberOfWorkflowExecution")]
    steps.sort(key=lambda step: (step.text("prov:startedAtTime") or "", step.iri))
    return Contents(held, run, tuple(steps), {iri: tuple(found) for iri, found in made.items()})


def is_reference(value: Node) -> bool:
    """Tell whether a value names data that lie elsewhere."""
    return value.is_a("provml:DataReference")


def value_of(value: Node) -> Any:
    """What a value holds, as JSON holds it."""
    found = value.terms("prov:value")
    return plain(found[0]) if found else None


def facts(node: Node, names: Iterable[str]) -> dict[str, Any]:
    """Literals of a node by their local names: one value, or a list of several."""
    found: dict[str, Any] = {}
    for name in names:
        values = [plain(term) for term in node.terms(name)]
        if values:
            found[name.partition(":")[2]] = values[0] if len(values) == 1 else values
    return found


def custom_metadata(node: Node) -> dict[str, Any]:
    """What a client said beyond the data model, all of it in one object."""
    found: dict[str, Any] = {}
    for term in node.terms("provml:customMetadata"):
        _merge(found, plain(term))
    return found


def _merge(found: dict[str, Any], said: Any) -> None:
    """Add an object to another, however deep: a run may be told of in parts."""
    for key, value in said.items() if isinstance(said, dict) else ():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            _merge(found[key], value)
        else:
            found[key] = value
