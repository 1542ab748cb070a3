"""Errors of the shared data model.

SchemaError
|-- MalformedMessage      bytes that are not the record they claim to be
|-- UnknownFraming        bytes that carry no known framing (magic)
|-- UnknownSchema         a fingerprint that no known schema has
|-- InvalidDefinition     a prospective document that breaks a rule of spec section 6.1
`-- InvalidIdentifier     a text that can never be part of an IRI

RegistryUnavailable       the schema registry does not answer: no fault of any data, so wait for it
`-- RegistryRefused       it answers, and does not let us

RegistryUnusable          HEADSTREAM_REGISTRY_* can never work as they are set
"""

from __future__ import annotations

# A step of the way to a place in a document: a key, or a number in a list.
Key = str | int


class SchemaError(Exception):
    """Base of everything that can be wrong with data that crosses a seam."""


class MalformedMessage(SchemaError):
    """The bytes are truncated, have trailing bytes, or do not follow their schema."""


class UnknownFraming(SchemaError):
    """The bytes do not begin with the marker of Avro single-object encoding."""


class UnknownSchema(SchemaError):
    """No schema known here has the fingerprint in the message."""


class InvalidDefinition(SchemaError):
    """A prospective document cannot be used; the message names the key and the rule.

    `path` leads to the place in the document, for whoever has its text and can say the line.
    """

    def __init__(self, message: str, path: tuple[Key, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class SettingsUnusable(SchemaError):
    """A settings file cannot be used, or what every service reads; the message names the file and the key,
    or the variable, and never a value that may be secret."""


class InvalidIdentifier(SchemaError):
    """The text cannot be made into an IRI, or is not one."""


class RegistryUnavailable(Exception):
    """Nothing is wrong with the data, so it is no SchemaError: whoever needs the registry waits."""


class RegistryRefused(RegistryUnavailable):
    """The registry does not know us, or finds a schema incompatible; the message says what it said."""


class RegistryUnusable(ValueError):
    """A setting is wrong; the message names it and shows no secret."""
