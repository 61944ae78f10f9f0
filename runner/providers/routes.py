"""The paths of a fal queue job.

A job is submitted to the whole path of its model, but asked about under owner and alias only
(`/fal-ai/kling-video/requests/ID/status`); the whole path answers 405. Documented by fal, and what its clients do.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from runner.events import Remote
from runner.providers.answers import segment
from runner.wire import pick

_NAMESPACES = frozenset({"workflows", "comfy"})
_URL_FIELDS = ("status_url", "response_url", "cancel_url", "data.status_url", "data.response_url")


def app_of_model(model: str) -> str:
    """Return the part of a model's path that its jobs are asked about under: owner/alias, three in a namespace."""
    parts = [part for part in model.split("/") if part]
    return "/".join(parts[: 3 if parts and parts[0] in _NAMESPACES else 2])


def routes(app: str, remote_id: str) -> Remote:
    """Build the paths of a job."""
    base = f"/{app}/requests/{segment(remote_id)}"
    return Remote(
        remote_id, {"status": f"{base}/status", "result": base, "cancel": f"{base}/cancel"}
    )


def routes_of(body: Any, model: str, remote_id: str) -> Remote:
    """Find the paths of a job that was just accepted.

    The URLs that a server hands out are hints from a stranger: the host is ignored, and of the path only the app
    counts. It is taken where it is the beginning of the path that was submitted to. A placeholder, another app or
    anything odd is replaced by what the submitted path says (resellers write `xxxx`, or fal's own host).
    """
    for field in _URL_FIELDS:
        app = _app_of_url(pick(body, field), remote_id)
        if app is not None and _begins(model, app):
            return routes(app, remote_id)
    return routes(app_of_model(model), remote_id)


def unknown_app(remote: Remote) -> str | None:
    """Return the result path under the app `auto`: some gateways find a job there by its id alone."""
    owner, _, rest = remote.paths.get("result", "").lstrip("/").partition("/")
    return f"/{owner}/auto/requests/{segment(remote.id)}" if rest else None


def _begins(model: str, app: str) -> bool:
    ours = [part for part in model.split("/") if part]
    theirs = app.split("/")
    return len(theirs) >= len(app_of_model(model).split("/")) and ours[: len(theirs)] == theirs


def _app_of_url(url: Any, remote_id: str) -> str | None:
    """Return the app named by a server's URL, None where the URL is not plainly one of a fal request."""
    if not isinstance(url, str) or len(url) > 2000 or not url.isprintable() or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            return None
    except ValueError:
        return None
    names = parts.path.strip("/").split("/")
    if "requests" not in names:
        return None
    at = names.index("requests")
    app, rest = names[:at], names[at + 1 :]
    if (
        not rest
        or unquote(rest[0]) != remote_id
        or rest[1:] not in ([], ["status"], ["response"], ["cancel"])
    ):
        return None
    if any(not name or "%" in name or name in (".", "..") for name in app):
        return None
    return "/".join(app)
