"""The only place that wires: a store, a clock and settings become services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final, TypeVar

import structlog

from app import __version__
from app.backups.service import BackupService
from app.bank.adoption import Adoption
from app.bank.automatic import AutomaticConsolidation
from app.bank.compaction import Compaction
from app.bank.consolidation import Consolidation
from app.bank.dialogue import Dialogue
from app.bank.document.rules import compile_rules
from app.bank.leases import Leases
from app.bank.ledger import Ledger, Limits
from app.bank.model.policy import Policy
from app.bank.runs import Runs
from app.bank.service import BankService
from app.bank.store import BankStore
from app.bank.till import Till
from app.bank.turns import Turns
from app.bank.versions.writer import BankWriter
from app.bank.view import View
from app.catalogue import CATALOGUE
from app.core.clock import Clock
from app.core.errors import Situation, Unavailable
from app.core.identity import Authenticator, Caller
from app.core.ids import replica_name
from app.core.settings import ExtraFiles, Settings, Uncovered
from app.gc.service import GCService
from app.jobs.service import JobService, Runner
from app.llm.client import LLM
from app.notes.index import NoteIndex
from app.notes.service import NoteService
from app.overview.service import OverviewService
from app.spaces.service import SpaceService
from app.storage.leftovers import sweep_leftovers
from app.storage.migrations import Migrations
from app.storage.store import ObjectStore
from app.system.service import SystemService
from app.tokens.service import TokenService

_CACHE_BYTES: Final = 96 * 1024 * 1024
_DRAIN: Final = 25.0
"""Seconds that running work gets to end at shutdown."""
_FLUSH: Final = 60.0
"""Seconds between two writings of when tokens were last used."""
_SWEEP_EVERY: Final = 60
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
    jobs: JobService
    runner: Runner
    migrations: Migrations
    automatic: AutomaticConsolidation
    llm: LLM | None
    store: ObjectStore

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
        async with AsyncExitStack() as opened:
            if self.llm is not None:
                await opened.enter_async_context(self.llm.opened())
            background = [
                asyncio.create_task(self._keep_house(), name="housekeeping"),
                asyncio.create_task(self.automatic.run(), name="automatic consolidation"),
            ]
            try:
                async with self.runner.opened():
                    yield
                    self.jobs.drain()
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
            await self._flush()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.spaces.sweep_deleted()
                await self.backups.sweep_aborted()
                await self.bank.sweep_all()
                await sweep_leftovers(self.store)
                await self.jobs.sweep_all([name async for name in self.spaces.ids()])
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


def build_services(store: ObjectStore, clock: Clock, settings: Settings, llm: LLM | None = None) -> Services:
    """Every service, each given just what it needs. Nothing is opened or read.

    Without a model notes are filed word for word.
    """
    runner = Runner(drain=_DRAIN)
    key = settings.admin_bootstrap_key

    async def is_space(space_id: str) -> bool:
        # The spaces are made below: they have to know who may open them.
        return await spaces.exists(space_id)

    tokens = TokenService(store, clock, key.get_secret_value() if key else None, replica_name(), is_space=is_space)
    spaces = SpaceService(
        store,
        membership=tokens,
        adopter=Adoption(store),
        understand=lambda rules: compile_rules(rules).warnings,
    )
    notes = NoteService(store, spaces, NoteIndex(store, clock, memory=_CACHE_BYTES))
    policy = Policy(extra_files=settings.consolidation_extra_files is ExtraFiles.ALLOW)
    bank_store = BankStore(store, spaces)
    consolidation = Consolidation(
        spaces, notes, bank_store, store.now, policy=policy, max_notes=settings.consolidation_max_notes
    )
    view = View(store, spaces, clock)
    leases = Leases(store, replica_name(), clock)
    jobs = JobService(store, runner, clock, is_alive=leases.is_alive)
    ledger = Ledger(store, Limits(calls=settings.llm_daily_calls, cost=settings.llm_daily_cost))
    turns = Turns(jobs, leases)
    till = None if llm is None else _till(llm, ledger, settings)
    compaction = Compaction(
        spaces, BankWriter(spaces, bank_store), turns, till, store.now, over=settings.consolidation_compact_over
    )
    runs = Runs(
        spaces,
        consolidation,
        view,
        turns,
        compaction,
        clock,
        dialogue=None if till is None else Dialogue(till, policy),
        batch_size=settings.consolidation_batch_size,
        extract=settings.consolidation_on_uncovered is Uncovered.EXTRACT,
    )
    bank = BankService(store, spaces, consolidation, runs, compaction, view, runner, wait=settings.consolidation_wait)
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
            llm=llm,
        ),
        jobs=jobs,
        runner=runner,
        migrations=Migrations(store, replica_name()),
        automatic=AutomaticConsolidation(store, spaces, notes, bank, ledger),
        llm=llm,
        store=store,
    )


def _till(llm: LLM, ledger: Ledger, settings: Settings) -> Till:
    return Till(
        llm,
        ledger,
        prompt_budget=settings.llm_prompt_budget,
        max_tokens=settings.llmaas_max_tokens,
        seconds=settings.consolidation_timeout,
        nfkc=settings.llm_nfkc,
    )
