"""Errors of the gateway.

GatewayError
`-- MessageRefused     a message that cannot be translated; never leaves this folder, see `Rejected`
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of everything the gateway raises."""


class MessageRefused(GatewayError):
    """A message breaks a rule of the protocol; `reason` is a stable name that counters can use."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
