"""The table of everything that can be made to go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table: what a fault does, where, and what its argument means."""

    name: str
    on: str
    """Which requests it looks at: submit, poll, status, result, task (decided at submit), media …"""
    help: str
    arg: str | int | float | None = None
    """The argument's default."""
    times: int | None = None
    """How often it fires when the fault doesn't say."""


_ALL = (
    # Before anything is accepted: nothing is billed.
    Kind("drop-before-accept", "submit", "connection closed, nothing accepted"),
    Kind("hang", "any", "no answer for ARG seconds, nothing accepted", 3600),
    Kind("slow-answer", "any", "the right answer, ARG seconds late", 2),
    Kind("too-many-once", "any", "429 once", None, 1),
    Kind("too-many", "any", "429; ARG is the Retry-After in seconds, 0 sends none", 1),
    Kind("server-error-on-submit", "submit", "HTTP ARG as JSON, nothing accepted", 503),
    Kind("server-error-on-poll", "poll", "HTTP ARG as JSON", 503),
    Kind("nginx-error", "any", "HTTP ARG as a front proxy's HTML page, nothing accepted", 502),
    Kind("over-concurrency", "submit", "no more than ARG open tasks: refused (1303)", 1),
    Kind("out-of-money", "submit", "balance gone: 429 with Kling code ARG, 403 elsewhere", 1102),
    Kind("bad-key", "any", "the key is refused"),
    Kind("token-expires", "any", "a token works for ARG seconds, then 401 with code 1004", 60),
    Kind("no-channel", "submit", "503 model_not_found, as gateways say it"),
    Kind("content-refused", "submit", "refused at once by content policy (1301; fal 422)"),
    Kind("redirect-301", "any", "301 to the base URL ARG; default: another host name of ours"),
    Kind("redirect-302", "any", "302 to the base URL ARG"),
    Kind("redirect-307", "any", "307 to the base URL ARG (the method and body stay)"),
    Kind("redirect-308", "any", "308 to the base URL ARG (the method and body stay)"),
    # Accepted and billed, but the answer is lost or useless.
    Kind("accepted-then-dropped", "submit", "accepted, connection closed without an answer"),
    Kind("accepted-then-hang", "submit", "accepted, no answer for ARG seconds", 3600),
    Kind("accepted-then-500", "submit", "accepted, HTTP 500"),
    Kind("accepted-then-502", "submit", "accepted, HTTP 502 as an HTML page"),
    Kind("accepted-then-504", "submit", "accepted, HTTP 504 as an HTML page"),
    Kind("accepted-then-408", "submit", "accepted, HTTP 408"),
    Kind("accepted-then-empty", "submit", "accepted, HTTP 200 without a body"),
    Kind("accepted-then-html", "submit", "accepted, HTTP 200 with an HTML page"),
    Kind("accepted-then-truncated", "submit", "accepted, half of the JSON"),
    Kind("accepted-then-no-id", "submit", "accepted, JSON without an id"),
    Kind("integer-ids", "submit and poll", "ids are long bare JSON integers"),
    Kind("foreign-urls", "submit and poll", "returned URLs point at the base URL ARG"),
    Kind("duplicates-accepted", "submit", "a repeated external_task_id makes a second task"),
    Kind("duplicates-refused", "submit", "a repeated external_task_id is refused"),
    # What becomes of the task; decided when it is accepted.
    Kind("completed-with-error", "task", "fal: COMPLETED with error_type ARG", "runner_disconnected"),
    Kind("result-refused", "task", "fal: COMPLETED, then the result is 422 of type ARG",
         "no_media_generated"),
    Kind("task-failed", "task", "fails after acceptance with the message ARG",
         "The task could not be finished"),
    Kind("sweeper-failure", "task", "gateway gives up on it: FAILURE, no upstream data"),
    Kind("never-finishes", "task", "runs forever"),
    Kind("no-video", "task", "succeeds, but the result names no file"),
    # Answers to polls.
    Kind("always-200", "status", "fal: status is HTTP 200 even while queued"),
    Kind("status-route-missing", "status", "fal: the status route answers ARG", 404),
    Kind("early-result", "result", "fal: a result asked for too early answers ARG (200 400 500)", 400),
    Kind("status-regresses", "poll", "goes back to queued after it was seen running"),
    Kind("unknown-status", "poll", "an unheard-of status word ARG until it is finished", "REVIEWING"),
    Kind("task-forgotten", "poll", "the task is not known (for now)"),
    Kind("result-error", "result", "fal: the result is an error of the platform, of type ARG",
         "runner_server_error"),
    Kind("minimal-file", "result", "fal: every field of the file but its URL is null"),
    Kind("truncated-json", "poll", "half of the JSON"),
    Kind("empty-answer", "poll", "HTTP 200 without a body"),
    Kind("html-answer", "poll", "HTTP 200 with a web console's page"),
    Kind("cancel-ignored", "cancel", "taken note of, and the task goes on"),
    # Result files.
    Kind("result-expires", "media", "the URL stops working ARG seconds after the task's end", 0),
    Kind("media-no-length", "media", "no Content-Length"),
    Kind("media-wrong-type", "media", "Content-Type ARG", "application/octet-stream"),
    Kind("media-ignores-range", "media", "200 with everything when a range was asked for"),
    Kind("media-cut", "media", "connection closed after the share ARG of the bytes", 0.5),
    Kind("media-empty", "media", "200 with zero bytes"),
    Kind("media-html", "media", "200 with an HTML page of type text/html"),
    Kind("media-disguised", "media", "200 with an HTML page that claims to be video/mp4"),
    Kind("media-redirect", "media", "302 to the same file at the base URL ARG; default: another name"),
    Kind("media-403", "media", "403"),
    Kind("media-404", "media", "404"),
    Kind("media-503", "media", "503"),
    Kind("media-slow", "media", "ARG bytes per second", 2000),
    Kind("media-gzip", "media", "sent with Content-Encoding: gzip"),
    # Deliveries to fal_webhook and callback_url.
    Kind("webhook-twice", "webhook", "delivered twice"),
    Kind("webhook-late", "webhook", "delivered ARG seconds after the end", 5),
    Kind("webhook-lost", "webhook", "never delivered"),
    Kind("webhook-bad-signature", "webhook", "fal: the signature doesn't match"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every kind of fault by name."""
