"""What the SDK does differently for us than by itself. `tests/contract/test_s3_settings.py` proves each effect."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, Final

from aiobotocore.retries.standard import register_retry_handler
from botocore.handlers import add_expect_header
from botocore.utils import parse_timestamp

ATTEMPTS: Final = 3
"""Requests per call at most, for calls that may be repeated blindly."""

_RETRIES: Final = "retry-config-s3"
_CONDITIONS: Final = ("If-Match", "If-None-Match")
_OF_THE_OBJECT: Final = frozenset({"Key", "Prefix", "CopySource"})
_CONDITIONAL_METHODS: Final = frozenset({"PutObject", "DeleteObject"})


def attend(client: Any, on_request: Callable[[str], None]) -> None:  # noqa: ANN401 - the SDK ships no types
    """Change the client's habits, and report the operation of each request it sends."""
    events = client.meta.events
    # The HTTP library waits for `100 Continue` without a limit of time, and each write would wait a round trip.
    events.unregister("before-call.s3", add_expect_header)
    events.register("before-call.s3.DeleteObjects", _add_md5)
    events.register("before-send.s3", lambda event_name, **_: on_request(event_name.rpartition(".")[2]))
    events.unregister("needs-retry.s3", unique_id=_RETRIES)
    standard = register_retry_handler(client, max_attempts=ATTEMPTS)
    events.unregister("needs-retry.s3", unique_id=_RETRIES)
    events.register("needs-retry.s3", _unless_conditional(standard.needs_retry), unique_id=_RETRIES)
    resolver = client._ruleset_resolver  # noqa: SLF001 - there is no other way to it
    resolver._provider = _OneEndpoint(resolver._provider)  # noqa: SLF001 - as above


class _OneEndpoint:
    """Finds out the address of a request without looking at its key, on which it never depends for a bucket.

    The SDK remembers addresses by all that it is given: with the key, it would work each one out anew, which is a
    sixth of the work that a request makes.
    """

    def __init__(self, provider: Any) -> None:  # noqa: ANN401 - the SDK ships no types
        self._provider = provider

    def resolve_endpoint(self, **parameters: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
        return self._provider.resolve_endpoint(
            **{name: value for name, value in parameters.items() if name not in _OF_THE_OBJECT}
        )


def instant_of(text: Any) -> datetime:  # noqa: ANN401 - the SDK passes numbers too
    """An instant from a reply. The SDK's own parser takes three times as long for the thousand dates of a listing."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        instant = parse_timestamp(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """Several servers insist on the digest that newer SDKs no longer send."""
    params["headers"]["Content-MD5"] = b64encode(md5(params["body"], usedforsecurity=False).digest()).decode()


def _unless_conditional(
    needs_retry: Callable[..., Awaitable[float | None]],
) -> Callable[..., Awaitable[float | None]]:
    """Leave a conditional write to the store, which first reads back what became of the attempt."""

    async def decide(operation: Any, request_dict: dict[str, Any], **others: Any) -> float | None:  # noqa: ANN401 - the SDK ships no types
        headers = request_dict["headers"]
        if operation.name in _CONDITIONAL_METHODS and any(name in headers for name in _CONDITIONS):
            return None
        return await needs_retry(operation=operation, request_dict=request_dict, **others)

    return decide
