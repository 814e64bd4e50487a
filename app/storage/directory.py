"""Objects as plain files of one host, compare-and-swap included: the store that needs no configuration."""

import asyncio
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.core.ids import new_nonce
from app.storage.files import (
    KnownFiles,
    closing,
    content_of,
    instant_of,
    is_taken,
    md5,
    name_of,
    nanoseconds_of,
    opened_file,
    parent_of,
    refuse_special,
    situation_of,
)
from app.storage.keys import MAX_KEY, RESERVED, InvalidKey, check_key, check_prefix, is_listable
from app.storage.store import (
    PAGE_SIZE,
    TEXT,
    UNCHANGED,
    Listed,
    OutcomeUnknown,
    Page,
    PreconditionFailed,
    Stored,
    Unchanged,
    check_delimiter,
)

LOCKS: Final = 4096
"""Lock files; a key's is found by hash, so some keys share one."""
ABANDONED: Final = timedelta(hours=1)
"""Age at which a temporary file has lost its writer."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

T = TypeVar("T")


class DirectoryStore:
    """A store of plain files below one folder, shared by the processes of one host.

    A file is never changed in place: a new one is written aside, flushed, and put in its place, so a reader sees a
    whole body and a killed writer leaves nothing but a temporary file. Two creators are told apart by `link`, which
    refuses an existing name; everything that overwrites or removes holds the lock of its key meanwhile. Folders are
    entered one by one, without following a symbolic link, so no key leads out of the root.

    `patience` is how long a write waits for a process that holds the lock of its key.
    """

    kind: ClassVar[str] = "directory"

    def __init__(
        self, root: Path, clock: Clock, *, fsync: bool = True, patience: timedelta = timedelta(seconds=15)
    ) -> None:
        self.location = str(root)
        self._root = root.absolute()
        self._temporaries = self._root / RESERVED / "tmp"
        self._locks = self._root / RESERVED / "locks"
        self._clock = clock
        self._fsync = fsync
        self._patience = patience.total_seconds()
        self._known = KnownFiles()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await _settled(self._prepare)
        yield

    def now(self) -> datetime:
        return self._clock.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        return await _answered(partial(self._get, check_key(key), unless))

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - a file has none
        return await _settled(partial(self._create, check_key(key), body))

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:  # noqa: ARG002 - a file has none
        return await _settled(partial(self._replace, check_key(key), body, etag))

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - a file has none
        return await _settled(partial(self._put, check_key(key), body))

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        await _settled(partial(self._delete, check_key(key), etag))

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        return await _settled(partial(self._delete_many, [check_key(key) for key in keys]))

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        check_prefix(prefix)
        check_delimiter(delimiter)
        names = self._walk(prefix[: prefix.rfind("/") + 1], prefix, start_after, delimiter)
        last = False
        while not last:
            page, last = await _answered(partial(self._page, names))
            yield page

    async def copy(self, source: str, target: str) -> bool:
        return await _settled(partial(self._copy, check_key(source), check_key(target)))

    # What follows blocks, and runs in a thread: one hop for a whole operation.

    def _prepare(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._temporaries, self._locks):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest = nanoseconds_of(self.now() - ABANDONED)
        for temporary in self._temporaries.iterdir():
            # Another process may be cleaning up too.
            with suppress(FileNotFoundError):
                if temporary.stat(follow_symlinks=False).st_mtime_ns < oldest:
                    temporary.unlink()

    def _get(self, key: str, unless: str | None) -> Stored | Unchanged | None:
        started = self._known.now()
        try:
            with self._folder_of(key) as folder, opened_file(folder, key) as (file, status):
                if unless is not None and (known := self._known.find(key, status)) and known.etag == unless:
                    return UNCHANGED
                body = content_of(file, status.st_size)
        except FileNotFoundError:
            return None
        stored = Stored(key, body, md5(body), instant_of(status.st_mtime_ns))
        self._known.learn(_without_body(stored), status, started)
        return UNCHANGED if stored.etag == unless else stored

    def _create(self, key: str, body: bytes) -> str:
        with self._folder_of(key, make=True) as folder:
            if is_taken(folder, key):
                raise PreconditionFailed(key)
            with self._temporary(body) as temporary:
                try:
                    os.link(temporary, name_of(key), dst_dir_fd=folder)
                except FileExistsError:
                    is_taken(folder, key)
                    raise PreconditionFailed(key) from None
            self._flush_placed(folder, key)
        return md5(body)

    def _replace(self, key: str, body: bytes, etag: str) -> str:
        with self._locked(key):
            try:
                with self._folder_of(key) as folder, opened_file(folder, key) as (file, status):
                    # Read, not remembered: this comparison is what everything else rests on.
                    current = md5(content_of(file, status.st_size))
            except FileNotFoundError:
                raise PreconditionFailed(key) from None
            if current != etag:
                raise PreconditionFailed(key)
            with self._folder_of(key) as folder:
                self._overwrite(folder, key, body)
        return md5(body)

    def _put(self, key: str, body: bytes) -> str:
        with self._locked(key), self._folder_of(key, make=True) as folder:
            is_taken(folder, key)
            self._overwrite(folder, key, body)
        return md5(body)

    def _overwrite(self, folder: int, key: str, body: bytes) -> None:
        with self._temporary(body) as temporary:
            os.replace(temporary, name_of(key), dst_dir_fd=folder)
        self._flush_placed(folder, key)

    def _delete(self, key: str, etag: str | None) -> None:
        with suppress(FileNotFoundError), self._folder_of(key) as folder:
            self._remove(folder, key, etag)
            self._flush_placed(folder, key)

    def _delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        remaining: list[str] = []
        for _, group in groupby(sorted(keys, key=parent_of), key=parent_of):
            lying_together = list(group)
            try:
                with self._folder_of(lying_together[0]) as folder:
                    for key in lying_together:
                        try:
                            self._remove(folder, key)
                        except (OSError, StoreUnavailable, InvalidKey):
                            remaining.append(key)
                    self._flush_placed(folder, lying_together[0])
            except FileNotFoundError:
                continue
            except (OSError, OutcomeUnknown, InvalidKey):
                remaining.extend(key for key in lying_together if key not in remaining)
        return remaining

    def _remove(self, folder: int, key: str, etag: str | None = None) -> None:
        with self._locked(key), suppress(FileNotFoundError):
            if etag is not None:
                with opened_file(folder, key) as (file, found):
                    if md5(content_of(file, found.st_size)) != etag:
                        raise PreconditionFailed(key)
            status = os.stat(name_of(key), dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                refuse_special(status, key)
                os.unlink(name_of(key), dir_fd=folder)

    def _copy(self, source: str, target: str) -> bool:
        stored = self._get(source, None)
        if not isinstance(stored, Stored):
            return False
        self._put(target, stored.body)
        return True

    def _page(self, names: Iterator[str]) -> tuple[Page, bool]:
        """The next objects and folders, and whether they are the last ones."""
        os.close(self._open_root())
        date = self.now()
        objects: list[Listed] = []
        folders: list[str] = []
        for name in names:
            if name.endswith("/"):
                folders.append(name)
            elif (listed := self._listed(name)) is not None:
                objects.append(listed)
            if len(objects) + len(folders) == PAGE_SIZE:
                return Page(objects=tuple(objects), folders=tuple(folders), date=date), False
        return Page(objects=tuple(objects), folders=tuple(folders), date=date), True

    def _walk(self, folder: str, prefix: str, start_after: str, delimiter: str) -> Iterator[str]:
        """Keys in order, and with a delimiter the folders that hold any; both cost no look at a file."""
        for name in self._names(folder, prefix, start_after):
            if not name.endswith("/"):
                yield name
                continue
            below = self._walk(name, prefix, start_after, "")
            if not delimiter:
                yield from below
            elif next(below, None) is not None:
                yield name

    def _names(self, folder: str, prefix: str, start_after: str) -> Sequence[str]:
        """What lies in a folder, each folder with a final slash: that is how its keys sort among the others."""
        found: list[str] = []
        try:
            with self._folder_of(f"{folder}*") as opened, os.scandir(opened) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not is_listable(entry.name) or not (is_folder or entry.is_file(follow_symlinks=False)):
                        continue
                    key = f"{folder}{entry.name}/" if is_folder else f"{folder}{entry.name}"
                    if key.startswith(prefix) and (key > start_after or (is_folder and start_after.startswith(key))):
                        found.append(key)
        except FileNotFoundError:
            return []
        # The order of code points is the order of UTF-8 bytes.
        return sorted(key for key in found if len(key) <= MAX_KEY // 4 or len(key.encode()) <= MAX_KEY)

    def _listed(self, key: str) -> Listed | None:
        try:
            status = os.stat(f"{self._root}/{key}", follow_symlinks=False)  # noqa: PTH116 - thousands in a row
        except FileNotFoundError:
            return None
        if (known := self._known.find(key, status)) is not None:
            return known
        stored = self._get(key, None)
        return _without_body(stored) if isinstance(stored, Stored) else None

    def _open_root(self) -> int:
        """The root, which must be the one that was prepared: an unmounted disk is not an empty memory."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreUnavailable("The data folder is gone.") from error
        try:
            os.stat(RESERVED, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError as error:
            os.close(root)
            raise StoreUnavailable(f"The data folder holds no '{RESERVED}': it was not opened, or is gone.") from error
        return root

    @contextmanager
    def _folder_of(self, key: str, *, make: bool = False) -> Iterator[int]:
        """The folder a key lies in, open. `FileNotFoundError` when there is none, and so no object either."""
        folder = self._open_root()
        try:
            for name in key.split("/")[:-1]:
                below = self._enter(folder, name, make=make)
                os.close(folder)
                folder = below
            yield folder
        finally:
            os.close(folder)

    def _enter(self, folder: int, name: str, *, make: bool) -> int:
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, mode=0o700, dir_fd=folder)
                self._flush(folder)
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            refuse_special(os.stat(name, dir_fd=folder, follow_symlinks=False), name)
            if make:
                raise InvalidKey(f"'{name}' is an object, so nothing can lie below it.") from error
            raise FileNotFoundError from error

    @contextmanager
    def _temporary(self, body: bytes) -> Iterator[str]:
        """The path of a new file with that body, safe on the disk, and gone afterwards unless it was moved."""
        path = f"{self._temporaries}/{os.getpid()}-{new_nonce()}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with closing(file):
                rest = memoryview(body)
                while rest:
                    rest = rest[os.write(file, rest) :]
                # The file's time is by the same clock as a page's date, so that ages can be told.
                written = nanoseconds_of(self.now())
                os.utime(file, ns=(written, written))
                self._flush(file)
            yield path
        finally:
            # What cannot be removed now is removed when the store is opened in an hour's time.
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - a path that was never anything but text

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Nobody else overwrites or removes the key meanwhile, in any process of this host."""
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=2).digest(), "big") % LOCKS
        try:
            lock = os.open(self._locks / f"{number:03x}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError as error:
            # Not to be taken for the absence of the object.
            raise StoreUnavailable("The folder of the locks is gone; nothing was written.") from error
        waited, pause = 0.0, 0.0005
        with closing(lock):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if waited >= self._patience:
                        raise StoreUnavailable(
                            "Another process keeps this object locked; nothing was written."
                        ) from error
                time.sleep(pause)
                waited, pause = waited + pause, min(2 * pause, 0.005)
            yield

    def _flush(self, file: int) -> None:
        if self._fsync:
            os.fsync(file)

    def _flush_placed(self, folder: int, key: str) -> None:
        try:
            self._flush(folder)
        except OSError as error:
            raise OutcomeUnknown(f"'{key}' was changed, but may not survive a power cut.") from error


async def _answered(work: Callable[[], T]) -> T:
    """What a thread read; a cancelled caller does not wait for it."""
    return await asyncio.to_thread(_translated, work, writing=False)


async def _settled(work: Callable[[], T]) -> T:
    """What a thread wrote; a cancelled caller waits for it, so that nothing is written behind its back."""
    working = asyncio.ensure_future(asyncio.to_thread(_translated, work, writing=True))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _translated(work: Callable[[], T], *, writing: bool) -> T:
    try:
        return work()
    except OSError as error:
        raise situation_of(error, writing=writing) from error


def _without_body(stored: Stored) -> Listed:
    return Listed(stored.key, stored.etag, stored.size, stored.last_modified)
