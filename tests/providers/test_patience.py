"""Retry-After, as strangers write it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.providers import retry_after

NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("text", "date", "expected"),
    [
        ("7", "", 7.0),
        (" 12 ", "", 12.0),
        ("0.5", "", 0.5),
        ("0", "", 0.0),
        ("-30", "", 0.0),
        ("+3", "", 3.0),
        ("999999999999999999999", "", 3600.0),
        ("9" * 400, "", 3600.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", NOW, 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", NOW, 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOW, 3600.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", NOW, 30.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "yesterday", None),
        ("soon", NOW, None),
        ("", NOW, None),
        ("1e3", "", None),
        ("nan", "", None),
        ("inf", "", None),
        ("\u0667", "", None),
        ("7; max", "", None),
    ],
)
def test_waits(text: str, date: str, expected: float | None) -> None:
    """Seconds and dates become seconds from 0 to an hour; anything else says nothing."""
    assert retry_after({"retry-after": text, "date": date}) == expected


def test_without_the_header_nothing_is_said() -> None:
    """A missing header is no wait of zero."""
    assert retry_after({}) is None


@given(st.text(), st.text())
def test_any_text_is_a_wait_within_an_hour_or_nothing(text: str, date: str) -> None:
    """No header can crash us or make a job wait for longer than an hour."""
    wait = retry_after({"retry-after": text, "date": date})
    assert wait is None or 0 <= wait <= 3600


@given(st.datetimes(), st.datetimes())
def test_any_two_dates_are_a_wait_within_an_hour(until: object, now: object) -> None:
    """Dates in any year are compared without overflow."""
    from email.utils import format_datetime

    headers = {"retry-after": format_datetime(until), "date": format_datetime(now)}  # type: ignore[arg-type]
    wait = retry_after(headers)
    assert wait is None or 0 <= wait <= 3600


@pytest.mark.soak
@settings(max_examples=10_000)
@given(
    st.text(alphabet="0123456789+-.eE GMTWedOct:,\u0667", max_size=40), st.sampled_from([NOW, ""])
)
def test_text_like_a_wait_is_one_or_nothing(text: str, date: str) -> None:
    """What looks like seconds or like a date, ten thousand times."""
    wait = retry_after({"retry-after": text, "date": date})
    assert wait is None or 0 <= wait <= 3600
