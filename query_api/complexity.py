"""Bound what a query costs before it runs: its nesting, its patterns, its operators.

Oxigraph's optimizer needs time with the cube of the patterns to join (0.6 s for 100, over 20 s for 500), and
its recursion overflows the stack, which kills the process, at 8,000 chained operators (pyoxigraph 0.5.13).
"""

from __future__ import annotations

from dataclasses import dataclass

from headstream.query_api.tokens import Kind, Token

MAX_DEPTH = 32
MAX_PATTERNS = 100
MAX_OPERATORS = 1_500

_TERMS = frozenset({Kind.IRI, Kind.STRING, Kind.VARIABLE, Kind.PREFIXED, Kind.BLANK, Kind.NUMBER})
_JOINS = frozenset({".", ";", "/", "{", "["})
_CLOSING = {")": "(", "}": "{", "]": "["}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Upper estimates of what there is to nest, to join and to compute."""

    depth: int
    patterns: int
    operators: int

    @property
    def excess(self) -> str | None:
        """What there is too much of, in words; None if the query may be parsed."""
        if self.depth > MAX_DEPTH:
            return f"brackets are nested {self.depth} deep, more than {MAX_DEPTH}"
        if self.patterns > MAX_PATTERNS:
            return f"there are about {self.patterns} patterns to join, more than {MAX_PATTERNS}"
        if self.operators > MAX_OPERATORS:
            return f"there are {self.operators} operators, more than {MAX_OPERATORS}"
        return None


def measure(cut: tuple[Token, ...]) -> Complexity:
    """Estimate from the tokens alone; rows of VALUES are data and count for nothing."""
    code = [token for token in cut if token.kind is not Kind.COMMENT]
    open_brackets: list[str] = []
    depth = patterns = operators = 0
    data_until = -1
    for index, token in enumerate(code):
        if index <= data_until:
            continue
        inside = open_brackets[-1] if open_brackets else ""
        if token.kind is Kind.WORD:
            operators += 1
            if token.text.upper() == "VALUES":
                data_until = _end_of_data(code, index)
                patterns += 1
        elif token.kind is Kind.PUNCTUATION:
            operators += not (token.text == "," and inside == "(")
            patterns += token.text in _JOINS or (token.text == "," and inside != "(")
            if token.text in _CLOSING.values():
                open_brackets.append(token.text)
                depth = max(depth, len(open_brackets))
            elif open_brackets and _CLOSING.get(token.text) == inside:
                open_brackets.pop()
        # Each item of a collection `(1 2 3)` stands for two triples.
        patterns += 2 * (inside == "(" and token.kind in _TERMS and code[index - 1].kind in _TERMS)
    return Complexity(depth=depth, patterns=patterns, operators=operators)


def _end_of_data(code: list[Token], start: int) -> int:
    """Return the index of the brace that ends the data of VALUES, or `start` if it has another shape."""
    index = start + 1
    while index < len(code) and code[index].text != "{":
        if code[index].kind is not Kind.VARIABLE and code[index].text not in "()":
            return start
        index += 1
    while index < len(code) and code[index].text != "}":
        index += 1
    return index
