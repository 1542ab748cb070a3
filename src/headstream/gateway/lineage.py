"""OpenLineage events as its clients send them: one a request, or a JSON array of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from headstream.capture.gateway.provlake import Rejected
from headstream.capture.ingest.openlineage import Translator
from headstream.capture.ingest.told import Item, Refused, Told, Unmapped
from headstream.gateway.intake import BAG_SIZE, Finding, Taken, letter, messages_of
from headstream.gateway.keeping import Parcel
from headstream.gateway.metrics import Metrics
from headstream.schemas.events import Bag
from headstream.schemas.facts import DeadLetter, Origin
from headstream.schemas.topics import run_key

OPENLINEAGE: Final = "gateway:openlineage"


@dataclass(slots=True)
class Lineage:
    """Translates run events; safe from any thread.

    What is remembered of a run only adds to what later events say: a gateway that was started again
    says less (docs/reference/conformance.md), and nothing wrong.
    """

    metrics: Metrics
    now: Callable[[], int]
    producer: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _translator: Translator = field(default_factory=Translator)
    _letters: int = 0

    @property
    def busy(self) -> bool:
        """Somebody is at it: whoever may not wait must not ask now."""
        return self._lock.locked()

    def take(self, body: bytes) -> Taken:
        """Take run events; those about a job or a dataset alone have no place and are counted."""
        found = messages_of(body)
        if isinstance(found, Rejected):
            refused = Refused(reason=found.reason, message=found.message, where="the body")
            with self._lock:
                refusal = self._letter(refused, found.source)
            return Taken(parcel=Parcel(letters=(refusal,)), messages=1, findings=((_finding(refused),),))
        bags: list[Bag] = []
        letters: list[DeadLetter] = []
        findings: list[tuple[Finding, ...]] = []
        with self._lock:
            for number, message in enumerate(found):
                for item in self._translator.translate(message, f"event {number + 1}"):
                    bags += self._bags(item)
                    if isinstance(item, Refused):
                        letters.append(self._letter(item, message))
                    if isinstance(item, Unmapped):
                        self.metrics.unmapped.labels(reason=item.reason).inc()
                    if isinstance(item, Refused | Unmapped):
                        findings.append((_finding(item),))
        return Taken(
            parcel=Parcel(bags=tuple(bags), letters=tuple(letters)),
            messages=len(found),
            findings=tuple(findings),
        )

    def _bags(self, item: Item) -> list[Bag]:
        if not isinstance(item, Told):
            return []
        events = item.events
        return [
            Bag(
                workflow=item.workflow,
                execution=item.execution,
                events=events[at : at + BAG_SIZE],
                producer=self.producer,
            )
            for at in range(0, len(events), BAG_SIZE)
        ]

    def _letter(self, refused: Refused, source: Any) -> DeadLetter:
        self._letters += 1
        self.metrics.rejected.labels(reason=refused.reason).inc()
        return letter(
            source,
            origin=Origin(topic=OPENLINEAGE, partition=0, offset=self._letters),
            key=run_key("openlineage", ""),
            reason=refused.reason,
            error=Refused.__name__,
            message=refused.message,
            at=self.now(),
        )


def _finding(item: Refused | Unmapped) -> Finding:
    code = f"E-{item.reason}" if isinstance(item, Refused) else "W004"
    return Finding(code=code, type=item.reason, explanation=f"{item.where}: {item.message}")
