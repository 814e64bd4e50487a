"""Two server processes on one data folder are one service."""

from tests.e2e.auditor import view_faults
from tests.e2e.conftest import Servers
from tests.e2e.together import (
    check_that_a_revoked_token_is_soon_refused,
    check_that_each_note_is_filed_once,
    check_the_stored_files,
)

SPACE = "shared"


async def test_a_note_of_one_is_read_and_filed_by_the_other_and_each_note_once(servers: Servers) -> None:
    one, two = servers.make().start(), servers.make().start()
    kept = await check_that_each_note_is_filed_once(one, two, SPACE, notes=72)
    assert (one.stop(), two.stop()) == (0, 0)
    check_the_stored_files(one.objects, SPACE, kept)
    assert view_faults(one.objects, SPACE) == []


def test_a_token_revoked_on_one_is_soon_refused_by_the_other(servers: Servers) -> None:
    check_that_a_revoked_token_is_soon_refused(servers.make().start(), servers.make().start())
