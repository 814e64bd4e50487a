"""A space whose notes a model is to file, and an auditor who believes nothing that the service says of it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr

from app.bank.document.provenance import blocks_of
from app.bank.history import HistoryStore
from app.bank.models import Commit, Consolidate, Consolidated
from app.bootstrap import Services, build_services
from app.cli.fake_authors import AUTHORS, Author
from app.cli.fake_llm import FakeEndpoint, Script
from app.core.errors import Situation
from app.core.identity import Caller
from app.core.settings import Settings
from app.jobs.models import JobRead
from app.llm.client import LLM, Completion, Finish, Message
from app.llm.limits import Limits
from app.llm.openai import OpenAILLM
from app.llm.scripted import ScriptedAnswer, ScriptedLLM
from app.main import assemble
from app.storage.memory import MemoryStore
from app.storage.store import ObjectStore, Stored
from tests.builders import ADMIN, a_note, a_space, silent
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.llm_endpoint import TLS
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.sleeper import Sleeper

SPACE: Final = "alpha"
KEY: Final = "sk-a-key-that-nobody-may-ever-read-in-a-log"
ANCHOR: Final = re.compile(r"#\d+|\d+(?:\.\d+)*")
"""What a note must not lose: references, versions, numbers."""
FACTS: Final = (
    ("decision", "We chose PostgreSQL 15.4 for the ledger-service (#101)."),
    ("observation", "The timeout of the gateway-proxy is 30 s (#102)."),
    ("todo", "Fix the leak in src/pool.py:42 (#103)."),
    ("progress", "Release 1.4.2 of billing-api is out (#104)."),
    ("issue", "The export of report-builder fails on 29.02 (#105)."),
    ("decision", "We retry payment-worker 5 times (#106)."),
)
LIMITS: Final = Limits(connect=5, write=5, pool=5, first_byte=5, between_chunks=2, without_content=2, whitespace=60)


class Lost(AssertionError):
    """A note that was acknowledged is in no place, in more than one, or not said by the bank that has it."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Where the notes are, by what is stored alone."""

    waiting: frozenset[str]
    filed: Mapping[str, str]
    """Note, and the job that has filed it."""
    extracted: frozenset[str]
    """Notes that some edit without a model has filed."""
    commits: Sequence[Commit]
    """Newest first."""
    bank: Mapping[str, str]

    def filed_by(self, job_id: str) -> set[str]:
        return {note for note, job in self.filed.items() if job == job_id}


def by(author: str | Author) -> Callable[[Sequence[Message], Mapping[str, Any] | None], str]:
    """One of the fake authors, as a scripted model wants it."""
    write = AUTHORS[author] if isinstance(author, str) else author

    def answer(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> str:
        said = [{"role": message.role.value, "content": message.content} for message in messages]
        return write(said, None if schema is None else dict(schema))

    return answer


class Scripted(ScriptedLLM):
    """A scripted model whose first answers may end otherwise than they should."""

    def __init__(self, *more: Any, finishes: Sequence[Finish] = (), **named: Any) -> None:
        super().__init__(*more, **named)
        self._finishes = iter(finishes)
        self.heard = asyncio.Event()
        """Set by each answer."""

    async def complete(self, *more: Any, **named: Any) -> Completion:
        completion = await super().complete(*more, **named)
        self.heard.set()
        return replace(completion, finish=next(self._finishes, completion.finish))


def model(*answers: ScriptedAnswer, clock: FrozenClock, then: ScriptedAnswer | None = None, **more: Any) -> Scripted:
    """A model that gives these answers, and is perfect afterwards, unless told otherwise."""
    rest = by("perfect") if then is None else then

    def endless() -> Iterator[ScriptedAnswer]:
        yield from answers
        while True:
            yield rest

    return Scripted(endless(), clock=clock, **more)


class World:
    """A store, a clock, and the processes that come and go over them."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FrozenClock()
        self.disk = MemoryStore(self.clock)
        self.settings = Settings.for_tests(
            admin_bootstrap_key=BOOTSTRAP_KEY, **{"consolidation_batch_size": 3, **settings}
        )
        self.written: dict[str, str] = {}
        """Every acknowledged note, and what it says."""

    def process(self, llm: LLM | None, store: ObjectStore | None = None) -> "Process":
        faulty = FaultyStore(store or self.disk)
        return Process(self, faulty, build_services(faulty, self.clock, self.settings, llm), llm)

    async def prepare(self, facts: Sequence[tuple[str, str]] = FACTS) -> None:
        """A space where all of this waits."""
        services = self.process(None).services
        await a_space(services, SPACE)
        for category, fact in facts:
            await self.note(services, fact, category=category)

    async def note(self, services: Services, fact: str, *, category: str = "decision") -> str:
        note_id = (await a_note(services, fact, category=category)).filename
        self.written[note_id] = fact
        self.clock.advance(timedelta(seconds=7))
        return note_id

    async def audit(self) -> Audit:
        """Look at everything that is stored.

        Raises:
            Lost: a promise is broken.
        """
        services = self.process(None).services
        opened = await services.spaces.open(SPACE)
        head = opened.head
        waiting = Counter(note.id for note in await services.notes.pending(opened))
        filed: dict[str, str] = {}
        places = Counter(waiting)
        extracted: set[str] = set()
        commits: list[Commit] = []
        key, version = head.history, head.version
        while key is not None:
            commit = await HistoryStore(self.disk).read(key)
            if commit is None or commit.version != version:
                raise Lost(f"version {version}")
            commits.append(commit)
            places.update(note.id for note in commit.consumed)
            filed |= {note.id: commit.job_id for note in commit.consumed}
            for edit in commit.edits:
                extracted |= set(edit.sources) if edit.filed_by == "extractive" else set()
            key, version = commit.parent, version - 1
        if wrong := {note: places[note] for note in self.written.keys() | places.keys() if places[note] != 1}:
            raise Lost(f"in another number of places than one: {wrong}")
        if head.note_refs.keys() != filed.keys():
            raise Lost("the head and the history disagree")
        bank = {path: file.content for path, file in head.files.items()}
        self._demand_text(bank, head.provenance, filed)
        return Audit(frozenset(waiting), filed, frozenset(extracted), commits, bank)

    def _demand_text(
        self, bank: Mapping[str, str], provenance: Mapping[str, Mapping[str, Sequence[str]]], filed: Iterable[str]
    ) -> None:
        cited: dict[str, str] = {}
        for path, content in bank.items():
            for placed in blocks_of(content):
                for note in provenance.get(path, {}).get(placed.digest, ()):
                    cited[note] = cited.get(note, "") + placed.block.raw + "\n"
        for note in filed:
            missing = set(ANCHOR.findall(self.written.get(note, ""))) - set(ANCHOR.findall(cited.get(note, "")))
            if note not in cited or missing:
                raise Lost(f"{note} is filed, and no block that cites it says {missing or 'it'}")

    async def keys(self, prefix: str = f"{SPACE}/") -> list[str]:
        """Every key under it."""
        return [listed.key async for page in self.disk.list(prefix) for listed in page.objects]


@dataclass(slots=True)
class Process:
    """One process over the store of a world."""

    world: World
    store: FaultyStore
    services: Services
    llm: LLM | None

    async def consolidate(self, *, caller: Caller = ADMIN, **request: Any) -> Consolidated:
        return await self.services.bank.consolidate(SPACE, Consolidate(**request), caller=caller, progress=silent)

    async def job(self, job_id: str) -> JobRead:
        """What another process is told of a job, as soon as it is over here."""
        await self.services.runner.idle()
        return await self.world.process(None).services.jobs.get(job_id)

    async def told_truly(self, result: Consolidated, *, of: int | None = None) -> Audit:
        """Check every number of a result against what is stored; `of` is how many notes were waiting.

        The record of its job must say the very same.
        """
        audit = await self.world.audit()
        filed = audit.filed_by(result.job_id)
        assert result.notes_processed == len(filed)
        assert result.notes_remaining == len(audit.waiting)
        assert result.notes_processed + result.notes_remaining == (len(self.world.written) if of is None else of)
        assert result.notes_extracted == len(filed & audit.extracted)
        own = [commit for commit in audit.commits if commit.job_id == result.job_id]
        assert result.batches_completed == len(own)
        assert result.operations_applied == sum(len(commit.edits) for commit in own)
        if own:
            assert result.version == own[0].version
        assert (result.status == "ok") == (not result.notes_remaining and not result.errors and not result.code)
        assert bool(result.message) == (result.status != "ok" or not result.notes_processed)
        job = await self.job(result.job_id)
        assert job.result == result.model_dump(mode="json")
        assert sum(call.attempts for call in job.calls) == result.llm_calls
        paid = sum(call.prompt_tokens + call.completion_tokens for call in job.calls)
        assert paid == result.llm_tokens_used
        assert await self.paid_today() == result.llm_calls
        return audit

    async def paid_today(self) -> int:
        """Calls to the model, by the ledger."""
        total = 0
        for key in await self.world.keys(f"{SPACE}/_usage/"):
            stored = await self.world.disk.get(key)
            assert isinstance(stored, Stored)
            total += json.loads(stored.body)["total"]["calls"]
        return total

    @asynccontextmanager
    async def served(self) -> AsyncIterator[httpx.AsyncClient]:
        """Its REST face, for the administrator."""
        app = assemble(self.services, self.store, self.world.settings)
        headers = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost/api/v1", headers=headers
            ) as client:
                yield client


@dataclass(slots=True)
class Told:
    """A process whose model is an endpoint on loopback."""

    process: Process
    endpoint: FakeEndpoint
    sleeper: Sleeper


@asynccontextmanager
async def over_http(world: World, script: Script = (), author: str | Author = "perfect") -> AsyncIterator[Told]:
    """A process of the world, with a model that really is asked over HTTP."""
    write = AUTHORS[author] if isinstance(author, str) else author
    endpoint, sleeper = FakeEndpoint(script, write, clock=world.clock), Sleeper()
    async with endpoint.serving() as url:
        llm = OpenAILLM(
            url=url,
            key=SecretStr(KEY),
            model="fake",
            clock=world.clock,
            limits=LIMITS,
            tls=TLS,
            sleep=sleeper,
            price_in=2.0,
            price_out=8.0,
        )
        async with llm.opened():
            yield Told(world.process(llm), endpoint, sleeper)


def without_first(answer: str, keep: int) -> str:
    """An answer as if the model had run into its limit after so many operations, in the middle of the next."""
    written = json.loads(answer)
    ops = ",".join(json.dumps(op) for op in written["ops"][:keep])
    cut = json.dumps(written["ops"][keep])[:40]
    return f'{{"ops":[{ops},{cut}'


async def a_world(facts: Sequence[tuple[str, str]] = FACTS, **settings: Any) -> World:
    made = World(**settings)
    await made.prepare(facts)
    return made


async def refused(process: Process, kind: type[Situation], *, waiting: int = 6) -> Situation:
    """Consolidate, and be told no; the record of the job must say the very same, and so many notes must wait."""
    with pytest.raises(kind) as caught:
        await process.consolidate()
    situation = caught.value
    audit = await process.world.audit()
    assert len(audit.waiting) == situation.extra["notes_remaining"] == waiting
    job = await process.job(situation.extra["job_id"])
    assert job.result == {
        **situation.extra,
        "status": "error",
        "code": situation.code(),
        "message": situation.detail,
    }
    return situation


def notes_shown(messages: Sequence[Message]) -> str:
    """The notes that the model is to file now."""
    return "\n".join(message.content for message in messages).rpartition("[NOTES]")[2]
