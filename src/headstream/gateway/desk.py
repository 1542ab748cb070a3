"""How every protocol is served: limits, the body, the translation, durability, and only then an answer.

A further protocol is a function from a body to `Taken` and a route that calls `accept` with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from headstream.gateway.errors import TooFast, TooSlow
from headstream.gateway.intake import Intake, Take, Taken
from headstream.gateway.keeping import Keeper
from headstream.gateway.lineage import Lineage
from headstream.gateway.metrics import Metrics
from headstream.gateway.pace import Pace
from headstream.gateway.reading import Reading
from headstream.gateway.settings import Settings
from headstream.query_api import bodies
from headstream.query_api.errors import QueryApiError, TooBusy

# Whoever is so far over its rate is refused; below it, it waits for its answer.
_LONGEST_WAIT: Final = 5.0
# A long body is translated beside the others, which must not wait for it.
_LONG_BODY: Final = 256 * 1024


@dataclass(slots=True)
class Desk:
    """The parts of one gateway. Made once an app; nothing is global."""

    settings: Settings
    metrics: Metrics
    intake: Intake
    keeper: Keeper
    reading: Reading
    body_seconds: float = 30.0
    lineage: Lineage = field(init=False)
    pace: Pace = field(init=False)
    under_way: int = 0

    def __post_init__(self) -> None:
        self.pace = Pace(self.settings.rate)
        self.lineage = Lineage(self.metrics, self.intake.now, self.intake.producer)

    async def accept(self, request: Request, client: str, take: Take) -> Taken:
        """Read, take and keep a body; what is returned is durable. Raises QueryApiError."""
        try:
            return await self._accepted(request, client, take)
        except QueryApiError as error:  # Clients that never repeat have lost what they sent.
            self.metrics.refused.labels(reason=error.reason).inc()
            raise

    async def _accepted(self, request: Request, client: str, take: Take) -> Taken:
        started = time.monotonic()
        with self._place():
            address = request.client.host if request.client else ""
            self._demand_pace(address)
            body = await self._body(request)
            beside = len(body) > _LONG_BODY or self.intake.busy or self.lineage.busy
            taken = await run_in_threadpool(take, body) if beside else take(body)
            if not taken.parcel.empty:
                await asyncio.wrap_future(self.keeper.keep(taken.parcel))
            self.metrics.messages.labels(client=client).inc(taken.messages)
            route = getattr(request.scope.get("route"), "path", "none")
            self.metrics.seconds.labels(route=route).observe(time.monotonic() - started)
            wait = self.pace.charge(address, taken.messages, time.monotonic())
        if wait:  # The client sends its next bag when it has this answer.
            await asyncio.sleep(wait)
        return taken

    async def _body(self, request: Request) -> bytes:
        """The body; whoever sends it slowly must not hold a place for ever."""
        try:
            async with asyncio.timeout(self.body_seconds):
                return await bodies.read(request, at_most=self.settings.max_bytes)
        except TimeoutError:
            raise TooSlow(
                f"the body has not come within {self.body_seconds:g} s", remedy="send smaller bags"
            ) from None

    def _demand_pace(self, address: str) -> None:
        owed = self.pace.owed(address, time.monotonic())
        if owed > _LONGEST_WAIT:
            raise TooFast(
                f"more than {self.settings.rate} messages a second came from {address or 'one client'}",
                remedy=f"send again in {owed:.0f} s, or raise HEADSTREAM_GATEWAY_RATE",
            )

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self.under_way >= self.settings.max_concurrent:
            raise TooBusy(
                f"{self.settings.max_concurrent} requests are under way already",
                remedy="send again in a moment, or raise HEADSTREAM_GATEWAY_MAX_CONCURRENT",
            )
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
