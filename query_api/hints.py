"""Lines of a question that hold only for some values, and hints that only Blazegraph sees.

A `.rq` file stays SPARQL 1.1 that runs as it is; what else an engine is told stands in its comments:

    PATTERN #given run          this line goes if the parameter run has no value
    #absent run: TEXT           TEXT comes if the parameter run has no value
    #blazegraph: hint:...       what follows comes if the store is Blazegraph

Such a pattern says nothing new: it only lets an engine begin at the run. Comments are found as tokens, so
that nothing in a value is ever taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from headstream.query_api.tokens import Kind, Token, tokens

HINT = "http://www.bigdata.com/queryHints#"
_GIVEN = re.compile(r"#given (\w+)\s*")
_ABSENT = re.compile(r"#absent (\w+): (.*)")
_BLAZEGRAPH = re.compile(r"#blazegraph: (.*)")


def conditions(cut: tuple[Token, ...]) -> set[str]:
    """Name the parameters on which lines of a question depend."""
    found = (_GIVEN.fullmatch(token.text) or _ABSENT.fullmatch(token.text) for token in _comments(cut))
    return {match.group(1) for match in found if match}


def for_values(text: str, given: Collection[str]) -> str:
    """Keep of a question the lines that hold when just these parameters have values."""
    for token in reversed(_comments(tokens(text))):
        if match := _GIVEN.fullmatch(token.text):
            kept = match.group(1) in given
            start = token.start if kept else text.rfind("\n", 0, token.start) + 1
            text = text[:start] + text[token.end :]
        elif match := _ABSENT.fullmatch(token.text):
            held = "" if match.group(1) in given else match.group(2)
            text = text[: token.start] + held + text[token.end :]
    return text


def for_blazegraph(text: str) -> str:
    """Tell Blazegraph to run the patterns as written (spec section 10), and the hints of the question."""
    for token in reversed(_comments(tokens(text))):
        if match := _BLAZEGRAPH.fullmatch(token.text):
            text = text[: token.start] + match.group(1) + text[token.end :]
    cut = tokens(text)
    for index, token in enumerate(cut[:-1]):
        if token.kind is Kind.WORD and token.text.upper() == "WHERE" and cut[index + 1].text == "{":
            at = cut[index + 1].end
            return f'PREFIX hint: <{HINT}>\n{text[:at]}\n  hint:Query hint:optimizer "None" .{text[at:]}'
    return text


def _comments(cut: tuple[Token, ...]) -> list[Token]:
    return [token for token in cut if token.kind is Kind.COMMENT]
