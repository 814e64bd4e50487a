"""Each operation, each kind of caller, each face: allowed exactly when promised, and a refusal changes nothing."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

import httpx
import pytest

from app.api.app import create_app
from app.catalogue import CATALOGUE
from app.core.identity import Permission
from app.core.routing import API_PREFIX, Operations
from tests.contract.walk import (
    ADDRESS,
    FOREIGN,
    NAMES,
    SPACE,
    STREAMS,
    TABLE,
    TOOLS,
    Place,
    Service,
    Who,
    failure_of,
    prepared,
    problem_of,
    serving,
)

CALLERS: Final = (
    "nobody",
    "unknown",
    "malformed",
    "expired",
    "revoked",
    "reader",
    "writer only",
    "writer",
    "admin",
    "reader here",
    "writer here",
    "reader elsewhere",
    "writer elsewhere",
    "admin elsewhere",
)
CANARY: Final = "canary-9b1d"


def refusal(name: str, who: Who) -> str | None:
    """The code with which this caller must be refused; None: it is allowed."""
    row = TABLE[name]
    if row.permission == "public":
        return None
    if not who.permissions:
        return "unauthenticated"
    if "admin" in who.permissions or row.permission == "any":
        return None
    lacks = row.permission not in who.permissions
    foreign = row.place is not Place.NOWHERE and who.spaces is not None and SPACE not in who.spaces
    # A space in the path is looked at first, so that a stranger never learns of one; that of a query comes later.
    if foreign and (row.place is not Place.QUERY or not lacks):
        return "forbidden"
    if lacks:
        return f"{row.permission}_required"
    # The job of the example was started by the administrator.
    return "not_your_job" if name == "job_cancel" else None


NUMBERS: Final[Mapping[str, int]] = {
    "unauthenticated": 401,
    "forbidden": 403,
    "read_required": 403,
    "write_required": 403,
    "admin_required": 403,
    "not_your_job": 403,
}


def in_order(*, allowed: bool, who: Who) -> Iterator[tuple[str, str | None]]:
    """The operations that this caller may call, or those that it may not: what is destroyed comes last."""
    for name in sorted(NAMES, key=lambda name: (name.endswith("_delete"), name == "space_delete")):
        code = refusal(name, who)
        if (code is None) == allowed:
            yield name, code


@pytest.mark.parametrize("label", CALLERS)
async def test_what_is_not_allowed_is_refused_and_changes_nothing_and_all_else_is_answered(label: str) -> None:
    async with prepared() as service:
        who = (await service.callers())[label]
        before = await service.contents()
        for name, code in in_order(allowed=False, who=who):
            await check_refused(service, name, who, str(code))
        assert await service.contents() == before
        # The space exists while its maker and its restorer are asked: that they get so far is the point.
        so_far = {"space_create": "space_exists", "backup_restore": "restore_target_exists"}
        for name, _ in in_order(allowed=True, who=who):
            rest = await service.rest(name, token=who.token)
            assert ("" if rest.is_success else rest.json()["code"]) == so_far.get(name, ""), name
        if "admin" in who.permissions:
            await service.prepare()
        for name, _ in in_order(allowed=True, who=who):
            if name in STREAMS:
                continue
            tool = await service.tool(name, token=who.token)
            assert (tool.error.get("code", "") if tool.is_error else "") == so_far.get(name, ""), name


async def check_refused(service: Service, name: str, who: Who, code: str) -> None:
    """Both faces refuse, in the same words."""
    problem = problem_of(await service.rest(name, token=who.token), NUMBERS[code], code)
    if name in STREAMS:
        return
    answer = await service.tool(name, token=who.token)
    if code == "unauthenticated":
        assert answer.status == 401
        assert answer.error["code"] == code
        assert answer.headers["www-authenticate"].startswith("Bearer")
    else:
        assert failure_of(answer, "error", code)["message"] == problem["detail"]


async def test_the_cells_are_those_of_the_table() -> None:
    """What the rule above says, written out for the callers where it is least obvious."""
    async with serving() as service:
        callers = await service.callers()
    assert set(callers) == set(CALLERS)

    def allowed(label: str) -> set[str]:
        return {name for name in NAMES if refusal(name, callers[label]) is None}

    public = {"system_health", "system_about"}
    for label in ("nobody", "unknown", "malformed", "expired", "revoked"):
        assert allowed(label) == public
    reads = {
        "space_list", "space_info", "space_rules", "space_summary", "space_export", "live_read", "live_search",
        "bank_read", "bank_read_all", "bank_list", "bank_history", "bank_diff", "bank_note", "job_get", "job_events",
        "backup_list", "backup_download",
    }  # fmt: skip
    writes = {"space_create", "space_update", "live_note", "bank_consolidate", "backup_create"}
    known = public | {"system_whoami"}
    assert allowed("reader") == allowed("reader here") == known | reads
    assert allowed("writer only") == known | writes
    assert allowed("writer") == allowed("writer here") == known | reads | writes
    assert allowed("reader elsewhere") == known | {"space_list"}
    assert allowed("writer elsewhere") == known | {"space_list", "space_create"}
    assert allowed("admin") == allowed("admin elsewhere") == set(NAMES)


async def refusals(http: httpx.AsyncClient, service: Service, who: Who) -> dict[str, str]:
    """The code with which each operation refuses this caller over REST."""
    over_rest = Service(service.app, service.services, service.store, service.clock, http, service.known)
    found = {}
    for name, _ in in_order(allowed=False, who=who):
        answer = await over_rest.rest(name, token=who.token)
        if answer.status_code in {401, 403}:
            found[name] = answer.json()["code"]
    return found


def weakened(name: str, permission: Permission) -> list[Operations]:
    """The catalogue, with one operation asking for less than it should."""
    changed = []
    for noun in CATALOGUE:
        copy = Operations(noun.tag, noun.description)
        for one in noun.declared:
            copy.declare(
                one.name,
                method=one.method,
                path=one.path.removeprefix(API_PREFIX),
                permission=permission if one.name == name else one.permission,
                effect=one.effect,
                example=one.example,
                status_code=one.status_code,
                errors=one.errors,
            )(one.endpoint)
        changed.append(copy)
    return changed


@pytest.mark.parametrize(
    ("name", "permission"),
    [
        ("admin_list_tokens", Permission.READ),
        ("live_note", Permission.READ),
        ("space_rules", Permission.PUBLIC),
        ("bank_write", Permission.READ),
        ("job_cancel", Permission.READ),
        ("job_events", Permission.PUBLIC),
        ("", Permission.READ),
    ],
)
async def test_one_permission_lowered_would_be_noticed(name: str, permission: Permission) -> None:
    """The control: the same questions, asked to a service with a hole, give another table."""
    async with prepared() as service:
        callers = await service.callers()
        app = create_app(service.services, weakened(name, permission), service.services.authenticator)
        noticed = set()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as http:
            for who in (callers["nobody"], callers["reader"]):
                expected = dict(in_order(allowed=False, who=who))
                found = await refusals(http, service, who)
                noticed |= {one for one in expected if found.get(one) != expected[one]}
    assert noticed == ({name} if name else set())


@pytest.mark.parametrize("label", ["reader elsewhere", "writer elsewhere"])
async def test_a_foreign_space_is_forbidden_whether_or_not_it_exists(label: str) -> None:
    async with prepared() as service:
        who = (await service.callers())[label]
        backup_id = service.known["backup_id"]
        for name, row in TABLE.items():
            code = refusal(name, who)
            if row.place is Place.NOWHERE or code != "forbidden":
                continue
            there = service.example(name)
            nowhere = {
                argument: value.replace(SPACE, "no-such-space") if isinstance(value, str) else value
                for argument, value in there.items()
            }
            assert nowhere != there
            assert backup_id.startswith(SPACE)
            answers = [await service.rest(name, arguments, token=who.token) for arguments in (there, nowhere)]
            details = [problem_of(answer, 403, "forbidden")["detail"] for answer in answers]
            assert details[0].replace(SPACE, "no-such-space") == details[1]
            if name in STREAMS:
                continue
            results = [await service.tool(name, arguments, token=who.token) for arguments in (there, nowhere)]
            messages = [failure_of(result, "error", "forbidden")["message"] for result in results]
            assert messages == details


async def test_nothing_of_a_space_is_in_any_answer_to_a_token_of_another() -> None:
    async with prepared() as service:
        await service.admin(
            "space_create",
            space_id=FOREIGN,
            description=f"{CANARY} description",
            rules=f"# Rules\n\n## {CANARY}.md\n{CANARY} rules\n",
            owner=f"{CANARY} owner",
        )
        await service.note(f"{CANARY} filed PostgreSQL", space_id=FOREIGN, category="decision")
        job = await service.admin("bank_consolidate", space_id=FOREIGN)
        await service.note(f"{CANARY} waiting PostgreSQL", space_id=FOREIGN)
        backup = await service.admin("backup_create", space_id=FOREIGN, description=f"{CANARY} backup")
        head = (await service.services.spaces.open(FOREIGN)).head
        there = {
            "backup_id": backup["backup_id"],
            "job_id": job["job_id"],
            "note_id": next(iter(head.note_refs)),
            "filename": f"{CANARY}.md",
        }
        assert f"{CANARY}.md" in head.files
        who = await service.who("writer here", "read,write", SPACE)
        answers = [text async for text in every_answer(service, who, there)]
        assert len(answers) > 100
        assert [text for text in answers if CANARY in text] == []
        # The control: to somebody who reaches both spaces, the same questions do tell.
        both = await service.who("writer", "read,write")
        told = [text async for text in every_answer(service, both, there)]
        assert len([text for text in told if CANARY in text]) > 10


async def every_answer(service: Service, who: Who, there: Mapping[str, str]) -> AsyncIterator[str]:
    """What each operation says of the own space, of the foreign one, and where it can, of all."""
    for name in NAMES:
        own = service.example(name)
        foreign = {
            argument: there.get(argument, value.replace(SPACE, FOREIGN) if isinstance(value, str) else value)
            for argument, value in own.items()
        }
        for arguments in (own, foreign, foreign | {"space_id": ""}):
            if name in TOOLS and ("{space_id}" not in TABLE[name].route or arguments.get("space_id")):
                yield (await service.tool(name, arguments, token=who.token)).body
        for arguments in (own, foreign):
            yield (await service.rest(name, arguments, token=who.token)).text


@pytest.mark.parametrize("permissions", ["read", "admin"])
async def test_lists_show_the_spaces_of_the_token_and_no_other(permissions: str) -> None:
    async with prepared() as service:
        await service.admin("space_create", **service.example("space_create") | {"space_id": FOREIGN})
        await service.admin("backup_create", space_id=FOREIGN)
        for spaces, expected in ((SPACE, {SPACE}), (FOREIGN, {FOREIGN}), ("", {SPACE, FOREIGN}), ("other", set())):
            who = await service.who("lister", permissions, spaces)
            for answer in (
                (await service.rest("space_list", token=who.token)).json(),
                (await service.tool("space_list", token=who.token)).structured or {},
            ):
                assert {item["space_id"] for item in answer["spaces"]} == expected
                assert answer["total"] == len(expected)
            for answer in (
                (await service.rest("backup_list", {}, token=who.token)).json(),
                (await service.tool("backup_list", {}, token=who.token)).structured or {},
            ):
                assert {item["space_id"] for item in answer["backups"]} == expected
                assert (answer["total"], answer["filtered_by_token"]) == (len(expected), bool(spaces))


@pytest.mark.parametrize("parameter", ["token", "access_token", "api_key", "authorization"])
async def test_a_token_in_the_address_is_none(parameter: str) -> None:
    async with serving() as service:
        who = await service.who("writer", "read,write")
        for method, path in (("GET", "/api/v1/spaces"), ("POST", "/mcp"), ("GET", "/sse")):
            answer = await service.http.request(method, path, params={parameter: str(who.token)})
            problem_of(answer, 401, "unauthenticated")


async def test_a_limited_token_reaches_the_space_it_creates() -> None:
    async with serving() as service:
        who = await service.who("writer elsewhere", "read,write", FOREIGN)
        assert (await service.rest("live_read", token=who.token)).status_code == 403
        made = await service.rest("space_create", token=who.token)
        assert (made.status_code, made.json()["token_auto_updated"]) == (201, True)
        assert (await service.rest("live_read", token=who.token)).status_code == 200


async def test_only_an_administrator_may_ask_the_model() -> None:
    async with serving() as service:
        reader, admin = await service.who("reader", "read"), await service.who("admin", "read,write,admin")
        health, deep = "/api/v1/system/health", {"deep": "true"}
        problem_of(await service.http.get(health, params=deep), 401, "unauthenticated")
        for who, status in ((reader, 403), (admin, 200)):
            answer = await service.http.get(health, params=deep, headers={"Authorization": f"Bearer {who.token}"})
            assert answer.status_code == status, answer.text
        assert (await service.http.get(health)).status_code == 200, "control: without the question anybody may"
