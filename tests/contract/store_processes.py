"""Processes that work on one directory store, and what is checked after they were killed."""

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar, Self

from app.core.clock import SystemClock
from app.core.errors import Situation
from app.storage.directory import DirectoryStore
from app.storage.store import ObjectStore, PreconditionFailed, Stored
from tests.contract.store_races import increment

NOBODY = 65534
"""A user without rights, on every system."""

Talk = Connection
"""What a process and its parent hear each other by."""


class InPlaceStore(DirectoryStore):
    """The fault: files are written where they lie, piece by piece, as the first thing that comes to mind does."""

    kind: ClassVar[str] = "directory"

    async def create(self, key: str, body: bytes, *, content_type: str = "") -> str:
        return await self.put(key, body, content_type=content_type)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:  # noqa: ARG002 - the fault
        return await self.put(key, body, content_type=content_type)

    async def put(self, key: str, body: bytes, *, content_type: str = "") -> str:  # noqa: ARG002 - a file has none
        path = Path(self.location) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(body), 512):
                file.write(body[start : start + 512])
        return hashlib.md5(body, usedforsecurity=False).hexdigest()


def sealed(payload: bytes) -> bytes:
    """A body that shows by itself whether it is whole."""
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def is_whole(body: bytes) -> bool:
    """Is this a sealed body, complete?"""
    seal, _, payload = body.partition(b"\n")
    return seal == hashlib.sha256(payload).hexdigest().encode()


async def check_survivors(store: ObjectStore, acknowledged: dict[str, str]) -> int:
    """Every acknowledged write is there and nothing is torn, after the writer was killed; the number of objects.

    `acknowledged` holds the last version reported of each key; a later one may have been written, and not reported.
    """
    found: dict[str, Stored] = {}
    async for page in store.list(""):
        for listed in page.objects:
            stored = await store.get(listed.key)
            assert isinstance(stored, Stored)
            assert is_whole(stored.body), f"'{listed.key}' is torn"
            assert (listed.etag, listed.size) == (stored.etag, stored.size)
            found[listed.key] = stored
    for key, version in acknowledged.items():
        assert key in found, f"'{key}' is lost"
        assert _version(found[key].body) >= int(version), f"'{key}' went back"
    return len(found)


def _version(body: bytes) -> int:
    return int(body.split(b"\n", 2)[1])


async def race(store: ObjectStore, talk: Talk, keys: int, name: str) -> None:
    """Create numbered keys that others create too, from the word go, and tell which ones were won."""
    talk.send_bytes(b"ready")
    await asyncio.to_thread(talk.recv_bytes)
    for number in range(keys):
        try:
            await store.create(f"race/{number}", f"{name} has {number}".encode())
        except PreconditionFailed:
            continue
        talk.send_bytes(b"%d" % number)


async def count(store: ObjectStore, talk: Talk, key: str, times: int) -> None:
    """Add to a counter that others add to."""
    await increment(store, key, times)
    talk.send_bytes(b"done")


async def write_for_ever(store: ObjectStore, talk: Talk, name: str, seed: int) -> None:
    """Create and replace objects of all sizes until killed, and tell of each write that was acknowledged."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable sequence
    etags: dict[str, str] = {}
    version = 0
    while True:
        version += 1
        key = f"{name}/{chance.randrange(12)}.bin"
        body = sealed(str(version).encode() + b"\n" + chance.randbytes(chance.choice([10, 3_000, 200_000])))
        if key in etags:
            etags[key] = await store.replace(key, body, etag=etags[key])
        else:
            etags[key] = await store.create(key, body)
        talk.send_bytes(f"{key} {version}".encode())


async def use_without_permission(store: ObjectStore, talk: Talk) -> None:
    """Become nobody, who may not enter the folder, and tell what each call answers."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: store.get("closed/a"),
        "list": lambda: anext(aiter(store.list("closed/"))),
        "create": lambda: store.create("closed/b", b"1"),
        "replace": lambda: store.replace("closed/a", b"1", etag="0"),
        "delete": lambda: store.delete("closed/a"),
        "get_open": lambda: store.get("open/a"),
    }
    for name, call in calls.items():
        try:
            answer = type(await call())
        except Situation as situation:
            answer = type(situation)
        talk.send_bytes(f"{name} {answer.__name__}".encode())


Role = Callable[..., Awaitable[None]]


def play(role: Role, kind: type[DirectoryStore], folder: Path, talk: Talk, *arguments: object) -> None:
    """What a process does: one role, on the store of that kind in that folder."""

    async def played() -> None:
        store = kind(folder, SystemClock(), fsync=False)
        async with store.opened():
            await role(store, talk, *arguments)

    asyncio.run(played())


class Worker:
    """A process that plays a role, and what it says. Killed when its block is left."""

    def __init__(
        self, role: Role, folder: Path, *arguments: object, kind: type[DirectoryStore] = DirectoryStore
    ) -> None:
        # Forked from a process that has imported everything and started nothing.
        processes = get_context("forkserver")
        processes.set_forkserver_preload([__name__])
        self.talk, theirs = processes.Pipe()
        self.process = processes.Process(target=play, args=(role, kind, folder, theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.talk.close()

    def line(self) -> str:
        """The next thing it says. `EOFError` when it has ended."""
        assert self.talk.poll(60), "the process says nothing"
        try:
            return self.talk.recv_bytes().decode()
        except OSError as error:
            # It was killed in the middle of a word.
            raise EOFError from error

    def rest(self) -> list[str]:
        """Everything it says until it ends."""
        said: list[str] = []
        with suppress(EOFError):
            while True:
                said.append(self.line())
        return said

    def ended(self) -> list[str]:
        """Everything it said, once it has ended well."""
        said = self.rest()
        self.process.join(60)
        assert self.process.exitcode == 0
        return said
