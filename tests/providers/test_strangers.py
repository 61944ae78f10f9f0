"""Whatever a server answers, a dialect neither crashes nor gives money away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.events import (
    Absent,
    Accepted,
    Cancelled,
    Delayed,
    Event,
    Finished,
    Progressed,
    Refused,
    Rejected,
    Unclear,
)
from runner.job import State, transition
from runner.providers import Dialect, Fal, Kling, Order, dialect_for, presets
from runner.providers.codes import GATEWAY as GATEWAY_CODES
from runner.providers.codes import KLING as KLING_CODES
from runner.providers.phases import Phase, phase_of
from runner.wire import Response
from tests.providers.talk import NATIVE, TEXT, recorded, talk

DIALECTS: list[tuple[Dialect, str]] = [
    (Fal(presets()["simulator"]), TEXT),
    (Kling(presets()["simulator"]), NATIVE),
    (Kling(presets()["kling"]), NATIVE),
]
NAMES = """
status task_status data task_id id request_id code error message detail video videos url type task_result fail_reason
result_url output metadata images taskId status_url msg error_type
"""
WORDS = st.sampled_from(NAMES.split())
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["IN_QUEUE", "COMPLETED", "succeed", "failed", "error", "success", "SUCCESS", "submitted",
         "https://x.example/a.mp4", "http://[", "balance", "still in progress", "..", "x" * 300]
    ),
)  # fmt: skip
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.text(max_size=3)), inner)
    ),
    max_leaves=12,
)
STATUSES = st.one_of(
    st.sampled_from([200, 201, 202, 204, 400, 401, 404, 405, 422, 429, 500, 502, 503, 504]),
    st.integers(100, 599),
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "x-fal-error-type", "x-fal-retryable"]),
    st.text(max_size=20),
)
ANSWERS = st.builds(
    Response,
    STATUSES,
    HEADERS,
    st.one_of(BODIES.map(lambda body: json.dumps(body).encode()), st.binary(max_size=60)),
)


def _conversations(dialect: Dialect, model: str) -> list[tuple[str, Any]]:
    remote = dialect.remote(model, "id-1")
    found = [
        ("submit", dialect.submit(Order(model, {"prompt": "x"}, "ref-1"))),
        ("poll", dialect.poll(remote)),
        ("lookup", dialect.lookup(model, "ref-1")),
        ("cancel", dialect.cancel(remote)),
    ]
    return [(name, exchange) for name, exchange in found if exchange is not None]


ALLOWED: dict[str, tuple[type, ...]] = {
    "submit": (Accepted, Finished, Refused, Rejected, Unclear),
    "poll": (Progressed, Finished, Rejected, Delayed),
    "lookup": (Accepted, Absent, Delayed),
    "cancel": (Cancelled, Delayed),
}
STATE_OF = {
    "submit": State.SUBMITTING,
    "poll": State.RUNNING,
    "lookup": State.IN_DOUBT,
    "cancel": State.RUNNING,
}


@pytest.mark.parametrize(("dialect", "model"), DIALECTS, ids=["fal", "kling", "kling JWT"])
@given(replies=st.lists(ANSWERS, min_size=1, max_size=3))
def test_any_answers_end_in_an_event_that_the_state_allows(
    dialect: Dialect, model: str, replies: list[Response]
) -> None:
    """No bytes, JSON, status or header crash a dialect or lead to an event that can't happen."""
    for name, exchange in _conversations(dialect, model):
        event, asked = talk(exchange, *replies)
        assert isinstance(event, ALLOWED[name])
        transition(STATE_OF[name], event)
        assert all(one.path.startswith("/") and "x.example" not in one.path for one in asked)
        assert len([one for one in asked if one.paid and not one.fresh_token]) == (name == "submit")


@pytest.mark.parametrize(("dialect", "model"), DIALECTS, ids=["fal", "kling", "kling JWT"])
@settings(max_examples=300)
@given(body=BODIES, status=st.integers(200, 299))
def test_a_success_is_never_called_a_refusal(
    dialect: Dialect, model: str, body: Any, status: int
) -> None:
    """After a 2xx without a documented refusal in it, nothing is ever sent again by itself."""
    known = set(KLING_CODES) | set(GATEWAY_CODES) | {"fail_to_fetch_task", "task_failed"}
    data = json.dumps(body).encode()
    if any(code in data.decode() for code in known):
        return
    exchange = dialect.submit(Order(model, {"prompt": "x"}, "ref-1"))
    event, _ = talk(exchange, Response(status, {}, data))
    assert isinstance(event, Accepted | Finished | Unclear)


@given(word=st.text(min_size=1, max_size=30).filter(lambda word: bool(word.strip())))
def test_a_word_is_only_an_end_if_it_is_known_as_one(word: str) -> None:
    """Whatever a provider calls how far a job is: what nobody here knows is asked about again, and noted."""
    fal, kling = DIALECTS[0][0], DIALECTS[1][0]
    bodies = [
        {"status": word, "request_id": "id-1"},
        {"code": 0, "data": {"task_id": "id-1", "task_status": word}},
    ]
    for dialect, model, body in ((fal, TEXT, bodies[0]), (kling, NATIVE, bodies[1])):
        reply = Response(200, {}, json.dumps(body).encode())
        event, _ = talk(dialect.poll(dialect.remote(model, "id-1")), reply)
        if phase_of(word) is Phase.UNKNOWN:
            assert isinstance(event, Progressed)
            assert event.note.startswith("unknown status word")


@pytest.mark.parametrize("seed", sorted(recorded("seeds")))
def test_every_seed_system_is_bought_from_as_it_documents(seed: str) -> None:
    """The body goes out exactly as the page shows it, and the page's answer is a receipt."""
    entry = recorded("seeds")[seed]
    provider = presets()[entry["provider"]]
    if not provider.base_url:
        from dataclasses import replace

        provider = replace(provider, base_url="https://gateway.example")
    dialect = dialect_for(provider, entry["model"])
    order = Order(entry["model"], entry["request"], "ref-1")
    event, asked = talk(
        dialect.submit(order), Response(200, {}, json.dumps(entry["answer"]).encode())
    )
    assert json.dumps(asked[0].body) == json.dumps(entry["request"])
    assert isinstance(event, Accepted)
    found = entry["answer"].get("task_id") or entry["answer"].get("data", entry["answer"])
    expected = found if isinstance(found, str) else found.get("task_id") or found["request_id"]
    assert event.remote.id == expected


def _all_answers() -> list[tuple[str, Response]]:
    found = []
    for file in ("fal", "uniapi", "kling", "gateway", "gateway_errors"):
        for name, cases in recorded(file).items():
            for case in cases if isinstance(cases, list) else []:
                body = case["text"] if "text" in case else json.dumps(case["body"])
                reply = Response(case["status"], case.get("headers", {}), body.encode())
                found.append((f"{name}: {case['case']}", reply))
    return found


@pytest.mark.parametrize(
    ("name", "reply"), _all_answers(), ids=[name for name, _ in _all_answers()]
)
def test_every_recorded_answer_is_understood_by_both_dialects(name: str, reply: Response) -> None:
    """No recorded answer, given at any moment, leads to an event that can't happen there."""
    for dialect, model in DIALECTS:
        for step, exchange in _conversations(dialect, model):
            event: Event = talk(exchange, reply)[0]
            assert isinstance(event, ALLOWED[step]), name
