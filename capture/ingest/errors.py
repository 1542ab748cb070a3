"""Errors of the importers.

CaptureError
`-- SourceUnreadable     a file or folder is not what it was given as, or cannot be read at all

A record that breaks a rule is no exception but data: `Refused` (told.py).
"""

from __future__ import annotations

from headstream.capture.errors import CaptureError


class SourceUnreadable(CaptureError):
    """Nothing of a source can be read; the message says which, why, and what would do."""
