"""Refusals in the words of whoever refuses: fal, Kling, or the gateway in front of them."""

from __future__ import annotations

from .reply import Call, Reply, html_reply, json_reply
from .world import World

_KLING_MONEY = {
    1100: "Account exception",
    1101: "Account in arrears",
    1102: "Account balance not enough",
    1304: "The IP address is not on the allow-list",
}
_KLING_STATUS = {
    1000: 401, 1001: 401, 1002: 401, 1003: 401, 1004: 401,
    1100: 429, 1101: 429, 1102: 429, 1103: 403, 1200: 400, 1201: 400, 1202: 404, 1203: 404,
    1300: 400, 1301: 400, 1302: 429, 1303: 429, 1304: 429, 5000: 500, 5001: 503, 5002: 504,
}  # fmt: skip
_KLING_AUTH = {
    1000: "Authentication failed",
    1001: "Authorization is empty",
    1002: "Authorization is invalid",
    1003: "Authorization is not yet valid",
    1004: "Authorization is expired",
}
_SATURATED = "当前分组上游负载已饱和，请稍后再试"  # noqa: RUF001 - as gateways write it

_OVER_RATE = "您已达到请求数限制：1分钟内最多请求10次"  # noqa: RUF001 - as gateways write it


def kling(world: World, code: int, message: str) -> Reply:
    """A Kling error body with the HTTP status that its documentation pairs with the code."""
    document = {"code": code, "message": message, "request_id": world.uuid()}
    return json_reply(document, _KLING_STATUS[code])


def middleware(world: World, status: int, message: str, code: str = "") -> Reply:
    """The gateway's OpenAI-style error, as its token and rate checks answer."""
    text = f"{message} (request id: {world.uuid().replace('-', '')})"
    error = {"message": text, "type": "new_api_error", "code": code}
    return json_reply({"error": error}, status)


def relay(status: int, code: str, message: str) -> Reply:
    """The gateway's task error."""
    return json_reply({"code": code, "message": message, "data": None}, status)


def fal(status: int, detail: str, error_type: str | None = None) -> Reply:
    """A fal error with a text for `detail`."""
    if error_type is None:
        return json_reply({"detail": detail}, status)
    document = {"detail": detail, "error_type": error_type}
    reply = json_reply(document, status, X_Fal_Error_Type=error_type)
    if error_type == "request_timeout":
        return reply.adding(X_Fal_Request_Timeout_Type="user")
    return reply


def bad_key(world: World, call: Call, code: int = 1002) -> Reply:
    """The key is missing, malformed, unknown or out of date."""
    if call.system.gateway:
        return middleware(world, 401, "Invalid token")
    if call.protocol == "kling":
        return kling(world, code, _KLING_AUTH[code])
    return fal(401, "Authentication is required")


def too_many(world: World, call: Call, retry_after: float | None) -> Reply:
    """The caller is over its rate."""
    if call.system.gateway:
        reply = middleware(world, 429, _OVER_RATE)
    elif call.protocol == "kling":
        reply = kling(world, 1302, "Too many requests")
    else:
        reply = fal(429, "Too many requests")
    return reply if retry_after is None else reply.adding(Retry_After=f"{retry_after:.0f}")


def crowded(world: World, call: Call) -> Reply:
    """More open tasks than Kling's resource pack allows."""
    if call.system.saturated:
        return relay(429, "fail_to_fetch_task", _SATURATED)
    return kling(world, 1303, "parallel task over resource pack limit")


def no_money(world: World, call: Call, code: int) -> Reply:
    """The balance is gone."""
    if call.system.gateway:
        return relay(403, "insufficient_user_quota", "user quota is not enough")
    if call.protocol == "kling":
        code = code if code in _KLING_MONEY else 1102
        return kling(world, code, _KLING_MONEY[code])
    return fal(403, "User is locked. Reason: Exhausted balance.")


def unknown_route(world: World, call: Call) -> Reply:
    """No such path."""
    if call.system.gateway:
        message = f"Invalid URL ({call.method} {call.path})"
        error = {"message": message, "type": "invalid_request_error", "param": "", "code": ""}
        return json_reply({"error": error}, 404)
    if call.protocol == "kling":
        return kling(world, 1202, "The requested method is invalid")
    return fal(404, "Not Found")


def server_error(world: World, call: Call, status: int) -> Reply:
    """A 5xx (or 408) in the words of the system."""
    if call.system.gateway:
        return relay(status, "do_request_failed", "请求上游地址失败")
    if call.protocol == "kling":
        code = {500: 5000, 503: 5001, 504: 5002}.get(status, 5000)
        return kling(world, code, "Service temporarily unavailable").but(status=status)
    error_type = {503: "runner_scheduling_failure", 504: "startup_timeout"}.get(status)
    return fal(status, "Internal server error", error_type or "internal_error")


def proxy_page(status: int) -> Reply:
    """The page of a web server in front."""
    names = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
    return html_reply(f"{status} {names.get(status, 'Gateway Time-out')}", status)


def no_channel(world: World) -> Reply:
    """The gateway has nobody to send the model to."""
    message = "No available channel for this model under group default"
    return middleware(world, 503, message, "model_not_found")


def refused_content(world: World, call: Call) -> Reply:
    """The content policy refuses the request at once."""
    if call.protocol == "kling":
        return kling(world, 1301, "The request was rejected by the content safety policy")
    return invalid(["body", "prompt"], "Refused by the content policy", "content_policy_violation")


def invalid(loc: list[str], message: str, kind: str, **extra: object) -> Reply:
    """Fal's 422: a list with one finding; its own kinds of error come with a link."""
    finding: dict[str, object] = {"loc": loc, "msg": message, "type": kind}
    if "error." not in kind:
        finding["url"] = f"https://docs.fal.ai/errors#{kind}"
    finding |= extra
    return json_reply({"detail": [finding]}, 422, X_Fal_Error_Type=kind, X_Fal_Retryable="false")
