"""What each operation asks of the store, once the process is warm: a request costs time and money on a real one."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.contract.walk import NAMES, SPACE, Service, Who, prepared
from tests.fakes.rounds import Rounds

NOTES: Final = 100
HEAD: Final = "get head"
VIEW: Final = "get view"
REQUESTS: Final[Mapping[str, Mapping[str, int]]] = {
    "system_health": {},
    "system_about": {},
    "system_whoami": {"get token": 1, "list usage": 1},
    "space_list": {"list spaces": 1, HEAD: 1, "list notes": 1},
    "space_info": {HEAD: 1, "get rules": 1, "list notes": 1},
    "space_rules": {HEAD: 1, "get rules": 1},
    "space_summary": {HEAD: 1, "get rules": 1, "list notes": 1},
    "space_export": {HEAD: 2, "get rules": 1, "list notes": 1, "get note": 101},
    "live_read": {"list notes": 1, HEAD: 1},
    "live_search": {"list notes": 1, HEAD: 1},
    "bank_read": {HEAD: 1},
    "bank_read_all": {HEAD: 1},
    "bank_list": {HEAD: 1},
    "bank_history": {HEAD: 1, "list record": 1, "get record": 1},
    "bank_diff": {HEAD: 1},  # what it compares is in a record that never changes, and was read before
    "bank_note": {HEAD: 1, "get record": 1},
    "job_get": {"get job": 1},
    "job_events": {"get job": 1},
    "backup_list": {"list backups": 1, "get manifest": 1, HEAD: 1},
    "backup_download": {"get manifest": 1, "get copy": 9},
    "admin_list_tokens": {"list token": 1, "get token": 2, "list usage": 1},
}
"""What is only read, on a warm service."""
CHANGES: Final[Mapping[str, Mapping[str, int]]] = {
    "live_note": {HEAD: 1, "create note": 1},
    "job_cancel": {"get job": 1},  # it is over
    "bank_repair": {HEAD: 2, "get rules": 1},  # there is nothing to repair
    "bank_compact": {HEAD: 1, "get rules": 1},  # the file is short enough
    "admin_create_token": {HEAD: 1, "create token": 1},  # the space that it is for is looked for
    "admin_delete_token": {"get token": 2, "delete token": 1, "list token": 1},  # and those that are left are counted
    "admin_purge_tokens": {"list token": 1, "get token": 2},
    "admin_revoke_token": {"get token": 1, "replace token": 1},
    "admin_update_token": {"get token": 1, "replace token": 1},
    "admin_gc_notes": {HEAD: 1, "list notes": 1},
    "backup_delete": {
        "get manifest": 1, "replace manifest": 1, "list backups": 1, "delete_many copy": 1, "delete_many manifest": 1,
    },
    "space_delete": {
        HEAD: 4, "replace head": 2, "list space": 1, "delete_many record": 1, VIEW: 1, "delete_many view": 1,
    },
}  # fmt: skip
"""What is written. Where the view follows, what it takes is bounded below."""
COMMITS: Final[Mapping[str, Mapping[str, int]]] = {
    "space_create": {"create head": 1},
    "bank_consolidate": {"replace head": 1, "create record": 1, "delete_many note": 1, "get note": 102},
    "space_update": {"replace head": 1},
    "space_update_rules": {"replace head": 1, "replace rules": 1},
    "bank_write": {"replace head": 1, "create record": 1},
    "bank_delete": {"replace head": 1, "create record": 1},
    "bank_revert": {"replace head": 1, "create record": 1, "create note": 1},
    "backup_create": {"create manifest": 2, "replace manifest": 1, "put copy": 9, "copy copy": 0, "get note": 0},
    "backup_restore": {"replace head": 3},
}
"""The requests that decide, of operations that make others beside them: each file is copied, the view is written."""
ROUND_TRIPS: Final[Mapping[str, int]] = {
    "system_health": 0,
    "system_about": 0,
    "system_whoami": 2,
    "space_create": 1,
    "space_list": 3,
    "space_info": 2,
    "space_rules": 1,
    "space_summary": 2,
    "space_update": 2,
    "space_update_rules": 5,
    "space_delete": 9,
    "live_note": 1,
    "live_read": 2,
    "live_search": 2,
    "bank_read": 1,
    "bank_read_all": 1,
    "bank_list": 1,
    "bank_history": 3,
    "bank_diff": 1,
    "bank_note": 2,
    "bank_repair": 3,
    "bank_compact": 2,
    "job_get": 1,
    "job_cancel": 1,
    "backup_create": 12,  # with 101 notes in one pack; the frozen second was taken
    "backup_delete": 5,
    "admin_create_token": 2,  # the space first: a typo in its name is told
    "admin_delete_token": 4,
    "admin_purge_tokens": 2,
    "admin_revoke_token": 2,
    "admin_update_token": 2,
    "admin_gc_notes": 2,
}
"""Requests of a warm service that wait for each other, before the answer: at 20 ms each, what its caller waits."""


def kind_of(method: str, key: str) -> str:
    """A request as the table writes it: the method, and what the key is of."""
    for pattern, word in (
        (r"_backups/.+/_manifest\.json", "manifest"),
        (r"_backups/[^/]+/[^/]+/.+", "copy"),
        (r"_backups/.*", "backups"),
        (r"_system/tokens/.*", "token"),
        (r"_system/usage/.*", "usage"),
        (r"_system/.*", "system"),
        (r"[^/]+/_bank\.json", "head"),
        (r"[^/]+/_rules\.md", "rules"),
        (r"[^/]+/_rules/.*", "former rules"),
        (r"[^/]+/_jobs/.*", "job"),
        (r"[^/]+/_lease\.json", "lease"),
        (r"[^/]+/_history/.*", "record"),
        (r"[^/]+/live/.+", "note"),
        (r"[^/]+/live/", "notes"),
        (r"[^/]+/(bank/.*|_synthesis\.md|_meta\.json)", "view"),
        (r"[^/]+/", "space"),
        (r"", "nothing" if method == "delete_many" else "spaces"),
    ):
        if re.fullmatch(pattern, key):
            return f"{method} {word}"
    return f"{method} {key}"


async def warm(service: Service) -> Who:
    """A hundred notes, and a token that has been seen: everything has been asked once."""
    for number in range(NOTES):
        await service.note(f"Note {number} says what was seen at step {number}.")
    who = await service.who("somebody", "read,write,admin")
    for name in (
        "space_list",
        "space_info",
        "live_read",
        "live_search",
        "bank_read_all",
        "backup_list",
        "system_health",
    ):
        assert (await service.rest(name, token=who.token)).is_success
    await service.services.runner.idle()
    service.store.forget_calls()
    return who


def test_every_operation_is_counted() -> None:
    assert sorted([*REQUESTS, *CHANGES, *COMMITS]) == sorted(NAMES)


async def asked(service: Service, name: str) -> dict[str, Any]:
    """The arguments of a call, with what it needs made."""
    arguments = service.example(name)
    if name == "space_create":
        arguments["space_id"] = "project-gamma"
    if name == "backup_restore":
        await service.admin("space_delete", space_id=SPACE, confirm=True)
    return arguments


async def counted(service: Service, name: str, who: Who) -> Counter[str]:
    """The requests of one call, and of the work behind its answer."""
    arguments = await asked(service, name)
    service.store.forget_calls()
    answer = await service.rest(name, arguments, token=who.token)
    assert answer.is_success, answer.text
    await service.services.runner.idle()
    return Counter(kind_of(method, key) for method, key in service.store.calls)


async def test_reading_makes_these_requests_and_no_more() -> None:
    async with prepared() as service:
        who = await warm(service)
        found = {name: dict(await counted(service, name, who)) for name in REQUESTS}
    assert found == REQUESTS


@pytest.mark.parametrize("name", CHANGES)
async def test_writing_makes_these_requests_and_no_more(name: str) -> None:
    async with prepared() as service:
        found = await counted(service, name, await warm(service))
    assert dict(found) == CHANGES[name]


@pytest.mark.parametrize("name", COMMITS)
async def test_what_is_decided_is_decided_by_these_requests(name: str) -> None:
    async with prepared() as service:
        found = await counted(service, name, await warm(service))
        assert {kind: found[kind] for kind in COMMITS[name]} == COMMITS[name]
        # The rest follows the number of files, and never that of notes.
        beside = sum(times for kind, times in found.items() if kind not in {*COMMITS[name], "delete_many nothing"})
        assert beside <= 50, found


@pytest.mark.parametrize("name", ROUND_TRIPS)
async def test_an_answer_takes_these_round_trips(name: str) -> None:
    async with prepared() as service:
        who = await warm(service)
        arguments = await asked(service, name)
        rounds = Rounds(service.store)
        answer = await rounds.of(service.rest(name, arguments, token=who.token))
        assert answer.is_success, answer.text
        assert len(rounds.rounds) == ROUND_TRIPS[name], rounds.rounds


async def test_a_token_is_looked_up_again_after_five_seconds_and_not_before() -> None:
    async with prepared() as service:
        who = await warm(service)
        for seconds, expected in ((4, 0), (2, 1), (0, 0)):
            service.clock.advance(timedelta(seconds=seconds))
            service.store.forget_calls()
            await service.rest("bank_read", token=who.token)
            assert [kind_of(*call) for call in service.store.calls].count("get token") == expected


async def test_a_bad_token_of_the_wrong_shape_costs_nothing() -> None:
    async with prepared() as service:
        await warm(service)
        for token in ("wrong", "lm_live_" + "a" * 49, "x" * 256):
            assert (await service.rest("bank_read", token=token)).status_code == 401
        assert service.store.calls == []


@pytest.mark.parametrize("limit", [1, 500])
async def test_reading_again_costs_the_same_however_many_notes_there_are(limit: int) -> None:
    async with prepared() as service:
        who = await warm(service)
        arguments = {"space_id": SPACE, "limit": limit}
        assert (await service.rest("live_read", arguments, token=who.token)).json()["matched"] == NOTES + 1
        service.store.forget_calls()
        await service.rest("live_read", arguments, token=who.token)
        assert Counter(kind_of(*call) for call in service.store.calls) == {"list notes": 1, HEAD: 1}


async def test_a_tool_makes_the_requests_of_its_operation() -> None:
    async with prepared() as service:
        who = await warm(service)
        await service.tool("live_note", token=who.token)
        assert Counter(kind_of(*call) for call in service.store.calls) == CHANGES["live_note"]
