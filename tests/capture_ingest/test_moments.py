"""Times of other tools become whole microseconds, exactly, whatever the zone and the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.ingest.moments import microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), ZONES)
def test_no_microsecond_is_lost(moment: datetime, zone: timezone) -> None:
    there = moment.replace(tzinfo=zone)
    assert EPOCH + timedelta(microseconds=microseconds(there)) == there


@given(st.datetimes())
def test_a_time_without_a_zone_is_taken_for_utc(moment: datetime) -> None:
    assert microseconds(moment) == microseconds(moment.replace(tzinfo=UTC))


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_outside_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        microseconds(datetime.fromisoformat(text))
    assert refused.value.reason == "bad-time"
