"""What a step says at once, on its way into its chain of frames (frames.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from headstream.capture.forms import Form
from headstream.capture.recorder import Spelt


class Said(NamedTuple):
    """Values as they go into the chain of a step: by a form, else spelt out."""

    held: Sequence[str | Form]
    form: Form | None = None
    values: tuple[Any, ...] = ()
    text: bytes = b""
    spelt: Spelt | None = None

    @classmethod
    def of(cls, direction: str, spelt: Spelt) -> Said:
        text = f'["{direction}",[{spelt.values}],[{",".join(spelt.held)}]]'
        return cls(spelt.held, text=text.encode(), spelt=spelt)


NOTHING: Final = Said(())


def held_texts(held: Mapping[str | Form, None] | None) -> str:
    """What is held as JSON, each once."""
    found: dict[str, None] = {}
    for each in held or ():
        if isinstance(each, str):
            found[each] = None
        else:
            found.update(dict.fromkeys(each.held))
    return ",".join(found)
