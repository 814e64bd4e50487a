"""Spaces described anew, and given other rules."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import ValidationError

from app.bank.models import Consolidate
from app.bank.store import sha256
from app.bootstrap import Services, build_services
from app.core.errors import AdminRequired, StoreUnavailable
from app.core.settings import Settings
from app.spaces.errors import RulesVersionNotFound, SpaceContended, SpaceNotFound
from app.spaces.models import MAX_RULES, SpaceRulesUpdate, SpaceUpdate
from app.spaces.rule_templates import text_of
from app.storage.store import PreconditionFailed, Stored
from tests.builders import ADMIN, RULES, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

OTHER = "# Other\n\n## notes.md\nEverything.\n\n- all: see below\n"
LATER = "## notes.md\nEverything.\n"
KEEPER = a_caller("keeper", "admin")


async def give(services: Services, rules: str = OTHER) -> str:
    """Give the space other rules, and tell the digest of those before."""
    told = await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules=rules), caller=KEEPER)
    return told.previous_sha256


async def stored(store: FaultyStore, key: str) -> str:
    found = await store.inner.get(key)
    assert isinstance(found, Stored), key
    return found.body.decode()


async def test_what_is_said_of_a_space_changes_and_the_rest_stays(services: Services) -> None:
    await a_space(services)

    told = await services.spaces.update("alpha", SpaceUpdate(description="Second part"), caller=ADMIN)

    assert (told.status, told.updated_fields, told.description, told.owner) == (
        "ok",
        ["description"],
        "Second part",
        "team",
    )
    info = await services.overview.info("alpha")
    assert (info.description, info.owner) == ("Second part", "team")


async def test_the_view_of_a_space_follows_its_description(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.spaces.update("alpha", SpaceUpdate(owner="team-web"), caller=ADMIN)
    await services.runner.idle()
    assert '"owner": "team-web"' in await stored(store, "alpha/_meta.json")


async def test_a_field_is_emptied_only_when_that_is_asked(services: Services) -> None:
    await a_space(services)

    same = await services.spaces.update("alpha", SpaceUpdate(), caller=ADMIN)
    assert (same.updated_fields, same.message) == ([], "Nothing was to be changed.")
    cleared = await services.spaces.update("alpha", SpaceUpdate(clear="owner", description="B"), caller=ADMIN)
    assert (cleared.updated_fields, cleared.description, cleared.owner) == (["description", "owner"], "B", "")
    with pytest.raises(ValidationError):
        SpaceUpdate(owner="x", clear="description,owner")


async def test_when_a_space_is_consolidated_by_itself_is_kept(services: Services) -> None:
    await a_space(services)
    wanted = SpaceUpdate.model_validate({"automatic": {"enabled": True, "notes": 5}})

    told = await services.spaces.update("alpha", wanted, caller=ADMIN)

    assert told.updated_fields == ["automatic"]
    kept = (await services.spaces.open("alpha")).head.automatic
    assert kept == told.automatic
    assert kept is not None
    assert (kept.enabled, kept.notes, kept.quiet_minutes) == (True, 5, 5)
    assert (await services.spaces.update("alpha", wanted, caller=ADMIN)).updated_fields == []
    assert (await services.spaces.update("alpha", SpaceUpdate(owner="x"), caller=ADMIN)).automatic == kept


@pytest.mark.parametrize("automatic", [{"enable": True}, {"notes": 0}, True, "daily"])
def test_a_mistaken_wish_is_refused(automatic: object) -> None:
    with pytest.raises(ValidationError):
        SpaceUpdate.model_validate({"automatic": automatic})


async def test_an_unknown_space_is_not_changed(services: Services, store: FaultyStore) -> None:
    with pytest.raises(SpaceNotFound):
        await services.spaces.update("alpha", SpaceUpdate(owner="x"), caller=ADMIN)
    with pytest.raises(SpaceNotFound):
        await give(services)
    assert [listed.key async for page in store.inner.list("alpha/") for listed in page.objects] == []


async def test_of_many_changes_none_is_lost(services: Services) -> None:
    await a_space(services)
    changes = [SpaceUpdate(description="new"), SpaceUpdate(owner="new")]
    await asyncio.gather(*(services.spaces.update("alpha", change, caller=ADMIN) for change in changes))
    info = await services.overview.info("alpha")
    assert (info.description, info.owner) == ("new", "new")


async def test_somebody_who_is_always_faster_is_an_error_and_not_a_success(
    services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    await services.runner.idle()
    before = await stored(store, "alpha/_bank.json")

    async def overtake(method: str, key: str) -> None:
        if (method, key) == ("replace", "alpha/_bank.json"):
            found = await store.inner.get(key)
            assert isinstance(found, Stored)
            await store.inner.put(key, found.body + b" ")

    store.before = overtake
    with pytest.raises(SpaceContended):
        await services.spaces.update("alpha", SpaceUpdate(owner="x"), caller=ADMIN)
    with pytest.raises(SpaceContended):
        await give(services)
    store.before = None
    assert (await stored(store, "alpha/_bank.json")).rstrip() == before


async def test_other_rules_hold_at_once_and_are_seen_by_people(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()

    told = await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules=OTHER), caller=KEEPER)

    assert (told.rules_size, told.rules_sha256) == (len(OTHER.encode()), sha256(OTHER))
    assert told.warnings, "no line says where notes go"
    assert (await services.spaces.rules("alpha")).rules == OTHER
    await services.runner.idle()
    assert await stored(store, "alpha/_rules.md") == OTHER


async def test_former_rules_are_kept_and_named(services: Services, store: FaultyStore, clock: FrozenClock) -> None:
    await a_space(services)
    former = await give(services)
    await give(services, "template:journal")

    told = await services.spaces.rules("alpha")
    assert told.rules == text_of("journal")
    assert [(one.by, one.sha256, one.previous) for one in told.changes] == [
        ("keeper", sha256(text_of("journal")), sha256(OTHER)),
        ("keeper", sha256(OTHER), sha256(RULES)),
    ]
    assert former == sha256(RULES)
    assert (await services.spaces.rules("alpha", sha256=former)).rules == RULES
    assert await stored(store, f"alpha/_rules/{former}.md") == RULES
    with pytest.raises(RulesVersionNotFound):
        await services.spaces.rules("alpha", sha256="0" * 64)
    assert clock.now().isoformat()[:19] == told.changes[0].at[:19]


async def test_every_commit_names_rules_that_can_be_read(services: Services) -> None:
    await a_space(services)
    for rules in (OTHER, RULES, OTHER):
        await give(services, rules)
        await a_note(services, f"under rules of {len(rules)} bytes")
        await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    for digest in (sha256(RULES), sha256(OTHER)):
        assert (await services.spaces.rules("alpha", sha256=digest)).rules_sha256 == digest


async def test_the_same_rules_change_nothing(services: Services) -> None:
    await a_space(services)
    before = (await services.spaces.open("alpha")).etag
    told = await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules=RULES), caller=KEEPER)
    assert told.message == "The rules are as they were."
    assert (await services.spaces.open("alpha")).etag == before


@pytest.mark.parametrize("rules", ["", " \n", "x" * (MAX_RULES + 1), "template:nothing"])
def test_rules_that_are_none_are_refused(rules: str) -> None:
    with pytest.raises(ValidationError):
        SpaceRulesUpdate(rules=rules)


async def test_notes_are_filed_by_the_rules_of_the_moment(services: Services) -> None:
    await a_space(services)
    await a_note(services)
    await give(services, LATER)
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert list((await services.spaces.open("alpha")).head.files) == ["notes.md"]


async def test_rules_that_change_while_notes_are_filed_hold_for_them(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await a_note(services)
    await services.runner.idle()

    async def change(method: str, key: str) -> None:
        if (method, key) == ("replace", "alpha/_bank.json"):
            store.before = None
            await give(services, LATER)

    store.before = change
    done = await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)

    assert store.before is None, "the rules were changed in the middle"
    assert (done.status, done.notes_processed) == ("ok", 1)
    assert list((await services.spaces.open("alpha")).head.files) == ["notes.md"]


async def test_a_change_of_the_rules_moves_the_head_and_keeps_its_version(services: Services) -> None:
    await a_space(services)
    before = await services.spaces.open("alpha")
    await give(services)
    after = await services.spaces.open("alpha")
    assert after.head.nonce != before.head.nonce
    assert after.etag != before.etag
    assert (after.head.version, after.head.history) == (before.head.version, before.head.history)


async def test_a_late_writer_of_former_rules_does_not_bring_them_back(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    former = (await services.spaces.open("alpha")).head
    await services.runner.idle()
    await give(services)
    await services.runner.idle()

    with pytest.raises(PreconditionFailed):
        await services.spaces.ensure_rules(former)
    assert await stored(store, "alpha/_rules.md") == OTHER
    await services.spaces.ensure_rules((await services.spaces.open("alpha")).head)


async def test_what_somebody_wrote_over_the_rules_is_kept_aside(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()
    by_hand = "# By hand\n"
    await store.inner.put("alpha/_rules.md", by_hand.encode())
    await give(services)
    await services.runner.idle()
    assert await stored(store, "alpha/_rules.md") == OTHER
    assert await stored(store, f"alpha/_rules/{sha256(by_hand)}.md") == by_hand


async def test_rules_of_a_deleted_space_do_not_come_back_under_its_name(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await store.inner.put("alpha/_rules.md", b"# Of another time\n")
    clock.advance(timedelta(days=1))
    await a_space(services)
    await services.runner.idle()
    assert await stored(store, "alpha/_rules.md") == RULES
    assert [listed.key async for page in store.inner.list("alpha/_rules/") for listed in page.objects] == []


@pytest.mark.parametrize("nth", range(1, 6))
async def test_an_outage_leaves_the_former_rules_or_the_new_ones(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings, nth: int
) -> None:
    await a_space(services)
    await services.runner.idle()
    store.fail(("get", "create", "replace", "put"), nth=nth, lasting=True)
    failed = False
    try:
        await give(services)
    except StoreUnavailable:
        failed = True
    await services.runner.idle()
    store.heal()

    restarted = build_services(store, clock, settings)
    assert (await restarted.spaces.rules("alpha")).rules in ({RULES, OTHER} if failed else {OTHER})
    await give(restarted, LATER)
    await restarted.runner.idle()
    assert await stored(store, "alpha/_rules.md") == LATER


async def test_a_deleted_space_takes_its_former_rules_with_it(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await give(services)
    await services.runner.idle()
    await services.spaces.delete("alpha", confirm=True)
    assert [listed.key async for page in store.inner.list("alpha/") for listed in page.objects] == ["alpha/_bank.json"]


async def test_only_an_admin_lets_a_space_be_consolidated_by_itself(services: Services) -> None:
    await a_space(services)
    wanted = SpaceUpdate.model_validate({"automatic": {"enabled": True, "notes": 1}})
    with pytest.raises(AdminRequired):
        await services.spaces.update("alpha", wanted, caller=a_caller())
    assert (await services.spaces.open("alpha")).head.automatic is None
    await services.spaces.update("alpha", SpaceUpdate(owner="team-web"), caller=a_caller())
