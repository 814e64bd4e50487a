"""SIGKILL at random moments: what was acknowledged is there, once, whatever was going on."""

import asyncio
import gzip
import itertools
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.demo_audit import read_ledger
from tests.e2e.auditor import commits, faults, head_of, repetition_faults, view_faults
from tests.e2e.conftest import Server, Servers, answer

SPACE = "crashes"
RULES = "# Rules\n\n## decisions.md\nDecisions.\n\n## progress.md\nWhat is done.\n\n## issues.md\nKnown problems.\n"
CATEGORIES = ["decision", "progress", "issue", "observation"]
ROUNDS = 8
WRITERS = 4
GONE = (httpx.TransportError,)

Acknowledged = dict[str, str]


def create_space(server: Server) -> None:
    with server.http() as http:
        answer(http.post("/spaces", json={"space_id": SPACE, "description": "Crashes", "rules": RULES}), 201)


async def write(
    http: httpx.AsyncClient,
    writer: int,
    numbers: "itertools.count[int]",
    kept: Acknowledged,
    begun: asyncio.Event,
) -> None:
    """Write note after note until the server is gone; only what was answered counts."""
    for number in numbers:
        content = f"Writer {writer} released build {number}.{writer}.7, which closes #{writer}{number:04d}"
        note = {"category": CATEGORIES[number % len(CATEGORIES)], "content": content, "agent": f"writer-{writer}"}
        try:
            created = await http.post(f"/spaces/{SPACE}/notes", json=note)
        except GONE:
            return
        kept[answer(created, 201)["filename"]] = content
        begun.set()


async def consolidate(http: httpx.AsyncClient) -> None:
    """File what waits, again and again, until the server is gone."""
    while True:
        try:
            filed = await http.post(f"/spaces/{SPACE}/bank/consolidate")
        except GONE:
            return
        assert filed.status_code in {200, 409}, filed.text


async def one_life(server: Server, chance: random.Random, numbers: "itertools.count[int]", kept: Acknowledged) -> None:
    """Everybody works until the server is killed, at a moment that nobody has chosen."""
    begun = asyncio.Event()
    async with server.http_async() as http, asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write(http, writer, numbers, kept, begun))
        tasks.create_task(consolidate(http))
        await begun.wait()
        await asyncio.sleep(chance.uniform(0.0, 0.6))
        server.running.kill()
    server.kill()


def file_the_rest(server: Server) -> None:
    with server.http() as http:
        filed = answer(http.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert (filed["status"], filed["notes_remaining"]) == ("ok", 0)
        read = answer(http.get(f"/spaces/{SPACE}/bank"))
        bank = {file["filename"]: file["content"] for file in read["files"]}
        assert bank == {path: file["content"] for path, file in head_of(server.objects, SPACE)["files"].items()}
        assert answer(http.get(f"/spaces/{SPACE}/notes"))["matched"] == 0


@pytest.mark.timeout(240)
async def test_no_acknowledged_note_is_lost_or_doubled_by_kills(servers: Servers) -> None:
    chance, numbers, kept = random.Random(20261122), itertools.count(1), Acknowledged()  # noqa: S311 - a seed to repeat
    server = servers.make(STORE_FSYNC="true").start()
    create_space(server)
    for _life in range(ROUNDS):
        await one_life(server, chance, numbers, kept)
        assert faults(server.objects, SPACE, kept) == []
        server.start()
    file_the_rest(server)
    assert server.stop() == 0
    assert faults(server.objects, SPACE, kept) == []
    assert view_faults(server.objects, SPACE) == []
    head = head_of(server.objects, SPACE)
    filed = Counter(note["id"] for commit in commits(server.objects, head) for note in commit["consumed"])
    assert kept.keys() <= filed.keys(), "everything acknowledged is filed in the end"
    assert set(filed.values()) == {1}
    assert head["version"] > 3, "consolidations went on while the server was killed"
    assert not list((server.objects / SPACE / "live").glob("*.md")), "and nothing waits any more"


def restored_in_time(http: httpx.Client, backup: str) -> None:
    """Restore; what a killed server had begun under the name is respected for some seconds first."""
    patience = time.monotonic() + 60
    while (response := http.post(f"/backups/{backup}/restore?confirm=true")).status_code == 409:
        assert response.json()["code"] == "space_busy"
        assert time.monotonic() < patience, "the claim of a dead process is taken over"
        time.sleep(1)
    answer(response)


@pytest.mark.timeout(300)
async def test_deleting_restoring_and_copying_survive_kills(servers: Servers) -> None:
    chance = random.Random(7)  # noqa: S311 - a seed to repeat
    server = servers.make().start()
    create_space(server)
    with server.http() as http:
        for number in range(30):
            note = {"category": CATEGORIES[number % 4], "content": f"Fact {number} about version {number}.0.1"}
            answer(http.post(f"/spaces/{SPACE}/notes", json=note), 201)
            if number == 20:
                answer(http.post(f"/spaces/{SPACE}/bank/consolidate"))
        backup = answer(http.post(f"/spaces/{SPACE}/backups"), 201)["backup_id"]
        former = seen(http)
    for _life in range(3):
        await killed_during(server, chance, "DELETE", f"/spaces/{SPACE}?confirm=true")
        with server.http() as http:
            assert seen(http) in (former, None), "all of it or nothing"
            if seen(http) is not None:
                answer(http.delete(f"/spaces/{SPACE}?confirm=true"))
        await killed_during(server, chance, "POST", f"/backups/{backup}/restore?confirm=true")
        with server.http() as http:
            assert seen(http) in (former, None), "all of it or nothing"
            if seen(http) is None:
                restored_in_time(http, backup)
            assert seen(http) == former
        await killed_during(server, chance, "POST", f"/spaces/{SPACE}/backups")
        with server.http() as http:
            assert seen(http) == former
            for listed in answer(http.get("/backups"))["backups"]:
                assert http.get(f"/backups/{listed['backup_id']}/download").status_code == 200, "listed means whole"
    with server.http() as http:
        filed = answer(http.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert (filed["status"], filed["notes_processed"], filed["notes_remaining"]) == ("ok", 9, 0)
    assert server.stop() == 0
    assert faults(server.objects, SPACE, {}) == []


def seen(http: httpx.Client) -> Any:
    """The bank and the waiting notes as a client sees them; None when there is no such space."""
    bank = http.get(f"/spaces/{SPACE}/bank")
    if bank.status_code == 404:
        return None
    return answer(bank), answer(http.get(f"/spaces/{SPACE}/notes"))["notes"]


async def killed_during(server: Server, chance: random.Random, method: str, path: str) -> None:
    """Ask for something, kill the server at some moment of the work, and start it again."""
    async with server.http_async() as http:
        request = asyncio.create_task(http.request(method, path))
        await asyncio.sleep(chance.uniform(0.005, 0.05))
        server.running.kill()
        await asyncio.gather(request, return_exceptions=True)
    server.kill()
    server.start()


@pytest.fixture
def settled(servers: Servers) -> tuple[Server, Acknowledged]:
    """A stopped server with three notes that are filed and one that waits."""
    server, kept = servers.make().start(), Acknowledged()
    create_space(server)
    with server.http() as http:
        for number in range(4):
            content = f"Component {number} is at 3.{number}.1 since #{number}77"
            note = {"category": "observation", "content": content}
            kept[answer(http.post(f"/spaces/{SPACE}/notes", json=note), 201)["filename"]] = content
            if number == 2:
                answer(http.post(f"/spaces/{SPACE}/bank/consolidate"))
    assert server.stop() == 0
    assert faults(server.objects, SPACE, kept) == []
    return server, kept


def test_the_auditor_sees_what_is_planted(settled: tuple[Server, Acknowledged]) -> None:
    server, kept = settled
    space = server.objects / SPACE
    [waiting] = (space / "live").glob("*.md")
    body = waiting.read_bytes()

    waiting.unlink()
    assert faults(server.objects, SPACE, kept) == [f"{waiting.name} is in 0 places"], "a loss"
    waiting.write_bytes(body)

    path, record = newest_record(server.objects)
    record["consumed"].append({"id": waiting.name})
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert f"{waiting.name} is in 2 places" in faults(server.objects, SPACE, kept), "a note filed that still waits"
    record["consumed"] = [*record["consumed"][:-1], record["consumed"][0]]
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert faults(server.objects, SPACE, kept) == [f"{record['consumed'][0]['id']} is in 2 places"], "filed twice"
    assert read_ledger(server.objects, SPACE).doubled() == [record["consumed"][0]["id"]]
    record["consumed"] = record["consumed"][:-1]
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert faults(server.objects, SPACE, kept) == []

    filed = record["consumed"][0]["id"]
    assert faults(server.objects, SPACE, {**kept, filed: "It is at 9.9.9"}) == [f"{filed}: 9.9.9 is missing"]
    head = head_of(server.objects, SPACE)
    [file] = head["files"].values()
    line = next(line for line in file["content"].splitlines() if line.startswith("- "))
    file["content"] += f"{line}\n"
    assert len(list(repetition_faults(head))) == 1, "a line said twice"
    next((space / "bank").glob("*.md")).write_text("# Something else\n")
    assert len(view_faults(server.objects, SPACE)) == 1, "a view that is not the bank"


def newest_record(objects: Path) -> tuple[Path, dict[str, Any]]:
    path = objects / head_of(objects, SPACE)["history"]
    return path, json.loads(gzip.decompress(path.read_bytes()))
