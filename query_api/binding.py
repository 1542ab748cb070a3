"""Bind values to the parameters of a question: terms go in, raw text never does (faults row 37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headstream.query_api import hints, terms
from headstream.query_api.catalogue import Parameter, Question, Type, WhenAbsent, value_blocks
from headstream.query_api.errors import CatalogueError, InvalidValue, MissingParameter, UnknownParameter
from headstream.query_api.tokens import Kind, Token, tokens
from headstream.schemas.identifiers import DEFAULT_BASE

Scalar = str | int | float
Value = Scalar | Sequence[Scalar]
MAX_TERMS = 1_000


def bind(question: Question, values: Mapping[str, Value], *, base_iri: str = DEFAULT_BASE) -> str:
    """Return the SPARQL text that asks `question` for `values`.

    Every `VALUES ?p_x {...}` block gets serialised terms. An absent parameter takes its default or the
    list of its file, or, if it has neither and is not required, restricts nothing. Raises ParameterError.
    """
    _demand_known(question, values)
    chosen_of = {
        parameter.name: _chosen(question, parameter, values.get(parameter.name))
        for parameter in question.parameters
    }
    restricting = [
        parameter.name
        for parameter in question.parameters
        if chosen_of[parameter.name] is not None or parameter.when_absent is not WhenAbsent.MATCH_ALL
    ]
    text = hints.for_values(question.text, restricting)
    for parameter in question.parameters:
        chosen = chosen_of[parameter.name]
        if chosen is not None:
            text = _fill(text, parameter.name, [_term(parameter, item, base_iri) for item in chosen])
        elif parameter.when_absent is WhenAbsent.MATCH_ALL:
            text = unrestricted(text, parameter.name)
    return text


def unrestricted(text: str, name: str) -> str:
    """Take the restriction to the values of ?p_name out of a query.

    Its VALUES blocks go, and so do filters of the form `FILTER ( ?a = ?p_name )`, which would be an error
    (so: no rows) with ?p_name unbound. Where a triple pattern binds ?p_name, expressions may go on using
    it. Raises CatalogueError for a query in which an unbound ?p_name would be left in an expression.
    """
    cut = tokens(text)
    spans = [*value_blocks(cut, name), *_equality_filters(cut, name)]
    kept = text
    for first, last in sorted(spans, reverse=True):
        kept = kept[: cut[first].start] + kept[cut[last].end :]
    in_patterns, in_expressions = _uses(tokens(kept), name)
    if in_expressions and not in_patterns:
        raise CatalogueError(
            f"without a value ?p_{name} would stay unbound in an expression",
            remedy=f"compare it by FILTER ( ?x = ?p_{name} ), give it a default or make it required",
        )
    return kept


def _demand_known(question: Question, values: Mapping[str, Value]) -> None:
    unknown = [name for name in values if question.parameter(name) is None]
    if unknown:
        known = ", ".join(f"{p.name} ({p.type.value})" for p in question.parameters) or "none at all"
        raise UnknownParameter(
            f"question {question.id} has no parameter {unknown[0][:60]!r}",
            remedy=f"its parameters are: {known}",
        )


def _chosen(question: Question, parameter: Parameter, given: Value | None) -> Sequence[Scalar] | None:
    if given is None:
        if parameter.when_absent is WhenAbsent.REFUSE:
            raise MissingParameter(
                f"question {question.id} needs the parameter {parameter.name!r} ({parameter.type.value})",
                remedy=f"give it, for example {parameter.name}={parameter.example}",
            )
        return None if parameter.default is None else [parameter.default]
    if not isinstance(given, str | int | float | list | tuple):
        raise InvalidValue(
            f"parameter {parameter.name!r} of {question.id} has a {type(given).__name__} as value"
        )
    items = [given] if isinstance(given, str | int | float) else list(given)
    if not items:
        raise InvalidValue(
            f"parameter {parameter.name!r} of {question.id} has an empty list of values",
            remedy="leave it out or give a value",
        )
    if len(items) > 1 and not parameter.repeatable:
        raise InvalidValue(f"parameter {parameter.name!r} of {question.id} takes one value, not {len(items)}")
    if len(items) > MAX_TERMS:
        raise InvalidValue(f"parameter {parameter.name!r} takes at most {MAX_TERMS} values, not {len(items)}")
    return items


def _term(parameter: Parameter, value: object, base_iri: str) -> str:
    try:
        if parameter.type is Type.INTEGER:
            return terms.integer(value)
        if parameter.type is Type.DOUBLE:
            return terms.double(value)
        if not isinstance(value, str):
            raise InvalidValue(f"{type(value).__name__} is not text")
        return terms.iri(value, base=base_iri) if parameter.type is Type.IRI else terms.string(value)
    except InvalidValue as wrong:
        raise InvalidValue(
            f"parameter {parameter.name!r} ({parameter.type.value}): {wrong.detail}",
            remedy=wrong.remedy or f"for example {parameter.name}={parameter.example}",
        ) from None


def _fill(text: str, name: str, serialised: Sequence[str]) -> str:
    cut = tokens(text)
    for first, last in reversed(value_blocks(cut, name)):
        inside = " ".join(serialised)
        text = f"{text[: cut[first + 2].end]} {inside} {text[cut[last].start :]}"
    return text


def _equality_filters(cut: tuple[Token, ...], name: str) -> list[tuple[int, int]]:
    """Find `FILTER ( ?a = ?p_name )`, either way round."""
    found = []
    for index in range(len(cut) - 5):
        word, left, a, equals, b, right = cut[index : index + 6]
        shape = (word.text.upper(), left.text, equals.text, right.text)
        variables = a.kind is Kind.VARIABLE and b.kind is Kind.VARIABLE
        if shape == ("FILTER", "(", "=", ")") and variables and f"?p_{name}" in (a.text, b.text):
            found.append((index, index + 5))
    return found


def _uses(cut: tuple[Token, ...], name: str) -> tuple[int, int]:
    """Count the uses of ?p_name in patterns and in FILTER or BIND expressions."""
    patterns = expressions = depth = 0
    for index, token in enumerate(cut):
        if token.text == "(" and (depth or cut[index - 1].text.upper() in ("FILTER", "BIND")):
            depth += 1
        elif token.text == ")" and depth:
            depth -= 1
        elif token.text == f"?p_{name}":
            expressions += depth > 0
            patterns += depth == 0
    return patterns, expressions
