"""Under which paths the protocol is met: clients put their service URL before it in several ways.

`urljoin(url, "retrospective-provenance")` replaces the last segment of the URL, so `http://h/api/` posts
under /api and `http://h/api` does not; the data stores are at `{url}/provenance/api/data-stores`, with
two slashes where the URL ends in one; and of the read routes some have the root and some have not.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_ROOTS: Final = ("/provenance/api/", "/api/")
# Paths of headstream's own, which begin as those roots do.
_OURS: Final = "/api/v1/"


def plain(path: str) -> str:
    """The path without what clients put before it: roots, and empty segments there.

    What follows is an identifier perhaps, in which two slashes mean something.
    """
    while True:
        path = "/" + path.lstrip("/")
        root = next((root for root in _ROOTS if path.startswith(root)), None)
        if root is None or path.startswith(_OURS):
            return path
        path = path[len(root) :]


class PlainPaths:
    """ASGI middleware: what is behind it sees plain paths."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = plain(scope["path"])
        await self.app(scope, receive, send)
