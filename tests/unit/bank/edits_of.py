"""A bank with a history, and short words for what is done to it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from app.bank.history import HistoryStore
from app.bank.models import BankReadAll, Commit, Consolidate, Consolidated
from app.bank.versions.revisions import BankRevert, BankReverted, BankWrite, BankWritten
from app.bootstrap import Services
from app.notes.models import NotesQuery
from tests.builders import ADMIN, a_note, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore


@dataclass(slots=True)
class Desk:
    """The space `alpha`, and somebody who works on it."""

    services: Services
    store: FaultyStore
    clock: FrozenClock

    async def note(self, fact: str, category: str = "decision") -> str:
        self.clock.advance(timedelta(seconds=7))
        return (await a_note(self.services, fact, category=category)).filename

    async def round(self, *facts: str, category: str = "decision") -> Consolidated:
        """File some facts as one version."""
        for fact in facts:
            await self.note(fact, category)
        return await self.services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)

    async def write(self, filename: str, content: str, **wanted: int | None) -> BankWritten:
        self.clock.advance(timedelta(seconds=7))
        request = BankWrite(content=content, **wanted)
        return await self.services.bank.write("alpha", filename, request, caller=ADMIN)

    async def revert(self, **wanted: int | bool) -> BankReverted:
        self.clock.advance(timedelta(seconds=7))
        return await self.services.bank.revert("alpha", BankRevert.model_validate(wanted), caller=ADMIN)

    async def bank(self, as_of: str = "") -> BankReadAll:
        opened = await self.services.bank.open("alpha")
        return await self.services.bank.read_all(await self.services.bank.at(opened, as_of))

    async def files(self, as_of: str = "") -> dict[str, str]:
        return {file.filename: file.content for file in (await self.bank(as_of)).files}

    async def text(self) -> str:
        return "\n".join((await self.files()).values())

    async def version(self) -> int:
        return (await self.services.spaces.open("alpha")).head.version

    async def waiting(self) -> list[str]:
        notes = await self.services.notes.read("alpha", NotesQuery(limit=500))
        return sorted(note.content for note in notes.notes)

    async def chain(self) -> AsyncIterator[Commit]:
        """The commits that the head leads to, the newest first."""
        key = (await self.services.spaces.open("alpha")).head.history
        while key is not None:
            commit = await HistoryStore(self.store.inner).read(key)
            assert commit is not None
            yield commit
            key = commit.parent

    async def live(self) -> list[str]:
        """The objects of notes."""
        return [
            listed.key.rpartition("/")[2]
            async for page in self.store.inner.list("alpha/live/2")
            for listed in page.objects
        ]

    async def demand_view(self) -> None:
        """The plain files are just the bank."""
        await self.services.runner.idle()
        head = (await self.services.spaces.open("alpha")).head
        found = {}
        async for page in self.store.inner.list("alpha/bank/"):
            for listed in page.objects:
                if not listed.key.endswith(".keep"):
                    body = (await self.store.inner.get(listed.key)).body  # type: ignore[union-attr]
                    found[listed.key.removeprefix("alpha/bank/")] = body.decode()
        assert found == {path: file.content for path, file in head.files.items()}
