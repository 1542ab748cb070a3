"""Errors of the sink.

SinkError
|-- ConfigurationError       a setting that cannot be used; the process does not start
|-- IllegalFact              a fact that can never be RDF: its event is dead-lettered
|-- BlankNodeFound           a dump that cannot be hashed, since blank nodes have no identity
|-- Unavailable              nothing wrong with the data: try again for as long as it takes
|   |-- StoreUnavailable
|   |   |-- StoreBusy        the store did not take the request
|   |   |-- StoreUnknown     the store may or may not have written: a repeat is harmless
|   |   `-- StoreIncomplete  an answer that was cut off
|   `-- DeadLettersUnavailable
|-- StoreRefused             the store cannot read these statements: bisect to the bad event
`-- Stopped                  the process was told to end while it waited to try again
"""

from __future__ import annotations


class SinkError(Exception):
    """Base of everything that goes wrong between the identified topic and the store."""

    @property
    def reason(self) -> str:
        """The name under which metrics and dead letters count this error."""
        return type(self).__name__


class ConfigurationError(SinkError):
    """A setting is missing or cannot be used."""


class IllegalFact(SinkError):
    """A fact holds an IRI, datatype, language or kind that no store may be given."""

    def __init__(self, message: str, *, event: int = 0) -> None:
        super().__init__(message)
        self.event = event


class BlankNodeFound(SinkError):
    """headstream never writes a blank node, so one in a dump came from elsewhere."""


class Unavailable(SinkError):
    """The other side is away or in doubt; repeating what was tried changes nothing but the outcome."""


class StoreUnavailable(Unavailable):
    """The store could not be asked, or its answer proves nothing."""


class StoreBusy(StoreUnavailable):
    """The store did not take the request: connection refused, 404, 429, 503."""


class StoreUnknown(StoreUnavailable):
    """The store may have committed: any other 5xx, a broken connection, an answer that is not its own."""


class StoreIncomplete(StoreUnavailable):
    """A dump ended before everything that is known to be in the store was seen."""


class DeadLettersUnavailable(Unavailable):
    """A dead letter could not be kept, so consuming must stop rather than lose it."""


class StoreRefused(SinkError):
    """The store understood the request and cannot read its statements; trying again cannot help."""


class Stopped(SinkError):
    """Nothing was confirmed: the work comes again after a restart."""
