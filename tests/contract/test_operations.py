"""What is promised of each operation: its name, its address, its words, and that its example succeeds."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import jsonschema
import pytest

from app.catalogue import CATALOGUE
from app.core.operation import Effect, Operation
from app.core.routing import API_PREFIX
from app.core.settings import Settings, StoreKind, ToolSet
from app.main import create
from app.mcp.bridge import tool_documents
from tests.contract.walk import (
    BESIDE,
    CORE,
    NAMES,
    STREAMS,
    TABLE,
    TOOLS,
    Service,
    described_in,
    document,
    prepared,
    resolved,
    success_schema,
    tools,
)

DECLARED: Final[Mapping[str, Operation]] = {one.name: one for noun in CATALOGUE for one in noun.declared}
DRAFT: Final = jsonschema.Draft202012Validator
EACH: Final = pytest.mark.parametrize("name", NAMES)
EACH_TOOL: Final = pytest.mark.parametrize("name", TOOLS)

FIELDS: Final[Mapping[str, str]] = {
    "system_health": "status service_name version uptime_seconds services services.s3.status services.s3.bucket "
    "services.s3.latency_ms services.llmaas.status services.llmaas.message spaces_count",
    "system_about": "status name version description author documentation python_version platform tools_count "
    "tools.name tools.description",
    "space_create": "status space_id description rules_size created_at",
    "space_list": "status total spaces.space_id spaces.description spaces.owner spaces.created_at "
    "spaces.live_notes_count spaces.bank_files_count",
    "space_info": "status space_id description owner created_at live.notes_count live.total_size live.oldest_note "
    "live.newest_note bank.files_count bank.total_size bank.files rules_size last_consolidation consolidation_count "
    "synthesis_exists",
    "space_rules": "status space_id rules",
    "space_summary": "status space_id description rules bank_files.filename bank_files.content bank_files.size "
    "bank_file_count synthesis",
    "space_export": "status archive_base64 archive_size files_count",
    "space_delete": "status space_id files_deleted",
    "live_note": "status space_id filename category agent size timestamp",
    "live_read": "status space_id total has_more matched next_cursor notes.filename notes.timestamp notes.agent "
    "notes.category notes.tags notes.content",
    "live_search": "status space_id query total has_more matched next_cursor notes.filename notes.timestamp "
    "notes.agent notes.category notes.tags notes.content",
    "bank_read": "status space_id filename content size last_modified",
    "bank_read_all": "status space_id files.filename files.content files.size total_size file_count",
    "bank_list": "status space_id files.filename files.size files.last_modified file_count",
    "bank_consolidate": "status space_id notes_processed notes_remaining bank_files_updated bank_files_created "
    "bank_files_unchanged synthesis_size llm_tokens_used llm_prompt_tokens llm_completion_tokens duration_seconds",
    "backup_create": "status backup_id space_id timestamp description files_backed_up total_size",
    "backup_list": "status total filtered_by_token backups.backup_id backups.space_id backups.timestamp "
    "backups.description next_cursor",
    "backup_restore": "status backup_id space_id files_restored",
    "backup_download": "status backup_id archive_base64 archive_size files_count",
    "backup_delete": "status backup_id files_deleted",
    "admin_create_token": "status name token permissions space_ids expires_at warning",
    "admin_list_tokens": "status total tokens.hash tokens.token_hash tokens.name tokens.permissions tokens.space_ids "
    "tokens.created_at tokens.expires_at tokens.last_used_at tokens.revoked next_cursor",
    "admin_revoke_token": "status message",
    "admin_update_token": "status message",
    "admin_gc_notes": "status max_age_days cutoff_date spaces total_old_notes total_old_size mode message",
    "system_whoami": "status name client_name auth_type is_admin permissions space_ids allowed_spaces token_hash "
    "created_at expires_at last_used_at",
    "space_update": "status space_id description owner updated_fields message",
    "space_update_rules": "status space_id rules_size rules_sha256 previous_sha256 warnings",
    "bank_history": "status space_id version versions.version versions.kind versions.actor versions.at "
    "versions.files_changed versions.notes_filed versions.undoes has_more next_cursor",
    "bank_diff": "status space_id from_version to_version files.filename files.change files.diff notes_filed",
    "bank_note": "status space_id version filename timestamp agent category tags content",
    "bank_write": "status space_id filename action size version",
    "bank_delete": "status space_id filename files_deleted version",
    "bank_revert": "status space_id mode kind undone version files_changed conflicts.filename conflicts.reason "
    "notes_requeued notes_kept",
    "bank_repair": "status space_id mode files_scanned files_ok files_to_repair duplicates_found repairs.filename "
    "repairs.becomes message",
    "bank_compact": "status space_id filename action entries_moved archives size_before size_after target_bytes diff "
    "version job_id llm_calls llm_prompt_tokens llm_completion_tokens llm_cost estimated_prompt_tokens "
    "estimated_completion_tokens estimated_cost code message",
    "job_get": "status job_id space_id kind actor state created_at started_at ended_at progress.done progress.total "
    "progress.message cancel_requested result last_event calls_total",
    "job_cancel": "status job_id space_id state message",
    "admin_delete_token": "status name token_hash message remaining",
    "admin_purge_tokens": "status mode deleted remaining tokens message",
}
"""What existing clients read of each result; `a.b` is the field `b` of the object, or of each item, in `a`."""


def test_there_are_the_26_operations_and_those_beside_them_and_no_other() -> None:
    assert len(CORE) == 26
    assert sorted(one.name for one in DECLARED.values() if one.core) == sorted(CORE)
    assert sorted(one.name for one in DECLARED.values() if not one.core) == sorted(BESIDE)
    assert {one.name for one in DECLARED.values() if one.is_stream} == STREAMS
    assert len(DECLARED) == sum(len(noun.declared) for noun in CATALOGUE)


def test_only_what_is_asked_for_is_a_tool() -> None:
    listed = {}
    for chosen in ToolSet:
        app = create(Settings.for_tests(live_memory_store=StoreKind.MEMORY, mcp_tools=chosen))
        listed[chosen] = [tool["name"] for tool in tool_documents(app.state.bridge)]
    default = create(Settings.for_tests(live_memory_store=StoreKind.MEMORY))
    assert [tool["name"] for tool in tool_documents(default.state.bridge)] == listed[ToolSet.CORE]
    assert sorted(listed[ToolSet.CORE]) == sorted(CORE)
    assert sorted(listed[ToolSet.FULL]) == sorted(TOOLS)


@pytest.mark.parametrize(("names", "most"), [(CORE, 66_000), (TOOLS, 110_000)], ids=["core", "full"])
def test_the_list_of_tools_leaves_a_model_room(names: tuple[str, ...], most: int) -> None:
    listed = json.dumps([tools()[name] for name in names], ensure_ascii=False)
    assert len(listed.encode()) < most


def test_each_operation_id_is_unique_and_the_name_of_an_operation() -> None:
    ids = [
        described["operationId"]
        for path in document()["paths"].values()
        for method, described in path.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    assert sorted(ids) == sorted(DECLARED)


@EACH
def test_the_route_and_its_status_are_those_agreed(name: str) -> None:
    operation = DECLARED[name]
    route = f"{operation.method} {operation.path.removeprefix(API_PREFIX)}"
    assert (route, operation.status_code, operation.permission.value) == (
        TABLE[name].route,
        TABLE[name].status,
        TABLE[name].permission,
    )


@EACH
def test_it_is_described_in_sentences(name: str) -> None:
    operation = DECLARED[name]
    assert re.fullmatch(r"[A-Z][^.]+\.", operation.title), operation.title
    described = described_in(document(), operation)
    assert described["summary"] == operation.title
    assert described["description"].rstrip().endswith((".", "?"))
    assert len(described["tags"]) == 1
    if name not in STREAMS:
        assert tools()[name]["title"] == operation.title.rstrip(".")
        assert operation.title in tools()[name]["description"]


@EACH
def test_what_reads_is_a_get_and_what_deletes_has_no_body(name: str) -> None:
    operation = DECLARED[name]
    assert (operation.effect is Effect.READS) == (operation.method == "GET")
    if operation.method in {"GET", "DELETE"}:
        assert "requestBody" not in described_in(document(), operation)
    hints = described_in(document(), operation)["x-mcp"]["annotations"]
    if name not in STREAMS:
        assert tools()[name]["annotations"] == hints
    assert hints == {
        "readOnlyHint": operation.method == "GET",
        "destructiveHint": operation.effect in {Effect.REWRITES, Effect.DELETES},
        "idempotentHint": operation.method in {"GET", "PUT", "DELETE"},
        "openWorldHint": False,
    }


def arguments_of(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each argument of the operation with its schema, wherever it goes."""
    described = described_in(document(), DECLARED[name])
    for parameter in described.get("parameters", []):
        yield parameter["name"], {"description": parameter.get("description", ""), **parameter["schema"]}
    for content in described.get("requestBody", {}).get("content", {}).values():
        yield from resolved(content["schema"])["properties"].items()


@EACH
def test_no_two_arguments_have_the_same_name(name: str) -> None:
    counted = Counter(argument for argument, _ in arguments_of(name))
    assert [argument for argument, times in counted.items() if times > 1] == []
    if name not in STREAMS:
        assert counted.keys() == tools()[name]["inputSchema"]["properties"].keys()


@EACH
def test_every_argument_is_described_and_has_a_bound(name: str) -> None:
    for argument, schema in arguments_of(name):
        assert schema.get("description") or resolved(schema).get("description"), argument
        assert unbounded(argument, schema) == []


def unbounded(where: str, schema: Mapping[str, Any]) -> list[str]:
    """The parts of an argument to which a caller may give any size."""
    whole = resolved(schema)
    if "enum" in whole or "const" in whole:
        return []
    found = [fault for branch in whole.get("anyOf", []) for fault in unbounded(where, branch)]
    match whole.get("type"):
        case "string" if "maxLength" not in whole:
            found.append(f"{where}: maxLength")
        case "integer" | "number" if not {"minimum", "maximum"} <= whole.keys():
            found.append(f"{where}: minimum, maximum")
        case "array":
            found += [] if "maxItems" in whole else [f"{where}: maxItems"]
            found += unbounded(f"{where}[]", whole["items"])
        case "object":
            found += [
                fault
                for name, part in whole.get("properties", {}).items()
                for fault in unbounded(f"{where}.{name}", part)
            ]
    return found


@EACH_TOOL
def test_every_field_of_its_result_is_described(name: str) -> None:
    assert undescribed(success_schema(DECLARED[name])) == []
    assert success_schema(DECLARED[name])["type"] == "object"
    assert "status" in success_schema(DECLARED[name])["properties"]


def undescribed(schema: Mapping[str, Any], where: str = "") -> list[str]:
    found = []
    for name, part in resolved(schema).get("properties", {}).items():
        place = f"{where}{name}"
        found += [] if part.get("description") or resolved(part).get("description") else [place]
        inner = [part, part.get("items", {}), part.get("additionalProperties", {}), *part.get("anyOf", [])]
        found += [fault for one in inner if isinstance(one, dict) for fault in undescribed(one, f"{place}.")]
    return found


@EACH_TOOL
def test_its_result_has_the_fields_that_clients_read(name: str) -> None:
    schema = success_schema(DECLARED[name])
    assert [path for path in FIELDS[name].split() if not has_field(schema, path.split("."))] == []


def has_field(schema: Mapping[str, Any], path: list[str]) -> bool:
    whole = resolved(schema)
    branches = [resolved(branch) for branch in whole.get("anyOf", [whole])]
    for branch in branches:
        here = resolved(branch["items"]) if branch.get("type") == "array" else branch
        if path[0] in here.get("properties", {}):
            return len(path) == 1 or has_field(here["properties"][path[0]], path[1:])
    return False


@EACH_TOOL
def test_its_example_is_valid(name: str) -> None:
    operation = DECLARED[name]
    schema = {**tools()[name]["inputSchema"], "additionalProperties": False}
    jsonschema.validate(dict(operation.example), schema, DRAFT)
    assert tools()[name]["inputSchema"].get("examples", [{}]) == [dict(operation.example)]


@EACH_TOOL
async def test_its_example_succeeds_with_a_json_object(name: str) -> None:
    operation = DECLARED[name]
    async with prepared(name) as service:
        answer = await service.rest(name)
    assert answer.status_code == operation.status_code, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    jsonschema.validate(body, success_schema(operation), DRAFT)
    assert undeclared(body, success_schema(operation)) == []
    if name != "system_health":
        assert body["status"] == {201: "created", 200: "ok"}[operation.status_code] or (
            (operation.effect is Effect.DELETES, body["status"]) == (True, "deleted")
        )


@pytest.mark.parametrize("name", sorted(STREAMS))
async def test_the_example_of_a_stream_is_one_that_ends(name: str) -> None:
    async with prepared() as service:
        answer = await service.rest(name)
        asked = await service.tool(name)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "\nevent: done\ndata: {" in answer.text
    assert asked.is_error


def undeclared(value: object, schema: Mapping[str, Any], where: str = "") -> list[str]:
    """What is answered, and was never said to be."""
    whole = resolved(schema)
    match value:
        case dict() if "properties" in whole:
            found = [f"{where}{name}" for name in value if name not in whole["properties"]]
            for name in value.keys() & whole["properties"].keys():
                found += undeclared(value[name], whole["properties"][name], f"{where}{name}.")
            return found
        case list() if "items" in whole:
            return [fault for item in value for fault in undeclared(item, whole["items"], f"{where}[].")]
        case _:
            return []


class TestNotWaiting:
    """`bank_consolidate` of a caller who has something else to do."""

    async def test_over_rest_it_is_accepted_with_the_place_to_ask(self) -> None:
        async with prepared() as service:
            answer = await service.rest("bank_consolidate", {"space_id": "project-alpha", "wait": False})
            accepted = answer.json()
            await service.services.runner.idle()
            headers = {"Authorization": answer.request.headers["authorization"]}
            job = (await service.http.get(answer.headers["location"], headers=headers)).json()
        assert (answer.status_code, accepted["status"]) == (202, "accepted")
        assert answer.headers["location"] == f"/api/v1/jobs/{accepted['job_id']}"
        jsonschema.validate(accepted, success_schema(DECLARED["bank_consolidate"]), DRAFT)
        assert (job["job_id"], job["state"], job["result"]["notes_processed"]) == (accepted["job_id"], "done", 1)
        jsonschema.validate(job["result"], success_schema(DECLARED["bank_consolidate"]), DRAFT)

    async def test_a_tool_gets_a_plain_result(self) -> None:
        async with prepared() as service:
            answer = await service.tool("bank_consolidate", {"space_id": "project-alpha", "wait": False})
            await service.services.runner.idle()
            assert not answer.is_error
            accepted = answer.structured or {}
            assert json.loads(answer.text) == accepted
            job = (await service.tool("job_get", {"job_id": accepted["job_id"]})).structured or {}
        assert accepted["status"] == "accepted"
        jsonschema.validate(accepted, tools()["bank_consolidate"]["outputSchema"], DRAFT)
        assert (job["state"], job["result"]["status"]) == ("done", "ok")

    async def test_a_plan_changes_nothing(self) -> None:
        async with prepared() as service:
            before = await service.contents()
            answer = await service.rest("bank_consolidate", {"space_id": "project-alpha", "dry_run": True})
            tool = await service.tool("bank_consolidate", {"space_id": "project-alpha", "dry_run": True})
            assert await service.contents() == before
        assert (answer.status_code, answer.json()["status"], answer.json()["notes_remaining"]) == (200, "planned", 1)
        assert tool.structured == answer.json()


class TestCollectingGarbage:
    """`admin_gc_notes` answers in three ways."""

    COMMON = frozenset({"status", "max_age_days", "cutoff_date", "spaces", "total_old_notes", "total_old_size"})
    PER_SPACE = frozenset({"total_notes", "old_notes", "old_notes_size", "by_agent", "oldest", "keys_count"})

    async def collect(self, service: Service, **arguments: Any) -> dict[str, Any]:
        await service.note("An old note.")
        service.clock.advance(timedelta(days=30))
        found = await service.admin("admin_gc_notes", max_age_days=7, **arguments)
        assert found.keys() >= self.COMMON
        assert found["total_old_notes"] == 2
        assert found["spaces"]["project-alpha"].keys() >= self.PER_SPACE
        return found

    async def test_a_dry_run_changes_nothing(self) -> None:
        async with prepared() as service:
            before = await service.contents()
            found = await self.collect(service)
            after = await service.contents()
            assert (await service.admin("live_read", space_id="project-alpha"))["matched"] == 2
        assert (found["status"], found["mode"]) == ("ok", "dry-run")
        assert found["message"]
        assert len(after.keys() - before.keys()) == 1

    async def test_confirmed_it_files_the_notes(self) -> None:
        async with prepared() as service:
            found = await self.collect(service, confirm=True)
            assert (await service.admin("live_read", space_id="project-alpha"))["matched"] == 0
            bank = await service.admin("bank_read_all", space_id="project-alpha")
        assert (found["status"], found["action"], found["consolidated"]) == ("ok", "consolidate", 2)
        assert "An old note." in str(bank["files"])
        details = found["consolidation_details"]["project-alpha"]["admin"]
        assert details.keys() >= {"status", "notes_processed", "bank_files_created", "bank_files_updated"}

    async def test_told_to_delete_it_removes_them(self) -> None:
        async with prepared() as service:
            found = await self.collect(service, confirm=True, delete_only=True)
            assert (await service.admin("live_read", space_id="project-alpha"))["matched"] == 0
            bank = await service.admin("bank_read_all", space_id="project-alpha")
        assert (found["status"], found["action"], found["deleted"]) == ("deleted", "delete", 2)
        assert "An old note." not in str(bank["files"])

    async def test_with_nothing_old_there_is_nothing_to_delete(self) -> None:
        async with prepared() as service:
            found = await service.admin("admin_gc_notes", confirm=True, delete_only=True)
        assert (found["status"], found["deleted"], found["spaces"]) == ("ok", 0, {})
