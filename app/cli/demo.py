"""`live-memory demo`: several agents fill one memory over MCP and REST, and everything is checked."""

import asyncio
import io
import itertools
import json
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from app.cli.demo_audit import read_ledger
from app.cli.demo_model import ScriptedModel
from app.cli.demo_report import Report
from app.cli.demo_service import RunningService, ServiceFailed
from app.cli.demo_stage import NOTHING, NotEmpty, Stage, on_a_bucket, on_a_folder
from app.cli.demo_story import HistoricNote, Json, Refusal, Round, Story
from app.cli.demo_undo import undo_a_round
from app.core.errors import StoreUnavailable
from app.core.settings import Settings

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
SPACE: Final = "uvicorn"
OTHER_SPACE: Final = "private"
ROUNDS: Final = 5
NAMED: Final = 5
"""Contributors who get a token of their own; the others share one."""
OTHERS: Final = "everybody-else"
QUERY: Final = "version"
RENEWED: Final = {
    "_bank.json": ("nonce", "incarnation", "lineage", "recent"),
    "_meta.json": ("bank_nonce", "bank_incarnations"),
}
"""What a restored space does not take over."""
TIMEOUT: Final = 60.0
FILING: Final = 600.0
"""Seconds that filing a round may take; a model takes its time."""
TOOLS: Final = 26
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class Refused(Exception):
    """The service said no: the code and the sentence it gave."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Face(Protocol):
    """One caller's way to the service."""

    async def note(self, space_id: str, note: HistoricNote) -> Json: ...


class RestFace:
    """The service over REST, for one token."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, **arguments: Any) -> Json:  # noqa: ANN401 - httpx's own arguments
        answer = await self._client.request(method, path, **arguments)
        body: Json = answer.json()
        if answer.is_success:
            return body
        raise Refused(body["code"], body["detail"])

    async def note(self, space_id: str, note: HistoricNote) -> Json:
        return await self.call("POST", f"/spaces/{space_id}/notes", json=note.arguments())

    async def archive(self, path: str) -> dict[str, bytes]:
        """The files of an archive, by name."""
        answer = await self._client.get(path, headers={"Accept": "application/gzip"})
        answer.raise_for_status()
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            read = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in read.items() if file is not None}


class McpFace:
    """The service over MCP, for one token."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> Json:  # noqa: ANN401 - whatever the tool takes
        result = await self._client.call_tool(tool, arguments)
        if not result.is_error:
            return dict(result.structured_content or {})
        [text] = [part.text for part in result.content if isinstance(part, TextContent)]
        error = json.loads(text)
        raise Refused(error["code"], error["message"])

    async def note(self, space_id: str, note: HistoricNote) -> Json:
        return await self.call("live_note", space_id=space_id, **note.arguments())

    async def tools(self) -> list[str]:
        """The names of the tools that the service offers."""
        return [tool.name for tool in (await self._client.list_tools()).tools]


@asynccontextmanager
async def over_rest(service: RunningService, token: str | None) -> AsyncIterator[RestFace]:
    """A caller over REST."""
    async with httpx.AsyncClient(
        base_url=service.rest, headers=_bearer(token), timeout=TIMEOUT, trust_env=False
    ) as client:
        yield RestFace(client)


@asynccontextmanager
async def over_mcp(service: RunningService, token: str) -> AsyncIterator[McpFace]:
    """A caller over MCP, with the official client."""
    async with httpx2.AsyncClient(headers=_bearer(token), timeout=TIMEOUT, trust_env=False) as http:
        transport = streamable_http_client(service.mcp, http_client=http)
        async with Client(transport) as client:
            yield McpFace(client)


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def history(notes: int) -> list[HistoricNote]:
    """The last notes of the example."""
    lines = (EXAMPLES / "uvicorn-history.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines[-notes:]]
    return [HistoricNote(one["agent"], one["category"], one["content"], ",".join(one["tags"])) for one in read]


async def play(stage: Stage, notes: Sequence[HistoricNote], report: Report, *, model: str = "") -> Story:
    """The whole demo against running services, told to the report as it goes; `model` says who files, if any does."""
    story = Story(processes=len(stage.services), place=stage.place, model=model)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(over_rest(stage.door(0), stage.admin_key))
        faces = await _set_up(stage, notes, admin, story, stack)
        reader_token = await _token(admin, "newcomer", "read")
        # Whoever reads uses another process than whoever files, where there are several.
        reader = await stack.enter_async_context(over_mcp(stage.door(1), reader_token))
        reader_on_rest = await stack.enter_async_context(over_rest(stage.door(0), reader_token))
        nobody = await stack.enter_async_context(over_rest(stage.door(1), None))
        story.tools = await reader.tools()
        story.check(f"{TOOLS} MCP tools", len(story.tools) == TOOLS)
        report.service(story)
        for number, part in enumerate(_parts(notes, ROUNDS), start=1):
            await _round(number, part, faces, admin, reader, story)
            report.round(story.rounds[-1])
        story.bank = await reader.call("bank_read_all", space_id=SPACE)
        story.ledger = read_ledger(await stage.objects(), SPACE)
        report.bank(story)
        report.search(story)
        await _lose_and_restore(admin, reader, story)
        report.undo(story)
        report.restore(story)
        await _refusals(reader, reader_on_rest, nobody, story)
        report.refusals(story)
    _judge(story)
    story.seconds = time.monotonic() - began
    return story


async def _set_up(
    stage: Stage,
    notes: Sequence[HistoricNote],
    admin: RestFace,
    story: Story,
    stack: AsyncExitStack,
) -> dict[str, Face]:
    """The spaces, and a token for every agent; each works over one of the two faces."""
    rules = (EXAMPLES / "rules.md").read_text(encoding="utf-8")
    for space_id, description in ((SPACE, "The work on an ASGI server"), (OTHER_SPACE, "Somebody else's project")):
        space = {"space_id": space_id, "description": description, "rules": rules}
        await admin.call("POST", "/spaces", json=space)
    named = [agent for agent, _times in Counter(note.agent for note in notes).most_common(NAMED)]
    faces: dict[str, Face] = {}
    for number, agent in enumerate([*named, OTHERS]):
        token = await _token(admin, agent, "read,write")
        is_mcp = number % 2 == 0
        story.agents[agent] = "MCP" if is_mcp else "REST"
        # Both faces of every process are used.
        door = stage.door(number // 2)
        faces[agent] = await stack.enter_async_context(over_mcp(door, token) if is_mcp else over_rest(door, token))
    return faces


async def _token(admin: RestFace, name: str, permissions: str) -> str:
    wanted = {"name": name, "permissions": permissions, "space_ids": SPACE}
    return str((await admin.call("POST", "/admin/tokens", json=wanted))["token"])


def _parts(notes: Sequence[HistoricNote], count: int) -> Iterator[Sequence[HistoricNote]]:
    """The notes in order, in parts as equal as they can be."""
    cuts = [len(notes) * part // count for part in range(count + 1)]
    return (notes[start:end] for start, end in itertools.pairwise(cuts))


async def _round(
    number: int,
    notes: Sequence[HistoricNote],
    faces: Mapping[str, Face],
    admin: RestFace,
    reader: McpFace,
    story: Story,
) -> None:
    """Every agent writes its notes, all agents at once; then everything that waits is filed."""
    desks: dict[str, list[HistoricNote]] = {}
    for note in notes:
        desks.setdefault(note.agent if note.agent in faces else OTHERS, []).append(note)

    async def write(face: Face, own: Sequence[HistoricNote]) -> None:
        for note in own:
            created = await face.note(SPACE, note)
            story.written[created["filename"]] = note.content

    began = time.monotonic()
    async with asyncio.TaskGroup() as agents:
        for agent, own in desks.items():
            agents.create_task(write(faces[agent], own))
    written = time.monotonic()
    waiting = await reader.call("live_read", space_id=SPACE, limit=0)
    story.check(f"round {number}: {len(notes)} notes wait", waiting["matched"] == len(notes))
    story.found = await reader.call("live_search", space_id=SPACE, query=QUERY, limit=3)
    filing = time.monotonic()
    consolidated = await admin.call("POST", f"/spaces/{SPACE}/bank/consolidate", timeout=FILING)
    story.rounds.append(
        Round(
            number=number,
            over_mcp=sum(len(own) for agent, own in desks.items() if story.agents[agent] == "MCP"),
            over_rest=sum(len(own) for agent, own in desks.items() if story.agents[agent] == "REST"),
            agents=len({note.agent for note in notes}),
            writing=written - began,
            filing=time.monotonic() - filing,
            consolidated=consolidated,
        )
    )
    filed = (consolidated["notes_processed"], consolidated["notes_remaining"])
    # With a model that fails, the notes are filed without it, and the status says so.
    is_true = consolidated["status"] == "ok" or (story.model != "" and bool(consolidated["errors"]))
    story.check(f"round {number}: {len(notes)} notes filed", is_true and filed == (len(notes), 0))


async def _lose_and_restore(admin: RestFace, reader: McpFace, story: Story) -> None:
    """Back the space up, delete it, find it gone, restore it, and compare."""
    story.backup = await _backup(admin, "Before the accident")
    story.undo = await undo_a_round(admin.call, SPACE, story)
    await admin.call("DELETE", f"/spaces/{SPACE}", params={"confirm": "true"})
    try:
        await reader.call("bank_read_all", space_id=SPACE)
    except Refused as refused:
        story.check("a deleted space is gone", refused.code == "space_not_found")
    else:
        story.check("a deleted space is gone", holds=False)
    backup = story.backup["backup_id"]
    await admin.call("POST", f"/backups/{backup}/restore", params={"confirm": "true"})
    later = await _backup(admin, "After it")
    story.before = comparable(await admin.archive(f"/backups/{backup}/download"))
    story.after = comparable(await admin.archive(f"/backups/{later['backup_id']}/download"))
    again = await reader.call("bank_read_all", space_id=SPACE)
    story.check("the restored files are equal, byte for byte", bool(story.before) and story.before == story.after)
    story.check("an agent reads the same bank as before", again == story.bank)


async def _backup(admin: RestFace, description: str) -> Json:
    return await admin.call("POST", f"/spaces/{SPACE}/backups", json={"description": description})


def comparable(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a backup, without the random names that a restored space gets so that no cache mistakes it."""
    compared = dict(files)
    for path, names in RENEWED.items():
        record = json.loads(files[path])
        compared[path] = json.dumps({key: value for key, value in record.items() if key not in names}).encode()
    return compared


async def _refusals(reader: McpFace, reader_on_rest: RestFace, nobody: RestFace, story: Story) -> None:
    """What a token with `read` on one space may not do."""
    note = HistoricNote("newcomer", "decision", "I decide for you all.", "")
    attempts: list[tuple[str, str, str, Callable[[], Any]]] = [
        ("write a note", "MCP", "write_required", lambda: reader.note(SPACE, note)),
        ("write a note", "REST", "write_required", lambda: reader_on_rest.note(SPACE, note)),
        (
            "delete the space",
            "MCP",
            "admin_required",
            lambda: reader.call("space_delete", space_id=SPACE, confirm=True),
        ),
        (
            "read another space",
            "REST",
            "forbidden",
            lambda: reader_on_rest.call("GET", f"/spaces/{OTHER_SPACE}/bank"),
        ),
        ("read without a token", "REST", "unauthenticated", lambda: nobody.call("GET", f"/spaces/{SPACE}/bank")),
    ]
    for attempt, face, expected, dare in attempts:
        try:
            await dare()
        except Refused as refused:
            code, message = refused.code, refused.message
        else:
            code, message = "", "it was allowed"
        story.refusals.append(Refusal(attempt, face, expected, code, message))
        story.check(f"refused: {attempt} ({face})", code == expected)


def _judge(story: Story) -> None:
    """What the stored files say, read without the service."""
    ledger = story.ledger
    if ledger is None:
        raise AssertionError("the ledger is read before it is judged")
    story.check("every note has an id of its own", len(story.written) == sum(one.notes for one in story.rounds))
    story.check("no note is lost", not ledger.lost(story.written))
    story.check("no note is doubled", not ledger.doubled())
    story.check("nothing is filed that nobody wrote", ledger.filed.keys() == story.written.keys())
    story.check("every version and # reference is in the bank", not ledger.missing_anchors(story.written))


async def tell(
    folder: Path,
    notes: Sequence[HistoricNote],
    report: Report,
    *,
    processes: int = 1,
    settings: Settings | None = None,
    model: ScriptedModel | None = None,
) -> Story:
    """Start the service, on the folder or on the bucket of the settings, play with or without a model, and stop it."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        stack.enter_context(report.working("starting the service"))
        endpoint = await stack.enter_async_context(model.serving()) if model else NOTHING
        stage = (
            stack.enter_context(on_a_folder(folder, processes, endpoint))
            if settings is None
            else await stack.enter_async_context(on_a_bucket(folder, processes, settings, endpoint))
        )
        story = await play(stage, notes, report, model=model.said if model else "")
    story.check("the service stopped cleanly", holds=True)
    story.seconds = time.monotonic() - began
    return story


def demo(
    *,
    notes: int,
    keep: Path | None,
    svg: Path | None,
    processes: int = 1,
    settings: Settings | None = None,
    model: ScriptedModel | None = None,
) -> int:
    """Play the demo and return the exit status: 0 when everything held."""
    report, status = Report(record=svg is not None), FAILED
    try:
        with _folder(keep) as folder:
            story = _run(
                lambda: tell(folder, history(notes), report, processes=processes, settings=settings, model=model)
            )
        report.end(story, kept=keep)
        status = 0 if story.is_true else FAILED
        if svg is not None:
            report.save(svg)
    except* NotEmpty as occupied:
        report.failed(f"{_first(occupied)}. Name one for the demo alone.")
        status = USAGE
    except* (ServiceFailed, StoreUnavailable, Refused, httpx.TransportError, httpx2.TransportError) as failures:
        report.failed(_first(failures))
    except* (KeyboardInterrupt, asyncio.CancelledError):
        report.failed("Interrupted: the service is stopped.")
        status = INTERRUPTED
    return status


def _first(failures: BaseExceptionGroup[Any]) -> str:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


def _run(play_it: Callable[[], Coroutine[Any, Any, Story]]) -> Story:
    async def interruptible() -> Story:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await play_it()

    return asyncio.run(interruptible())


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="live-memory-demo-") as folder:
            yield Path(folder)
        return
    if keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        sys.stderr.write(f"live-memory: '{keep}' is not an empty folder: name one for the demo alone.\n")
        raise SystemExit(USAGE)
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()
