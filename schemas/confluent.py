"""The Confluent wire format, if a schema registry is configured: 0, the id of the schema, the record.

Producers of ours put their messages into it on the way out, and readers take both framings. The
record itself is the same in both, so nothing between the two edges knows of the registry.
Two requests do not justify the packages that confluent-kafka's own client would bring into a
scientist's process (docs/decisions/0009).
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from headstream.schemas import registry
from headstream.schemas.clients import RegistryOptions
from headstream.schemas.codec import MARKER
from headstream.schemas.errors import RegistryRefused, RegistryUnavailable, RegistryUnusable

_SECONDS: Final = 3.0
# After a failure nothing is asked for so long: a batch of messages must not wait for each timeout.
_PAUSE: Final = 1.0
_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT, _NO_SCHEMA = 40401, 40403
_HEADER: Final = len(MARKER) + 8


class SchemaRegistry:
    """What a registry says, remembered for the life of the process: ids never change their meaning.

    Safe from any thread. While the registry is away, what is remembered goes on.
    """

    def __init__(self, options: RegistryOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._one = threading.Lock()
        self._texts: dict[int, str] = {}
        self._ids: dict[tuple[str, bytes], int] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        self._down_until = 0.0
        self._down_with = ""
        _demand_usable(options)
        context = ssl.create_default_context(cafile=options.ca) if options.url.startswith("https") else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def text(self, number: int) -> str | None:
        """The schema with this id, None if there is none; RegistryUnavailable if nobody answers."""
        with self._one:
            if number not in self._texts:
                try:
                    self._texts[number] = str(self._ask(f"/schemas/ids/{number}")["schema"])
                except _NotFound:
                    return None
            return self._texts[number]

    def frame(self, topic: str, value: bytes) -> bytes:
        """A message of ours in the wire format, its schema registered as that of the topic's values.

        Anything that is not in our own framing, such as a dead letter, stays as it is.
        """
        schema = registry.find(value[len(MARKER) : _HEADER]) if value[: len(MARKER)] == MARKER else None
        if schema is None:
            return value
        return b"\0" + self._id(f"{topic}-value", schema).to_bytes(4, "big") + value[_HEADER:]

    def _id(self, subject: str, schema: registry.Schema) -> int:
        with self._one:
            found = self._ids.get((subject, schema.fingerprint))
            if found is None:
                body = {"schema": schema.text}
                path = f"/subjects/{urllib.parse.quote(subject, safe='')}"
                try:  # Who may only read may still find what somebody else registered.
                    found = int(self._ask(path, body)["id"])
                except _NotFound:
                    found = int(self._ask(f"{path}/versions", body)["id"])
                self._ids[subject, schema.fingerprint] = found
            return found

    def _ask(self, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        if self._clock() < self._down_until:
            raise RegistryUnavailable(self._down_with)
        until, message = self._refused.get(path, (0.0, ""))
        if self._clock() < until:
            raise RegistryRefused(message)
        request = urllib.request.Request(
            self._options.url.rstrip("/") + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": f"{_TYPE}, application/json", "Content-Type": _TYPE, **self._authority()},
        )
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                said = json.load(answer)
            if not isinstance(said, dict):
                raise ValueError("its answer is no object")
            return said
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, path) from None  # The request holds the password.
        except (OSError, ValueError, KeyError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise self._down(f"{type(error).__name__}: {reason}") from None

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> Exception:
        try:
            said = json.loads(error.read(65536))
            code, said_so = said.get("error_code"), str(said.get("message", ""))
        except (OSError, ValueError, AttributeError):
            code, said_so = None, ""
        if error.code == 404 and (path.startswith("/schemas/") or code in (_NO_SUBJECT, _NO_SCHEMA)):
            return _NotFound()
        if error.code >= 500 or error.code in (408, 429):
            return self._down(f"it answered {error.code}")
        message = (
            f"the schema registry at {self._options.url} refused {path} ({error.code} {said_so[:300]}); "
            "look at HEADSTREAM_REGISTRY_* and at its compatibility settings"
        )
        self._refused[path] = (self._clock() + _PAUSE, message)
        return RegistryRefused(message)

    def _down(self, reason: str) -> RegistryUnavailable:
        self._down_until = self._clock() + _PAUSE
        self._down_with = (
            f"the schema registry at {self._options.url} does not answer ({reason}); what it said before "
            "still counts, and what needs it waits"
        )
        return RegistryUnavailable(self._down_with)

    def _authority(self) -> dict[str, str]:
        options = self._options
        if options.token:
            return {"Authorization": f"Bearer {options.token}"}
        if options.user:
            pair = f"{options.user}:{options.password or ''}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}


def _demand_usable(options: RegistryOptions) -> None:
    parts = urllib.parse.urlsplit(options.url)
    if parts.username is not None or parts.password is not None:
        raise RegistryUnusable(
            "HEADSTREAM_REGISTRY_URL holds a user or password, which logs would show; give them as "
            "HEADSTREAM_REGISTRY_USER and HEADSTREAM_REGISTRY_PASSWORD"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RegistryUnusable(
            f"HEADSTREAM_REGISTRY_URL is {options.url!r}; it must begin with http:// or https://"
        )
    if options.ca is not None and not Path(options.ca).is_file():
        raise RegistryUnusable(f"HEADSTREAM_REGISTRY_CA is {options.ca!r}, which is no file")


class _NotFound(Exception):
    """The registry answers, and has no such thing."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would carry the password to wherever it is sent."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


Frame = Callable[[str, bytes], bytes]


def use(options: RegistryOptions | None) -> Frame:
    """Let this process read what the registry knows; what it sends is to pass through the result.

    Without a registry the result changes nothing. Called once, by the entry point. Raises
    RegistryUnusable for options that can never work.
    """
    if options is None:
        registry.resolve_with(None)
        return lambda topic, value: value
    found = SchemaRegistry(options)
    registry.resolve_with(found.text)
    return found.frame
