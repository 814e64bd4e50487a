"""The only place that wires: a store, a clock and settings become services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final, TypeVar

import structlog

from app import __version__
from app.backups.service import BackupService
from app.bank.adoption import Adoption
from app.bank.consolidation import Consolidation
from app.bank.rules import compile_rules
from app.bank.service import BankService
from app.bank.store import BankStore
from app.bank.view import View
from app.catalogue import CATALOGUE
from app.core.clock import Clock
from app.core.errors import Situation, Unavailable
from app.core.identity import Authenticator, Caller
from app.core.ids import replica_name
from app.core.settings import Settings
from app.gc.service import GCService
from app.jobs.service import Runner
from app.notes.index import NoteIndex
from app.notes.service import NoteService
from app.overview.service import OverviewService
from app.spaces.service import SpaceService
from app.storage.migrations import Migrations
from app.storage.store import ObjectStore
from app.system.service import SystemService
from app.tokens.service import TokenService

_CACHE_BYTES: Final = 96 * 1024 * 1024
_DRAIN: Final = 25.0
"""Seconds that running work gets to end at shutdown."""
_FLUSH: Final = 60.0
"""Seconds between two writings of when tokens were last used."""
_SWEEP_EVERY: Final = 10
"""Flushes between two sweeps of what crashes have left."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the operations ask for, by type."""

    tokens: TokenService
    spaces: SpaceService
    notes: NoteService
    bank: BankService
    overview: OverviewService
    backups: BackupService
    gc: GCService
    system: SystemService
    runner: Runner
    migrations: Migrations

    def of(self, kind: type[T]) -> T:
        """The service of that type."""
        for field in fields(self):
            service = getattr(self, field.name)
            if type(service) is kind:
                return service
        raise LookupError(kind.__name__)

    @property
    def authenticator(self) -> Authenticator:
        return _Door(self.tokens, self.migrations)

    async def ready(self) -> dict[str, str]:
        """What must be well before requests are sent here: each check, and `ok` or what is wrong."""
        return {**await self.system.ready(), "migrations": self.migrations.state}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """What is stored brought up to this version; then background work, for the life of the process."""
        async with self.migrations.opened(), self._housekept():
            yield

    @asynccontextmanager
    async def _housekept(self) -> AsyncIterator[None]:
        housekeeping = asyncio.create_task(self._keep_house(), name="housekeeping")
        try:
            async with self.runner.opened():
                yield
        finally:
            housekeeping.cancel()
            await asyncio.gather(housekeeping, return_exceptions=True)
            await self._flush()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.spaces.sweep_deleted()
                await self.backups.sweep_aborted()
            except Exception:
                # Nobody waits for it, and what fails now is tried again.
                log.exception("sweep_failed")
            for _turn in range(_SWEEP_EVERY):
                await asyncio.sleep(_FLUSH)
                await self._flush()

    async def _flush(self) -> None:
        try:
            await self.tokens.flush_usage()
        except Situation as situation:
            log.warning("usage_not_written", code=situation.code())


@dataclass(frozen=True, slots=True)
class _Door:
    """Tells who calls. Nobody is called unknown before the tokens of an older version have been taken over."""

    tokens: TokenService
    migrations: Migrations

    async def authenticate(self, token: str) -> Caller | None:
        caller = await self.tokens.authenticate(token)
        if caller is None:
            try:
                self.migrations.demand()
            except Unavailable:
                self.tokens.forget_unknown()
                raise
        return caller


def build_services(store: ObjectStore, clock: Clock, settings: Settings) -> Services:
    """Every service, each given just what it needs. Nothing is opened or read."""
    runner = Runner(drain=_DRAIN)
    key = settings.admin_bootstrap_key
    tokens = TokenService(store, clock, key.get_secret_value() if key else None, replica_name())
    spaces = SpaceService(
        store,
        membership=tokens,
        adopter=Adoption(store),
        understand=lambda rules: compile_rules(rules).warnings,
    )
    notes = NoteService(store, spaces, NoteIndex(store, clock, memory=_CACHE_BYTES))
    consolidation = Consolidation(
        spaces,
        notes,
        BankStore(store, spaces),
        max_notes=settings.consolidation_max_notes,
        batch_size=settings.consolidation_max_notes,  # without a model, splitting a run gains nothing
    )
    bank = BankService(spaces, consolidation, View(store, spaces, clock), runner, clock)
    return Services(
        tokens=tokens,
        spaces=spaces,
        notes=notes,
        bank=bank,
        overview=OverviewService(spaces, notes),
        backups=BackupService(store, spaces, notes),
        gc=GCService(store, spaces, notes, bank),
        system=SystemService(
            store,
            clock,
            name=settings.mcp_server_name,
            version=__version__,
            tools=[(one.name, one.title) for noun in CATALOGUE for one in noun.declared if one.core],
            llm_model=None,
        ),
        runner=runner,
        migrations=Migrations(store, replica_name()),
    )
