"""A view that somebody began to write and did not finish is gone over, and is nobody's edit."""

from app.bank.models import Consolidate
from app.bootstrap import Services, build_services
from app.core.settings import Settings
from app.storage.store import Stored
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore


async def consolidated(services: Services) -> None:
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)


async def kept_aside(store: FaultyStore) -> list[str]:
    return [listed.key async for page in store.inner.list("alpha/_outside/") for listed in page.objects]


async def half_written(services: Services, store: FaultyStore) -> None:
    """Two versions, of which the view shows the first in its counters and the second in its files."""
    await a_space(services)
    await a_note(services, "We chose PostgreSQL 15.")
    await consolidated(services)
    await services.runner.idle()
    before = await store.inner.get("alpha/_meta.json")
    assert isinstance(before, Stored)
    await a_note(services, "We chose Redis 7 for the cache.")
    await consolidated(services)
    await services.runner.idle()
    await store.inner.put("alpha/_meta.json", before.body)


async def test_files_of_a_version_in_between_are_no_edit(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await half_written(services, store)
    another = build_services(store, clock, settings)
    await a_note(another, "We chose nginx 1.27.")
    await consolidated(another)
    await another.runner.idle()
    assert await kept_aside(store) == []


async def test_what_somebody_wrote_then_is_kept_all_the_same(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await half_written(services, store)
    await store.inner.put("alpha/bank/decisions.md", b"# Mine\n")
    another = build_services(store, clock, settings)
    await a_note(another, "We chose nginx 1.27.")
    await consolidated(another)
    await another.runner.idle()
    (kept,) = await kept_aside(store)
    assert kept.endswith("bank/decisions.md")
