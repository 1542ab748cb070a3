"""Errors of the query API. Each knows its HTTP status, what was tried and what to do.

QueryApiError
|-- ConfigurationError         500  settings that must not be served with; the process does not start
|-- CatalogueError             500  a question file that breaks the rules of spec section 7.1
|-- RequestRefused             400  the asker can mend it
|   |-- UnknownQuestion        404
|   |-- UnknownRun             404
|   |-- NotAcceptable          406
|   |-- BodyTooLarge           413
|   |-- ExportTooLarge         422
|   |-- UnsupportedBody        415
|   |-- WrongHost              421
|   |-- ParameterError         422
|   |   |-- MissingParameter
|   |   |-- UnknownParameter
|   |   `-- InvalidValue
|   `-- QueryRefused           400  raw SPARQL that is no plain read
|-- Unauthorized               401
|-- TooBusy                    503
|-- FormatNotInstalled         501  the format needs a package that is not installed here
`-- StoreError                 502  the store failed, not the asker
    |-- IncompleteAnswer       502  the answer was cut off: nothing of it is passed on
    |-- StoreRefused           502  the store would not run a query that the guard let pass
    |-- StoreUnavailable       503
    `-- StoreTimeout           504
"""

from __future__ import annotations

from typing import ClassVar


class QueryApiError(Exception):
    """Base: `str(error)` says what was tried and on what, `remedy` what to do."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The question could not be answered"
    retry_after: ClassVar[int | None] = None  # Seconds, where the same request may be answered later.

    def __init__(self, detail: str, *, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.detail}; {self.remedy}" if self.remedy else self.detail

    @property
    def reason(self) -> str:
        """The name under which metrics count this error."""
        return type(self).__name__


class ConfigurationError(QueryApiError):
    """The settings contradict each other or open the API to strangers."""

    title = "The settings cannot be used"


class CatalogueError(QueryApiError):
    """A question file breaks a rule; found when the catalogue is loaded, not when somebody asks."""

    title = "A question file is broken"


class RequestRefused(QueryApiError):
    """The request is wrong and the same request will always be refused."""

    status = 400
    title = "The request is not right"


class UnknownQuestion(RequestRefused):
    """No question of the catalogue has this id."""

    status = 404
    title = "No such question"


class UnknownRun(RequestRefused):
    """The graph holds no run with this workflow and execution id."""

    status = 404
    title = "No such run"


class NotAcceptable(RequestRefused):
    """The asked format does not exist for this kind of answer."""

    status = 406
    title = "No such format"


class BodyTooLarge(RequestRefused):
    """The request body is longer than a query may be."""

    status = 413
    title = "The request is too long"


class ExportTooLarge(RequestRefused):
    """The run has more triples than an export may have here; a part is never passed off as the whole."""

    status = 422
    title = "The run is too large"


class UnsupportedBody(RequestRefused):
    """The content type is not one in which a query can come."""

    status = 415
    title = "The content type is not supported"


class WrongHost(RequestRefused):
    """Without a token only requests that name a loopback host are answered (DNS rebinding)."""

    status = 421
    title = "The host name is not served"


class ParameterError(RequestRefused):
    """The values given do not fit the parameters of the question."""

    status = 422
    title = "The parameters do not fit the question"


class MissingParameter(ParameterError):
    """A required parameter has no value."""


class UnknownParameter(ParameterError):
    """The question has no parameter of this name."""


class InvalidValue(ParameterError):
    """The value cannot be made into an RDF term of the declared type."""


class QueryRefused(RequestRefused):
    """The raw query is malformed, writes, or reaches outside the store."""

    title = "The query is not allowed"


class Unauthorized(QueryApiError):
    """No token, or not the right one."""

    status = 401
    title = "A token is needed"


class TooBusy(QueryApiError):
    """As many questions run as the settings allow."""

    status = 503
    title = "Too many questions at once"
    retry_after = 1


class FormatNotInstalled(QueryApiError):
    """An export needs a package of the extra `export`."""

    status = 501
    title = "The format is not installed"


class StoreError(QueryApiError):
    """The store did not give a usable answer."""

    status = 502
    title = "The store failed"


class IncompleteAnswer(StoreError):
    """The answer ended before its end; a part of an answer is never passed off as the whole."""

    title = "The answer of the store is incomplete"


class StoreRefused(StoreError):
    """The store refused the query; its message stays in the log, since it may hold a stack trace."""

    title = "The store refused the query"


class StoreUnavailable(StoreError):
    """The store cannot be reached."""

    status = 503
    title = "The store cannot be reached"
    retry_after = 1


class StoreTimeout(StoreError):
    """The deadline passed and the query was cancelled."""

    status = 504
    title = "The question took too long"
