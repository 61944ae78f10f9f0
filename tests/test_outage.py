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
from runner.outage import FAILURES, LONGEST_EXCUSE, LONGEST_GAP, LONGEST_LOST_GAP, Gate, Outage

DOWN = Delayed(Cause.PROVIDER_ERROR, "HTTP 503", provider_wide=True)
UNREACHED = Delayed(Cause.NO_CONNECTION, "no route", provider_wide=True)
NOT_SENT = Refused(Cause.NO_CONNECTION, "no route", provider_wide=True)
LOST = Unclear("HTTP 502")
BUSY = Refused(Cause.RATE_LIMITED, "slow down", provider_wide=True)
TOO_LATE = Refused(Cause.NO_CONNECTION, "the right to send had expired", retry_after=0.0)


def learn(outage: Outage, event: Event, job: int, now: float, *, paid: bool = False) -> None:
    """A question about a job, or its submit, came to `event`."""
    (outage.submitted if paid else outage.asked)(event, job, now)


def gate(outage: Outage, *, paid: bool = False) -> Gate:
    """What lets questions, or submits, through."""
    return outage.submits if paid else outage.questions


def away(event: Event = DOWN, *, paid: bool = False) -> Outage:
    """An outage that has just begun, at second 0."""
    outage = Outage()
    for job in range(FAILURES):
        learn(outage, event, job, 0.0, paid=paid)
    assert gate(outage, paid=paid).closed
    return outage


def probe(outage: Outage, event: Event, now: float, *, paid: bool = False) -> None:
    """One request tries, and comes back with `event`."""
    gate(outage, paid=paid).leaves(1)
    learn(outage, event, 1, now, paid=paid)
    gate(outage, paid=paid).back(1, now)


@pytest.mark.parametrize(
    ("event", "paid"), [(DOWN, False), (UNREACHED, False), (NOT_SENT, True), (LOST, True)]
)
def test_a_few_useless_answers_in_a_row_close_the_gate(event: Event, paid: bool) -> None:
    """One hiccup stops nobody; after the third in a row without a good answer, one request at a time goes."""
    outage = Outage()
    for job in range(FAILURES):
        assert gate(outage, paid=paid).wait(0.0) == 0.0
        learn(outage, event, job, 0.0, paid=paid)
    assert gate(outage, paid=paid).wait(0.0) > 0.0


QUESTIONS = [
    Progressed("running"),
    Finished(()),
    Accepted(Remote("1")),
    Rejected(Cause.CONTENT_POLICY),
    Delayed(Cause.LOST_REMOTE),
    Delayed(Cause.PROVIDER_ERROR, "HTTP 200, a result that names no file"),
]
SUBMITS = [
    Accepted(Remote("1")),
    Finished(()),
    Rejected(Cause.CONTENT_POLICY),
    Refused(Cause.OUT_OF_MONEY, provider_wide=True),
]


@pytest.mark.parametrize(
    ("answer", "paid"),
    [*[(each, False) for each in QUESTIONS], *[(each, True) for each in SUBMITS]],
)
def test_any_answer_opens_the_gate_that_it_came_through(answer: Event, paid: bool) -> None:
    """Whoever answers is there, whatever the answer says; and what failed before it counts no more."""
    useless = LOST if paid else DOWN
    outage = away(useless, paid=paid)
    probe(outage, answer, 100.0, paid=paid)
    opened = gate(outage, paid=paid)
    assert opened.wait(100.0) == 0.0
    for job in range(FAILURES - 1):
        learn(outage, useless, job, 100.0, paid=paid)
    learn(outage, answer, 0, 100.0, paid=paid)
    learn(outage, useless, 1, 100.0, paid=paid)
    assert not opened.closed


@pytest.mark.parametrize("silent", [TOO_LATE, BUSY])
def test_what_does_not_show_that_jobs_are_taken_changes_nothing(silent: Event) -> None:
    """A right that was over before anything was sent, and a proxy's 429, neither begin nor end an outage."""
    outage = Outage()
    for job in range(10):
        learn(outage, silent, job, 0.0, paid=True)
    assert not outage.submits.closed
    outage = away(LOST, paid=True)
    probe(outage, silent, 100.0, paid=True)
    assert outage.submits.closed


def test_one_job_is_no_outage() -> None:
    """A job that the server always fails on holds up no other; where nobody is reached at all, one job is enough."""
    outage = Outage()
    for _ in range(50):
        learn(outage, DOWN, 1, 0.0)
    assert outage.questions.wait(0.0) == 0.0
    for _ in range(FAILURES):
        learn(outage, UNREACHED, 1, 0.0)
    assert outage.questions.closed
    # Submits find out for themselves: one that isn't sent costs nothing.
    assert outage.submits.wait(0.0) == 0.0
    probe(outage, UNREACHED, 10.0)
    assert outage.submits.wait(10.0) == 0.0
    learn(outage, UNREACHED, 2, 10.0)
    assert outage.submits.wait(10.0) > 0.0


def test_one_request_tries_once_a_minute() -> None:
    """While one tries nobody else asks; the pauses grow to a minute and no further."""
    outage, now, gaps = away(), 0.0, []
    questions = outage.questions
    for _ in range(2000):
        gaps.append(questions.wait(now))
        now += gaps[-1]
        questions.leaves(1)
        assert questions.wait(now) == math.inf
        learn(outage, DOWN, 2, now)  # one that was on its way before
        assert questions.wait(now) == math.inf
        learn(outage, DOWN, 1, now)
        questions.back(1, now)
    assert gaps == sorted(gaps)
    assert gaps[0] <= 5.0
    assert gaps[-1] == LONGEST_GAP == 60.0


def test_submits_try_seldom() -> None:
    """A submit without an answer leaves a job in doubt: the next one waits longer each time, up to half an hour."""
    outage, now, tries = away(LOST, paid=True), 0.0, 0
    while (now := now + outage.submits.wait(now)) < 6 * 3600.0:
        probe(outage, LOST, now, paid=True)
        probe(outage, DOWN, now)
        tries += 1
    assert tries <= 18
    assert outage.submits.wait(now - LONGEST_LOST_GAP) <= 2 * LONGEST_LOST_GAP


def test_a_submit_that_is_not_sent_costs_nothing() -> None:
    """Where there is no connection at all, submits try as often as questions do."""
    outage, now = away(NOT_SENT, paid=True), 0.0
    for _ in range(10):
        now += outage.submits.wait(now)
        probe(outage, NOT_SENT, now, paid=True)
    assert outage.submits.wait(now) == LONGEST_GAP


def test_good_answers_to_questions_excuse_no_lost_submit() -> None:
    """A provider that answers polls and loses submits gets few of them: only a submit's own answer counts for it."""
    outage = Outage()
    for job in range(FAILURES):
        learn(outage, LOST, job, 0.0, paid=True)
        learn(outage, Progressed("running"), 100 + job, 0.0)
    assert outage.submits.closed
    assert not outage.questions.closed
    learn(outage, Progressed("running"), 100, 10.0)
    assert outage.submits.wait(10.0) > 0.0


def test_questions_find_out_for_submits() -> None:
    """While questions fail submits wait for half an hour at most; one tries as soon as a question was answered."""
    outage = away()
    assert outage.submits.wait(0.0) == LONGEST_LOST_GAP
    probe(outage, DOWN, 10.0)
    assert outage.submits.wait(10.0) == LONGEST_LOST_GAP - 10.0
    probe(outage, Progressed("running"), 100.0)
    assert (outage.submits.wait(100.0), outage.submits.closed) == (0.0, True)
    probe(outage, Accepted(Remote("1")), 100.0, paid=True)
    assert not outage.submits.closed


def test_a_moment_without_connection_costs_no_later_hint() -> None:
    """Questions about one job closed alone and opened again: the next outage's end is told to submits all the same."""
    outage = Outage()
    for _ in range(FAILURES):
        learn(outage, UNREACHED, 1, 0.0)
    probe(outage, Progressed("running"), 15.0)
    for job in range(FAILURES):
        learn(outage, DOWN, job, 100.0)
    assert outage.submits.wait(100.0) == LONGEST_LOST_GAP
    probe(outage, Progressed("running"), 160.0)
    assert outage.submits.wait(160.0) == 0.0


def test_answers_that_come_and_go_cost_one_submit() -> None:
    """While submits are lost, a question that is answered now and then lets one try at once, and then no more."""
    outage, tries = away(LOST, paid=True), 0
    for second in range(0, 3600, 20):
        now = float(second)
        for job in range(FAILURES):
            learn(outage, DOWN, job, now)
        probe(outage, Progressed("running"), now)
        if outage.submits.wait(now) <= 0.0:
            probe(outage, LOST, now, paid=True)
            tries += 1
    assert tries <= 8


def test_a_late_answer_proves_nothing() -> None:
    """A submit that left before the outage and was answered in it neither ends it nor ends the excuses."""
    outage = away()
    learn(outage, Accepted(Remote("1")), 9, 15.0, paid=True)
    assert outage.submits.wait(15.0) > 0.0
    assert outage.excuses(20.0)


def test_questions_that_fail_for_good_do_not_stop_submits() -> None:
    """Once a submit was taken, submits go on whatever questions come to, and their failures count for their jobs."""
    outage = away()
    assert outage.excuses(10.0)
    probe(outage, Accepted(Remote("1")), 1800.0, paid=True)
    for second in range(1800, 9000, 60):
        probe(outage, DOWN, float(second))
        assert outage.submits.wait(float(second)) == 0.0
    assert not outage.submits.closed
    assert outage.questions.closed
    assert not outage.excuses(9000.0)


def test_a_request_that_comes_back_with_nothing_does_not_end_the_trying() -> None:
    """One that was cancelled, or that says nothing of the provider, makes room for the next."""
    questions = away().questions
    questions.leaves(1)
    questions.back(2, 10.0)
    assert questions.wait(10.0) == math.inf
    questions.back(1, 10.0)
    assert 0.0 < questions.wait(10.0) <= LONGEST_GAP


def test_an_outage_is_no_excuse_for_ever() -> None:
    """After half a day useless answers count for their jobs again, so that a run ends."""
    outage = away()
    assert outage.excuses(LONGEST_EXCUSE - 1.0)
    assert not outage.excuses(LONGEST_EXCUSE + 1.0)
    assert not Outage().excuses(0.0)


def test_a_clock_that_is_set_back_prolongs_nothing() -> None:
    """Set back by a day, the next try is as far away as before."""
    outage = away()
    before = outage.questions.wait(0.0), outage.submits.wait(0.0)
    outage.set_back(86_400.0)
    assert (outage.questions.wait(-86_400.0), outage.submits.wait(-86_400.0)) == before
    assert outage.excuses(-86_400.0)
