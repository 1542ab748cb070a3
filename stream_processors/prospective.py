"""Facts of what was published once: definitions, stores, persons, domain data (spec sections 4 and 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

import pyoxigraph as ox

from headstream.schemas import identifiers as ids
from headstream.schemas.definition import Attribute, Definition, Store, Transformation
from headstream.schemas.documents import Document, DomainData, Person, content
from headstream.schemas.errors import InvalidDefinition
from headstream.schemas.events import IN, OUT
from headstream.schemas.facts import ID, IRI, JSON, STRING, TERM, Fact
from headstream.schemas.vocabulary import PREFIXES
from headstream.stream_processors.join import attribute_class

TYPE = "rdf:type"
_XSD_STRING = PREFIXES["xsd"] + "string"
_ANY_URI = "^^" + PREFIXES["xsd"] + "anyURI"


def document_facts(document: Document) -> Iterator[Fact]:
    """Facts of one document; InvalidDefinition if it cannot be read."""
    match content(document):
        case Definition() as definition:
            yield from definition_facts(definition)
        case Store() as store:
            yield from store_facts(store)
        case Person() as person:
            yield from person_facts(person)
        case DomainData() as domain:
            yield from domain_facts(domain)


def definition_facts(definition: Definition) -> Iterator[Fact]:
    """Project, workflow, transformations and attributes, with their classes."""
    workflow = ids.workflow(definition.workflow)
    if definition.project is not None:
        project = ids.project(definition.project)
        yield project, TYPE, TERM, "provml:Project"
        if definition.project_type == "Study":
            yield project, TYPE, TERM, "provml:Study"
        yield project, "provml:name", STRING, definition.project
        yield project, "prov:hadMember", ID, workflow
    yield workflow, TYPE, TERM, "provml:Workflow"
    if definition.workflow_type == "Experiment":
        yield workflow, TYPE, TERM, "provml:Experiment"
    yield workflow, "provml:name", STRING, definition.workflow
    if definition.lifecycle_phase is not None:
        yield workflow, "provml:lifecyclePhase", TERM, f"provml:{definition.lifecycle_phase}"
    if definition.description is not None:
        yield workflow, "dcterms:description", STRING, definition.description
    for transformation in definition.transformations:
        yield from _transformation_facts(definition, transformation)
    for store in definition.stores:
        yield from store_facts(store)


def _transformation_facts(definition: Definition, transformation: Transformation) -> Iterator[Fact]:
    iri = ids.transformation(definition.workflow, transformation.name)
    yield ids.workflow(definition.workflow), "prov:hadMember", ID, iri
    yield iri, TYPE, TERM, "provml:DataTransformation"
    if transformation.type is not None:
        yield iri, TYPE, TERM, f"provml:{transformation.type}"
    if transformation.cycle:
        yield iri, TYPE, TERM, "provml:Cycle"
    yield iri, "provml:name", STRING, transformation.name
    if transformation.stage_type is not None:
        yield iri, "provml:stageType", TERM, f"provml:{transformation.stage_type}"
    if transformation.parent is not None:
        yield iri, "provml:isSectionOf", ID, ids.transformation(definition.workflow, transformation.parent)
    phase = transformation.lifecycle_phase or definition.lifecycle_phase
    if phase is not None:
        yield iri, "provml:lifecyclePhase", TERM, f"provml:{phase}"
    if transformation.description is not None:
        yield iri, "dcterms:description", STRING, transformation.description
    for direction, predicate, attributes in (
        (IN, "provml:hasInputAttribute", transformation.inputs),
        (OUT, "provml:hasOutputAttribute", transformation.outputs),
    ):
        for attribute in attributes:
            slot = ids.attribute(definition.workflow, transformation.name, direction, attribute.name)
            yield iri, predicate, ID, slot
            yield from _attribute_facts(slot, direction, attribute)
            described = transformation.described(direction, attribute)
            if described is not None:
                target = ids.attribute(
                    definition.workflow, transformation.name, described[0], described[1].name
                )
                yield slot, "provml:describesAttribute", ID, target


def _attribute_facts(iri: str, direction: str, attribute: Attribute) -> Iterator[Fact]:
    yield iri, TYPE, TERM, "provml:Attribute"
    ml_class = attribute_class(direction, attribute)
    if ml_class is not None:
        yield iri, TYPE, TERM, ml_class
    yield iri, "provml:name", STRING, attribute.name
    for predicate, text in (
        ("provml:dataType", attribute.dtype),
        ("provml:valueSemantics", attribute.semantics),
        ("provml:betterWhen", attribute.better_when),
        ("dcterms:description", attribute.description),
    ):
        if text is not None:
            yield iri, predicate, STRING, text
    if attribute.data_class is not None:
        yield iri, "provml:dataClass", TERM, f"provml:{attribute.data_class}"
    if attribute.store is not None:
        yield iri, "provml:isStoredInStore", ID, ids.store(attribute.store)
    if attribute.members:
        yield iri, TYPE, TERM, "provml:ComplexAttribute"
        for member in attribute.members:
            inner = f"{iri}/{ids.enc(member.name)}"
            yield iri, "prov:hadMember", ID, inner
            yield from _attribute_facts(inner, direction, member)


def store_facts(store: Store) -> Iterator[Fact]:
    """A deployed data store with its address."""
    iri = ids.store(store.id)
    yield iri, TYPE, TERM, "provml:DataStoreInstance"
    yield iri, "provml:name", STRING, store.name
    yield iri, "provml:storeType", STRING, store.type
    for predicate, text in (
        ("provml:storeProduct", store.product),
        ("provml:hostAddress", store.host_address),
        ("provml:bucket", store.bucket),
    ):
        if text is not None:
            yield iri, predicate, STRING, text
    if store.url is not None:
        yield iri, "provml:url", _ANY_URI, store.url
    if store.metadata is not None:
        yield iri, "provml:customMetadata", JSON, store.metadata


def person_facts(person: Person) -> Iterator[Fact]:
    """A human user."""
    iri = ids.person(person.id)
    yield iri, TYPE, TERM, "provml:Person"
    yield iri, "provml:name", STRING, person.name
    if person.persona is not None:
        yield iri, "provml:persona", TERM, f"provml:{person.persona}"


def domain_facts(domain: DomainData) -> Iterator[Fact]:
    """The triples of domain data; a blank node is refused, since no repeat could name it again."""
    try:
        quads = list(ox.parse(domain.ntriples, format=ox.RdfFormat.N_TRIPLES))
    except SyntaxError as error:
        raise InvalidDefinition(f"domain data {domain.name!r} is not N-Triples: {error}") from error
    for quad in quads:
        subject, predicate, value = quad.subject, quad.predicate, quad.object
        if not isinstance(subject, ox.NamedNode) or isinstance(value, ox.BlankNode | ox.Triple):
            raise InvalidDefinition(
                f"domain data {domain.name!r}: {subject} {predicate} {value} has a blank node or a quoted "
                "triple; give the node an IRI"
            )
        if isinstance(value, ox.NamedNode):
            yield subject.value, predicate.value, IRI, value.value
        elif value.language is not None:
            yield subject.value, predicate.value, "@" + value.language, value.value
        elif value.datatype.value == _XSD_STRING:
            yield subject.value, predicate.value, STRING, value.value
        else:
            yield subject.value, predicate.value, "^^" + value.datatype.value, value.value
