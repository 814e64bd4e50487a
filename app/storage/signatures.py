"""How requests to the S3 server are signed: one client signs in every way, and the way can be chosen while it runs."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

_OBJECT_CALLS: Final = frozenset({"PutObject", "GetObject", "DeleteObject", "CopyObject"})
_V2: Final = "s3"
"""The SDK's name of the older signature."""


class Signature(StrEnum):
    """Which signature the server understands."""

    AUTO = "auto"
    """Found out at start-up; version 4 until then."""
    V4 = "v4"
    HYBRID = "hybrid"
    """Version 2 for calls on one object, version 4 for all others."""
    V2 = "v2"


CANDIDATES: Final = (Signature.V4, Signature.HYBRID, Signature.V2)
"""What `auto` tries, in this order."""


def sign_as(events: Any, current: Callable[[], Signature]) -> None:  # noqa: ANN401 - the SDK ships no types
    """Have the client whose events these are sign each request as `current` says at that moment."""

    def choose(event_name: str, **_: object) -> str | None:
        signature = current()
        of_object = event_name.rpartition(".")[2] in _OBJECT_CALLS
        return _V2 if signature is Signature.V2 or (signature is Signature.HYBRID and of_object) else None

    events.register("choose-signer.s3", choose)
    events.register("before-sign.s3", _name_the_bucket_as_it_is_sent)


def _name_the_bucket_as_it_is_sent(request: Any, **_: object) -> None:  # noqa: ANN401 - the SDK ships no types
    """Version 2 signs the path, which the SDK takes for `/bucket/` while it sends `/bucket`."""
    path = request.auth_path
    if isinstance(path, str) and path.endswith("/") and path.count("/") == 2:  # noqa: PLR2004 - `/bucket/`
        request.auth_path = path.removesuffix("/")
