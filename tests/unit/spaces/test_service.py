"""Spaces, created and deleted."""

import asyncio
from datetime import timedelta

import pytest

from app.bootstrap import Services, build_services
from app.core.errors import ConfirmationRequired, StoreUnavailable
from app.core.settings import Settings
from app.spaces.errors import SpaceBusy, SpaceExists, SpaceNotFound
from app.spaces.models import SpaceCreate
from app.tokens.models import TokenCreate
from tests.builders import ADMIN, RULES, a_caller, a_note, a_space
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore


async def keys(store: FaultyStore, prefix: str = "") -> list[str]:
    return [listed.key async for page in store.inner.list(prefix) for listed in page.objects]


async def test_a_space_is_there_with_its_rules_at_once(services: Services) -> None:
    created = await a_space(services)

    assert (created.status, created.rules_size) == ("created", len(RULES.encode()))
    assert (await services.spaces.rules("alpha")).rules == RULES


async def test_the_view_for_people_follows(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()

    assert await keys(store, "alpha/") == [
        "alpha/_bank.json",
        "alpha/_meta.json",
        "alpha/_rules.md",
        "alpha/bank/.keep",
        "alpha/live/.keep",
    ]
    assert (await services.spaces.rules("alpha")).rules == RULES


async def test_of_many_creators_one_wins(services: Services) -> None:
    results = await asyncio.gather(*(a_space(services) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(result, SpaceExists) for result in results) == 19


async def test_deleting_needs_confirmation_even_for_a_space_that_is_not_there(services: Services) -> None:
    with pytest.raises(ConfirmationRequired):
        await services.spaces.delete("alpha", confirm=False)
    with pytest.raises(SpaceNotFound):
        await services.spaces.delete("alpha", confirm=True)


async def test_a_deleted_space_is_gone_and_its_name_is_free(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await a_note(services)
    await services.runner.idle()

    deleted = await services.spaces.delete("alpha", confirm=True)

    assert (deleted.files_deleted, deleted.files_remaining) == (5, 0)
    assert await keys(store, "alpha/") == ["alpha/_bank.json"]
    with pytest.raises(SpaceNotFound):
        await services.spaces.rules("alpha")
    await a_space(services, rules="# New rules")
    assert (await services.spaces.rules("alpha")).rules == "# New rules"


async def test_only_the_space_itself_is_deleted(services: Services) -> None:
    await a_space(services, "alpha")
    await a_space(services, "alpha2")
    await a_note(services, space_id="alpha2")

    await services.spaces.delete("alpha", confirm=True)

    assert (await services.overview.info("alpha2")).live.notes_count == 1


@pytest.mark.parametrize("nth", range(1, 12))
async def test_a_deletion_cut_short_is_finished_by_the_sweep(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings, nth: int
) -> None:
    await a_space(services)
    await a_note(services)
    await services.runner.idle()
    fault = store.fail(("get", "list", "create", "replace", "put", "delete", "delete_many"), nth=nth, lasting=True)

    try:
        await services.spaces.delete("alpha", confirm=True)
    except StoreUnavailable:
        assert fault.met
    store.heal()
    clock.advance(timedelta(minutes=1))
    restarted = build_services(store, clock, settings)
    begun = await restarted.spaces.find("alpha") is None
    await restarted.spaces.sweep_deleted()

    # Before the first write nothing has happened; after it, nothing is left.
    assert len(await keys(store, "alpha/")) == (1 if begun else 6)


async def test_what_a_sweep_could_not_remove_never_shows_in_a_new_space(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await a_space(services)
    await a_note(services)
    store.fail("delete_many", lasting=True)
    with pytest.raises(StoreUnavailable):
        await services.spaces.delete("alpha", confirm=True)

    with pytest.raises(SpaceBusy):
        await a_space(services)
    clock.advance(timedelta(minutes=1))
    with pytest.raises(StoreUnavailable):
        await a_space(services)
    store.heal()
    clock.advance(timedelta(minutes=1))
    await a_space(services)

    assert (await services.overview.info("alpha")).live.notes_count == 0


async def test_a_limited_token_reaches_the_space_it_creates(services: Services) -> None:

    made = await services.tokens.create(
        TokenCreate(name="cline", permissions="read,write", space_ids="other"), caller=ADMIN
    )
    caller = await services.tokens.authenticate(made.token)
    assert caller is not None

    created = await services.spaces.create(SpaceCreate(space_id="mine", description="", rules=""), caller=caller)

    again = await services.tokens.authenticate(made.token)
    assert created.token_auto_updated
    assert again is not None
    assert again.sees("mine")
    assert again.sees("other")
    assert not again.sees("elsewhere")


async def test_a_refused_creator_gains_nothing(services: Services) -> None:
    await a_space(services)

    with pytest.raises(SpaceExists):
        await services.spaces.create(
            SpaceCreate(space_id="alpha", description="", rules=""), caller=a_caller("b", spaces=("other",))
        )
