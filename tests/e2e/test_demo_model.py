"""The demo with a model that fails in every way: each note is accounted for all the same."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from app.cli.demo import history, tell
from app.cli.demo_model import WORST_AUTHORS, WORST_MOODS, ScriptedModel, Share, UnknownName
from app.cli.demo_report import Report
from app.cli.demo_story import Story
from app.cli.fake_authors import AUTHORS
from app.cli.fake_moods import Mood
from tests.e2e.auditor import commits, faults, head_of, placement_faults, view_faults
from tests.e2e.conftest import live_memory

NOTES = 60
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worst")


@pytest.fixture(scope="module")
def told(kept: Path) -> Story:
    """A whole demo with the worst model there is."""
    return asyncio.run(tell(kept, history(NOTES), Report(), model=ScriptedModel.named("worst")))


def test_with_the_worst_model_every_claim_of_the_demo_holds(told: Story) -> None:
    assert [check.claim for check in told.checks if not check.holds] == []
    assert told.is_true
    assert told.ledger is not None
    assert (told.ledger.lost(told.written), told.ledger.doubled()) == ([], [])


def test_each_note_is_in_one_commit_and_cited_by_the_bank(told: Story, kept: Path) -> None:
    objects = kept / "objects"
    assert sorted(told.written.values()) == sorted(note.content.strip() for note in history(NOTES))
    assert faults(objects, "uvicorn", told.written) == []
    filed = Counter(
        note["id"] for commit in commits(objects, head_of(objects, "uvicorn")) for note in commit["consumed"]
    )
    assert filed == Counter(told.written.keys())
    assert view_faults(objects, "uvicorn") == []


def test_the_model_did_a_part_and_failed_at_another(told: Story) -> None:
    share = Share.of(told)
    assert share.notes > 0, "or the model was never of any use"
    assert share.extracted > 0, "or its moods were not the worst"
    assert share.notes + share.extracted == NOTES
    assert share.calls > share.repairs
    assert share.tokens > 0
    assert share.cost > 0
    assert any(one.consolidated["status"] == "partial" for one in told.rounds), "a failure is told"


def test_the_undone_version_is_undone_and_the_last_round_stays(told: Story) -> None:
    assert told.undo is not None
    assert told.undo.reverted["notes_requeued"]
    assert len(told.undo.last["notes_filed"]) == told.rounds[-1].notes
    assert told.before == told.after, "and the backup brings it back"


def test_the_audit_sees_a_note_that_is_nowhere_and_one_that_is_twice() -> None:
    """The negative control: an audit that finds nothing must be able to find something."""
    assert list(placement_faults({"a": ""}, Counter(), set())) == ["a is in 0 places"]
    assert list(placement_faults({"a": ""}, Counter({"a": 1}), {"a"})) == ["a is in 2 places"]
    assert list(placement_faults({"a": ""}, Counter({"a": 1}), set())) == []


def test_the_command_says_what_the_model_did(tmp_path: Path) -> None:
    done = live_memory("demo", "--notes", "15", "--llm", "perfect", folder=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a scripted model (perfect)" in done.stdout
    assert "15 notes written = 15 notes filed, 0 lost, 0 doubled" in done.stdout
    assert "15 filed by the model, 0 word for word without it: 5 calls, 0 answers mended" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = live_memory("demo", "--llm", "sleepy", folder=tmp_path, TMPDIR=str(tmp_path), COLUMNS="200")
    assert done.returncode == 2
    assert "no author and no mood 'sleepy'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_authors_and_moods_are_named_together() -> None:
    model = ScriptedModel.named("lying, 503,plain,empty")
    assert (model.authors, model.moods) == (("lying", "empty"), (Mood.UNAVAILABLE, Mood.PLAIN))
    assert model.said == "a scripted model (lying, empty, 503)"
    assert ScriptedModel.named("") == ScriptedModel()
    assert ScriptedModel.named("503").authors == ("perfect",)
    with pytest.raises(UnknownName, match="sleepy"):
        ScriptedModel.named("perfect,sleepy")


def test_the_worst_is_a_mix_of_authors_and_moods_that_exist() -> None:
    assert set(WORST_AUTHORS) == set(AUTHORS)
    assert len(WORST_MOODS) > len(set(Mood)) / 2
    assert set(AUTHORS).isdisjoint(set(Mood)), "a name is one or the other"


async def test_an_endpoint_for_the_demo_takes_its_authors_in_turn() -> None:
    import httpx  # noqa: PLC0415 - only this test asks it directly

    said = []
    async with ScriptedModel.named("garbage,empty").serving() as settings, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            asked = {"model": settings["LLMAAS_MODEL"], "messages": [{"role": "user", "content": "Hello"}]}
            streamed = await client.post(f"{settings['LLMAAS_API_URL']}/chat/completions", json=asked)
            said.append("".join(_pieces(streamed.text)))
    assert [bool(text) for text in said] == [True, False, True]


def _pieces(stream: str) -> list[str]:
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    return [choice["delta"].get("content", "") for line in lines for choice in json.loads(line)["choices"]]
