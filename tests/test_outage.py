"""Tests of `runner.outage`."""

from __future__ import annotations

import math

import pytest

from runner.causes import Cause
from runner.events import (
    Accepted,
    Delayed,
    Event,
    Finished,
    Progressed,
    Refused,
    Rejected,
    Remote,
    Unclear,
)
from runner.outage import FAILURES, LONGEST_EXCUSE, LONGEST_GAP, LONGEST_PAID_GAP, Outage

DOWN = Delayed(Cause.PROVIDER_ERROR, "HTTP 503", provider_wide=True)
UNREACHED = Delayed(Cause.NO_CONNECTION, "no route", provider_wide=True)
NOT_SENT = Refused(Cause.NO_CONNECTION, "no route", provider_wide=True)
LOST = Unclear("HTTP 502")
TOO_LATE = Refused(Cause.NO_CONNECTION, "the right to send had expired", retry_after=0.0)


def away(event: Event = DOWN, *, paid: bool = False) -> Outage:
    """An outage that has just begun, at second 0."""
    outage = Outage()
    for job in range(FAILURES):
        outage.learn(event, job, 0.0, paid=paid)
    assert outage.away
    return outage


def probe(outage: Outage, event: Event, now: float, *, paid: bool = False) -> None:
    """One request tries, and comes back with `event`."""
    outage.leaves(1)
    outage.learn(event, 1, now, paid=paid)
    outage.back(1, now)


@pytest.mark.parametrize(
    ("event", "paid"), [(DOWN, False), (UNREACHED, False), (NOT_SENT, True), (LOST, True)]
)
def test_a_few_useless_answers_in_a_row_are_an_outage(event: Event, paid: bool) -> None:
    """One hiccup stops nobody; the third useless answer without a good one between stops all but one request."""
    outage = Outage()
    for job in range(FAILURES):
        assert outage.wait(0.0) == outage.wait(0.0, paid=True) == 0.0
        outage.learn(event, job, 0.0, paid=paid)
    assert 0.0 < outage.wait(0.0) <= outage.wait(0.0, paid=True)


@pytest.mark.parametrize(
    "answer",
    [
        Progressed("running"),
        Finished(()),
        Accepted(Remote("1")),
        Rejected(Cause.CONTENT_POLICY),
        Refused(Cause.RATE_LIMITED, provider_wide=True),
        Delayed(Cause.LOST_REMOTE),
        Delayed(Cause.PROVIDER_ERROR, "HTTP 200, a result that names no file"),
    ],
)
def test_any_answer_ends_an_outage(answer: Event) -> None:
    """Whoever answers is there, whatever the answer says; and what failed before it counts no more."""
    outage = away()
    probe(outage, answer, 100.0)
    assert not outage.away
    assert outage.wait(100.0) == 0.0
    for job in range(FAILURES - 1):
        outage.learn(DOWN, job, 100.0)
    outage.learn(answer, 0, 100.0)
    outage.learn(DOWN, 1, 100.0)
    assert not outage.away


@pytest.mark.parametrize("silent", [TOO_LATE, Unclear("a look-up that proves nothing")])
def test_what_says_nothing_of_the_provider_changes_nothing(silent: Event) -> None:
    """A right to send that expired here, or a look-up that proved nothing, neither begins nor ends an outage."""
    outage = Outage()
    for job in range(10):
        outage.learn(silent, job, 0.0)
    assert not outage.away
    outage = away()
    outage.learn(silent, 1, 10.0)
    assert outage.away


def test_one_job_is_no_outage() -> None:
    """A job that the server always fails on holds up no other; where nobody is reached at all, one job is enough."""
    outage = Outage()
    for _ in range(50):
        outage.learn(DOWN, 1, 0.0)
    assert not outage.away
    for _ in range(FAILURES):
        outage.learn(UNREACHED, 1, 0.0)
    assert outage.away


def test_one_request_tries_once_a_minute() -> None:
    """While one tries nobody else asks; the pauses grow to a minute and no further."""
    outage, now, gaps = away(), 0.0, []
    for _ in range(10):
        gaps.append(outage.wait(now))
        now += gaps[-1]
        outage.leaves(1)
        assert outage.wait(now) == outage.wait(now, paid=True) == math.inf
        outage.learn(DOWN, 2, now)  # one that was on its way before
        assert outage.wait(now) == math.inf
        outage.learn(DOWN, 1, now)
        outage.back(1, now)
    assert gaps == sorted(gaps)
    assert gaps[0] <= 5.0
    assert gaps[-1] == LONGEST_GAP == 60.0


def test_submits_try_seldom() -> None:
    """A submit without an answer leaves a job in doubt: the next one waits longer each time, up to half an hour."""
    outage, now, tries = away(LOST, paid=True), 0.0, 0
    while (now := now + outage.wait(now, paid=True)) < 6 * 3600.0:
        probe(outage, LOST, now, paid=True)
        tries += 1
    assert tries <= 18
    assert outage.wait(now - LONGEST_PAID_GAP, paid=True) <= 2 * LONGEST_PAID_GAP


def test_a_submit_that_is_not_sent_costs_nothing() -> None:
    """Where there is no connection at all, submits try as often as questions do."""
    outage, now = away(NOT_SENT, paid=True), 0.0
    for _ in range(10):
        now += outage.wait(now, paid=True)
        probe(outage, NOT_SENT, now, paid=True)
    assert outage.wait(now, paid=True) == outage.wait(now) == LONGEST_GAP


def test_a_request_that_comes_back_with_nothing_does_not_end_the_trying() -> None:
    """One that was cancelled, or that says nothing of the provider, makes room for the next."""
    outage = away()
    outage.leaves(1)
    outage.back(2, 10.0)
    assert outage.wait(10.0) == math.inf
    outage.back(1, 10.0)
    assert 0.0 < outage.wait(10.0) <= LONGEST_GAP


def test_an_outage_is_no_excuse_for_ever() -> None:
    """After half a day useless answers count for their jobs again, so that a run ends."""
    outage = away()
    assert outage.excuses(LONGEST_EXCUSE - 1.0)
    assert not outage.excuses(LONGEST_EXCUSE + 1.0)
    assert not Outage().excuses(0.0)


def test_a_clock_that_is_set_back_prolongs_nothing() -> None:
    """Set back by a day, the next try is as far away as before."""
    outage = away()
    before = outage.wait(0.0)
    outage.set_back(86_400.0)
    assert outage.wait(-86_400.0) == before
    assert outage.excuses(-86_400.0)
