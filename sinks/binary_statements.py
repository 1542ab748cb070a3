"""Facts to Sesame's binary RDF, which Blazegraph reads in a fraction of the time that N-Triples take it.

Its N-Triples reader takes a text character by character, each under a lock: a third of what a write
costs (docs/decisions/0015-blazegraph-is-written-to-in-binary.md). In the binary form
(`application/x-binary-rdf`, `BinaryRDFParser` of Sesame 2.7) a name is said once, with a number, and
texts come whole, as UTF-16.

A document is a head, records, and a mark that says that it is whole: one that was cut is refused. Each
record made here takes an even number of bytes, so records are put together as a text whose code
units are pairs of their bytes, and encoded once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from headstream.schemas.facts import ID, IRI, TERM, Fact
from headstream.schemas.vocabulary import expand
from headstream.sinks.errors import IllegalFact
from headstream.sinks.statements import SURROGATE, check_base, check_iri, check_names, literal

MAGIC: Final = b"BRDF"
# Version 1, and the mark of a comment, which says how many statements follow.
_HEAD: Final = MAGIC + b"\0\0\0\1\2"
_WHOLE: Final = b"\x7f"  # END_OF_DATA
# The marks of the format (BinaryRDFConstants), each at its place in a pair of bytes.
_STATEMENT: Final = "\u0106"  # 01 STATEMENT, 06 VALUE_REF; the number of the subject follows.
_DECLARE: Final = 0x0300  # 03 VALUE_DECL and the first byte of a number.
_REFER: Final = 0x0600  # 06 VALUE_REF and the same: a predicate.
_AN_IRI, _PLAIN, _TAGGED, _TYPED, _REFERENCE = 1, 3, 4, 5, 6  # What an object is.
# 00: in no context; 02 and a length of 0: an empty comment, which makes the number of bytes even.
_END: Final = "\x02\0\0"
_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]")  # Two code units each.
_SIZES: Final = tuple(f"\0{chr(length)}" for length in range(256))
_LIMIT: Final = 100_000  # Names remembered between messages: some 20 MB.

# How a predicate stands before an object of some kind, and what ends the statement.
_Frame = tuple[str, str]
# A number, how its declaration begins, how a statement about it begins, and how one with it ends.
_Numbered = tuple[int, str, str, str]


class BinaryRenderer:
    """Renders facts against one instance base and remembers the names it has checked.

    As `NTriplesRenderer`, it renders nothing that a strict store would refuse. Of use to one thread.
    The memory only saves time: the bytes are a pure function of the facts.
    """

    __slots__ = ("_memory",)

    def __init__(self, base: str) -> None:
        check_base(base)
        self._memory = _Memory(base)

    def render(self, facts: Sequence[Fact]) -> bytes:
        """Return the facts as records, which begin to number names anew; raises IllegalFact."""
        names = _Names(self._memory)
        try:
            self._say(facts, names)
            check_names(self._memory.base, names.fresh)
        except IllegalFact:
            for doubtful in names.fresh:
                self._memory.iris.pop(doubtful, None)
            raise
        self._memory.forget()
        return _encoded("".join(names.records))

    def _say(self, facts: Sequence[Fact], names: _Names) -> None:
        subjects, links, objects, terms = names.subjects, names.links, names.objects, names.terms
        frames, add = names.frames, names.records.append
        for subject, predicate, kind, text in facts:
            node = subjects.get(subject) or names.node(subject)
            link = links.get(predicate) or names.predicate(predicate)
            if kind == ID:
                add(f"{node}{link}{objects.get(text) or names.target(text)}")
            elif kind == TERM:
                add(f"{node}{link}{terms.get(text) or names.term(text)}")
            else:
                name, end = frames[predicate].get(kind) or names.frame(predicate, kind)
                if text.isascii() and len(text) < 256 and kind != IRI:
                    add(f"{node}{name}{_SIZES[len(text)]}{text}{end}")
                else:
                    add(f"{node}{name}{_counted(check_iri(text) if kind == IRI else text)}{end}")

    def document(self, parts: Iterable[bytes], statements: int) -> bytes:
        return b"".join((_HEAD, _encoded(_counted(str(statements))), *parts, _WHOLE))


def statements_in(document: bytes) -> int:
    """How many statements a document says that it holds."""
    text = len(_HEAD) + 4
    length = int.from_bytes(document[len(_HEAD) : text])
    return int(document[text : text + 2 * length].decode("utf-16-be"))


class _Memory:
    """What is remembered from one call to the next."""

    __slots__ = ("base", "framed", "frames", "iris", "names", "numbered")

    def __init__(self, base: str) -> None:
        self.base = base
        self.iris: dict[str, str] = {}  # Relative or absolute IRI -> its length and itself.
        self.names: dict[str, str] = {}  # Prefixed name -> the same.
        self.frames: dict[tuple[str, int], dict[str, _Frame]] = {}  # Predicate and its number -> by kind.
        self.framed = 0  # How many frames these are.
        self.numbered: list[_Numbered] = []  # As many as one call has ever declared: half a kB each.

    def name(self, prefixed: str) -> str:
        found = self.names.get(prefixed)
        if found is None:
            found = self.names[prefixed] = _counted(check_iri(expand(prefixed)))
        return found

    def forget(self) -> None:
        """Forget what has become too much."""
        if len(self.iris) > _LIMIT:
            self.iris.clear()
        if len(self.names) + self.framed > _LIMIT:
            self.names.clear()
            self.frames.clear()
            self.framed = 0


class _Names:
    """The names that the records of one call declare, each with a number."""

    __slots__ = (
        "_count",
        "_memory",
        "_numbers",
        "frames",
        "fresh",
        "links",
        "objects",
        "records",
        "subjects",
        "terms",
    )

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._count = 0
        self._numbers: dict[str, int] = {}  # Of predicates.
        self.fresh: list[str] = []  # Relative IRIs that are not checked yet.
        self.records: list[str] = []
        self.subjects: dict[str, str] = {}  # Relative or absolute IRI -> how a statement about it begins.
        self.objects: dict[str, str] = {}  # The same -> how a statement ends whose object it is.
        self.terms: dict[str, str] = {}  # Prefixed name -> the same.
        self.links: dict[str, str] = {}  # Predicate -> how it stands before an IRI that is declared.
        self.frames: dict[str, dict[str, _Frame]] = {}  # Predicate -> by the kind of any other object.

    def node(self, text: str) -> str:
        """Declare an IRI; returns how a statement about it begins."""
        iris = self._memory.iris
        said = iris.get(text)
        if said is None:
            if ":" in text:
                said = _counted(check_iri(text))
            else:
                said = _counted(self._memory.base + text)
                self.fresh.append(text)
            iris[text] = said
        _, begin, found, self.objects[text] = self._next()
        self.records.append(begin + said)
        self.subjects[text] = found
        return found

    def target(self, text: str) -> str:
        """Declare an IRI; returns how a statement ends whose object it is."""
        self.node(text)
        return self.objects[text]

    def term(self, name: str) -> str:
        """Declare a prefixed name; returns how a statement ends whose object it is."""
        _, begin, _, found = self._next()
        self.records.append(begin + self._memory.name(name))
        self.terms[name] = found
        return found

    def predicate(self, name: str) -> str:
        """Declare a predicate; returns how it stands before an IRI that is declared."""
        number, begin, *_ = self._next()
        self.records.append(begin + self._memory.name(name))
        self._numbers[name] = number
        self.frames[name] = self._memory.frames.setdefault((name, number), {})
        link = self.links[name] = _before(number, _REFERENCE)
        return link

    def frame(self, predicate: str, kind: str) -> _Frame:
        """What stands around the text of an object of this kind; raises IllegalFact."""
        if kind == IRI:
            role, end = _AN_IRI, ""
        else:
            datatype, language = literal(kind)
            role = _TYPED if datatype else _TAGGED if language else _PLAIN
            end = _counted(datatype or language) if datatype or language else ""
        found = self.frames[predicate][kind] = _before(self._numbers[predicate], role), end + _END
        self._memory.framed += 1
        return found

    def _next(self) -> _Numbered:
        count, self._count = self._count, self._count + 1
        numbered = self._memory.numbered
        if count == len(numbered):
            numbered.append(_numbered(count))
        return numbered[count]


def _numbered(count: int) -> _Numbered:
    """What comes of the number of the nth name; no number ends in a byte that begins a surrogate pair."""
    number = count // 0xF8 << 8 | count % 0xF8
    if number & 0xFF >= 0xD8:
        number += 8
    reference = f"{chr(number >> 16)}{chr(number & 0xFFFF)}"
    first = f"{chr(_DECLARE | number >> 24)}{chr(number >> 8 & 0xFFFF)}{chr((number & 0xFF) << 8 | _AN_IRI)}"
    return number, first, _STATEMENT + reference, reference + _END


def _before(number: int, role: int) -> str:
    """A reference to a predicate, and what its object is."""
    return f"{chr(_REFER | number >> 24)}{chr(number >> 8 & 0xFFFF)}{chr((number & 0xFF) << 8 | role)}"


def _counted(text: str) -> str:
    """A text behind the number of its code units; half a surrogate pair becomes U+FFFD."""
    length = len(text)
    if not text.isascii():
        text = SURROGATE.sub("\ufffd", text)
        length += len(_BEYOND.findall(text))
    return f"{chr(length >> 16)}{chr(length & 0xFFFF)}{text}"


def _encoded(units: str) -> bytes:
    return units.encode("utf-16-be", "surrogatepass")
