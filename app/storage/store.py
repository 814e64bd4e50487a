"""What every object store promises. The contract suite in `tests/contract/test_object_store.py` proves each one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from app.core.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that was read."""

    key: str
    body: bytes
    etag: str
    """Opaque: it changes whenever the body does, and never comes back for a body that is unique."""
    last_modified: datetime

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object that was listed, without its body."""

    key: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a listing: at most 1,000 objects and folders, in the order of their keys' UTF-8 bytes."""

    objects: Sequence[Listed]
    folders: Sequence[str]
    """With a delimiter: the common prefixes found, each ending in the delimiter."""
    date: datetime
    """When the listing was made, by the store's own clock."""


PAGE_SIZE: Final = 1000
"""Objects and folders of one page, at most."""


class _Unchanged(Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = _Unchanged.UNCHANGED
"""The answer of `get(key, unless=etag)` when the object is still the one with that ETag."""

Unchanged = _Unchanged


class PreconditionFailed(Exception):
    """Certain: the object is not what the writer believed, and the write did not happen."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class OutcomeUnknown(StoreUnavailable):
    """The write may or may not have happened: the store stopped answering. Reading it back will tell."""


class StoreRefused(StoreUnavailable):
    """The store refuses the service's credentials or bucket."""


class ObjectStore(Protocol):
    """Named bytes, written only by those who state what they believe to be there.

    Every method raises `InvalidKey` for a key no store accepts, and `StoreUnavailable` when the store does not answer.
    A store that holds files cannot hold both `a` and `a/b`: whichever comes second is an `InvalidKey` there, so no
    caller may build such keys. A write of a cancelled caller is settled before the cancellation reaches it.
    """

    @property
    def kind(self) -> str:
        """`memory`, `directory` or `s3`."""
        ...

    @property
    def location(self) -> str:
        """Where the objects are, for people: a path or a bucket."""
        ...

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Connections and folders, held for the life of the process: every other method needs them."""
        ...

    def now(self) -> datetime:
        """The current instant by the store's clock, as far as this process knows it."""
        ...

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        """The object; None when absent; `UNCHANGED` when its ETag is still `unless`."""
        ...

    async def create(self, key: str, body: bytes, *, content_type: str = ...) -> str:
        """Write an object that must not exist yet, and return its ETag.

        An object that was there before the call is a `PreconditionFailed` whatever its body, the very same one
        included: a caller that repeats its own `create` reads the object to learn whose it is. Only a store behind a
        network, which may lose the answer to its own request, recognises its body and returns the ETag.

        Raises:
            PreconditionFailed: there is an object under that key, and this call did not write it.
            OutcomeUnknown: nobody can tell.
        """
        ...

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = ...) -> str:
        """Write over the object with that ETag, and return the new ETag.

        Raises:
            PreconditionFailed: the object is another one by now, or gone.
            OutcomeUnknown: nobody can tell.
        """
        ...

    async def put(self, key: str, body: bytes, *, content_type: str = ...) -> str:
        """Write whatever is there. Only for objects whose loss or overwriting is harmless."""
        ...

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        """Remove the object; an absent one is a success.

        With an ETag: only the object that has it. Some servers ignore that, so nothing may depend on it alone.

        Raises:
            PreconditionFailed: the object is another one by now.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove objects, and return the keys that may still exist."""
        ...

    def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        """The objects whose key starts with `prefix` and sorts after `start_after`; at least one page.

        With the delimiter `/`, objects below a further slash are not shown: the folder they lie in is. Servers differ
        in what `start_after` then means, so nobody gives both. A page can be short, or empty, although others follow.
        """
        ...

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object onto a new or derived key; False when the source is absent."""
        ...


@runtime_checkable
class Examined(Protocol):
    """A store that is tried before it is used, and knows what it can be trusted with."""

    def checks(self) -> Mapping[str, str]:
        """What was found, for `/ready`: `store` as long as it is not in use, and `conditions`."""
        ...


@runtime_checkable
class Doubtable(Protocol):
    """A store that wants to know when a promise of its server turns out to be broken."""

    def doubt(self, key: str) -> None:
        """A conditional write of this key was acknowledged, and was not the only one of its version."""
        ...


def check_delimiter(delimiter: str) -> None:
    """Refuse what no caller has a use for.

    Raises:
        ValueError: the delimiter is neither empty nor a slash.
    """
    if delimiter not in {"", "/"}:
        raise ValueError(f"a listing is divided at '/' or not at all, not at {delimiter!r}")


TEXT: Final = "text/plain; charset=utf-8"
MARKDOWN: Final = "text/markdown; charset=utf-8"
JSON: Final = "application/json"
GZIP: Final = "application/gzip"
