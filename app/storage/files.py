"""Files and folders without their traps: links, pipes, names that are both a folder and an object."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.keys import InvalidKey
from app.storage.store import Listed, OutcomeUnknown, StoreRefused

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""Not blocking, so that a named pipe somebody left there does not hang its reader."""


def situation_of(error: OSError, *, writing: bool) -> StoreUnavailable | InvalidKey:
    """What a refusal by the operating system means to a caller. Absence and existence never come here."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StoreRefused(f"The data folder cannot be used: {reason}.")
        case errno.ENAMETOOLONG | errno.EILSEQ:
            return InvalidKey(f"The file system cannot hold this name: {reason}.")
        case errno.EISDIR:
            return InvalidKey("The name is a folder of other objects.")
        case errno.EIO if writing:
            # The disk itself failed: what it was doing then may or may not be done.
            return OutcomeUnknown(f"The data folder failed: {reason}.")
        case _:
            return StoreUnavailable(f"The data folder cannot be used: {reason}.")


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor, whatever happens meanwhile."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(folder: int, key: str) -> Iterator[tuple[int, os.stat_result]]:
    """The object of that name, open. `FileNotFoundError` when there is none."""
    try:
        descriptor = os.open(name_of(key), _READING, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise InvalidKey(f"'{key}' is neither a file nor a folder.") from error
        raise
    with closing(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError
        refuse_special(status, key)
        yield descriptor, status


def is_taken(folder: int, key: str) -> bool:
    """Is there an object? A folder there makes way when it holds no object, and refuses the key otherwise."""
    try:
        status = os.stat(name_of(key), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    refuse_special(status, key)
    if not stat.S_ISDIR(status.st_mode):
        return True
    for _, _, _, inside in os.fwalk(name_of(key), topdown=False, dir_fd=folder):
        for name in os.listdir(inside):  # noqa: PTH208 - an open folder, not a path
            # A folder goes, anything else stays, and so do the folders around it.
            with suppress(OSError):
                os.rmdir(name, dir_fd=inside)
    try:
        os.rmdir(name_of(key), dir_fd=folder)
    except OSError as error:
        raise InvalidKey(f"'{key}' is a folder of other objects.") from error
    return False


def refuse_special(status: os.stat_result, name: str) -> None:
    """Refuse what is neither a file nor a folder: a symbolic link, a pipe, a device."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InvalidKey(f"'{name}' is neither a file nor a folder.")


def content_of(file: int, size: int) -> bytes:
    """All bytes of an open file, which should be that many."""
    parts: list[bytes] = []
    while part := os.read(file, max(size + 1, 65_536)):
        parts.append(part)
    return b"".join(parts)


def name_of(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def parent_of(key: str) -> str:
    """The folder of a key, without final slash; empty at the top."""
    return key.rpartition("/")[0]


def md5(body: bytes) -> str:
    """The ETag of a body, as on S3."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def instant_of(nanoseconds: int) -> datetime:
    """The instant of a file time, to the microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def nanoseconds_of(instant: datetime) -> int:
    """The file time of an instant."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


class KnownFiles:
    """What a listing says of files nobody touched since they were read, so that it need not read them again.

    A file that changed shortly before it was read is not remembered: a second change could fall on the same tick of
    the file system's clock, and leave all that `stat` tells as it was.
    """

    TICK: Final = timedelta(seconds=2)
    """The coarsest clock of the file systems in use."""

    def __init__(self, *, limit: int = 100_000) -> None:
        self._limit = limit
        self._known: dict[str, tuple[tuple[int, ...], Listed]] = {}

    def now(self) -> datetime:
        """The instant by the host's clock, which stamps a file's change whatever clock the store was given."""
        return SystemClock().now()

    def find(self, key: str, status: os.stat_result) -> Listed | None:
        """What is known of the file of that key, which has that status now."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] == _marks(status) else None

    def learn(self, listed: Listed, status: os.stat_result, started: datetime) -> None:
        """Remember a file that had that status when it was read, from that instant on."""
        if status.st_ctime_ns >= nanoseconds_of(started - self.TICK):
            return
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[listed.key] = (_marks(status), listed)


def _marks(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_dev)
