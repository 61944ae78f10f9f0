"""How long a provider asks to be left alone, and what time it says it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 3600.0
"""No header makes a job wait for more than an hour at a time."""

_SECONDS = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{0,400})?")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` into seconds between 0 and 3600; None where it is missing or says nothing.

    It may be seconds or a date. A date is compared with the server's own `Date`, so a wrong clock on either side does
    no harm; without that header a date says nothing.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return _clamped(float(text))
    until, now = _moment(text), _moment(headers.get("date", "").strip())
    if until is None or now is None:
        return None
    return _clamped((until - now).total_seconds())


def server_now(headers: Mapping[str, str]) -> float | None:
    """Read the server's own time, in Unix seconds, off its `Date`; None where it does not say."""
    moment = _moment(headers.get("date", "").strip())
    return None if moment is None else moment.timestamp()


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST)
