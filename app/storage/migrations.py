"""What changes stored data between versions: each migration runs once, in order, and the store remembers it."""

import asyncio
import importlib.util
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Final

import structlog

from app.core.clock import iso
from app.core.errors import Situation, Unavailable
from app.core.schema import Record
from app.storage.document import Document
from app.storage.rehearsal import Rehearsal
from app.storage.store import ObjectStore

LEDGER: Final = "_system/migrations.json"
OK: Final = "ok"
_NAME: Final = re.compile(r"[0-9]{4}_[a-z0-9_]+\.py")
_PATIENCE: Final = timedelta(seconds=15)
"""How long the start waits for the migrations; after that they go on behind it."""
_PAUSE: Final = timedelta(seconds=1)
"""Before the second attempt, doubled before each other one."""
_LONGEST: Final = timedelta(seconds=30)
_APP: Final = Path(__file__).parents[1]

Upgrade = Callable[[ObjectStore], Awaitable[None]]

log = structlog.get_logger(__name__)


class MigrationsPending(Unavailable):
    """The stored data is still being brought up to this version: try again in a moment."""


class Applied(Record):
    """A migration that has run."""

    name: str
    at: str
    """ISO-8601, UTC."""
    by: str
    """The machine that ran it."""


class Ledger(Record):
    """What has run on this store: `_system/migrations.json`."""

    nonce: str = ""
    applied: list[Applied] = []


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the folder."""

    name: str
    upgrade: Upgrade


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that was run now, or would be."""

    name: str
    writes: Sequence[tuple[str, str]]
    """Of a dry run: method and key of each write that would be made."""


class _Source(SourceFileLoader):
    """Loads a file and leaves no bytecode beside it: the folder is data."""

    def set_data(self, path: str, data: bytes | bytearray, *, _mode: int = 0o666) -> None:  # type: ignore[override]
        """Write nothing."""


def migrations_folder() -> Path:
    """Where the migrations lie: inside the installed package, or beside it in a checkout."""
    packed = _APP / "migrations"
    return packed if packed.is_dir() else _APP.parent / "alembic-free-migrations"


def load(folder: Path) -> list[Migration]:
    """The migrations of the folder, in the order of their numbers.

    Raises:
        FileNotFoundError: there is no such folder, so nobody can say what has to run.
        ValueError: two files have one number, or a file has no `async def upgrade`.
    """
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    numbers = [path.name[:4] for path in paths]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"two migrations in '{folder}' have the same number")
    return [Migration(path.stem, _upgrade_of(path)) for path in paths]


def _upgrade_of(path: Path) -> Upgrade:
    loader = _Source(f"live_memory_migration_{path.stem}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None  # noqa: S101 - a loader was given
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    upgrade: object = getattr(module, "upgrade", None)
    if not inspect.iscoroutinefunction(upgrade):
        raise ValueError(f"'{path.name}' has no `async def upgrade(store)`")
    return upgrade


class Migrations:
    """Runs what has not run yet on this store.

    Several processes may do it at the same time: every migration is harmless when repeated, and the ledger is changed
    by compare-and-swap, so each is written down once.
    """

    def __init__(
        self,
        store: ObjectStore,
        by: str,
        *,
        folder: Path | None = None,
        patience: timedelta = _PATIENCE,
        pause: timedelta = _PAUSE,
    ) -> None:
        self._store = store
        self._by = by
        self._folder = folder or migrations_folder()
        self._patience = patience.total_seconds()
        self._pause = pause
        self._ledger = Document(store, LEDGER, Ledger)
        self.state = "not_started"
        """`ok`, or why it is not."""

    async def run(self, *, dry_run: bool = False) -> list[Step]:
        """Run what is due, and say what that was; a dry run writes nothing."""
        migrations = await asyncio.to_thread(load, self._folder)
        version = await self._ledger.read()
        known = {applied.name for applied in version.model.applied} if version else set()
        if unknown := known - {migration.name for migration in migrations}:
            log.warning("migrations_of_a_later_version", names=sorted(unknown))
        target = Rehearsal(self._store) if dry_run else self._store
        steps: list[Step] = []
        for migration in migrations:
            if migration.name in known:
                continue
            before = len(target.writes) if isinstance(target, Rehearsal) else 0
            await migration.upgrade(target)
            if isinstance(target, Rehearsal):
                steps.append(Step(migration.name, tuple(target.writes[before:])))
                continue
            await self._write_down(migration.name)
            steps.append(Step(migration.name, ()))
            log.info("migration_done", name=migration.name)
        return steps

    async def _write_down(self, name: str) -> None:
        applied = Applied(name=name, at=iso(self._store.now()), by=self._by)

        def add(ledger: Ledger | None) -> Ledger | None:
            known = ledger or Ledger()
            if any(one.name == name for one in known.applied):
                return None
            return known.model_copy(update={"applied": [*known.applied, applied]})

        await self._ledger.change(add)

    def demand(self) -> None:
        """Raise while an attempt has failed and no later one has succeeded: what is stored cannot be judged yet."""
        if self.state not in {OK, "not_started"}:
            raise MigrationsPending(retry_after=2)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Run them before anything else, and again and again behind the start while the store does not answer."""
        self.state = "pending"
        tried = asyncio.Event()
        trying = asyncio.create_task(self._try(tried), name="migrations")
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await tried.wait()
            except TimeoutError:
                log.warning("migrations_take_long")
            yield
        finally:
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)

    async def _try(self, tried: asyncio.Event) -> None:
        pause = self._pause
        while self.state != OK:
            try:
                await self.run()
            except Situation as situation:
                self.state = situation.code()
                log.warning("migrations_failed", code=situation.code(), detail=situation.detail)
            except Exception:
                # Nobody waits for it: the check says that it failed, the log says why, and it is tried again.
                self.state = "failed"
                log.exception("migrations_failed")
            else:
                self.state = OK
            tried.set()
            if self.state != OK:
                await asyncio.sleep(pause.total_seconds())
                pause = min(2 * pause, _LONGEST)
