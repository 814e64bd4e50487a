"""Spaces and tokens looked after, over HTTP: what stands beside the 26."""

from typing import Any, Final

import jsonschema
import pytest

from app.catalogue import CATALOGUE
from app.core.operation import Operation
from tests.contract.walk import SPACE, Service, Who, document, prepared, problem_of, resolved, success_schema

NAMES: Final = ("system_whoami", "space_update", "space_update_rules", "admin_delete_token", "admin_purge_tokens")
DECLARED: Final[dict[str, Operation]] = {
    one.name: one for noun in CATALOGUE for one in noun.declared if one.name in NAMES
}
ROUTES: Final = {
    "system_whoami": ("GET", "/system/whoami"),
    "space_update": ("PATCH", "/spaces/{space_id}"),
    "space_update_rules": ("PUT", "/spaces/{space_id}/rules"),
    "admin_delete_token": ("DELETE", "/admin/tokens/{token_hash}"),
    "admin_purge_tokens": ("POST", "/admin/tokens/purge"),
}
EACH: Final = pytest.mark.parametrize("name", NAMES)


async def called(service: Service, name: str, who: Who | None = None, **changes: Any) -> Any:
    """The answer to the example, with some arguments changed."""
    given = {key: service.known.get(key, value) for key, value in DECLARED[name].example.items()} | changes
    method, path = ROUTES[name]
    for key in ("space_id", "token_hash"):
        if "{" + key + "}" in path:
            path = path.replace("{" + key + "}", str(given.pop(key)))
    query = {key: str(given.pop(key)).lower() for key in ("confirm",) if key in given}
    token = who.token if who is not None else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = given if method in {"POST", "PUT", "PATCH"} else None
    return await service.http.request(method, f"/api/v1{path}", params=query, json=body, headers=headers)


@EACH
async def test_its_example_succeeds_for_an_admin(name: str) -> None:
    operation = DECLARED[name]
    assert (operation.method, operation.path.removeprefix("/api/v1")) == ROUTES[name]
    assert not operation.core
    async with prepared() as service:
        answer = await called(service, name, await service.who("boss", "admin"))
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), success_schema(operation), jsonschema.Draft202012Validator)
    assert answer.json().keys() <= resolved(success_schema(operation))["properties"].keys()


@pytest.mark.parametrize(
    ("label", "permissions", "spaces", "refused"),
    [
        ("reader", "read", "", {"space_update", "space_update_rules", "admin_delete_token", "admin_purge_tokens"}),
        ("writer here", "write", SPACE, {"space_update_rules", "admin_delete_token", "admin_purge_tokens"}),
        (
            "writer elsewhere",
            "read,write",
            "project-beta",
            {"space_update", "space_update_rules", "admin_delete_token", "admin_purge_tokens"},
        ),
    ],
)
async def test_each_asks_for_its_permission_and_a_refusal_changes_nothing(
    label: str, permissions: str, spaces: str, refused: set[str]
) -> None:
    async with prepared() as service:
        who = await service.who(label, permissions, spaces)
        before = await service.contents()
        for name in sorted(refused):
            assert (await called(service, name, who)).status_code == 403, name
        assert await service.contents() == before
        for name in NAMES:
            if name not in refused:
                assert (await called(service, name, who)).status_code == 200, name


@EACH
async def test_nobody_gets_nothing(name: str) -> None:
    async with prepared() as service:
        problem_of(await called(service, name), 401, "unauthenticated")


async def test_a_token_of_any_kind_is_told_who_it_is() -> None:
    async with prepared() as service:
        who = await service.who("writer only", "write", SPACE, expires_in_days=3)
        told = (await called(service, "system_whoami", who)).json()
    assert (told["name"], told["permissions"], told["space_ids"]) == ("writer only", ["write"], [SPACE])
    assert told["expires_at"]
    assert str(who.token) not in str(told)
    assert document()["paths"]["/api/v1/system/whoami"]["get"]["x-permission"] == "any"


async def test_a_template_is_stored_as_its_text_and_an_unknown_one_is_refused() -> None:
    async with prepared() as service:
        boss = await service.who("boss", "admin")
        told = (await called(service, "space_update_rules", boss, rules="template:support")).json()
        assert told["warnings"] == []
        rules = (await service.rest("space_rules")).json()
        assert rules["rules"].startswith("# Memory of a support team\n")
        assert rules["rules_sha256"] == told["rules_sha256"]
        problem = problem_of(
            await called(service, "space_update_rules", boss, rules="template:suport"), 422, "invalid_input"
        )
        assert "template" in str(problem["errors"])
        assert "support-fr" in str(problem["errors"])


async def test_a_token_for_a_space_that_is_not_there_is_made_and_doubted() -> None:
    async with prepared() as service:
        made = await service.admin("admin_create_token", name="typo", permissions="read", space_ids=f"{SPACE},alhpa")
        sure = await service.admin("admin_create_token", name="sure", permissions="read", space_ids=SPACE)
    assert made["token"]
    assert made["warnings"] == ["There is no space 'alhpa' yet: the token opens it once it is created."]
    assert sure["warnings"] == []


async def test_a_deletion_wants_its_confirmation() -> None:
    async with prepared() as service:
        boss = await service.who("boss", "admin")
        problem_of(await called(service, "admin_delete_token", boss, confirm=False), 422, "confirmation_required")
        gone = (await called(service, "admin_delete_token", boss)).json()
        assert gone["status"] == "deleted"
        problem_of(await called(service, "admin_delete_token", boss), 404, "token_not_found")


async def test_a_purge_takes_only_what_is_useless() -> None:
    async with prepared() as service:
        boss = await service.who("boss", "admin")
        await service.rest("admin_revoke_token")
        dry = (await called(service, "admin_purge_tokens", boss)).json()
        done = (await called(service, "admin_purge_tokens", boss, dry_run=False)).json()
        left = (await service.rest("admin_list_tokens")).json()
    assert (dry["deleted"], [token["name"] for token in dry["tokens"]]) == (0, ["somebody"])
    assert (done["deleted"], done["remaining"], [token["name"] for token in left["tokens"]]) == (1, 1, ["boss"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("space_update", {"description": "x" * 501}),
        ("space_update", {"clear": "everything"}),
        ("space_update", {"clear": "owner"}),
        ("space_update", {"automatic": {"notes": -1}}),
        ("space_update", {"automatic": {"every": 5}}),
        ("space_update_rules", {"rules": "  "}),
        ("space_update_rules", {"rules": "x" * 50_001}),
        ("admin_purge_tokens", {"dry_run": "perhaps"}),
    ],
)
async def test_bad_input_is_said_to_be_bad(name: str, changes: dict[str, Any]) -> None:
    async with prepared() as service:
        answer = await called(service, name, await service.who("boss", "admin"), **changes)
    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid_input", "unknown_field"}
