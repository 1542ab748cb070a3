"""Errors of the commands: one plain sentence each, told without a trace.

CommandError
|-- NotUp               nothing is running that could answer
|-- Unreadable          a file or location given to a command cannot be used
|-- NoSuchLetter        no dead letter has the given id
`-- ApiRefused          the query API answered with a problem
"""

from __future__ import annotations


class CommandError(Exception):
    """Base of what a command tells its user instead of doing what was asked."""


class NotUp(CommandError):
    """Nothing runs that could answer; the message says how to start it."""


class Unreadable(CommandError):
    """A file or location cannot be used."""


class NoSuchLetter(CommandError):
    """No dead letter has this id, or its retention is over."""


class ApiRefused(CommandError):
    """The query API refused: its problem document, in a sentence."""
