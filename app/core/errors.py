"""The six kinds of error. A noun names its situations below them; a face needs to know the kinds only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One thing that is wrong with one field of the input."""

    field: str
    message: str


class Situation(Exception):
    """Something the caller should know about: the docstring is its title, the message its detail."""

    status: ClassVar[int] = 500
    """Number of the HTTP answer."""
    word: ClassVar[str] = "error"
    """Value of `status` in the MCP answer: `error`, `not_found`, `already_exists` or `conflict`."""

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Sequence[FieldFault] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.faults = tuple(faults)
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @classmethod
    def code(cls) -> str:
        """The stable machine name of the situation: `SpaceExists` is `space_exists`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @classmethod
    def title(cls) -> str:
        """One sentence that is the same for every occurrence."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class Invalid(Situation):
    """The request cannot be understood as it stands."""

    status = 422


class Unauthenticated(Situation):
    """A valid bearer token is required."""

    status = 401


class Forbidden(Situation):
    """The token does not give access to this space."""

    status = 403


class NotFound(Situation):
    """There is nothing of that name."""

    status = 404
    word = "not_found"


class Conflict(Situation):
    """Somebody else changed this meanwhile."""

    status = 409
    word = "conflict"


class Unavailable(Situation):
    """The service cannot do this right now."""

    status = 503


class InvalidInput(Invalid):
    """An argument is missing, malformed or out of range."""


class UnknownField(Invalid):
    """The body or the query holds a field that this operation does not know."""


class InvalidSpaceID(Invalid):
    """A space id is 1 to 64 letters, digits, `-` and `_`, starting with a letter or a digit."""


class ConfirmationRequired(Invalid):
    """This cannot be undone: repeat the call with `confirm=true`."""


class TooLarge(Invalid):
    """The request is larger than the service accepts."""

    status = 413


class RequestTimeout(Invalid):
    """The request body did not arrive in time."""

    status = 408


class ReadRequired(Forbidden):
    """The `read` permission is required."""


class WriteRequired(Forbidden):
    """The `write` permission is required."""


class AdminRequired(Forbidden):
    """The `admin` permission is required."""


class StaleVersion(Conflict):
    """The object has moved on since the version named in `If-Match`."""

    status = 412


class StoreUnavailable(Unavailable):
    """The object store cannot be reached; nothing was lost, try again."""


class Timeout(Unavailable):
    """The operation ran out of time."""

    status = 504


class InternalError(Situation):
    """Something unforeseen went wrong; the request id names it in the server's log."""
