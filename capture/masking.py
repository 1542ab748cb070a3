"""What of a command line and of environment variables may be told: secrets never are. Pure functions.

A secret is known by the name that it stands under, or by how it looks: a password in a URL, the
prefixes that issuers give their tokens, or text that is too random to be a word. A mask too many
costs a fact; a mask too few would put a password into a graph that everybody may read.

The expressions are compiled when they are first needed (`re` keeps them): all of them would add 3 ms
to the import of capture, and most texts need none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

MASK: Final = "***"
# Together with the nodes of a large job all this fits into one message.
_LONGEST: Final = 2048
_MOST_VARIABLES: Final = 128
_LONGEST_COMMAND: Final = 64 << 10
# Names are split neither by case nor by words: PGPASSWORD and authtoken are no less secret. But
# `tokenizer`, `max_tokens`, `monkey` and `author` are everyday names of this trade.
_NAME: Final = (
    r"(?i)passw|passphrase|secret|credential|api[-_]?key|access[-_]?key|private[-_]?key|cookie|authoriz"
    r"|(?:token|jwt|pwd|pass|auth|key|sig|signature)(?![a-z])"
    r"(?<!monkey)(?<!compass)(?<!bypass)"
)
# A name with none of these cannot match: most names need no expression.
_HINTS: Final = ("pass", "secret", "credential", "key", "cookie", "auth", "token", "jwt", "pwd", "sig")
_URL: Final = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s/?#@:]*):[^\s/?#]*@"
# Git hosts take a token for the user's name.
_URL_USER: Final = r"(?P<scheme>https?://)[^\s/?#@:]+@"
# `?sig=...` of a URL, `key=value` of a connection string, `Bearer ...` of a header.
_PAIR: Final = r"(?P<name>[A-Za-z][\w.\-]*)(?P<is>['\"]?\s*[=:]\s*)(?!//)(?:\"[^\"]*\"|'[^']*'|[^\s&;,'\"]+)"
_BEARER: Final = r"(?i)\b(?P<kind>bearer|basic)\s+[A-Za-z0-9+/=._~\-]{8,}"
_ISSUED: Final = (
    r"(?<![A-Za-z0-9])(?:gh[oprsu]_|github_pat_|glpat-|hf_|sk-|pk-|rk_live_|sk_live_|xox[a-z]-|npm_|pypi-|AKIA"
    r"|ASIA|AIza|ya29\.|eyJ|dckr_pat_|shpat_|SG\.)[A-Za-z0-9_.\-]{8,}|-----BEGIN[^-]*PRIVATE KEY-----[\s\S]*"
)
# A UUID names a device or a job far more often than it opens a door; the other is an execution id of ours.
_PUBLIC: Final = (
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|\d{8}T\d{6}Z-[0-9a-f]{8})(?![0-9A-Za-z])"
)
_RUN: Final = r"[A-Za-z0-9+_=\-]{20,}"
_BASE64: Final = r"(?<![\w./~\-])[A-Za-z0-9+/]{32,}={0,2}(?![\w./])"
_HEX: Final = r"(?i)[0-9a-f]{32,}"
_CHANGES: Final = r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Za-z])"
_WORDS: Final = r"[A-Z]?[a-z]{3,}|[A-Z]{3,}(?![a-z])|\d{4,}"
_PIECE: Final = 16
_SHORTEST_ISSUED: Final = 11
_SHORTEST_RANDOM: Final = 20


def secret_name(name: str) -> bool:
    """Tell whether what stands under this name is a secret, by the name alone."""
    low = name.lower()
    return any(hint in low for hint in _HINTS) and re.search(_NAME, name) is not None


def masked(text: str) -> str:
    """The text with `***` for all in it that looks like a secret, and cut where it is very long."""
    if "://" in text:
        text = re.sub(_URL, rf"\g<scheme>\g<user>:{MASK}@", text)
        text = re.sub(_URL_USER, rf"\g<scheme>{MASK}@", text)
    if " " in text:
        text = re.sub(_BEARER, rf"\g<kind> {MASK}", text)
    if "=" in text or ":" in text:
        text = re.sub(_PAIR, _pair, text)
    if len(text) >= _SHORTEST_ISSUED:
        text = re.sub(_ISSUED, MASK, text)
    if len(text) >= _SHORTEST_RANDOM:
        text = re.sub(_BASE64, _mask_random, text)
        text = "".join(
            p if number % 2 else re.sub(_RUN, _mask_random, p) for number, p in enumerate(_split(text))
        )
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def arguments(given: Iterable[str]) -> list[str]:
    """A command line without secrets: `--password x`, `--api-key=x`, and whatever looks like one."""
    shown: list[str] = []
    hide = False
    left = _LONGEST_COMMAND
    every = list(given)
    for number, argument in enumerate(every):
        left -= len(argument)
        if left < 0 and number:
            return [*shown, f"... ({len(every) - number} more)"]
        name, equals, _ = argument.partition("=")
        if hide:
            shown.append(MASK)
            hide = False
            continue
        secret = secret_name(name) and (bool(equals) or argument.startswith("-"))
        hide = secret and not equals
        shown.append(f"{name}={MASK}" if secret and equals else masked(argument))
    return shown


def variables(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """The variables that the patterns choose, in order of their names, without secrets."""
    exact, stems, globs = set(), [], []
    for pattern in patterns:
        stem = pattern.removesuffix("*")
        # Nearly all are plain names or beginnings; to compile each would take 6 ms of the script's start.
        if any(c in stem for c in "*?["):
            globs.append(pattern)
        elif stem == pattern:
            exact.add(pattern)
        else:
            stems.append(stem)
    begins = tuple(stems)
    names = [
        name
        for name in sorted(environ)
        if (name in exact or name.startswith(begins) or any(fnmatchcase(name, glob) for glob in globs))
        and not secret_name(name)
    ]
    return {name: masked(environ[name]) for name in names[:_MOST_VARIABLES]}


def _pair(found: re.Match[str]) -> str:
    return f"{found['name']}{found['is']}{MASK}" if secret_name(found["name"]) else found[0]


def _mask_random(found: re.Match[str]) -> str:
    return MASK if _random(found[0]) else found[0]


def _split(text: str) -> list[str]:
    """Text, and what is random and yet public, by turns; text first."""
    pieces: list[str] = []
    at = 0
    for found in re.finditer(_PUBLIC, text):
        pieces += [text[at : found.start()], found[0]]
        at = found.end()
    return [*pieces, text[at:]]


def _random(text: str) -> bool:
    """Tell random text from names that people make of words, versions, dates and counters.

    Names have short pieces, or words in the long ones; random text changes between small letters,
    capitals and digits at every other character. Of random tokens of 32 bytes 0.4 % pass as names,
    of hexadecimal ones none: the look is the second net, the name of the variable the first.
    """
    if re.fullmatch(_HEX, text):
        return _kinds(text) >= 2
    pieces = [piece for piece in re.split(r"[-_+=/]+", text) if piece]
    if any(len(piece) >= _PIECE and _kinds(piece) >= 2 and not _made_of_words(piece) for piece in pieces):
        return True
    pairs = sum(len(piece) - 1 for piece in pieces)
    return _kinds(text) == 3 and _changes(text) >= 0.35 * pairs


def _made_of_words(piece: str) -> bool:
    return _changes(piece) < 0.25 * len(piece) and sum(map(len, re.findall(_WORDS, piece))) >= 0.75 * len(
        piece
    )


def _changes(text: str) -> int:
    return len(re.findall(_CHANGES, text))


def _kinds(text: str) -> int:
    return sum(any(test(c) for c in text) for test in (str.islower, str.isupper, str.isdigit))
