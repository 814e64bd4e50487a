"""The one door by which the SDK's errors enter: what a refusal or a silence of the S3 server means."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import ClientError as HTTPError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from app.core.errors import Situation, StoreUnavailable
from app.storage.keys import InvalidKey
from app.storage.store import OutcomeUnknown, StoreRefused

NOT_MODIFIED: Final = 304
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PRECONDITION_FAILED: Final = 412
TOO_MANY: Final = 429
SERVER_ERROR: Final = 500
NOT_IMPLEMENTED: Final = 501

_NO_BUCKET: Final = "NoSuchBucket"
_ILLEGAL_KEYS: Final = frozenset({
    "KeyTooLongError", "InvalidObjectName", "ExistingObjectIsDirectory", "ExistingObjectIsFile",
    "XMinioParentIsObject", "XMinioObjectExistsAsDirectory",
})  # fmt: skip
_PASSING: Final = frozenset({"RequestTimeout", "SlowDown", "BadDigest", "IncompleteBody"})


class Answered(Exception):
    """The server answered, and not with success."""

    def __init__(self, status: int, code: str, reply: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.reply = reply
        """What the SDK made of it, headers included."""

    @property
    def is_absent(self) -> bool:
        """Does the server say that there is no such object? A bare 404 may come from anybody on the way."""
        return self.status == NOT_FOUND and self.code == "NoSuchKey"

    @property
    def is_unclear(self) -> bool:
        """May a conditional write that got this answer have happened, in this attempt or an earlier one?"""
        if self.code in _ILLEGAL_KEYS or self.code == _NO_BUCKET:
            return False
        return self._passes

    def situation(self, *, writing: bool) -> Situation:
        """What the answer means to a caller who did not expect it."""
        said = f"The object store answered {self.status} ({self.code})."
        if self.code in _ILLEGAL_KEYS:
            return InvalidKey("The store cannot hold an object of that name beside those it holds.")
        if self.code == _NO_BUCKET or not self._passes:
            return StoreRefused(said)
        return OutcomeUnknown(said) if writing and self.status >= SERVER_ERROR else StoreUnavailable(said)

    @property
    def _passes(self) -> bool:
        """May the same request get another answer?"""
        if self.status >= SERVER_ERROR:
            return self.status != NOT_IMPLEMENTED
        return self.status in {NOT_FOUND, CONFLICT, PRECONDITION_FAILED, TOO_MANY} or self.code in _PASSING


class Unanswered(Exception):
    """No answer, or half of one: the request may have been carried out."""


class CutShort(Unanswered):
    """The answer began, and its body did not come to an end."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the SDK raises into `Answered`, `Unanswered` or `StoreRefused`."""
    try:
        yield
    except ClientError as error:
        reply = error.response
        status = reply.get("ResponseMetadata", {}).get("HTTPStatusCode", SERVER_ERROR)
        raise Answered(status, str(reply.get("Error", {}).get("Code") or status), reply) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreRefused("There are no credentials for the object store.") from error
    except ParamValidationError:
        raise
    except HTTPError as error:
        # What the SDK lets through is a body that broke off, which it does not read again by itself.
        raise CutShort(type(error).__name__) from error
    except (HTTPClientError, NotConnected, ResponseParserError, OSError) as error:
        # A TimeoutError is an OSError.
        raise Unanswered(type(error).__name__) from error
    except BotoCoreError as error:
        raise StoreRefused(f"The object store cannot be used ({type(error).__name__}).") from error
