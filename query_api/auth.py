"""Who may ask: a bearer token where one is set, a loopback host name where none is (faults row 42)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstream.query_api.errors import QueryApiError, Unauthorized, WrongHost
from headstream.query_api.problems import problem
from headstream.query_api.settings import TOKEN, is_loopback

# Probes of a cluster carry no token; the description of the API holds no data.
OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/docs", "/openapi.json"})

Headers = Iterable[tuple[bytes, bytes]]


class Secured(Protocol):
    """Settings with a token, or without."""

    @property
    def token(self) -> str | None: ...


def authorise(
    path: str, headers: Headers, settings: Secured, *, variable: str = TOKEN, basic: bool = False
) -> None:
    """Raise Unauthorized or WrongHost unless the request may be answered.

    `variable` is the one that sets the token. `basic` takes it as a password too: a client that can send
    no header of its own sends what stands in its URL.
    """
    found = [(name.lower(), value) for name, value in headers]
    if settings.token is None:
        _demand_loopback_name(found, variable)
    elif path not in OPEN_PATHS:
        _demand_token(found, settings.token, basic)


def _demand_token(headers: list[tuple[bytes, bytes]], token: str, basic: bool) -> None:
    given = [value for name, value in headers if name == b"authorization"]
    scheme, _, credentials = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    known = scheme.lower() == b"bearer"
    if basic and scheme.lower() == b"basic":
        known, credentials = True, _password(credentials)
    # Constant time: how much of a guess was right must not show in how long the answer took.
    right = hmac.compare_digest(credentials.strip(), token.encode("utf-8"))
    if not known or not right:
        also = ", or have it as the password in the URL" if basic else ""
        raise Unauthorized(
            "the request has no valid token", remedy=f"send the header Authorization: Bearer <token>{also}"
        )


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _demand_loopback_name(headers: list[tuple[bytes, bytes]], variable: str) -> None:
    # A web page can point its own host name at 127.0.0.1 and read the answers (DNS rebinding), but then
    # the browser still names that host.
    given = [value.decode("latin-1") for name, value in headers if name == b"host"]
    name = given[0] if len(given) == 1 else ""
    bare = name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]
    if not is_loopback(bare):
        raise WrongHost(
            f"the request is for the host {name[:100]!r}, and without a token only loopback names are served",
            remedy=f"ask http://127.0.0.1, or set {variable} and send the token",
        )


class Counts(Protocol):
    """What a gate counts."""

    @property
    def requests(self) -> Counter: ...
    @property
    def refused(self) -> Counter: ...


class Gate:
    """ASGI middleware: nothing behind it sees a request that may not be answered; every answer is counted."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Secured,
        metrics: Counts,
        variable: str = TOKEN,
        basic: bool = False,
    ) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.variable = variable
        self.basic = basic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self.metrics.requests.labels(method=method, route=route, status=message["status"]).inc()
            await send(message)

        try:
            authorise(
                scope["path"], scope["headers"], self.settings, variable=self.variable, basic=self.basic
            )
        except QueryApiError as refused:
            self.metrics.refused.labels(reason=refused.reason).inc()
            await problem(refused)(scope, receive, counted)
            return
        await self.app(scope, receive, counted)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
