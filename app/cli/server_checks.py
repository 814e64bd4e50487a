"""What `live-memory doctor` asks a running service."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from app import __version__
from app.cli.client import Answer, Client, Exit, Refused
from app.cli.connection import DEFAULT_URL, Target, is_local
from app.cli.findings import Finding, ok, problem, skipped, warning
from app.cli.render import counted
from app.cli.table import Described, load

CLOCK: Final = 60.0
"""Seconds that two clocks may differ."""
_START: Final = "Start it with `live-memory serve`, or name another address with --url."


def service(target: Target) -> Iterator[Finding]:
    """Whether the service answers, whether it is well, and what the token may do there."""
    operations = {operation.name: operation for operation in load()}
    with Client(target) as client:
        try:
            alive = client.probe("/health")
        except Refused as refused:
            if target.url == DEFAULT_URL and target.url_from == "the default" and refused.exit is Exit.UNAVAILABLE:
                yield skipped("service", f"none at {target.url}", "Name one with --url to have it looked at.")
            else:
                yield problem("service", refused.message, _START)
            return
        yield _alive(target, alive)
        yield _clock(alive.headers)
        yield _ready(client)
        yield from _health(client, operations["system_health"])
        yield _offer(client, operations)
        yield _transport(target)
        yield from _token(client, target, operations)


def _alive(target: Target, alive: Answer) -> Finding:
    version = str(alive.body.get("version", ""))
    if alive.body.get("service") != "live-memory":
        return problem("service", f"{target.url} is not Live Memory", "Check the address.")
    if version != __version__:
        detail = f"{target.url} runs {version}, this command is {__version__}"
        return warning("service", detail, "Use the same release on both sides if a command is missing.")
    return ok("service", f"{target.url} runs {version}")


def _clock(headers: Mapping[str, str]) -> Finding:
    try:
        there = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return skipped("clock", "the service does not say its time")
    offset = (there - datetime.now(UTC)).total_seconds()
    if abs(offset) > CLOCK:
        return warning(
            "clock", f"the service's clock differs by {offset:.0f} s", "Let both machines follow a time server."
        )
    return ok("clock", f"the service's clock differs by less than {CLOCK:.0f} s")


def _ready(client: Client) -> Finding:
    try:
        client.probe("/ready")
    except Refused as refused:
        return problem("ready", refused.message, "Look at the health of the store, and at the service's log.")
    return ok("ready", "requests may be sent")


def _health(client: Client, operation: Described) -> Iterator[Finding]:
    try:
        body = client.call(operation, {}).body
    except Refused as refused:
        yield problem("health", refused.message, "Look at the service's log.")
        return
    services = body.get("services", {})
    store, model = services.get("s3", {}), services.get("llmaas", {})
    is_for_the_model = model.get("status") == "error" and store.get("status") == "ok"
    if body.get("status") not in {"ok", "healthy"} and not is_for_the_model:
        yield problem(
            "health", f"degraded: {store.get('message')}", "Check the store and the service's settings for it."
        )
    else:
        yield ok("health", f"store {store.get('kind')} answers in {store.get('latency_ms')} ms")
    told = str(model.get("message", ""))
    if model.get("status") == "error":
        yield problem("service's model", told, "Notes are filed word for word meanwhile: check LLMAAS_* over there.")
    else:
        yield ok("service's model", told)


def _offer(client: Client, operations: Mapping[str, Described]) -> Finding:
    try:
        paths = client.probe("/openapi.json").body["paths"].values()
        offered = {one["operationId"] for methods in paths for one in methods.values() if "operationId" in one}
    except (Refused, KeyError, TypeError, AttributeError):
        return warning("operations", "the service does not list them", "Use the same release on both sides.")
    if missing := sorted(operations.keys() - offered):
        return warning("operations", f"the service lacks {', '.join(missing)}", "Bring the service up to date.")
    if beyond := len(offered - operations.keys()):
        return warning("operations", f"{beyond} have no command here", "Bring this command up to date.")
    return ok("operations", f"{len(offered)}, each with a command")


def _transport(target: Target) -> Finding:
    if urlsplit(target.url).scheme == "https" or is_local(target.url):
        return ok("transport", "nobody between can read the token")
    return warning("transport", "the token travels unencrypted", "Put the service behind https.")


def _token(client: Client, target: Target, operations: Mapping[str, Described]) -> Iterator[Finding]:
    """What the token may do, learnt from questions that change nothing."""
    if target.token is None:
        yield skipped("token", "none was given", "Name one with --token-file, MCP_TOKEN_FILE or a profile.")
        return
    told = f"from {target.token_from}"
    try:
        spaces = client.call(operations["space_list"], {"limit": 0}).body
    except Refused as refused:
        if refused.exit is Exit.FORBIDDEN:
            yield warning(
                "token", f"{told}, is valid, and may not read", "Ask an administrator for the `read` permission."
            )
        elif refused.exit is Exit.UNAUTHENTICATED:
            yield problem("token", f"{told}, is refused", "Ask an administrator for a new token.")
        else:
            yield problem("token", refused.message, "Look at the service's log.")
        return
    try:
        client.call(operations["admin_list_tokens"], {"limit": 0})
    except Refused as refused:
        if refused.exit is not Exit.FORBIDDEN:
            yield problem("token", refused.message, "Look at the service's log.")
            return
        yield ok("token", f"{told}, reaches {counted(spaces['total'], 'space')}")
    else:
        yield ok("token", f"{told}, is an administrator's: {counted(spaces['total'], 'space')}")
