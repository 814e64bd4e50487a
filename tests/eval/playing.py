"""A project lived through: its notes written and consolidated round by round, by the services that are served."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from app.bank.history import HistoryStore
from app.bank.models import Consolidate, Consolidated
from app.bootstrap import Services, build_services
from app.cli import fake_authors
from app.cli.fake_authors import Author
from app.cli.fake_reading import read, same
from app.core.settings import Settings
from app.llm.client import Message
from app.llm.scripted import ScriptedLLM
from app.storage.memory import MemoryStore
from app.storage.store import ObjectStore, Stored
from app.tokens.models import TokenCreate
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.eval.memories import Memory
from tests.eval.phrases import FLUENT
from tests.eval.story import START, Story
from tests.fakes.clock import FrozenClock

EXTRACTIVE: Final = "extractive"
AUTHORS: Final[Mapping[str, Author | None]] = {
    EXTRACTIVE: None,
    "perfect": partial(fake_authors.perfect, understood=FLUENT),
    "lazy": partial(fake_authors.lazy, understood=FLUENT),
    "hostile": partial(fake_authors.hostile, understood=FLUENT),
    "lying": partial(fake_authors.lying, understood=FLUENT),
    "lossy": partial(fake_authors.lossy, understood=FLUENT),
    "lossy-prose": partial(fake_authors.lossy_prose, understood=FLUENT),
    "inventing": partial(fake_authors.inventing, understood=FLUENT),
    "vague": fake_authors.vague,
    "garbage": fake_authors.garbage,
}
"""Who files the notes; nobody where the service is to do it without a model."""

SPACE: Final = "project"
NEIGHBOUR: Final = "neighbour"
_OWN: Final = tuple(
    f"{SPACE}/{name}"
    for name in ("_bank.json", "_history/", "live/", "_synthesis.md", "_meta.json", "_jobs/", "_usage/")
)
"""What a consolidation of the space may write, besides files of its bank."""


@dataclass(frozen=True)
class Bank:
    """A bank as its readers see it."""

    files: Mapping[str, str]
    provenance: Mapping[str, Mapping[str, Sequence[str]]]
    synthesis: str = ""


@dataclass
class Played:
    """What became of a project."""

    memory: Memory
    banks: list[Bank] = field(default_factory=list)
    """After each round."""
    ids: dict[int, str] = field(default_factory=dict)
    """Number of a note, then its id."""
    waiting: set[str] = field(default_factory=set)
    """Ids of the notes that were never filed."""
    extracted: set[str] = field(default_factory=set)
    """Ids of the notes that were filed word for word."""
    given: set[str] = field(default_factory=set)
    """Texts of the notes that an operation of the model gave whole."""
    trespasses: list[str] = field(default_factory=list)
    """Objects that were changed and may not be."""
    statuses: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    repairs: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def bank(self) -> Bank:
        return self.banks[-1]


async def play(
    story: Story, memory: Memory, author: Author | None, *, batch: int = 24, compact_over: float = 0
) -> Played:
    """Live through a project with one author; `compact_over` as in the settings."""
    clock = FrozenClock(START)
    store = MemoryStore(clock)
    played = Played(memory)
    llm = None if author is None else ScriptedLLM(written_by(author, played), clock=clock)
    settings = Settings.for_tests(consolidation_batch_size=batch, consolidation_compact_over=compact_over)
    services = build_services(store, clock, settings, llm)
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(services.runner.opened())
        if llm is not None:
            await opened.enter_async_context(llm.opened())
        await _founded(services, memory)
        before = await objects(store)
        for told_now in story.rounds:
            for told in told_now:
                clock.set(told.at)
                written = await a_note(
                    services,
                    told.content,
                    space_id=SPACE,
                    category=told.category,
                    caller=a_caller(told.agent),
                )
                played.ids[told.number] = written.filename
            done = await services.bank.consolidate(SPACE, Consolidate(), caller=ADMIN, progress=silent)
            _count(played, done)
            played.banks.append(await _bank(services))
        await _looked_back(services, store, played)
        played.trespasses = trespasses(memory, before, await objects(store))
    return played


async def _founded(services: Services, memory: Memory) -> None:
    """The space, and all that a consolidation of it must leave alone."""
    await a_space(services, SPACE, rules=memory.rules)
    await a_space(services, NEIGHBOUR)
    await a_note(services, "The neighbour keeps port 4711.", space_id=NEIGHBOUR)
    await services.bank.consolidate_selected(NEIGHBOUR, lambda _note: True, actor="admin")
    await a_note(services, "The neighbour has a note that waits.", space_id=NEIGHBOUR)
    await services.tokens.create(TokenCreate(name="cline-dev", permissions="read,write"), caller=ADMIN)


def _count(played: Played, done: Consolidated) -> None:
    played.statuses[done.status] += 1
    played.calls += done.llm_calls
    played.repairs += done.repairs
    played.refused.update(refused.code for refused in done.operations_refused)


async def _bank(services: Services) -> Bank:
    head = (await services.bank.open(SPACE)).head
    return Bank(
        {path: file.content for path, file in head.files.items()},
        head.provenance,
        head.synthesis.text if head.synthesis else "",
    )


async def _looked_back(services: Services, store: ObjectStore, played: Played) -> None:
    """Which notes were filed without the model, and which not at all."""
    head = (await services.spaces.open(SPACE)).head
    played.waiting = {note_id for note_id in played.ids.values() if note_id not in head.note_refs}
    key = head.history
    while key is not None:
        commit = await HistoryStore(store).read(key)
        assert commit is not None
        for edit in commit.edits:
            if edit.filed_by == EXTRACTIVE and edit.op != "archive":
                played.extracted.update(edit.sources)
        key = commit.parent


def written_by(author: Author, played: Played) -> Any:
    """The author, listened to."""

    def write(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> str:
        said = [{"role": message.role.value, "content": message.content} for message in messages]
        text = author(said, None if schema is None else dict(schema))
        try:
            ops = json.loads(text).get("ops", ())
        except ValueError:
            return text
        notes = {note.handle: note.text for note in read(said).notes}
        for op in ops:
            whole = same(op["text"])
            played.given.update(
                notes[handle] for handle in op["sources"] if handle in notes and same(notes[handle]) in whole
            )
        return text

    return write


async def objects(store: ObjectStore) -> dict[str, bytes]:
    """Every object of a store."""
    found: dict[str, bytes] = {}
    async for page in store.list(""):
        for listed in page.objects:
            stored = await store.get(listed.key)
            assert isinstance(stored, Stored)
            found[listed.key] = stored.body
    return found


def trespasses(memory: Memory, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """The objects that differ and may not: rules, tokens, other spaces, and files that the rules do not name."""
    return sorted(
        key
        for key in {*before, *after}
        if before.get(key) != after.get(key) and not key.startswith(_OWN) and not _is_allowed(memory, key)
    )


def _is_allowed(memory: Memory, key: str) -> bool:
    path = key.removeprefix(f"{SPACE}/bank/")
    if path == key:
        # The lease is there only while somebody consolidates.
        return key == f"{SPACE}/_lease.json"
    stem = path.removeprefix("archive/").rpartition(".")[0]
    is_archive = path.startswith("archive/") and any(stem.startswith(name.removesuffix(".md")) for name in memory.files)
    return path in memory.files or is_archive
