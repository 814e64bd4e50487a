"""Every situation, on both faces: its number, its word, its code; and what an outage of the store looks like."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from mcp import Client
from mcp import types as t

from app.api.body import MAX_BODY
from app.bank.ledger import Spent, UsageDay
from app.bank.store import sha256
from app.bank.versions.revisions import MAX_BANK
from app.catalogue import CATALOGUE
from app.core.errors import NotFound, StoreUnavailable
from app.core.settings import Uncovered
from app.llm.scripted import ScriptedLLM
from app.mcp.bridge import McpBridge
from app.storage.store import Stored
from app.tokens.models import Token
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.walk import (
    NAMES,
    SPACE,
    STREAMS,
    Service,
    described_in,
    document,
    failure_of,
    prepared,
    problem_of,
    serving,
)

Arrange = Callable[[Service], Awaitable[dict[str, Any] | None]]
ABSENT: Final = "no-such-space"
NO_JOB: Final = f"{SPACE}.{'0' * 16}"
NO_BACKUP: Final = f"{SPACE}/2020-01-01T00-00-00"
MIDNIGHT: Final = datetime(2026, 2, 1, tzinfo=UTC)
"""When the day of these tests ends."""
TWIN: Final = "sha256:" + "a" * 63


@dataclass(frozen=True, slots=True)
class Case:
    """A call that meets a situation: what it is called with, and what is done before."""

    code: str
    status: int
    word: str
    operation: str
    change: Mapping[str, Any]
    """Beside the example."""
    permissions: str = "admin"
    spaces: str = ""
    arrange: Arrange | None = None
    """May tell further arguments."""


async def two_alike(service: Service) -> None:
    """Two tokens whose hashes begin alike, as no test could find by trying."""
    for last in "01":
        token = Token(hash=TWIN + last, name="twin", permissions=[], spaces="*", created_at="2026-01-01T00:00:00+00:00")
        key = f"_system/tokens/{token.hash.removeprefix('sha256:')}.json"
        await service.store.create(key, token.model_dump_json().encode())


async def damage(service: Service) -> None:
    """Change one file of the backup behind the service's back."""
    await service.admin("space_delete", space_id=SPACE, confirm=True)
    await service.store.put(f"_backups/{service.known['backup_id']}/_rules.md", b"changed")


async def half_a_head(service: Service) -> None:
    """The document of the space, cut short."""
    await service.store.put(f"{SPACE}/_bank.json", b'{"schema":1,"space_id":')


async def no_rules(service: Service) -> None:
    """The rules, removed by hand."""
    await service.store.delete(f"{SPACE}/_rules.md")


async def a_bug(service: Service) -> None:
    """Something that nobody foresaw."""
    service.store.fail("list", error=lambda _: RuntimeError("the inside of the service"))


async def outage(service: Service) -> None:
    service.store.fail("get", key=f"{SPACE}/")


async def a_bank_that_is_nearly_full(service: Service) -> None:
    """One file behind the service's back, as large as all of them may be."""
    key = f"{SPACE}/_bank.json"
    found = await service.store.inner.get(key)
    assert isinstance(found, Stored)
    head = json.loads(found.body)
    content = "x" * (MAX_BANK - 1_000)
    file = {**head["files"]["decisions.md"], "content": content, "sha256": sha256(content), "bytes": len(content)}
    head["files"]["large.md"] = file
    await service.store.put(key, json.dumps(head).encode())


async def always_overtaken(service: Service) -> None:
    """Somebody else changes the space just before each change of it."""
    key = f"{SPACE}/_bank.json"

    async def overtake(method: str, changed: str) -> None:
        if (method, changed) == ("replace", key):
            found = await service.store.inner.get(key)
            assert isinstance(found, Stored)
            await service.store.inner.put(key, found.body + b" ")

    service.store.before = overtake


async def the_end_is_near(service: Service) -> None:
    """The process has been told to end."""
    service.services.jobs.drain()


async def a_model_that_fails(service: Service) -> None:
    """It never answers, and without it nothing is filed."""
    await service.go_on(llm=ScriptedLLM(), consolidation_on_uncovered=Uncovered.LEAVE)


async def nothing_left_to_spend(service: Service) -> None:
    """The space has had its one call of today, and without a model nothing is filed."""
    await service.go_on(llm=ScriptedLLM(), consolidation_on_uncovered=Uncovered.LEAVE, llm_daily_calls=1)
    day = UsageDay(day=service.clock.now().date().isoformat(), total=Spent(calls=1))
    await service.store.create(f"{SPACE}/_usage/{day.day}.json", day.model_dump_json().encode())


CASES: Final = (
    Case("invalid_input", 422, "error", "live_note", {"category": "gossip"}),
    Case("invalid_space_id", 422, "error", "live_read", {"space_id": "-not-an-id"}),
    Case("invalid_cursor", 422, "error", "live_read", {"cursor": "never given"}),
    Case("invalid_token_hash", 422, "error", "admin_revoke_token", {"token_hash": "sha256:0123"}),
    Case("ambiguous_token_hash", 422, "error", "admin_revoke_token", {"token_hash": TWIN[:20]}, arrange=two_alike),
    Case("confirmation_required", 422, "error", "space_delete", {"confirm": False}),
    Case("confirmation_required", 422, "error", "backup_delete", {"confirm": False}),
    Case("confirmation_required", 422, "error", "backup_restore", {"confirm": False}),
    Case("confirmation_required", 422, "error", "bank_delete", {"confirm": False}),
    Case("confirmation_required", 422, "error", "admin_delete_token", {"confirm": False}),
    Case("invalid_input", 422, "error", "bank_revert", {"version": None}),
    Case("invalid_input", 422, "error", "bank_write", {"filename": "a.txt"}),
    Case("invalid_cursor", 422, "error", "bank_history", {"cursor": "never given"}),
    Case("invalid_token_hash", 422, "error", "admin_delete_token", {"token_hash": "sha256:0123"}),
    Case("forbidden", 403, "error", "live_read", {}, "read,write", "elsewhere"),
    Case("forbidden", 403, "error", "job_get", {}, "read,write", "elsewhere"),
    Case("not_your_job", 403, "error", "job_cancel", {}, "read,write"),
    Case("read_required", 403, "error", "live_read", {}, "write"),
    Case("write_required", 403, "error", "live_note", {}, "read"),
    Case("admin_required", 403, "error", "admin_gc_notes", {}, "read,write"),
    Case("other_agent", 403, "error", "bank_consolidate", {"agent": "somebody-else"}, "read,write"),
    Case("space_not_found", 404, "not_found", "live_note", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "space_rules", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "bank_consolidate", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "bank_read", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "space_update", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "bank_history", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "bank_write", {"space_id": ABSENT}),
    Case("space_not_found", 404, "not_found", "bank_revert", {"space_id": ABSENT}),
    Case("rules_version_not_found", 404, "not_found", "space_rules", {"sha256": "0" * 64}),
    Case("version_not_found", 404, "not_found", "bank_read_all", {"as_of": "99"}),
    Case("version_not_found", 404, "not_found", "bank_list", {"as_of": "99"}),
    Case("version_not_found", 404, "not_found", "bank_read", {"as_of": "99"}),
    Case("version_not_found", 404, "not_found", "bank_diff", {"to": "99"}),
    Case("version_not_found", 404, "not_found", "bank_revert", {"version": 99}),
    Case("version_not_found", 404, "not_found", "bank_write", {"if_version": 99}),
    Case("filed_note_not_found", 404, "not_found", "bank_note", {"note_id": "never-written.md"}),
    Case("file_not_found", 404, "not_found", "bank_delete", {"filename": "no/such/file.md"}),
    Case("job_not_found", 404, "not_found", "job_get", {"job_id": NO_JOB}),
    Case("job_not_found", 404, "not_found", "job_cancel", {"job_id": NO_JOB}),
    Case("token_not_found", 404, "not_found", "admin_delete_token", {"token_hash": "sha256:" + "0" * 64}),
    Case("rules_not_found", 404, "not_found", "space_rules", {}, arrange=no_rules),
    Case("file_not_found", 404, "not_found", "bank_read", {"filename": "no/such/file.md"}),
    Case("backup_not_found", 404, "not_found", "backup_download", {"backup_id": NO_BACKUP}),
    Case("backup_not_found", 404, "not_found", "backup_restore", {"backup_id": NO_BACKUP}),
    Case("token_not_found", 404, "not_found", "admin_revoke_token", {"token_hash": "sha256:" + "0" * 64}),
    Case("space_exists", 409, "already_exists", "space_create", {}),
    Case("restore_target_exists", 409, "error", "backup_restore", {}),
    Case("file_name_taken", 409, "already_exists", "bank_write", {"filename": "Decisions.md"}),
    Case("stale_version", 412, "conflict", "bank_write", {"filename": "decisions.md", "if_version": 0}),
    Case("stale_version", 412, "conflict", "bank_delete", {"if_version": 0}),
    Case("space_contended", 409, "conflict", "space_update", {}, arrange=always_overtaken),
    Case("space_contended", 409, "conflict", "space_update_rules", {}, arrange=always_overtaken),
    Case("bank_busy", 409, "conflict", "bank_write", {}, arrange=always_overtaken),
    Case("bank_full", 413, "error", "bank_write", {"content": "x" * 2_000}, arrange=a_bank_that_is_nearly_full),
    Case("budget_spent", 429, "error", "bank_consolidate", {}, arrange=nothing_left_to_spend),
    Case("llm_failed", 502, "error", "bank_consolidate", {}, arrange=a_model_that_fails),
    Case("shutting_down", 503, "error", "bank_consolidate", {}, arrange=the_end_is_near),
    Case("backup_damaged", 409, "error", "backup_restore", {}, arrange=damage),
    Case("damaged_document", 503, "error", "live_read", {}, arrange=half_a_head),
    Case("store_unavailable", 503, "error", "live_read", {}, arrange=outage),
    Case("internal_error", 500, "error", "live_read", {}, arrange=a_bug),
)
RACES: Final = frozenset({"space_busy", "space_changing", "backup_busy", "commit_unknown", "token_busy"})
"""Proved beside the code that meets them."""
BELOW: Final = frozenset({
    "unauthenticated", "unknown_field", "consolidation_running", "cancelled", "interrupted", "too_large",
})  # fmt: skip


def test_every_declared_situation_is_met_somewhere() -> None:
    declared = {error.code() for noun in CATALOGUE for one in noun.declared for error in one.errors}
    assert declared - {case.code for case in CASES} - RACES - BELOW == set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.operation}")
async def test_a_situation_is_told_alike_on_both_faces(case: Case) -> None:
    async with prepared() as service:
        who = await service.who("somebody", case.permissions, case.spaces)
        arguments = {**service.example(case.operation), **case.change}
        if case.arrange is not None:
            await case.arrange(service)
        rest = await service.rest(case.operation, arguments, token=who.token)
        problem = problem_of(rest, case.status, case.code)
        answers = described_in(document(), service.operations[case.operation])["responses"]
        assert f"`{case.code}`" in answers[str(case.status)]["description"]
        if case.arrange in {a_bug, outage}:
            await case.arrange(service)
        tool = await service.tool(case.operation, arguments, token=who.token)
        error = failure_of(tool, case.word, case.code)
        assert error["message"] == problem["detail"]
        assert error["details"]["request_id"] == tool.headers["x-request-id"]
        assert error["details"].get("errors", []) == problem["errors"]
        assert tool.result is not None
        attached = tool.result["_meta"]["live-memory/problem"]
        own = {"request_id": tool.headers["x-request-id"]}
        if "job_id" in problem:
            assert attached["job_id"] != problem["job_id"], "each call has a job of its own"
            own["job_id"] = attached["job_id"]
        waits = {"retry_after": int(rest.headers["retry-after"])} if case.status in {429, 503} else {}
        assert attached == problem | waits | own
        await check_words(service, case, problem, waits)
        if case.code == "internal_error":
            assert "inside" not in rest.text + tool.body


async def check_words(service: Service, case: Case, problem: Mapping[str, Any], waits: Mapping[str, int]) -> None:
    """What a caller needs to know of a situation is in its words."""
    detail = problem["detail"]
    for word in ("write", "admin"):
        if case.code == f"{word}_required":
            assert word in detail
            assert "permission" in detail
    if case.code in {"other_agent", "not_your_job"}:
        assert "admin" in detail
    if case.status in {403, 404} or case.code == "space_exists":
        assert next((str(value) for value in case.change.values()), "") in detail
    if case.code == "shutting_down":
        assert waits == {"retry_after": 5}
    if case.code == "budget_spent":
        assert waits["retry_after"] == (MIDNIGHT - service.clock.now()).total_seconds()
    if case.code in {"budget_spent", "llm_failed"}:
        assert problem["notes_remaining"] == 1
        job = (await service.rest("job_get", {"job_id": problem["job_id"]})).json()
        assert (job["state"], job["result"]["code"]) == ("done", case.code)


async def test_without_a_token_the_transport_itself_says_so() -> None:
    async with serving() as service:
        for token in (None, "unknown"):
            rest = await service.rest("space_list", token=token)
            tool = await service.tool("space_list", token=token)
            problem_of(rest, 401, "unauthenticated")
            assert tool.status == 401
            assert tool.error["code"] == "unauthenticated"
            assert tool.headers["content-type"] == "application/problem+json"
            for headers in (rest.headers, tool.headers):
                assert headers["www-authenticate"].startswith('Bearer realm="live-memory"')
                assert ("invalid_token" in headers["www-authenticate"]) == bool(token)


async def test_an_unknown_field_is_refused_on_rest_and_ignored_by_tools() -> None:
    async with prepared() as service:
        arguments = service.example("live_note") | {"mood": "good"}
        problem = problem_of(await service.rest("live_note", arguments), 422, "unknown_field")
        assert [fault["field"] for fault in problem["errors"]] == ["mood"]
        tool = await service.tool("live_note", arguments)
        assert not tool.is_error
        assert tool.result is not None
        assert tool.result["_meta"]["live-memory/ignored"] == ["mood"]


async def test_a_second_consolidation_meets_the_first() -> None:
    async with prepared() as service:
        reached, released = asyncio.Event(), asyncio.Event()

        async def hold(method: str, key: str) -> None:
            if (method, key) == ("replace", f"{SPACE}/_bank.json"):
                reached.set()
                await released.wait()

        service.store.before = hold
        async with asyncio.timeout(10):
            first = asyncio.create_task(service.rest("bank_consolidate"))
            await reached.wait()
            problem = problem_of(await service.rest("bank_consolidate"), 409, "consolidation_running")
            assert failure_of(await service.tool("bank_consolidate"), "conflict", "consolidation_running")
            released.set()
            done = (await first).json()
        assert (done["status"], done["notes_processed"]) == ("ok", 1)
        assert problem["job_id"] == done["job_id"]


@pytest.mark.parametrize(
    ("code", "status", "word", "state"),
    [("cancelled", 409, "conflict", "cancelled"), ("interrupted", 503, "error", "interrupted")],
)
@pytest.mark.parametrize("face", ["rest", "tool"])
async def test_who_waits_for_work_that_is_stopped_is_told_so(
    code: str, status: int, word: str, state: str, face: str
) -> None:
    async with prepared() as service:
        reached, released = asyncio.Event(), asyncio.Event()

        async def hold(method: str, key: str) -> None:
            if method == "list" and key == f"{SPACE}/live/":
                reached.set()
                await released.wait()

        service.store.before = hold
        async with asyncio.timeout(10):
            waiting = asyncio.create_task(
                service.rest("bank_consolidate") if face == "rest" else service.tool("bank_consolidate")
            )
            await reached.wait()
            (work,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("job ")]
            job_id = work.get_name().removeprefix("job ")
            if code == "cancelled":
                assert (await service.rest("job_cancel", {"job_id": job_id})).json()["state"] == "running"
            else:
                work.cancel()
            released.set()
            answer: Any = await waiting
            await service.services.runner.idle()
        if face == "rest":
            problem_of(answer, status, code)
        else:
            failure_of(answer, word, code)
        service.store.before = None
        job = (await service.rest("job_get", {"job_id": job_id})).json()
        assert (job["state"], job["result"]["status"], job["result"]["code"]) == (state, "error", code)
        # Nothing was lost by it.
        again = (await service.rest("bank_consolidate")).json()
        assert (again["status"], again["notes_processed"]) == ("ok", 1)


async def test_a_request_has_a_largest_size() -> None:
    async with serving() as service:
        content = "x" * (MAX_BODY + 1)
        rest = await service.rest("live_note", service.example("live_note") | {"content": content})
        problem_of(rest, 413, "too_large")
        tool = await service.tool("live_note", service.example("live_note") | {"content": content})
        assert (tool.status, tool.error["code"]) == (413, "too_large")


async def test_an_operation_that_is_given_no_time_runs_out_of_it() -> None:
    async with serving() as service:
        impatient = [replace(one, timeout=timedelta(0)) for one in service.app.operations]
        bridge = McpBridge(
            service.app,
            impatient,
            name="Live Memory",
            version="1",
            authenticator=service.services.authenticator,
            allowed_hosts=["localhost"],
            allowed_origins=[],
            max_body=MAX_BODY,
        )
        async with Client(bridge.mcp) as client:
            result = await client.call_tool("system_health", {})
    assert result.is_error
    assert result.structured_content is None
    (block,) = result.content
    assert isinstance(block, t.TextContent)
    assert '"code": "timeout"' in block.text


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/spaces/a/b/c", "/nothing", "/api/v2/spaces"])
async def test_what_is_not_there_is_a_problem_too(path: str) -> None:
    async with serving() as service:
        headers = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
        problem_of(await service.http.get(path, headers=headers), 404, NotFound.code())


async def test_a_wrong_method_is_told_which_ones_there_are() -> None:
    async with serving() as service:
        headers = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
        answer = await service.http.put(f"/api/v1/spaces/{SPACE}/notes", headers=headers)
        problem_of(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("name", NAMES)
async def test_an_outage_of_the_store_never_looks_like_an_answer(name: str) -> None:
    async with prepared(name) as service:
        who = await service.who("somebody", "admin")
        # The control: with the store, the call is good, so what follows is the outage and nothing else.
        if name in READS:
            assert (await service.rest(name, token=who.token)).is_success
        assert (await service.rest("space_list", token=who.token)).is_success
        fault = service.store.fail(
            ["get", "list", "create", "replace", "put", "delete", "delete_many", "copy"], lasting=True
        )
        service.clock.advance(timedelta(seconds=30))
        rest, tool = await service.rest(name, token=who.token), None
        if name not in STREAMS:
            tool = await service.tool(name, token=who.token)
        if name == "system_about":
            assert rest.is_success
            return
        assert fault.met
        if name == "system_health":
            assert (rest.json()["status"], rest.json()["services"]["s3"]["status"]) == ("degraded", "error")
            assert rest.json()["spaces_count"] == -1
        else:
            problem_of(rest, 503, StoreUnavailable.code())
            if tool is not None:
                failure_of(tool, "error", StoreUnavailable.code())
        service.store.heal()
        service.clock.advance(timedelta(seconds=30))
        again = await service.rest(name, token=who.token)
        assert again.is_success, again.text
        if name not in STREAMS:
            assert again.json()["status"] != "degraded"


async def test_a_stranger_is_not_called_one_while_the_registry_cannot_be_read() -> None:
    async with prepared() as service:
        who = await service.who("somebody", "read")
        service.store.fail("get", lasting=True)
        problem_of(await service.rest("live_read", token=who.token), 503, "store_unavailable")
        tool = await service.tool("live_read", token=who.token)
        assert (tool.status, tool.error["code"]) == (503, "store_unavailable")
        assert tool.headers["retry-after"]
        service.store.heal()
        assert (await service.rest("live_read", token=who.token)).is_success


READS: Final = (
    "space_list", "space_info", "space_rules", "space_summary", "space_export", "live_read", "live_search",
    "bank_read", "bank_read_all", "bank_list", "bank_history", "bank_diff", "bank_note", "job_get", "backup_list",
    "backup_download", "admin_list_tokens",
)  # fmt: skip


@pytest.mark.parametrize("name", READS)
async def test_whichever_request_to_the_store_fails_a_read_says_so_or_is_whole(name: str) -> None:
    async with prepared() as service:
        whole = (await service.rest(name)).json()
        met = 0
        for nth in range(1, 50):
            fault = service.store.fail(["get", "list"], nth=nth)
            answer = await service.rest(name)
            service.store.heal()
            if not fault.met:
                break
            met += 1
            if answer.is_success:
                assert answer.json() == whole
            else:
                problem_of(answer, 503, "store_unavailable")
        assert met
        assert (await service.rest(name)).json() == whole


async def test_every_answer_names_its_request() -> None:
    async with serving() as service:
        for path in (
            "/health",
            "/ready",
            "/openapi.json",
            "/docs",
            "/nothing",
            "/api/v1/system/health",
            "/mcp",
            "/sse",
        ):
            answer: httpx.Response = await service.http.get(path)
            assert len(answer.headers["x-request-id"]) == 32, path
        chosen = await service.http.get("/health", headers={"X-Request-Id": "mine-1"})
        assert chosen.headers["x-request-id"] == "mine-1"
        forged = await service.http.get("/health", headers={"X-Request-Id": "a b"})
        assert forged.headers["x-request-id"] != "a b"
