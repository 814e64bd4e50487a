"""The operations on the versions of a bank, over HTTP: versions named by ETag, and refusals."""

from typing import Final

import pytest

from tests.contract.walk import SPACE, prepared, problem_of

ROOT: Final = f"/api/v1/spaces/{SPACE}/bank"
NAMES: Final = (
    "bank_history",
    "bank_diff",
    "bank_note",
    "bank_write",
    "bank_delete",
    "bank_revert",
    "bank_repair",
    "bank_compact",
)


async def test_an_earlier_version_has_no_etag_and_the_current_one_has() -> None:
    async with prepared() as service:
        current = await service.rest("bank_read_all", {"space_id": SPACE})
        same = await service.rest("bank_read_all", {"space_id": SPACE, "as_of": "1"})
        past = await service.rest("bank_read_all", {"space_id": SPACE, "as_of": "0"})
        assert current.headers["etag"] == same.headers["etag"]
        assert (current.json(), past.json()["files"]) == (same.json(), [])
        assert "etag" not in past.headers
        known = {"If-None-Match": current.headers["etag"], "Authorization": past.request.headers["authorization"]}
        assert (await service.http.get(ROOT, headers=known)).status_code == 304
        assert (await service.http.get(ROOT, params={"as_of": "0"}, headers=known)).status_code == 200
        for name in ("bank_read_all", "bank_list"):
            problem_of(await service.rest(name, {"space_id": SPACE, "as_of": "2"}), 404, "version_not_found")
        arguments = {"space_id": SPACE, "filename": "decisions.md", "as_of": "0"}
        problem_of(await service.rest("bank_read", arguments), 404, "file_not_found")


@pytest.mark.parametrize("moment", ["yesterday", "-1", "1.5", "2026-13-01", "\u0661", "1" * 10])
async def test_a_moment_that_is_none_is_refused(moment: str) -> None:
    async with prepared() as service:
        problem_of(await service.rest("bank_list", {"space_id": SPACE, "as_of": moment}), 422, "invalid_input")
        problem_of(await service.rest("bank_diff", {"space_id": SPACE, "from": moment}), 422, "invalid_input")


async def test_a_write_against_a_version_that_has_moved_is_stale() -> None:
    async with prepared() as service:
        read = await service.rest("bank_read", {"space_id": SPACE, "filename": "decisions.md"})
        headers = {"If-Match": read.headers["etag"], "Authorization": read.request.headers["authorization"]}
        path = f"{ROOT}/files/decisions.md"
        first = await service.http.put(path, json={"content": "# Mine\n"}, headers=headers)
        assert (first.status_code, first.json()["action"]) == (200, "replaced")
        problem_of(await service.http.put(path, json={"content": "# Other\n"}, headers=headers), 412, "stale_version")
        problem_of(await service.http.delete(f"{path}?confirm=true", headers=headers), 412, "stale_version")
        stale = {"space_id": SPACE, "filename": "decisions.md", "content": "x", "if_version": 1}
        problem_of(await service.rest("bank_write", stale), 412, "stale_version")
        found = await service.rest("bank_read", {"space_id": SPACE, "filename": "decisions.md"})
        assert found.json()["content"] == "# Mine\n"


async def test_refusals_name_what_is_wrong() -> None:
    async with prepared() as service:
        write = {"space_id": SPACE, "filename": "a.txt", "content": "x"}
        problem_of(await service.rest("bank_write", write), 422, "invalid_input")
        problem_of(await service.rest("bank_write", {**write, "filename": "Decisions.md"}), 409, "file_name_taken")
        problem_of(await service.rest("bank_write", {**write, "content": "x" * 500_001}), 422, "invalid_input")
        delete = {"space_id": SPACE, "filename": "decisions.md"}
        problem_of(await service.rest("bank_delete", delete), 422, "confirmation_required")
        problem_of(
            await service.rest("bank_delete", {**delete, "filename": "b.md", "confirm": True}), 404, "file_not_found"
        )
        problem_of(await service.rest("bank_revert", {"space_id": SPACE}), 422, "invalid_input")
        problem_of(await service.rest("bank_revert", {"space_id": SPACE, "version": 7}), 404, "version_not_found")
        problem_of(await service.rest("bank_note", {"space_id": SPACE, "note_id": "x.md"}), 404, "filed_note_not_found")
        problem_of(await service.rest("bank_history", {"space_id": SPACE, "cursor": "?"}), 422, "invalid_cursor")


async def test_one_who_may_only_write_notes_may_look_and_not_touch() -> None:
    async with prepared() as service:
        writer = await service.who("writer", "read,write", SPACE)
        for name in NAMES:
            answer = await service.rest(name, token=writer.token)
            if service.operations[name].method == "GET":
                assert answer.status_code == 200
            else:
                problem_of(answer, 403, "admin_required")
