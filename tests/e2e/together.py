"""Two server processes on one memory at work together, whatever the memory is kept in."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.auditor import commits, faults, head_of
from tests.e2e.conftest import Server, answer

RULES = "# R\n\n## n.md\nAll."
REVOKED = 15.0
"""Seconds; the promise is five, and a busy machine may take its time between two requests."""


async def check_that_each_note_is_filed_once(one: Server, two: Server, space_id: str, *, notes: int) -> dict[str, str]:
    """Each reads the other at once; four agents write to both while both file. All notes, by id."""
    kept: dict[str, str] = {}
    async with one.http_async() as a, two.http_async() as b:
        answer(await a.post("/spaces", json={"space_id": space_id, "description": "", "rules": RULES}), 201)
        for there, here in ((a, b), (b, a)):
            note = {"category": "todo", "content": f"Say it to the other, #{len(kept)}"}
            written = answer(await there.post(f"/spaces/{space_id}/notes", json=note), 201)["filename"]
            kept[written] = note["content"]
            assert written in [one["filename"] for one in answer(await here.get(f"/spaces/{space_id}/notes"))["notes"]]
        writers = 4

        async def write(http: httpx.AsyncClient, writer: int) -> None:
            for number in range(notes // writers):
                content = f"Writer {writer} measured {number}.{writer}.2 ms, see #{writer}{number:03d}"
                note = {"category": "observation", "content": content}
                kept[answer(await http.post(f"/spaces/{space_id}/notes", json=note), 201)["filename"]] = content

        async def consolidate(http: httpx.AsyncClient) -> int:
            filed, is_last = 0, False
            while not is_last:
                is_last = writing.done()
                done = await http.post(f"/spaces/{space_id}/bank/consolidate")
                assert done.status_code in {200, 409}, done.text
                filed += done.json().get("notes_processed", 0)
            return filed

        async with asyncio.timeout(90):
            writing = asyncio.gather(*(write((a, b)[writer % 2], writer) for writer in range(writers)))
            counts = await asyncio.gather(consolidate(a), consolidate(b))
            await writing
        rest = answer(await b.post(f"/spaces/{space_id}/bank/consolidate"))
        assert rest["notes_remaining"] == 0
        assert sum(counts) + rest["notes_processed"] == len(kept) == notes // writers * writers + 2
        read = [answer(await http.get(f"/spaces/{space_id}/bank")) for http in (a, b)]
        assert read[0] == read[1]
    return kept


def check_the_stored_files(objects: Path, space_id: str, kept: dict[str, str]) -> None:
    """What the audit of the stored files says of these notes: each one is there, and was filed once."""
    assert faults(objects, space_id, kept) == []
    records = commits(objects, head_of(objects, space_id))
    assert Counter(note["id"] for commit in records for note in commit["consumed"]) == Counter(kept.keys())


def check_that_a_revoked_token_is_soon_refused(one: Server, two: Server) -> None:
    """At once where it was revoked, within seconds elsewhere."""
    with one.http() as admin:
        made: dict[str, Any] = answer(admin.post("/admin/tokens", json={"name": "leaver", "permissions": "read"}), 201)
        with one.http(made["token"]) as here, two.http(made["token"]) as there:
            assert (here.get("/spaces").status_code, there.get("/spaces").status_code) == (200, 200)
            answer(admin.post(f"/admin/tokens/{made['hash']}/revoke"))
            revoked = time.monotonic()
            assert here.get("/spaces").status_code == 401, "at once where it was revoked"
            while there.get("/spaces").status_code == 200:
                assert time.monotonic() - revoked < REVOKED, "it is still allowed"
            refused = there.get("/spaces")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
