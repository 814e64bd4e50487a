"""Where jobs are kept: one object each, `{space}/_jobs/{job_id}.json`, and beside them the answers not yet used."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.clock import iso
from app.core.ids import space_of_job
from app.jobs.models import JobRecord
from app.storage.document import Document, parsed
from app.storage.store import JSON, UNCHANGED, Listed, ObjectStore, Stored, Unchanged

OUTCOMES_KEPT: Final = timedelta(days=30)
ANSWERS_KEPT: Final = timedelta(days=1)
MOST_OUTCOMES: Final = 1_000
"""Jobs of one space that are kept, whatever their age."""
LARGEST_ANSWER: Final = 512 * 1024
"""Bytes of an answer that is worth keeping."""


def jobs_prefix(space_id: str) -> str:
    """Under which key prefix everything about the jobs of a space lies."""
    return f"{space_id}/_jobs/"


def job_key(job_id: str) -> str:
    """Where a job lies: its id names its space."""
    return f"{jobs_prefix(space_of_job(job_id))}{job_id}.json"


def answers_prefix(space_id: str) -> str:
    """Under which key prefix a space's unused answers lie."""
    return f"{jobs_prefix(space_id)}answers/"


def answer_key(space_id: str, prompt_sha256: str) -> str:
    """Where the answer to that prompt lies."""
    return f"{answers_prefix(space_id)}{prompt_sha256}.txt"


@dataclass(frozen=True, slots=True)
class Found:
    """A record as it was read."""

    record: JobRecord
    etag: str
    age: timedelta
    """Since it was written, by the store's own clock."""


class JobStore:
    """Reads and swaps job records."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def now(self) -> str:
        """The current instant by the store's clock."""
        return iso(self._store.now())

    async def find(self, job_id: str, *, unless: str | None = None) -> Found | Unchanged | None:
        """The record; None when there is none, and `UNCHANGED` when its ETag is still `unless`.

        Raises:
            DamagedDocument: there is something, but no job.
        """
        stored = await self._store.get(job_key(job_id), unless=unless)
        if stored is None or stored is UNCHANGED:
            return stored
        return Found(parsed(JobRecord, stored.key, stored.body), stored.etag, self._store.now() - stored.last_modified)

    async def write(self, record: JobRecord, etag: str | None) -> str:
        """Write the record if it is still the one with that ETag, or absent; the new ETag.

        Raises:
            PreconditionFailed: it is another one by now, or gone.
        """
        key, body = job_key(record.job_id), record.model_dump_json(by_alias=True).encode()
        if etag is None:
            return await self._store.create(key, body, content_type=JSON)
        return await self._store.replace(key, body, etag=etag, content_type=JSON)

    async def request_cancel(self, job_id: str) -> JobRecord | None:
        """Ask whoever runs it to stop; None when there is no such job."""

        def asked(record: JobRecord | None) -> JobRecord | None:
            if record is None or record.cancel_requested or record.state.is_over:
                return record
            return record.model_copy(update={"cancel_requested": True})

        return await Document(self._store, job_key(job_id), JobRecord).change(asked)

    async def answer(self, space_id: str, prompt_sha256: str) -> str | None:
        """What a model answered to that prompt when its answer could not be used any more."""
        found = await self._store.get(answer_key(space_id, prompt_sha256))
        return found.body.decode("utf-8", "surrogatepass") if isinstance(found, Stored) else None

    async def keep_answer(self, space_id: str, prompt_sha256: str, text: str) -> bool:
        """Keep what was paid for until it has been used; False when it is too large for that."""
        body = text.encode("utf-8", "surrogatepass")
        if len(body) > LARGEST_ANSWER:
            return False
        await self._store.put(answer_key(space_id, prompt_sha256), body)
        return True

    async def forget_answers(self, space_id: str, prompts_sha256: list[str]) -> None:
        """Remove answers that have been used."""
        await self._store.delete_many([answer_key(space_id, one) for one in prompts_sha256])

    async def sweep(self, space_id: str) -> int:
        """Remove the outcomes and answers that are kept no longer; how many."""
        outcomes: list[Listed] = []
        stale: list[str] = []
        async for page in self._store.list(jobs_prefix(space_id)):
            for listed in page.objects:
                is_answer = listed.key.startswith(answers_prefix(space_id))
                if page.date - listed.last_modified > (ANSWERS_KEPT if is_answer else OUTCOMES_KEPT):
                    stale.append(listed.key)
                elif not is_answer:
                    outcomes.append(listed)
        outcomes.sort(key=lambda listed: listed.last_modified, reverse=True)
        stale += [listed.key for listed in outcomes[MOST_OUTCOMES:]]
        remaining = await self._store.delete_many(stale) if stale else []
        return len(stale) - len(remaining)
