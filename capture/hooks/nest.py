"""Steps and loops that a library's callbacks begin and end, one call at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstream.capture import Iteration, Run, Step


class Feed:
    """What a loop iterates over that is driven from outside: it goes on until it is told to stop."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> None:
        if self.done:
            raise StopIteration


class Turns:
    """The turns of one loop: the next begins when `next` is called, and ends with `end_turn`."""

    __slots__ = ("_feed", "_turns", "expected", "turn")

    def __init__(self, inside: Run | Step, name: str, index_as: str, start: int) -> None:
        self._feed = Feed()
        self._turns = iter(inside.loop(name, self._feed, index_as=index_as, start=start))
        self.turn: Iteration[None] | None = None
        self.expected = start

    def next(self) -> Iteration[None]:
        self.expected += 1
        self.turn = next(self._turns)
        return self.turn

    def end_turn(self, error: BaseException | str | None = None) -> None:
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.end(error=error)

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End the turn that is open, and the loop."""
        self.end_turn(error)
        self._feed.done = True
        next(self._turns, None)


class Nest:
    """What is open now inside a run or step of the script, the outermost first."""

    def __init__(self, inside: Run | Step) -> None:
        self.inside = inside
        self._open: list[tuple[str, Step | Turns]] = []

    @property
    def here(self) -> Run | Step:
        """The innermost step that is open; a loop between two turns does not count."""
        for _, opened in reversed(self._open):
            if isinstance(opened, Step):
                return opened
            if opened.turn is not None:
                return opened.turn
        return self.inside

    def within(self, name: str) -> bool:
        """Tell whether a step or loop of this name is open."""
        return any(each == name for each, _ in self._open)

    def begin(self, name: str, used: Mapping[str, Any] | None = None) -> Step:
        """Begin a step inside the innermost one."""
        step = self.here.task(name, used=used).begin()
        self._open.append((name, step))
        return step

    def turn(self, name: str, index_as: str, index: int) -> Iteration[None]:
        """Begin the next turn of this loop and end what is open inside the last one.

        A loop that is not open, or whose next index is another, begins at this index.
        """
        turns = self._find(name)
        if turns is not None:
            self._end_above(name)
        if turns is None or turns.expected != index:
            self.leave(name)
            turns = Turns(self.here, name, index_as, index)
            self._open.append((name, turns))
        return turns.next()

    def current(self, name: str) -> Iteration[None] | None:
        """The open turn of this loop, if it has one."""
        turns = self._find(name)
        return None if turns is None else turns.turn

    def end_turn(self, name: str) -> None:
        """End the turn of this loop that is open, and what is open inside it."""
        turns = self._find(name)
        if turns is not None:
            self._end_above(name)
            turns.end_turn()

    def leave(self, name: str, error: BaseException | str | None = None) -> None:
        """End the step or loop of this name, and what is open inside it."""
        if self.within(name):
            self._end_above(name, error)
            self._open.pop()[1].end(error=error)

    def close(self, error: BaseException | str | None = None) -> None:
        """End everything, the innermost first."""
        while self._open:
            self._open.pop()[1].end(error=error)

    def _find(self, name: str) -> Turns | None:
        for each, opened in reversed(self._open):
            if each == name and isinstance(opened, Turns):
                return opened
        return None

    def _end_above(self, name: str, error: BaseException | str | None = None) -> None:
        while self._open[-1][0] != name:
            self._open.pop()[1].end(error=error)
