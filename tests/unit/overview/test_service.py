"""Spaces seen whole."""

import base64
import io
import tarfile

import pytest

from app.bank.models import Consolidate
from app.bootstrap import Services
from app.spaces.errors import SpaceNotFound
from tests.builders import ADMIN, RULES, a_caller, a_note, a_space, silent
from tests.fakes.faulty_store import FaultyStore


async def test_a_list_shows_what_the_token_names(services: Services) -> None:
    for space_id in ("alpha", "beta", "gamma"):
        await a_space(services, space_id)
    await a_note(services)
    await services.spaces.delete("gamma", confirm=True)

    every = await services.overview.list(caller=ADMIN, limit=500, cursor="")
    own = await services.overview.list(caller=a_caller(spaces=("beta", "gamma")), limit=500, cursor="")

    assert [(one.space_id, one.live_notes_count) for one in every.spaces] == [("alpha", 1), ("beta", 0)]
    assert [one.space_id for one in own.spaces] == ["beta"]


async def test_a_list_is_read_page_by_page(services: Services) -> None:
    for number in range(5):
        await a_space(services, f"space-{number}")
    seen, cursor = [], ""

    while True:
        page = await services.overview.list(caller=ADMIN, limit=2, cursor=cursor)
        seen += [one.space_id for one in page.spaces]
        cursor = page.next_cursor
        assert page.total == 5
        if not page.has_more:
            break

    assert seen == [f"space-{number}" for number in range(5)]


async def test_numbers_follow_the_notes(services: Services) -> None:
    await a_space(services)
    empty = await services.overview.info("alpha")
    await a_note(services, "one 1")
    one = await services.overview.info("alpha")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    filed = await services.overview.info("alpha")

    assert (empty.live.notes_count, empty.live.oldest_note, empty.synthesis_exists) == (0, "", False)
    assert (one.live.notes_count, one.live.oldest_note, one.rules_size) == (
        1,
        "2026-01-31T18:05:00+00:00",
        len(RULES.encode()),
    )
    assert (filed.live.notes_count, filed.total_notes_processed, filed.consolidation_count) == (0, 1, 1)
    assert filed.bank.files_count == len(filed.bank.files) > 0
    assert filed.synthesis_exists


async def test_a_summary_has_all_that_a_new_agent_needs(services: Services) -> None:
    await a_space(services)
    await a_note(services, "in the bank 1")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await a_note(services, "still live 2")

    summary = await services.overview.summary("alpha")

    assert summary.rules == RULES
    assert any("in the bank 1" in file.content for file in summary.bank_files)
    assert (summary.bank_file_count, summary.live.notes_count) == (len(summary.bank_files), 1)
    assert summary.synthesis


async def test_an_export_is_an_archive_of_plain_files(services: Services) -> None:
    await a_space(services)
    await a_note(services, "in the bank 1")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    written = await a_note(services, "still live 2")

    export = await services.overview.export("alpha")

    archive = base64.b64decode(export.archive_base64)
    assert archive == b"".join([piece async for piece in await services.overview.archive("alpha")])
    assert archive == base64.b64decode((await services.overview.export("alpha")).archive_base64)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
        live = tar.extractfile(f"live/{written.filename}")
        assert live is not None
        assert b"still live 2" in live.read()
    assert len(names) == len(set(names)) == export.files_count
    assert {"_meta.json", "_rules.md", "_synthesis.md", "bank/.keep", "live/.keep"} <= set(names)
    assert not any(name.startswith(("_history", "_bank")) for name in names)


async def test_an_unknown_space_is_said_to_be(services: Services) -> None:
    for call in (services.overview.info, services.overview.summary, services.overview.export):
        with pytest.raises(SpaceNotFound):
            await call("nowhere")


async def test_a_space_that_cannot_be_read_is_named(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await a_space(services, "beta")
    await services.runner.idle()
    await store.inner.put("alpha/_bank.json", b'{"broken')

    listed = await services.overview.list(caller=ADMIN, limit=100, cursor="")

    assert ([space.space_id for space in listed.spaces], listed.damaged) == (["beta"], ["alpha"])
