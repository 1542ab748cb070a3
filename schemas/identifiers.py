"""Deterministic identifiers: every IRI is a pure function of what happened (spec section 5).

All functions return IRIs relative to the instance base. A relative IRI never holds a colon
(`enc` percent-encodes it), so a text with a colon is an absolute IRI and cannot be confused with one.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

from headstream.schemas.errors import InvalidIdentifier

DEFAULT_BASE = "https://provml.example.org/id/"
NONE = "~"
GLOBAL_WORKFLOW = "global_workflow"
GLOBAL_EXECUTION = "global"

Segment = str | int | float | bool

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")
_FILE_HOST = re.compile(r"^file://[^/]*", re.IGNORECASE)
_OBJECT_STORE = re.compile(r"^(?:s3|cos|gs)://", re.IGNORECASE)
# Characters that RFC 3987 and N-Triples forbid inside <...>.
_SURROGATE = re.compile("[\ud800-\udfff]")
# What nearly all names and paths look like: their encoding, or their canonical form, is themselves.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*")
_PLAIN_PATH = re.compile(r"/?[A-Za-z0-9_-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*")
_ILLEGAL_IN_IRI = re.compile(r"[\x00-\x20<>\"{}|^`\\]")


def enc(part: Segment) -> str:
    """Encode one path segment (spec section 5.1)."""
    if part is True:
        return "true"
    if part is False:
        return "false"
    if isinstance(part, str):
        return _enc_text(part)
    return quote(repr(part), safe="-._~")


@lru_cache(maxsize=65536)
def _enc_text(text: str) -> str:
    if _PLAIN_NAME.fullmatch(text):
        return text
    if text == "":
        return "~empty"
    if text == ".":
        return "%2E"
    if text == "..":
        return "%2E%2E"
    if text == NONE:
        # The bare segment means "none", so a text that happens to be it must look different.
        return "%7E"
    # A lone surrogate has no UTF-8 form; U+FFFD keeps the identifier a pure function of the text.
    normal = _SURROGATE.sub("\ufffd", unicodedata.normalize("NFC", text))
    return quote(normal, safe="-._~")


def _or_none(part: Segment | None) -> str:
    return NONE if part is None else enc(part)


def project(name: str) -> str:
    return f"prj/{enc(name)}"


def workflow(name: str) -> str:
    return f"wf/{enc(name)}"


def transformation(workflow: str, name: str) -> str:
    return f"dt/{enc(workflow)}/{enc(name)}"


def attribute(workflow: str, transformation: str | None, direction: str, name: str) -> str:
    """`direction` is "in" or "out"; `transformation` None means an attribute of the workflow itself."""
    return f"attr/{enc(workflow)}/{_or_none(transformation)}/{direction}/{enc(name)}"


def run(workflow: str, execution: Segment) -> str:
    return f"wfe/{enc(workflow)}/{enc(execution)}"


def step(workflow: str, execution: Segment, transformation: str, task: Segment) -> str:
    return f"dte/{enc(workflow)}/{enc(execution)}/{enc(transformation)}/{enc(task)}"


def totals(workflow: str, execution: Segment, transformation: str, task: Segment, inner: str) -> str:
    """What the parts of a step with one inner transformation came to (decision 0016)."""
    return f"tot/{enc(workflow)}/{enc(execution)}/{enc(transformation)}/{enc(task)}/{enc(inner)}"


def value(
    workflow: str,
    execution: Segment,
    transformation: str | None,
    task: Segment | None,
    direction: str,
    attribute: str,
    *elements: Segment,
) -> str:
    """Identity of a value that is no reference: its occurrence (spec section 5.3)."""
    base = f"{values(workflow, execution, transformation, task)}{direction}/{enc(attribute)}"
    return "/".join([base, *(enc(element) for element in elements)])


def step_and_values(workflow: str, execution: Segment, transformation: str, task: Segment) -> tuple[str, str]:
    """What `step` and `values` say of one step."""
    place = f"{enc(workflow)}/{enc(execution)}/{enc(transformation)}/{enc(task)}"
    return "dte/" + place, f"val/{place}/"


def values(workflow: str, execution: Segment, transformation: str | None, task: Segment | None) -> str:
    """What the identities of all values of one step, or of a run itself, begin with."""
    return f"val/{enc(workflow)}/{enc(execution)}/{_or_none(transformation)}/{_or_none(task)}/"


def store(store_id: str) -> str:
    return f"store/{enc(store_id)}"


def person(person_id: str) -> str:
    return f"person/{enc(person_id)}"


def software(name: str, version: str) -> str:
    return f"software/{enc(name)}/{enc(version)}"


@lru_cache(maxsize=65536)
def canonical_reference(text: str) -> str:
    """The text that stands for a reference in its IRI and in prov:value (spec section 5.2)."""
    if _PLAIN_PATH.fullmatch(text):
        return text
    text = unicodedata.normalize("NFC", text).strip()
    if _FILE_HOST.match(text):
        text = _FILE_HOST.sub("", text)
    elif _OBJECT_STORE.match(text):
        text = _OBJECT_STORE.sub("", text)
    elif _SCHEME.match(text):
        return text
    if not text:
        return text
    normal = posixpath.normpath(text)
    return "/" + normal.lstrip("/") if normal.startswith("//") else normal


@lru_cache(maxsize=65536)
def reference(store_id: str | None, text: str, version: str | None = None) -> str:
    """Global identity of a reference: store and canonical text, plus the version if there is one."""
    canonical = canonical_reference(text)
    if _PLAIN_PATH.fullmatch(canonical):
        path = canonical.removeprefix("/")
    elif _SCHEME.match(canonical):
        path = enc(canonical)
    else:
        path = "/".join(enc(part) for part in canonical.removeprefix("/").split("/"))
    tail = "" if version is None else f";v={enc(version)}"
    return f"ref/{_or_none(store_id)}/{path}{tail}"


def external(iri: str) -> str:
    """Return an absolute IRI that somebody else minted, or raise InvalidIdentifier."""
    if ":" not in iri or _ILLEGAL_IN_IRI.search(iri):
        raise InvalidIdentifier(
            f"{iri!r} is not an absolute IRI: it needs a scheme, and none of "
            'space, control characters, < > " { } | ^ ` \\; percent-encode them'
        )
    return iri
