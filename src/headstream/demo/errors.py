"""Errors of the demo.

CommandError
`-- DemoFailed
    |-- ScriptFailed      a script of the use case ended with an error
    `-- GraphIncomplete   what was captured did not reach the graph in time
"""

from __future__ import annotations

from headstream.errors import CommandError


class DemoFailed(CommandError):
    """The demo cannot go on."""


class ScriptFailed(DemoFailed):
    """A script ended with an error; its last words are in the message."""


class GraphIncomplete(DemoFailed):
    """The end of a run was captured but is not in the graph."""
