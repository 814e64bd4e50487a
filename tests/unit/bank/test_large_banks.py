"""A commit of a large bank lets others go on: what takes long is done in a thread."""

import threading
from collections.abc import ItemsView
from dataclasses import replace

import pytest

from app.bank.models import CommitKind
from app.bank.store import BankStore, Draft
from app.bootstrap import Services
from app.core.ids import new_nonce
from app.spaces.models import BankFile, Head, NoteRef
from app.spaces.store import SpaceStore
from tests.builders import a_space
from tests.fakes.faulty_store import FaultyStore

LARGE = "x" * 300_000
DRAFT = Draft(
    kind=CommitKind.MANUAL,
    actor="writer",
    job_id="",
    batch=0,
    rules="",
    files={},
    provenance={},
    edits=(),
    synthesis=None,
)


class Files(dict[str, str]):
    """Files that tell which threads have read them."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__(files)
        self.threads: set[int] = set()

    def items(self) -> ItemsView[str, str]:  # type: ignore[override]  # a plain dict has a view of its own
        self.threads.add(threading.get_ident())
        return super().items()


class Watched(Head):
    """A head that tells which threads have written it."""

    def model_dump_json(self, **options: object) -> str:
        WRITERS.add(threading.get_ident())
        return super().model_dump_json(**options)  # type: ignore[arg-type]


WRITERS: set[int] = set()


@pytest.mark.parametrize("content", ["short", LARGE])
async def test_the_next_version_of_a_large_bank_is_made_in_a_thread(
    services: Services, store: FaultyStore, content: str
) -> None:
    await a_space(services)
    bank, files = BankStore(store, services.spaces), Files({"a.md": content})
    opened = await bank.commit(await services.spaces.open("alpha"), replace(DRAFT, files=files))
    assert opened.head.files["a.md"].content == content
    assert (threading.get_ident() in files.threads) is (content != LARGE)
    # What lies there counts as well as what is new.
    small = Files({"b.md": "short"})
    opened = await bank.commit(await services.spaces.open("alpha"), replace(DRAFT, files=small))
    assert sorted(opened.head.files) == ["a.md", "b.md"]
    assert (threading.get_ident() in small.threads) is (content != LARGE)


@pytest.mark.parametrize(("size", "notes", "in_thread"), [(1_000, 10, False), (300_000, 0, True), (1_000, 2_000, True)])
async def test_a_large_head_is_written_in_a_thread(
    services: Services,
    store: FaultyStore,
    size: int,
    notes: int,
    in_thread: bool,  # noqa: FBT001 - a case
) -> None:
    await a_space(services)
    await services.runner.idle()
    spaces = SpaceStore(store)
    opened = await spaces.find("alpha")
    assert opened is not None
    file = BankFile(content="x" * size, sha256="0", bytes=size, modified_at=opened.head.committed_at, history="h")
    ref = NoteRef(history="h", ts=opened.head.committed_at, agent="a", category="todo")
    changes = {
        "nonce": new_nonce(),
        "files": {"a.md": file},
        "note_refs": {f"n{number}": ref for number in range(notes)},
    }
    WRITERS.clear()
    await spaces.replace(
        opened, Watched.model_validate(opened.head.model_dump(by_alias=True)).model_copy(update=changes)
    )
    assert len(WRITERS) == 1
    assert (threading.get_ident() not in WRITERS) is in_thread
    written = await SpaceStore(store).find("alpha")
    assert written is not None
    assert written.head.files["a.md"].bytes == size
