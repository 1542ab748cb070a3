"""Instants of other tools as ours: whole microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from headstream.capture.gateway.errors import MessageRefused

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly; a time without a zone is taken for UTC. Raises MessageRefused."""
    try:
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise MessageRefused("bad-time", f"{moment} is outside the years 1 to 9999") from error
    return (aware - _EPOCH) // _MICROSECOND
