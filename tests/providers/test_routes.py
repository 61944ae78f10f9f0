"""The paths of a fal request, out of what a stranger says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.providers.routes import app_of_model, routes_of
from tests.providers.talk import TEXT

OURS = "/fal-ai/kling-video/requests/id-1"


@pytest.mark.parametrize(
    ("model", "app"),
    [
        (TEXT, "fal-ai/kling-video"),
        ("/fal-ai/flux/", "fal-ai/flux"),
        ("workflows/someone/film/extra", "workflows/someone/film"),
        ("comfy/someone/film", "comfy/someone/film"),
        ("single", "single"),
    ],
)
def test_app_is_owner_and_alias(model: str, app: str) -> None:
    """Jobs are asked about under two segments, three in a namespace."""
    assert app_of_model(model) == app


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/fal-ai/kling-video/requests/id-1/status",
        "https://evil.example/fal-ai/kling-video/requests/id-1/status",
        "https://queue.fal.run/fal-ai/xxxx/requests/id-1/status",
        "https://queue.fal.run/fal-ai/other/requests/id-1/status",
        "https://user:pw@queue.fal.run/fal-ai/kling-video/requests/id-1/status",
        "https://queue.fal.run/fal-ai/kling-video/../../admin/requests/id-1/status",
        "https://queue.fal.run/fal-ai/%2e%2e/requests/id-1/status",
        "https://queue.fal.run/fal-ai/kling-video/requests/id-1/status?token=1",
        "https://queue.fal.run/fal-ai/kling-video/requests/another/status",
        "https://queue.fal.run/requests/id-1/status",
        "https://[::1/fal-ai/kling-video/requests/id-1",
        "\\\\host\\fal-ai\\kling-video",
        "//evil.example/fal-ai/kling-video/requests/id-1",
        7,
        None,
        ["https://evil.example"],
    ],
)
def test_whatever_the_url_the_request_is_asked_about_at_our_own_path(url: object) -> None:
    """The host of a server's URL is ignored, and any path that is not plainly ours is rebuilt."""
    assert routes_of({"status_url": url}, TEXT, "id-1").paths["result"] == OURS


def test_a_longer_app_is_taken_from_the_url() -> None:
    """A server that asks to be polled under more of the submitted path is."""
    url = "https://x.example/fal-ai/kling-video/v2.5-turbo/requests/id-1/response"
    found = routes_of({"response_url": url}, TEXT, "id-1").paths["result"]
    assert found == "/fal-ai/kling-video/v2.5-turbo/requests/id-1"


@given(st.dictionaries(st.sampled_from(["status_url", "response_url", "cancel_url"]), st.text()))
def test_random_urls_never_leave_the_submitted_path(body: dict[str, Any]) -> None:
    """No text in a URL field changes where we ask."""
    assert routes_of(body, TEXT, "id-1").paths["result"] == OURS


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=50))
def test_ids_are_one_segment_whatever_they_hold(remote_id: str) -> None:
    """An id with slashes or percent signs can't reach another path."""
    paths = routes_of({}, TEXT, remote_id).paths
    assert paths["result"].count("/") == OURS.count("/")
    assert "?" not in paths["status"]
    assert "#" not in paths["status"]
