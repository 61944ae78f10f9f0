"""What each imitated system looks like on the wire, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

FAL_HOST = "https://queue.fal.run"
"""The origin that resellers of fal leave in the URLs they hand out (seen at three resellers)."""

SUBMIT_SHAPES = ("K1", "K2", "K3", "K4", "K5", "K6", "K7")
FETCH_SHAPES = ("F1", "F2", "F2-legacy", "F2-nested", "F3", "F4", "F5", "F6", "F7")


@dataclass(frozen=True, slots=True)
class System:
    """One imitated service: who is let in, and which of the known shapes it answers with."""

    name: str
    """The word in the base URL: `/as/NAME`."""
    title: str
    """Whom it imitates, for people."""
    auth: str = "Bearer"
    """`Bearer`, `Key`, `JWT` (HS256 as Kling wants it) or `any` (a key is not even needed)."""
    gateway: bool = False
    """Errors about keys, money, rates and routes have the gateway's bodies, not the protocol's own."""
    fal: bool = False
    """Serves the fal queue protocol."""
    kling: tuple[str, ...] = ()
    """Prefixes under which Kling paths are served: `/kling/v1`, `/v1`."""
    url_host: str | None = None
    """Origin in returned fal URLs; None is the simulator's own."""
    placeholder: str | None = None
    """App name put into returned fal URLs instead of the real one (`xxxx`)."""
    placeholder_works: bool = False
    """Whether a path with the placeholder is answered; when not: 404."""
    cancel_url: bool = True
    """Whether fal answers carry `cancel_url`."""
    flat_status: bool = False
    """Status is always HTTP 200, as proxies do, instead of 202 until completed."""
    auto_app: bool = False
    """`/fal-ai/auto/requests/ID` finds a result whatever its app."""
    submit: str = "K1"
    """Shape of the Kling submit answer, one of `SUBMIT_SHAPES`."""
    fetch: str = "F1"
    """Shape of the Kling task answer, one of `FETCH_SHAPES`."""
    checks: str = "kling"
    """How Kling bodies are validated: `kling` (strict), `passthrough` (lenient), `stock` (new-api:
    a prompt, a text for duration, and modes that only its documentation knows)."""
    external_lookup: bool = True
    """A Kling task is found by its `external_task_id` too."""
    unique_external: bool = True
    """A second submit with the same `external_task_id` is refused."""
    lists: bool = False
    """`GET` of the collection answers with a page of tasks."""
    saturated: bool = False
    """Refusals over concurrency are rewritten to the gateway's "group saturated" text."""


_ALL = (
    System("winfull", "aiapi.winfull.top, a reseller of fal and Kling", gateway=True, fal=True,
           kling=("/kling/v1",), url_host=FAL_HOST, auto_app=True, checks="passthrough"),
    System("quickrouter", "api.quickrouter.ai, a reseller; Kling answers are flat", gateway=True,
           fal=True, kling=("/kling/v1",), url_host=FAL_HOST, flat_status=True, submit="K5",
           fetch="F2", checks="stock", external_lookup=False, unique_external=False,
           saturated=True),
    System("uniapi", "api.uniapi.io, a reseller of fal: placeholder app, no cancel_url", auth="Key",
           gateway=True, fal=True, url_host=FAL_HOST, placeholder="xxxx", cancel_url=False,
           flat_status=True),
    System("kling-gateway", "any reseller of Kling that passes answers through", gateway=True,
           kling=("/kling/v1",), checks="passthrough"),
    System("fal", "queue.fal.run itself", auth="Key", fal=True),
    System("kling", "api-singapore.klingai.com itself", auth="JWT", kling=("/v1",),
           lists=True),
    System("any", "both protocols, no key needed (no /as/ prefix)", auth="any", fal=True,
           kling=("/kling/v1", "/v1"), lists=True),
)  # fmt: skip

SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in _ALL})
"""The imitated systems by name; `any` answers under the bare URL."""


def changed(system: System, field: str, text: str) -> System:
    """Return `system` with one field set from text, as `--set NAME.FIELD=TEXT` gives it.

    Raises ValueError naming the fields or values there are.
    """
    known = {item.name for item in fields(System)} - {"name", "title"}
    if field not in known:
        raise ValueError(f"{field!r} is not a field of a system. Use one of: {sorted(known)}")
    shapes = {"submit": SUBMIT_SHAPES, "fetch": FETCH_SHAPES}.get(field)
    if shapes and text not in shapes:
        raise ValueError(f"{field} can't be {text!r}. Use one of: {', '.join(shapes)}")
    current = getattr(system, field)
    value: object = text
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{field} can't be {text!r}. Use true or false")
        value = text.lower() == "true"
    elif isinstance(current, tuple):
        value = tuple(part for part in text.split(",") if part)
    elif field in ("url_host", "placeholder") and text in ("", "none", "own"):
        value = None
    return replace(system, **{field: value})  # type: ignore[arg-type]


def locate(systems: Mapping[str, System], path: str) -> tuple[System | None, str]:
    """Split the path of a request into the system it addresses and the path within that system.

    `/as/NAME/REST` addresses NAME; `/media/NAME/FILE` is a file of NAME; all else is `any`.
    """
    parts = path.split("/", 3)
    if parts[1] == "as" and len(parts) > 2:
        return systems.get(parts[2]), "/" + (parts[3] if len(parts) > 3 else "")
    if parts[1] == "media" and len(parts) == 4 and parts[2] in systems:
        return systems[parts[2]], f"/media/{parts[3]}"
    return systems["any"], path
