"""Whether a submit may go now: situations, one by one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.causes import Cause
from runner.events import Refused
from runner.limiter import (
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    LONGEST_LIMITED,
    LONGEST_PAUSE,
    STRIKES,
    Limiter,
)
from runner.limits import LONGEST_PROBE, Limits, Rate

T0 = 1_800_000_000.0
BUSY = Refused(Cause.RATE_LIMITED, "slow down", provider_wide=True)
CROWDED = Refused(Cause.RATE_LIMITED, "too many tasks", crowded=True)
BAD_KEY = Refused(Cause.BAD_KEY, "who are you", provider_wide=True)


def sent(limiter: Limiter, count: int, now: float = T0) -> None:
    """So many submits that were all taken."""
    for _ in range(count):
        limiter.sending(now)
        limiter.answered(now)
        limiter.accepted()


def holds(limiter: Limiter) -> bool:
    """Whether nothing goes before a person has looked."""
    return limiter.held


def refuse(limiter: Limiter, event: Refused, now: float = T0) -> None:
    """One submit that was not taken."""
    limiter.sending(now)
    limiter.answered(now)
    limiter.left()
    limiter.refused(event, now)


def test_an_unlimited_provider_takes_submits_at_once() -> None:
    """Where no limit is known, the next submit goes now."""
    limiter = Limiter(Limits())
    sent(limiter, 100)
    assert limiter.room(T0).wait == 0
    assert limiter.cap is None


def test_submits_in_the_air_are_few() -> None:
    """What is at risk when the process is killed is capped, and an answer makes room."""
    limiter = Limiter(Limits(posts=2))
    limiter.sending(T0)
    limiter.sending(T0)
    room = limiter.room(T0)
    assert (room.wait, room.why) == (math.inf, "2 submits in the air")
    limiter.answered(T0)
    assert limiter.room(T0).wait == 0


def test_jobs_in_flight_are_capped() -> None:
    """A full provider has room again when a job has left it, and not before."""
    limiter = Limiter(Limits(in_flight=3))
    sent(limiter, 3)
    room = limiter.room(T0 + 3600)
    assert (room.wait, room.why) == (math.inf, "3 in flight, 3 allowed")
    limiter.left()
    assert limiter.room(T0).wait == 0


def test_a_rate_says_when_and_why() -> None:
    """A used-up window says how long it takes and which limit it is."""
    limiter = Limiter(Limits(submits=Rate(1, 60.0), requests=Rate(100, 1.0)))
    sent(limiter, 1)
    room = limiter.room(T0 + 15)
    assert (room.wait, room.why) == (45.0, "limit 1/1m")
    assert limiter.room(T0 + 60).wait == 0


def test_polls_count_as_requests_and_not_as_submits() -> None:
    """A limit on requests is shared by submits and polls; a limit on submits is not touched by polls."""
    limiter = Limiter(Limits(submits=Rate(1, 60.0), requests=Rate(1, 10.0)))
    limiter.asking(T0)
    assert limiter.request_wait(T0) == math.inf
    limiter.told(T0)
    assert limiter.request_wait(T0) == 10.0
    assert (limiter.room(T0).wait, limiter.room(T0).why) == (10.0, "limit 1/10s")
    assert limiter.room(T0 + 10).wait == 0


def test_a_submit_that_did_not_go_leaves_its_place() -> None:
    """An intent that was not made takes no place in flight or in the air."""
    limiter = Limiter(Limits(in_flight=1, posts=1))
    limiter.sending(T0)
    limiter.unsent(T0)
    assert (limiter.posts, limiter.in_flight) == (0, 0)
    assert limiter.room(T0).wait == 0


def test_an_answer_for_one_job_slows_nobody_else() -> None:
    """A refusal that speaks only for its job leaves the provider open."""
    limiter = Limiter(Limits())
    refuse(limiter, Refused(Cause.RATE_LIMITED, "this one", retry_after=60.0))
    assert limiter.room(T0).wait == 0
    assert limiter.cause is None


def test_a_pause_is_as_long_as_the_provider_says() -> None:
    """Retry-After is obeyed, and the reason is shown meanwhile."""
    limiter = Limiter(Limits())
    refuse(limiter, Refused(Cause.RATE_LIMITED, provider_wide=True, retry_after=17.0))
    assert (limiter.room(T0).wait, limiter.room(T0).why) == (17.0, "paused: rate_limited")
    assert limiter.room(T0 + 17).wait == 0


@pytest.mark.parametrize(("said", "waits"), [(0.0, 0.5), (-5.0, 0.5), (1e12, LONGEST_PAUSE)])
def test_a_provider_cannot_say_anything_it_likes(said: float, waits: float) -> None:
    """No pause is nothing, and none is for ever."""
    limiter = Limiter(Limits())
    refuse(limiter, Refused(Cause.RATE_LIMITED, provider_wide=True, retry_after=said))
    assert limiter.room(T0).wait == waits


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Of two answers the one that asks for more patience holds."""
    limiter = Limiter(Limits())
    refuse(limiter, Refused(Cause.RATE_LIMITED, provider_wide=True, retry_after=60.0))
    refuse(limiter, Refused(Cause.RATE_LIMITED, provider_wide=True, retry_after=1.0))
    assert limiter.room(T0).wait == 60.0


def test_backoff_grows_and_starts_over() -> None:
    """Without a word on how long, waits double up to a minute, and the first job taken sets them back."""
    limiter, now, waits = Limiter(Limits()), T0, []
    for _ in range(8):
        refuse(limiter, BUSY, now)
        waits.append(limiter.room(now).wait)
        now += waits[-1]
    assert waits == [FIRST_BACKOFF * 2**n for n in range(5)] + [LONGEST_BACKOFF] * 3
    sent(limiter, 1, now)
    assert limiter.cause is None
    refuse(limiter, BUSY, now)
    assert limiter.room(now).wait == FIRST_BACKOFF


@pytest.mark.parametrize("cause", [Cause.BAD_KEY, Cause.OUT_OF_MONEY, Cause.NOT_PERMITTED])
def test_two_refusals_of_the_account_hold_the_provider(cause: Cause) -> None:
    """One such answer may be a hiccup and is a pause; after two, nothing more is sent until a person has looked."""
    limiter = Limiter(Limits())
    event = Refused(cause, "no", provider_wide=True)
    refuse(limiter, event)
    assert not holds(limiter)
    assert limiter.room(T0 + LONGEST_PAUSE).wait == 0
    refuse(limiter, event, T0 + 60)
    assert holds(limiter)
    assert (limiter.room(T0 + 1e6).wait, limiter.room(T0 + 1e6).why) == (math.inf, f"held: {cause}")


@pytest.mark.parametrize("cause", [Cause.NO_CONNECTION, Cause.PROVIDER_ERROR])
def test_troubles_that_pass_never_hold_a_provider(cause: Cause) -> None:
    """A night of timeouts is a slow night, not one that a person has to end."""
    limiter = Limiter(Limits())
    for turn in range(100):
        refuse(limiter, Refused(cause, provider_wide=True), T0 + 60 * turn)
    assert not holds(limiter)
    assert limiter.room(T0 + 60 * 100).wait == 0


def test_an_hour_of_nothing_but_too_busy_holds_the_provider() -> None:
    """Gateways say "too busy" when they have no money left themselves: after an hour a person should look."""
    limiter = Limiter(Limits())
    refuse(limiter, BUSY, T0)
    refuse(limiter, BUSY, T0 + LONGEST_LIMITED)
    assert not holds(limiter)
    refuse(limiter, BUSY, T0 + LONGEST_LIMITED + 1)
    assert holds(limiter)


def test_a_job_taken_now_and_then_is_no_hour_of_nothing() -> None:
    """The hour begins anew with each job that was taken."""
    limiter = Limiter(Limits())
    for turn in range(10):
        refuse(limiter, BUSY, T0 + turn * LONGEST_LIMITED)
        sent(limiter, 1, T0 + turn * LONGEST_LIMITED + 100)
    assert not holds(limiter)


def test_a_provider_has_to_prove_itself() -> None:
    """Until it took a job, and again after it refused the account, few submits are in the air at once."""
    limiter = Limiter(Limits(posts=8))
    for _ in range(STRIKES):
        assert limiter.room(T0).wait == 0
        limiter.sending(T0)
    assert limiter.room(T0).why == f"{STRIKES} submits in the air"
    limiter.answered(T0)
    limiter.accepted()
    for _ in range(7):
        assert limiter.room(T0).wait == 0
        limiter.sending(T0)
    assert limiter.room(T0).why == "8 submits in the air"


@pytest.mark.parametrize("again", [True, False])
def test_a_hold_outlives_its_run(again: bool) -> None:
    """What held the provider is known to the next run, which sends one probe if it may, and none if not."""
    limiter = Limiter(Limits(posts=8))
    limiter.remember(3, Cause.OUT_OF_MONEY, "balance", T0, again=again)
    assert (limiter.cap, limiter.held, limiter.cause) == (3, not again, Cause.OUT_OF_MONEY)
    if again:
        limiter.sending(T0)
        assert limiter.room(T0).why == "1 submits in the air"
        limiter.answered(T0)
        limiter.left()
        limiter.refused(Refused(Cause.OUT_OF_MONEY, provider_wide=True), T0)
        assert holds(limiter)


def test_one_refusal_of_the_account_after_other_trouble_is_still_one() -> None:
    """A network that flaps and then a single odd 401 do not end the night."""
    limiter = Limiter(Limits())
    for turn in range(5):
        refuse(limiter, Refused(Cause.NO_CONNECTION, provider_wide=True), T0 + turn)
    refuse(limiter, BAD_KEY, T0 + 6)
    assert not holds(limiter)
    refuse(limiter, BAD_KEY, T0 + 7)
    assert holds(limiter)


def test_a_job_taken_after_all_opens_the_provider() -> None:
    """Answers can overtake each other: when a job is taken, the account is good, and no hold stays without a cause."""
    limiter = Limiter(Limits())
    limiter.sending(T0)
    refuse(limiter, BAD_KEY)
    refuse(limiter, BAD_KEY)
    assert holds(limiter)
    limiter.answered(T0 + 1)
    limiter.accepted()
    assert not holds(limiter)
    assert limiter.room(T0 + 60).wait == 0


def test_a_crowded_provider_is_given_no_more_than_it_took() -> None:
    """A refusal for crowding sets the ceiling to what is in flight, and it holds until a job ends."""
    limiter = Limiter(Limits())
    sent(limiter, 5)
    refuse(limiter, CROWDED)
    assert limiter.cap == 5
    assert limiter.room(T0).why == "5 in flight, 5 allowed"
    limiter.left()
    assert limiter.room(T0).wait == 0


def test_submits_in_the_air_are_not_counted_as_taken() -> None:
    """Whoever is refused while others are in the air sends no more; if those are refused too, only the taken count."""
    limiter = Limiter(Limits())
    sent(limiter, 3)
    for _ in range(3):
        limiter.sending(T0)
    for _ in range(3):
        limiter.answered(T0)
        limiter.left()
        limiter.refused(CROWDED, T0)
        assert limiter.room(T0).wait > 0
    assert (limiter.ceiling, limiter.in_flight) == (3, 3)


def test_a_provider_that_is_crowded_by_others_is_asked_again() -> None:
    """With none of our jobs in flight there is no number to find: all wait a little, and the cap stays open."""
    limiter = Limiter(Limits())
    refuse(limiter, Refused(Cause.RATE_LIMITED, "too many tasks", provider_wide=True, crowded=True))
    assert limiter.ceiling is None
    assert limiter.room(T0).wait == FIRST_BACKOFF
    assert limiter.room(T0 + FIRST_BACKOFF).wait == 0


def test_a_clock_that_is_set_back_lengthens_no_pause() -> None:
    """When the clock is set back, what was waited for is as far away as before."""
    limiter = Limiter(Limits())
    sent(limiter, 1)
    refuse(limiter, Refused(Cause.RATE_LIMITED, provider_wide=True, retry_after=60.0))
    limiter.set_back(3600.0)
    assert limiter.room(T0 - 3600).wait == 60.0


def test_the_ceiling_is_probed() -> None:
    """After a while one job more is tried, one at a time, and as rarely after each refusal."""
    limiter, now, waits = Limiter(Limits()), T0, []
    sent(limiter, 2)
    for _ in range(5):
        refuse(limiter, CROWDED, now)
        wait = limiter.room(now).wait
        assert limiter.room(now + wait - 0.1).wait > 0
        now += wait
        assert limiter.room(now).wait == 0
        waits.append(wait)
    assert waits == [LONGEST_PROBE] * 5
    limiter.sending(now)
    assert limiter.room(now).wait == math.inf


def test_a_probe_that_is_taken_is_followed_by_another() -> None:
    """When a provider has grown, its ceiling grows job by job, as fast as the answers come."""
    limiter, now = Limiter(Limits()), T0
    sent(limiter, 2)
    refuse(limiter, CROWDED, now)
    now += LONGEST_PROBE
    for expected in (3, 4, 5):
        assert limiter.room(now).wait == 0
        sent(limiter, 1, now)
        assert (limiter.in_flight, limiter.ceiling) == (expected, expected)


def test_a_probe_waits_as_long_as_the_provider_says() -> None:
    """Retry-After on a refusal for crowding puts the next try off, within reason."""
    limiter = Limiter(Limits())
    sent(limiter, 2)
    refuse(limiter, Refused(Cause.RATE_LIMITED, crowded=True, retry_after=LONGEST_PROBE + 7.0))
    assert limiter.room(T0).wait == LONGEST_PROBE + 7.0
    refuse(limiter, Refused(Cause.RATE_LIMITED, crowded=True, retry_after=1e12))
    assert limiter.room(T0).wait == LONGEST_PAUSE


def test_a_probe_never_passes_what_the_user_allows() -> None:
    """Probing finds out what the provider takes; the user's cap stays."""
    limiter = Limiter(Limits(in_flight=2))
    sent(limiter, 2)
    refuse(limiter, CROWDED)
    assert limiter.room(T0 + 1e6).wait == math.inf
    assert limiter.cap == 2


def test_a_restart_keeps_the_window() -> None:
    """What the last run sent still counts in this one."""
    limiter = Limiter(Limits(submits=Rate(2, 60.0), requests=Rate(4, 60.0)))
    limiter.resume_from([T0 - 50, T0 - 10])
    assert (
        limiter.room(T0).wait == 20.0
    )  # the pace after the latest; the first permit is back after ten
    assert limiter.room(T0 + 20).wait == 0
    sent(limiter, 1, T0 + 20)
    assert limiter.room(T0 + 49).wait > 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "taken", "busy", "crowded", "bad key", "end", "unsent"]),
        st.floats(0, 100),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(STEPS)
def test_the_counts_are_kept_and_the_waits_make_sense(steps: list[tuple[str, float]]) -> None:
    """In any order of things, no limit is passed, no wait is negative, and every wait has a reason."""
    limiter = Limiter(Limits(in_flight=4, posts=2, submits=Rate(3, 10.0)))
    now, flying = T0, 0
    events = {"busy": BUSY, "crowded": CROWDED, "bad key": BAD_KEY}
    for what, later in steps:
        now += later
        room = limiter.room(now)
        assert room.wait >= 0
        assert bool(room.why) == (room.wait > 0)
        if what == "send" and room.wait == 0:
            limiter.sending(now)
        elif what == "end" and flying:
            flying -= 1
            limiter.left()
        elif what == "unsent" and limiter.posts:
            limiter.unsent(now)
        elif what == "taken" and limiter.posts:
            limiter.answered(now)
            limiter.accepted()
            flying += 1
        elif what in events and limiter.posts:
            limiter.answered(now)
            limiter.left()
            limiter.refused(events[what], now)
        assert limiter.in_flight == flying + limiter.posts <= 4
        assert 0 <= limiter.posts <= 2
