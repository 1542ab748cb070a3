"""Errors of the gateway, beside those of the query API that it shares (problems, limits, tokens).

QueryApiError
|-- NotKept                503  what was said could not be made durable: nobody may take it for kept
`-- RequestRefused
    |-- TooFast            429  a client says more in a second than it may
    |-- NoSuchThing        404  the graph has nothing of this name
    |-- TooMuch            422  an answer with more rows than one may have
    |-- TooSlow            408  a body that does not come to its end
    `-- DefinitionRefused  406  a prospective document breaks a rule; the ProvLake client reads `error`
"""

from __future__ import annotations

from headstream.query_api.errors import QueryApiError, RequestRefused


class TooFast(RequestRefused):
    """The rate of one client is over its limit."""

    status = 429
    title = "Too many messages a second"
    retry_after = 5


class TooSlow(RequestRefused):
    """A body that has not come to its end in the time that one may take."""

    status = 408
    title = "The body does not come"


class NoSuchThing(RequestRefused):
    """The graph has nothing of this name."""

    status = 404
    title = "There is no such thing"


class TooMuch(RequestRefused):
    """The answer would have more rows than one may have."""

    status = 422
    title = "The answer is too large"


class NotKept(QueryApiError):
    """Neither the broker nor the spool took what was sent."""

    status = 503
    title = "The message is not kept"
    retry_after = 1


class DefinitionRefused(RequestRefused):
    """A document that is no prospective definition, or one that may not replace another."""

    status = 406
    title = "The document is not accepted"
