"""The versions that a bank has had, as the head leads to them: records that were never committed do not show."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from datetime import datetime
from typing import Final

from app.bank.errors import VersionNotFound
from app.bank.history import HistoryStore, history_prefix, version_of
from app.bank.models import Commit
from app.core.schema import parse_instant
from app.spaces.models import ADOPTED, BankFile, Counters, Head, Synthesis
from app.storage.document import DamagedDocument
from app.storage.store import ObjectStore

_CHUNK: Final = 32
"""Records that are read at the same time."""


class Timeline:
    """Finds versions of a bank, and shows the bank as it was."""

    def __init__(self, store: ObjectStore) -> None:
        self._objects = store
        self._history = HistoryStore(store)

    async def version_at(self, head: Head, wanted: str) -> int:
        """The number of the version that a number or an instant names; raises VersionNotFound."""
        if not wanted.isdecimal():
            found = await self._version_then(head, parse_instant(wanted))
        else:
            found = int(wanted) if int(wanted) <= head.version else None
        # What an older tool had before its space was taken over, nobody knows.
        if found is None or (found == 0 and ADOPTED in head.lineage):
            raise VersionNotFound(head.space_id, wanted, head.version)
        return found

    async def _version_then(self, head: Head, instant: datetime) -> int | None:
        if datetime.fromisoformat(head.committed_at) <= instant:
            return head.version
        low, high = 0, head.version
        # The version that was current then is at least `low` and below `high`.
        while high - low > 1:
            middle = (low + high) // 2
            _key, commit = await self.commit(head, middle)
            if datetime.fromisoformat(commit.at) <= instant:
                low = middle
            else:
                high = middle
        return low if low or parse_instant(head.about.created_at) <= instant else None

    async def commit(self, head: Head, version: int) -> tuple[str, Commit]:
        """The record of that version with its key; raises VersionNotFound."""
        if not 0 < version <= head.version:
            raise VersionNotFound(head.space_id, str(version), head.version)
        key = await self.key_of(head, version)
        return key, await self.read(key)

    async def read(self, key: str) -> Commit:
        """A record that must be there; raises DamagedDocument."""
        if (commit := await self._history.read(key)) is None:
            raise DamagedDocument(f"The history has lost '{key}'.")
        return commit

    async def key_of(self, head: Head, version: int) -> str:
        """The key of the record of that version.

        Several writers may have prepared the same number. The nearest later version of which there is one record only
        leads, from parent to parent, to the one that counts.
        """
        at, key = head.version, head.history
        async for number, keys in self._candidates(head, version, head.version - 1):
            if len(keys) == 1:
                at, key = number, keys[0]
                break
        while key is not None and at > version:
            key, at = (await self.read(key)).parent, at - 1
        if key is None:
            raise DamagedDocument(f"The history of space '{head.space_id}' has lost version {version}.")
        return key

    async def _candidates(self, head: Head, first: int, last: int) -> AsyncIterator[tuple[int, list[str]]]:
        """The numbers from the first to the last that have records, each with the keys of all of them."""
        if last < first:
            return
        prefix = history_prefix(head.space_id)
        number, keys = 0, list[str]()
        async for page in self._objects.list(prefix, start_after=f"{prefix}{first:08d}"):
            for listed in page.objects:
                found = version_of(listed.key)
                if found is None:
                    continue
                if found != number and keys:
                    yield number, keys
                    keys = []
                if found > last:
                    return
                number = found
                keys.append(listed.key)
        if keys:
            yield number, keys

    async def walk(self, head: Head, newest: int, until: int) -> AsyncIterator[tuple[str, Commit]]:
        """The commits from the version `newest` back to the one after `until`, the newest first."""
        if newest <= until:
            return
        key: str | None = await self.key_of(head, newest)
        at = newest
        while at > until:
            low = max(until, at - _CHUNK)
            known = await self._records(head, low + 1, at)
            while at > low:
                if key is None:
                    raise DamagedDocument(f"The history of space '{head.space_id}' has lost version {at}.")
                commit = known.get(key) or await self.read(key)
                yield key, commit
                key, at = commit.parent, at - 1

    async def _records(self, head: Head, first: int, last: int) -> dict[str, Commit]:
        """The records of those numbers, as far as they are there: one that was not committed may just go away."""
        keys = [key async for _number, found in self._candidates(head, first, last) for key in found]
        records = await asyncio.gather(*map(self._history.read, keys))
        return {key: commit for key, commit in zip(keys, records, strict=True) if commit is not None}

    async def read_all(self, keys: Iterable[str]) -> dict[str, Commit]:
        """Records by key, each read once."""
        gate = asyncio.Semaphore(_CHUNK)

        async def read(key: str) -> Commit:
            async with gate:
                return await self.read(key)

        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, await asyncio.gather(*map(read, distinct)), strict=True))

    async def past(self, head: Head, version: int, *, contents: bool = True) -> Head:
        """The bank as it was at that version, in the shape of a head; without `contents` its files are empty."""
        if version == head.version:
            return head
        if version == 0:
            return _then(head, 0, None, head.about.created_at, {}, {}, None, None)
        key, commit = await self.commit(head, version)
        files, provenance = await self.files_of(commit) if contents else (_outlines(commit), {})
        synthesis = commit.synthesis_now
        if synthesis is None and commit.synthesis:
            synthesis = Synthesis(text=commit.synthesis, consolidated_at=commit.at, notes_processed=0)
        return _then(head, version, key, commit.at, files, provenance, synthesis, commit.last_consolidation)

    async def files_of(
        self, commit: Commit, only: Collection[str] | None = None
    ) -> tuple[dict[str, BankFile], dict[str, dict[str, list[str]]]]:
        """The files of a version and the sources of their blocks: one read for each record that holds some."""
        manifest = {path: entry for path, entry in commit.manifest.items() if only is None or path in only}
        records = await self.read_all(entry.history for entry in manifest.values() if entry.history)
        files: dict[str, BankFile] = {}
        provenance: dict[str, dict[str, list[str]]] = {}
        for path, entry in manifest.items():
            holder = records.get(entry.history or "")
            change = holder.changes.get(path) if holder else None
            if holder is None or change is None or change.after is None:
                raise DamagedDocument(f"The history has lost '{path}' of version {commit.version}.")
            files[path] = BankFile(
                content=change.after,
                sha256=entry.sha256,
                bytes=len(change.after.encode()) if entry.bytes is None else entry.bytes,
                modified_at=entry.modified_at or holder.at,
                history=entry.history,
                raw=change.raw,
            )
            if change.provenance:
                provenance[path] = change.provenance
        return files, provenance


def _outlines(commit: Commit) -> dict[str, BankFile]:
    return {
        path: BankFile(
            content="",
            sha256=entry.sha256,
            bytes=entry.bytes or 0,
            modified_at=entry.modified_at or commit.at,
            history=entry.history,
        )
        for path, entry in commit.manifest.items()
    }


def _then(
    head: Head,
    version: int,
    history: str | None,
    at: str,
    files: dict[str, BankFile],
    provenance: dict[str, dict[str, list[str]]],
    synthesis: Synthesis | None,
    last_consolidation: str | None,
) -> Head:
    return head.model_copy(
        update={
            "version": version,
            "history": history,
            "committed_at": at,
            "files": files,
            "provenance": provenance,
            "edited": {},
            "synthesis": synthesis,
            "counters": Counters(last_consolidation=last_consolidation),
        }
    )
