"""What an error answer means, and the event that it makes of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from runner.causes import Cause
from runner.events import Delayed, Refused, Rejected, Unclear
from runner.providers import codes
from runner.providers.answers import embedded, error_code, error_text, error_types
from runner.providers.codes import Kind, Meaning
from runner.providers.patience import retry_after
from runner.wire import Response, excerpt, pick


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of an error answer, with what the provider wrote (`detail`) and how long it asks to wait.

    `stale_token`: a new token settles it. `missing`: it says that there is no such job or no such path. `down`: the
    server says that it is in trouble itself.
    """

    meaning: Meaning
    detail: str
    retry_after: float | None = None
    stale_token: bool = False
    missing: bool = False
    down: bool = False

    def of_submit(self, check_after: float | None) -> Refused | Rejected | Unclear:
        """Decide a submit. Only a documented "no" counts as one; `check_after` is when to look an unclear one up."""
        if self.meaning.kind is Kind.UNKNOWN:
            return Unclear(self.detail, Cause.ANSWER_LOST, check_after)
        if self.meaning.kind is Kind.NEVER:
            return Rejected(self.meaning.cause, self.detail, billed=False)
        return Refused(
            self.meaning.cause,
            self.detail,
            self.retry_after,
            provider_wide=self.meaning.wide,
            crowded=self.meaning.crowded,
        )

    def of_poll(self) -> Delayed:
        """Decide a question about a job that was taken: an error is never a reason to give it up."""
        if self.missing:
            return Delayed(Cause.LOST_REMOTE, self.detail, self.retry_after)
        if self.meaning.kind is Kind.WAIT or self.meaning.cause is Cause.FOREIGN_URL:
            return Delayed(self.meaning.cause, self.detail, self.retry_after, self.down)
        return Delayed(Cause.PROVIDER_ERROR, self.detail, self.retry_after, self.down)


def judge(answer: Response) -> Verdict:
    """Read an error answer: the code in its body first, then fal's own marks, then its HTTP status.

    A body's code outranks the status because Kling says "account empty" with 429, and gateways quote Kling.
    """
    if 300 <= answer.status < 400:
        return _redirect(answer)
    body = answer.json
    code, text = error_code(body), error_text(answer, body)
    meaning = (
        _by_code(answer, body, code, text)
        or _by_mark(answer, body)
        or codes.by_status(answer.status, text)
    )
    pause = retry_after(answer.headers)
    if pause is None and meaning.kind is Kind.WAIT:
        pause = meaning.wait
    return Verdict(
        meaning,
        _shown(answer, code, text, meaning.hint),
        pause,
        stale_token=code in codes.STALE_TOKEN,
        missing=_missing(answer, code, text),
        down=answer.status >= 500,
    )


def _by_code(answer: Response, body: Any, code: str | None, text: str) -> Meaning | None:
    """Look the body's code up in the tables of Kling and of the gateways.

    With a successful status a code only counts where nothing came with it: other vendors use the same numbers for
    "fine", and what looks refused there might have been taken.
    """
    if code is None or (200 <= answer.status < 300 and pick(body, "data")):
        return None
    if code == "fail_to_fetch_task":
        quoted = error_code(embedded(body))
        return codes.KLING.get(quoted or "") or (
            codes.by_text(text) if answer.status >= 400 else None
        )
    if code == "task_failed":
        return codes.by_text(text) or codes.KLING["1201"]
    if code == "model_not_found" and answer.status in (400, 404):
        return codes.KLING["1203"]
    return codes.KLING.get(code) or codes.GATEWAY.get(code)


def _by_mark(answer: Response, body: Any) -> Meaning | None:
    """Read fal's own marks on a client error: whether it may be sent again, then the type of its first field error."""
    if not 400 <= answer.status < 500 or answer.status in (401, 402, 403, 408, 409, 425, 429, 499):
        return None
    cause = codes.fal_cause(error_types(answer, body))
    if cause is None:
        return None
    if retryable(answer) or (cause is Cause.PROVIDER_ERROR and retryable(answer) is None):
        return Meaning(Kind.WAIT, cause, wait=60.0)
    return Meaning(Kind.NEVER, cause)


def retryable(answer: Response) -> bool | None:
    """Read fal's header that says whether a failed request may be sent again (an older page has another name)."""
    for name in ("x-fal-retryable", "x-fal-needs-retry"):
        value = answer.headers.get(name, "").strip().lower()
        if value in ("true", "1", "yes", "false", "0", "no"):
            return value in ("true", "1", "yes")
    return None


def _missing(answer: Response, code: str | None, text: str) -> bool:
    if answer.status in (404, 405, 410) or code in ("task_not_exist", "1203"):
        return True
    return code in ("1200", "1201") and codes.says_missing(text)


def _shown(answer: Response, code: str | None, text: str, hint: str) -> str:
    label = f"HTTP {answer.status}" + (f", code {excerpt(code, 60)}" if code else "")
    return f"{label}: {text}" + (f". {hint}" if hint else "")


def _redirect(answer: Response) -> Verdict:
    """Refuse to follow: a key may not travel, and a paid request may not be repeated elsewhere.

    303 means that the request was carried out and its outcome is to be read elsewhere, so it may have been taken.
    """
    target = answer.headers.get("location", "")
    try:
        host = urlsplit(target).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    where = excerpt(host, 100) or "another path of the same host"
    kind = Kind.UNKNOWN if answer.status == 303 else Kind.NEVER
    detail = f"HTTP {answer.status}: the provider redirects to {where}, which is not followed"
    hint = "If that host is right, make it the base_url: in providers.yaml"
    return Verdict(Meaning(kind, Cause.FOREIGN_URL), f"{detail}. {hint}")
