"""Errors as problem documents (RFC 9457): what was tried, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from headstream.query_api.errors import QueryApiError, Unauthorized

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every answer that is an error."""

    type: str = Field(default="about:blank", description="always about:blank: `code` tells problems apart")
    title: str = Field(description="the kind of problem")
    status: int = Field(description="the HTTP status")
    code: str = Field(description="the name of the error, as metrics count it")
    detail: str = Field(description="what was tried, and on what")
    what_to_do: str = Field(default="", description="how to get an answer")


def problem(error: QueryApiError) -> JSONResponse:
    """Make the HTTP answer for an error of ours."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="headstream"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return problem_answer(
        status=error.status,
        title=error.title,
        code=error.reason,
        detail=error.detail,
        what_to_do=error.remedy,
        headers=headers,
    )


def problem_answer(
    *,
    status: int,
    title: str,
    code: str,
    detail: str,
    what_to_do: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make a problem answer from its parts."""
    content = Problem(title=title, status=status, code=code, detail=detail, what_to_do=what_to_do)
    return JSONResponse(content.model_dump(), status, dict(headers or {}), media_type=MEDIA_TYPE)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


_MEANINGS = {
    400: "the request is malformed, or the query is not a plain read",
    401: "a token is needed",
    404: "there is no such thing",
    406: "there is no such format",
    413: "the request body is too long",
    415: "the content type is not supported",
    421: "without a token only loopback host names are served",
    422: "the parameters do not fit the question, or the run is too large",
    501: "the format needs a package that is not installed there",
    502: "the store failed or its answer was incomplete",
    503: "the store cannot be reached, or too many questions run",
    504: "the question took too long and was cancelled",
}
STORE = (502, 503, 504)
