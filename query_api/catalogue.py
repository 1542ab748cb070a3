"""The catalogue: every question that can be asked by name, read from the `.rq` files (spec section 7).

A file begins with header comments (`# @id`, `# @title`, `# @param name type [required] [repeatable]
[default=value] [description]`, ...) and holds, for every parameter x, `VALUES ?p_x { example }` blocks.
`headstream.query_api.binding` puts values into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import resources

from headstream.query_api.errors import CatalogueError, UnknownQuestion
from headstream.query_api.hints import conditions
from headstream.query_api.tokens import Kind, Token, tokens

ONTOLOGY = "headstream.schemas.ontology"
RESERVED = frozenset({"format"})

# Files whose `VALUES` list names what the title promises ("tile size, noise threshold, slice ranges"):
# without a value the list of the file is used. Elsewhere an absent repeatable parameter means "all".
_LIST_IS_DEFAULT = frozenset({("Q2", "parameter")})

# Questions that Blazegraph's own optimizer orders badly: up to 500 times slower (spec section 10).
_BEST_AS_WRITTEN = frozenset(
    {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "X01", "X02", "X04", "X05", "X07", "X08", "X10"}
)


class Type(Enum):
    """The type of a parameter."""

    IRI = "iri"
    STRING = "string"
    INTEGER = "integer"
    DOUBLE = "double"


class Answers(Enum):
    """What a question answers with: a table or a graph."""

    SELECT = "select"
    CONSTRUCT = "construct"


class WhenAbsent(Enum):
    """What a question does for a parameter that has no value."""

    REFUSE = "refuse"
    USE_DEFAULT = "use default"
    KEEP_LIST = "keep list"
    MATCH_ALL = "match all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing that the asker can choose; `example` is the value in the file, as an asker would write it."""

    name: str
    type: Type
    required: bool
    repeatable: bool
    default: str | None
    description: str
    example: str
    when_absent: WhenAbsent


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question; `text` is SPARQL that runs as it is, with the example values of the file."""

    id: str
    title: str
    kind: Answers
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    data: str
    timing: str
    training: str
    direction: str
    notes: tuple[str, ...]
    text: str
    best_as_written: bool

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name, if there is one."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All questions, in the order Q, X, E."""

    questions: tuple[Question, ...]

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def find(self, question_id: str) -> Question:
        """Return the question of this id in any case; raises UnknownQuestion with the ids there are."""
        for question in self.questions:
            if question.id == question_id.upper():
                return question
        known = ", ".join(question.id for question in self.questions)
        raise UnknownQuestion(f"there is no question {question_id[:40]!r}", remedy=f"ask one of {known}")


@cache
def catalogue() -> Catalogue:
    """Read the questions that come with headstream; raises CatalogueError for a broken file."""
    folder = resources.files(ONTOLOGY).joinpath("queries")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".rq"))
    questions = [parse(folder.joinpath(name).read_text(encoding="utf-8"), source=name) for name in files]
    return Catalogue(tuple(sorted(questions, key=lambda question: ("QXE".find(question.id[0]), question.id))))


def parse(source_text: str, *, source: str) -> Question:
    """Read one question from the text of its file; raises CatalogueError that names `source`."""
    header, text = _split(source_text)
    facts: dict[str, list[str]] = {}
    for key, value in header:
        facts.setdefault(key, []).append(value)
    try:
        (question_id,), (title,), (columns,) = facts["id"], facts["title"], facts["columns"]
        (data,), (timing,), (training,), (direction,) = (
            facts[key] for key in ("data", "timing", "training", "direction")
        )
    except (KeyError, ValueError) as missing:
        raise CatalogueError(f"{source}: a header line is missing, or there twice") from missing
    cut = tokens(text)
    parameters = tuple(
        _parameter(line, question_id.upper(), text, cut, source) for line in facts.get("param", [])
    )
    _check_parameters(parameters, cut, source)
    return Question(
        id=question_id.upper(),
        title=title,
        kind=_kind(cut, source),
        parameters=parameters,
        columns=tuple(columns.split()),
        data=data,
        timing=timing,
        training=training,
        direction=direction,
        notes=tuple(facts.get("note", [])),
        text=text,
        best_as_written=question_id.upper() in _BEST_AS_WRITTEN,
    )


def value_blocks(cut: tuple[Token, ...], name: str) -> tuple[tuple[int, int], ...]:
    """Return first and last token of every `VALUES ?p_name { ... }` block."""
    found = []
    for index, token in enumerate(cut[:-2]):
        if token.kind is not Kind.WORD or token.text.upper() != "VALUES":
            continue
        if cut[index + 1].text == f"?p_{name}" and cut[index + 2].text == "{":
            end = next(i for i in range(index + 3, len(cut)) if cut[i].text == "}")
            found.append((index, end))
    return tuple(found)


def _split(source_text: str) -> tuple[list[tuple[str, str]], str]:
    header: list[tuple[str, str]] = []
    lines = source_text.splitlines()
    body = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    for line in lines[:body]:
        match = re.fullmatch(r"#\s*@(\w+)\s+(.*?)\s*", line)
        if match:
            header.append((match.group(1), match.group(2)))
    return header, "\n".join(lines[body:]) + "\n"


def _parameter(line: str, question_id: str, text: str, cut: tuple[Token, ...], source: str) -> Parameter:
    name, type_name, *rest = line.split()
    required = repeatable = False
    default: str | None = None
    while rest and (rest[0] in ("required", "repeatable") or rest[0].startswith("default=")):
        flag = rest.pop(0)
        required = required or flag == "required"
        repeatable = repeatable or flag == "repeatable"
        default = flag.removeprefix("default=") if flag.startswith("default=") else default
    blocks = value_blocks(cut, name)
    if not blocks:
        raise CatalogueError(f"{source}: parameter {name!r} has no block VALUES ?p_{name} {{ ... }}")
    first, last = blocks[0]
    example = text[cut[first + 2].end : cut[last].start].strip()
    return Parameter(
        name=name,
        type=Type(type_name),
        required=required,
        repeatable=repeatable,
        default=default,
        description=" ".join(rest),
        example=_as_written_by_people(example.split()[0] if example else ""),
        when_absent=_when_absent(required, default, (question_id, name)),
    )


def _when_absent(required: bool, default: str | None, key: tuple[str, str]) -> WhenAbsent:
    if default is not None:
        return WhenAbsent.USE_DEFAULT
    if required:
        return WhenAbsent.REFUSE
    return WhenAbsent.KEEP_LIST if key in _LIST_IS_DEFAULT else WhenAbsent.MATCH_ALL


def _as_written_by_people(term: str) -> str:
    return term.strip('<>"')


def _check_parameters(parameters: tuple[Parameter, ...], cut: tuple[Token, ...], source: str) -> None:
    names = [parameter.name for parameter in parameters]
    if len(set(names)) != len(names) or RESERVED & set(names):
        raise CatalogueError(f"{source}: a parameter is named twice, or as one of {sorted(RESERVED)}")
    unknown = conditions(cut) - set(names)
    if unknown:
        raise CatalogueError(f"{source}: lines depend on {sorted(unknown)}, which have no @param line")
    used = {token.text for token in cut if token.text.startswith("?p_") and token.kind is Kind.VARIABLE}
    unknown = used - {f"?p_{name}" for name in names}
    if unknown:
        raise CatalogueError(f"{source}: {sorted(unknown)} have no @param line")


def _kind(cut: tuple[Token, ...], source: str) -> Answers:
    for token in cut:
        if token.kind is Kind.WORD and token.text.upper() in ("SELECT", "CONSTRUCT"):
            return Answers(token.text.lower())
    raise CatalogueError(f"{source}: neither SELECT nor CONSTRUCT")
