"""What steps of one transformation inside one run or step have in common, said once for all of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from headstream.capture.forms import Plan
from headstream.capture.wire import named

if TYPE_CHECKING:
    from headstream.capture.recorder import Recorder
    from headstream.capture.step import Step


class Family:
    """Steps that differ in their ordinal alone: parent, name, and what their task ids begin and end with.

    The suffix is that of the process which opens them, so a forked child has families of its own.
    """

    __slots__ = (
        "at",
        "counter",
        "cycle",
        "epoch",
        "key",
        "mark",
        "name",
        "parent",
        "plan",
        "prefix",
        "process",
        "recorder",
        "segment",
        "suffix",
    )

    def __init__(
        self,
        recorder: Recorder,
        parent: Step | None,
        name: str,
        counter: count[int],
        *,
        mark: str = "",
        cycle: bool = False,
    ) -> None:
        self.recorder = recorder
        self.parent = parent
        self.name = name
        # Loops that are alike: their name and that of the step around them.
        self.key = name, None if parent is None else parent.name
        self.counter = counter
        # Steps of other names have the same ordinals: this keeps apart what lies inside of them.
        self.mark = mark
        self.cycle = cycle
        self.prefix = "" if parent is None else f"{parent.path}."
        self.suffix = recorder.suffix
        self.process = recorder.process
        self.plan: Plan = recorder.plan(name)
        # Which segment of the spool has this family, at which offset, and with which enclosing steps.
        self.segment: object = None
        self.at = 0
        self.epoch: object = None

    def task_id(self, ordinal: int) -> str:
        """The task id of the step with this ordinal."""
        return f"{self.prefix}{ordinal}{self.suffix}"

    def ref(self, ordinal: int) -> str:
        """The same with its transformation, as JSON. Prefix and suffix are digits, dots and letters."""
        return f'[{named(self.name).text},"{self.task_id(ordinal)}"]'

    def text(self) -> bytes:
        """The payload of its frame (frames.py), with what encloses its steps now."""
        parent = self.parent
        around, enclosing = ("null", "") if parent is None else (parent.ref, parent.enclosing())
        cycle = "true" if self.cycle else "false"
        return (
            f'[{named(self.name).text},{around},"{self.prefix}","{self.suffix}",{cycle},[{enclosing}]]'
        ).encode()
