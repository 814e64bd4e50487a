"""Two server processes on one data folder are one service."""

import asyncio
import time
from collections import Counter

import httpx

from tests.e2e.auditor import commits, faults, head_of, view_faults
from tests.e2e.conftest import Servers, answer

SPACE = "shared"
PATIENCE = 15.0
"""Seconds; the promise is five, and a busy machine may take its time between two requests."""
WRITERS = 6
NOTES = 12


async def test_a_note_of_one_is_read_and_filed_by_the_other_and_each_note_once(servers: Servers) -> None:
    one, two = servers.make().start(), servers.make().start()
    kept: dict[str, str] = {}
    async with one.http_async() as a, two.http_async() as b:
        answer(
            await a.post("/spaces", json={"space_id": SPACE, "description": "", "rules": "# R\n\n## n.md\nAll."}), 201
        )
        for there, here in ((a, b), (b, a)):
            note = {"category": "todo", "content": f"Say it to the other, #{len(kept)}"}
            written = answer(await there.post(f"/spaces/{SPACE}/notes", json=note), 201)["filename"]
            kept[written] = note["content"]
            assert written in [one["filename"] for one in answer(await here.get(f"/spaces/{SPACE}/notes"))["notes"]]

        async def write(http: httpx.AsyncClient, writer: int) -> None:
            for number in range(NOTES):
                content = f"Writer {writer} measured {number}.{writer}.2 ms, see #{writer}{number:03d}"
                created = await http.post(
                    f"/spaces/{SPACE}/notes", json={"category": "observation", "content": content}
                )
                kept[answer(created, 201)["filename"]] = content

        async def consolidate(http: httpx.AsyncClient) -> int:
            filed: int = 0
            while True:
                last = written.done()
                done = await http.post(f"/spaces/{SPACE}/bank/consolidate")
                assert done.status_code in {200, 409}, done.text
                filed += done.json().get("notes_processed", 0)
                if last:
                    return filed

        async with asyncio.timeout(90):
            written = asyncio.gather(*(write((a, b)[writer % 2], writer) for writer in range(WRITERS)))
            counts = await asyncio.gather(consolidate(a), consolidate(b))
            await written
        rest = answer(await b.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert rest["notes_remaining"] == 0
        assert sum(counts) + rest["notes_processed"] == len(kept) == WRITERS * NOTES + 2
        read = [answer(await http.get(f"/spaces/{SPACE}/bank")) for http in (a, b)]
        assert read[0] == read[1]
    assert (one.stop(), two.stop()) == (0, 0)
    assert faults(one.objects, SPACE, kept) == []
    assert view_faults(one.objects, SPACE) == []
    records = commits(one.objects, head_of(one.objects, SPACE))
    assert Counter(note["id"] for commit in records for note in commit["consumed"]) == Counter(kept.keys())


def test_a_token_revoked_on_one_is_soon_refused_by_the_other(servers: Servers) -> None:
    one, two = servers.make().start(), servers.make().start()
    with one.http() as admin:
        made = answer(admin.post("/admin/tokens", json={"name": "leaver", "permissions": "read"}), 201)
        with one.http(made["token"]) as here, two.http(made["token"]) as there:
            assert (here.get("/spaces").status_code, there.get("/spaces").status_code) == (200, 200)
            answer(admin.post(f"/admin/tokens/{made['hash']}/revoke"))
            revoked = time.monotonic()
            assert here.get("/spaces").status_code == 401, "at once where it was revoked"
            while there.get("/spaces").status_code == 200:
                assert time.monotonic() - revoked < PATIENCE, "it is still allowed"
            refused = there.get("/spaces")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
