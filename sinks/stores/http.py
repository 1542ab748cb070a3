"""Requests to a store over HTTP, with every outcome named (faults.md rows 14 to 19)."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping

import httpx

from headstream.sinks.errors import StoreBusy, StoreIncomplete, StoreRefused, StoreUnavailable, StoreUnknown

_CONNECT_SECONDS = 5.0
# A write has no time limit: one that ran out would leave it unknown whether the store committed.
# Keep-alive probes find a peer that is gone without an answer, within about a minute.
_KEEP_ALIVE: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
]
_BUSY = frozenset({401, 403, 404, 407, 408, 425, 429, 503})
_REFUSED = frozenset({413, 422})
# The second is what Blazegraph says from then on, until it is started again.
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large|\bnerrors=\d")
_FAULT = re.compile(r"RDF(?:Parse|Handler)Exception:? ?([^\r\n]{0,300})")


class Http:
    """One client of one endpoint; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        transport = httpx.HTTPTransport(socket_options=_KEEP_ALIVE, retries=0, trust_env=False)
        # No proxies from the environment: the store is near, and its data are nobody else's.
        self._client = httpx.Client(
            transport=transport, timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS), trust_env=False
        )

    def post(
        self, content: bytes, headers: Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> Answer:
        """Send statements and return the whole answer; raises StoreUnavailable."""
        started = time.perf_counter()
        try:
            answer = self._client.post(self.url, content=content, headers=dict(headers), params=params)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise StoreBusy(f"{self.url} cannot be reached: {error}; is the store up?") from error
        except httpx.HTTPError as error:
            raise StoreUnknown(
                f"{self.url} broke off the answer to {len(content)} bytes: {type(error).__name__}: {error}"
            ) from error
        return Answer(answer, self.url, time.perf_counter() - started)

    def get(self, headers: Mapping[str, str], params: Mapping[str, str]) -> str:
        """Ask for a short answer; raises StoreUnavailable."""
        try:
            answer = self._client.get(self.url, headers=dict(headers), params=params, timeout=60.0)
        except httpx.HTTPError as error:
            raise StoreBusy(f"{self.url} cannot be asked: {type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise StoreBusy(f"{self.url} answered {answer.status_code}: {first_line(answer.text)}")
        return answer.text

    def stream(self, headers: Mapping[str, str], params: Mapping[str, str]) -> Iterator[bytes]:
        """Yield whole lines in blocks; raises StoreIncomplete if the answer ends within a line."""
        rest = b""
        try:
            with self._client.stream("GET", self.url, headers=dict(headers), params=params) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise StoreBusy(f"{self.url} answered {answer.status_code}: {first_line(answer.text)}")
                for block in answer.iter_bytes():
                    head, newline, tail = block.rpartition(b"\n")
                    if newline:
                        yield rest + head + newline
                        rest = tail
                    else:
                        rest += tail
        except httpx.HTTPError as error:
            raise StoreIncomplete(
                f"the dump of {self.url} broke off: {type(error).__name__}: {error}"
            ) from error
        if rest.strip():
            raise StoreIncomplete(f"the dump of {self.url} ends within a line")

    def close(self) -> None:
        self._client.close()


class Answer:
    """A whole answer to a write, and what it proves."""

    __slots__ = ("_answer", "_url", "seconds")

    def __init__(self, answer: httpx.Response, url: str, seconds: float) -> None:
        self._answer = answer
        self._url = url
        self.seconds = seconds

    @property
    def status(self) -> int:
        return self._answer.status_code

    @property
    def text(self) -> str:
        return self._answer.text

    def fault(self) -> str | None:
        """Return what the parser of Blazegraph said against the statements, without its stack trace."""
        found = _FAULT.search(self.text)
        return None if found is None else found[1].strip()

    def refusal(self) -> StoreRefused | None:
        """Return the error of an answer by which trying the same statements again cannot help."""
        fault = self.fault()
        if self.status in _REFUSED or (fault is not None and self.status in (400, 500)):
            return StoreRefused(f"{self._url} refused the statements ({self.status}): {fault or 'too large'}")
        return None

    def unavailable(self) -> StoreUnavailable:
        """Return the error of an answer that confirms nothing."""
        if self.status >= 500 and _FULL.search(self.text):
            return StoreUnknown(
                f"{self._url} has had no room on its disk ({self.status}): make room, and start the store "
                "again, for it takes no write before"
            )
        kind = StoreBusy if self.status in _BUSY else StoreUnknown
        return kind(f"{self._url} did not confirm a write ({self.status}): {first_line(self.text)}")


def first_line(text: str) -> str:
    """Return the beginning of an answer: never a whole one, which may hold a stack trace."""
    return (text.strip().splitlines() or ["nothing"])[0][:200]
