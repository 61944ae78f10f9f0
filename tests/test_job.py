"""The table of states, what a job becomes by an event, and what makes two jobs the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import events
from runner.causes import Cause
from runner.events import Artifact, Event, Remote, SavedFile
from runner.job import TRANSITIONS, IllegalTransition, Job, State, advanced, job_key, transition
from runner.store import Batch, Intent, SqliteStore, StateFolder
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")
KINDS: tuple[type[Event], ...] = get_args(Event)
EXAMPLES: dict[type[Event], Event] = {
    events.Intended: events.Intended(1, "ref", "digest", "winfull", T0 + 30, 350_000, "USD"),
    events.Accepted: events.Accepted(Remote("r1", {"status": "/s"})),
    events.Refused: events.Refused(Cause.RATE_LIMITED, "slow down"),
    events.Rejected: events.Rejected(Cause.CONTENT_POLICY, "no", billed=False),
    events.Unclear: events.Unclear("connection reset"),
    events.Absent: events.Absent("no such task"),
    events.Progressed: events.Progressed("running", "an unknown word"),
    events.Delayed: events.Delayed(Cause.NO_CONNECTION, "refused"),
    events.Finished: events.Finished((Artifact("https://media.example/1.mp4"),), lifetime=60.0),
    events.Saved: events.Saved((SavedFile("film/1.mp4", "ab" * 32, 10, "video/mp4"),)),
    events.Gone: events.Gone("404"),
    events.Cancelled: events.Cancelled("on request"),
    events.Requeued: events.Requeued("a person says so"),
}
QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def reachable(start: State) -> set[State]:
    """Every state that can follow, however late."""
    found, todo = set[State](), [start]
    while todo:
        state = todo.pop()
        new = set(TRANSITIONS[state].values()) - found
        found |= new
        todo += new
    return found


def test_every_kind_of_event_has_an_example() -> None:
    """The examples of this file are all events there are, so that nothing below misses one."""
    assert set(KINDS) == set(EXAMPLES)


def test_every_state_can_be_reached() -> None:
    """A new job can come into every state of the table."""
    assert reachable(State.QUEUED) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_can_end(state: State) -> None:
    """From every state there is a way to the clip, and a way to an end."""
    assert State.DONE in reachable(state)
    assert any(other.ended for other in {state, *reachable(state)})


def test_no_way_leads_round_the_intent() -> None:
    """Nothing is submitting without an intent, and nothing runs that was neither sent nor adopted by a person."""
    into = {
        (state, kind)
        for state, row in TRANSITIONS.items()
        for kind, to in row.items()
        if to is State.SUBMITTING
    }
    assert into == {(State.QUEUED, events.Intended)}
    assert State.RUNNING not in TRANSITIONS[State.QUEUED].values()
    assert State.READY not in TRANSITIONS[State.QUEUED].values()


def test_what_is_paid_for_is_never_queued_again_by_itself() -> None:
    """From running and ready nothing leads back to the queue: only ended and doubtful jobs can be sent again."""
    for state in (State.RUNNING, State.READY, State.DONE):
        assert State.QUEUED not in TRANSITIONS[state].values()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_in_the_table_or_raises(state: State, kind: type[Event]) -> None:
    """An event leads where the table says; one that can't happen is refused by name."""
    if kind in TRANSITIONS[state]:
        assert transition(state, EXAMPLES[kind]) is TRANSITIONS[state][kind]
    else:
        with pytest.raises(
            IllegalTransition, match=f"{kind.__name__} can't happen to a {state} job"
        ):
            transition(state, EXAMPLES[kind])


@QUICK
@given(st.lists(st.sampled_from(list(EXAMPLES.values())), max_size=40))
def test_no_sequence_leaves_the_table(happened: list[Event]) -> None:
    """Whatever happens in whatever order, a job is in a state of the table, and an impossible event moves nothing."""
    state = State.QUEUED
    for event in happened:
        before = state
        try:
            state = transition(state, event)
        except IllegalTransition:
            assert type(event) not in TRANSITIONS[before]
        else:
            assert state in TRANSITIONS[before].values()


async def follow(
    store: SqliteStore, job: Job, event: Event, now: float, due_at: float | None
) -> Job:
    """Record an event as the engine does, and say what the engine then believes."""
    if isinstance(event, events.Intended):
        assert await store.intend(job, event, 1, now) is Intent.DURABLE
        return advanced(job, State.SUBMITTING, event, now, event.send_by)
    state = await store.record(job, event, now, due_at)
    assert state is not None
    return advanced(job, state, event, now, due_at)


class Story:
    """Draws the next legal event of one job, with ids and causes that change."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw
        self._sent = 0

    def next(self, job: Job) -> Event:
        """One of the events that the table has for the job's state."""
        self._sent += 1
        kinds = sorted(TRANSITIONS[job.state], key=lambda kind: kind.__name__)
        kind = self._draw(st.sampled_from(kinds))
        cause = self._draw(st.sampled_from(list(Cause)))
        detail = self._draw(st.sampled_from(["", "what the provider said", "ein Käse"]))
        made: Mapping[type[Event], Event] = {
            events.Intended: events.Intended(
                job.attempt + 1,
                f"{job.number}-{job.attempt + 1}",
                "digest",
                "fal",
                T0 + self._sent + 30.125,
            ),
            events.Accepted: events.Accepted(
                Remote(f"{job.number}-{self._sent}", {"status": "/s"})
            ),
            events.Refused: events.Refused(cause, detail),
            events.Rejected: events.Rejected(
                cause, detail, self._draw(st.sampled_from([True, False, None]))
            ),
            events.Unclear: events.Unclear(detail, cause),
            events.Delayed: events.Delayed(cause, detail),
        }
        return made.get(kind, EXAMPLES[kind])


def test_memory_agrees_with_the_rows() -> None:
    """After any legal sequence of events, the job the engine believes in is the job the store has."""
    with tempfile.TemporaryDirectory() as root, asyncio.Runner() as loop:
        store = SqliteStore(StateFolder(Path(root)), T0)
        loop.run(store.__aenter__())
        numbers = iter(range(1_000_000))

        @QUICK
        @given(st.data())
        def check(data: st.DataObject) -> None:
            index = next(numbers)
            batch, _ = loop.run(store.add(BATCH, [[make_spec(index)]], T0))
            (claim,) = loop.run(store.claim_queued(batch.number, T0, 10))
            job, story = claim.job, Story(data)
            for step in range(data.draw(st.integers(1, 10))):
                event = story.next(job)
                due_at = data.draw(st.sampled_from([None, T0 + step, T0 + 0.001 * step]))
                job = loop.run(follow(store, job, event, T0 + step, due_at))
                loaded = loop.run(store.load(job.number))
                assert loaded is not None
                assert loaded.job == job, event

        try:
            check()
        finally:
            loop.run(store.__aexit__())


def key(**changes: Any) -> str:
    """The key of a job that differs from the usual one by this."""
    parts: dict[str, Any] = {
        "batch": "film",
        "model": "fal-ai/kling-video",
        "params": {"prompt": "a boat", "duration": 5, "cfg_scale": 0.5},
        "written_id": "",
        "repeat": 0,
    }
    return job_key(**parts | changes)


def test_a_job_key_is_stable() -> None:
    """The key of a job is the same in every release: a new one would buy everything again."""
    assert key() == "cabd8f308c92baf23df05492ca9869cb"
    assert len(key()) == 32


@pytest.mark.parametrize(
    "params",
    [
        {"cfg_scale": 0.5, "duration": 5, "prompt": "a boat"},
        {"prompt": "a boat", "duration": "5", "cfg_scale": 0.5},
        {"prompt": "a boat", "duration": 5.0, "cfg_scale": "0.5"},
    ],
)
def test_the_same_request_is_the_same_job(params: Mapping[str, Any]) -> None:
    """Order and spelling of a number make no difference: which of them an API wants is its dialect's business."""
    assert key(params=params) == key()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": "film2"},
        {"model": "fal-ai/kling-video/v2"},
        {"written_id": "greeting"},
        {"repeat": 1},
        {"params": {"prompt": "a boat.", "duration": 5, "cfg_scale": 0.5}},
        {"params": {"prompt": "a boat", "duration": 10, "cfg_scale": 0.5}},
        {"params": {"prompt": "a boat", "duration": 5}},
        {"params": {"prompt": "a boat", "duration": None, "cfg_scale": 0.5}},
        {"params": {"prompt": "a boat", "duration": [5], "cfg_scale": 0.5}},
    ],
)
def test_another_request_is_another_job(changes: Mapping[str, Any]) -> None:
    """Whatever changes the clip or asks for another one changes the key."""
    assert key(**changes) != key()


def test_an_image_is_known_by_its_content() -> None:
    """Moving a picture changes nothing; changing it makes a new job."""
    picture = {"path": "a.png", "sha256": "aa", "media_type": "image/png", "size": 3}
    one = key(params={"image_url": {"$image": picture}})
    assert key(params={"image_url": {"$image": picture | {"path": "b/a.png"}}}) == one
    assert key(params={"image_url": {"$image": picture | {"sha256": "bb"}}}) != one


def test_the_parts_of_a_key_do_not_run_together() -> None:
    """What belongs to the batch's name can't be taken for a part of the id."""
    assert key(batch="film", written_id="a") != key(batch="filma", written_id="")
    assert key(params={"a": "b", "c": "d"}) != key(params={"a": "b,c", "d": ""})


_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)


@QUICK
@given(st.dictionaries(st.text(max_size=5), _scalars | st.lists(_scalars, max_size=3), max_size=5))
def test_any_params_have_a_key(params: dict[str, Any]) -> None:
    """The key of any params is 32 hex digits, whatever order they are written in."""
    turned = dict(reversed(params.items()))
    assert key(params=params) == key(params=turned)
    assert int(key(params=params), 16) >= 0


@QUICK
@given(st.text(max_size=3), st.dictionaries(st.text(max_size=2), st.text(max_size=8)))
def test_a_remote_gives_back_the_paths_it_was_given(remote_id: str, paths: dict[str, str]) -> None:
    """However often the id stands in a path, the path comes back whole."""
    assert Remote(remote_id, paths).paths == paths
    assert Remote(remote_id, paths) == Remote(remote_id, dict(reversed(paths.items())))


def test_the_jobs_of_a_model_share_their_paths() -> None:
    """What differs between two jobs of one model is the id, and only that is kept of each."""
    one, two = (Remote(name, {"status": f"/app/requests/{name}/status"}) for name in ("a-1", "b-2"))
    assert one.forms is two.forms
