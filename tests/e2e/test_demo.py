"""The demo, which is the product's main job on real notes: told by itself, and checked without it."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.demo import demo, history, play
from app.cli.demo_audit import Ledger, repeated
from app.cli.demo_report import Report
from app.cli.demo_stage import on_a_folder
from app.cli.demo_story import Story
from tests.e2e.auditor import commits, faults, head_of, view_faults
from tests.e2e.conftest import environment, live_memory

NOTES = 300


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(kept: Path) -> Iterator[Story]:
    """The very run that `make demo` shows, its results as data, while its service still runs."""
    import asyncio  # noqa: PLC0415 - only here is there no loop yet

    with on_a_folder(kept, 1) as stage:
        yield asyncio.run(play(stage, history(NOTES), Report()))


def test_every_claim_of_the_demo_holds(told: Story) -> None:
    assert [check.claim for check in told.checks if not check.holds] == []
    assert told.is_true
    assert len(told.tools) == 26


def test_every_note_is_filed_once_with_its_numbers_and_its_source(told: Story, kept: Path) -> None:
    assert len(told.written) == NOTES
    assert sorted(told.written.values()) == sorted(note.content.strip() for note in history(NOTES))
    objects = kept / "objects"
    assert faults(objects, "uvicorn", told.written) == []
    filed = Counter(
        note["id"] for commit in commits(objects, head_of(objects, "uvicorn")) for note in commit["consumed"]
    )
    assert filed == Counter(told.written.keys())


def test_the_plain_files_are_the_bank(told: Story, kept: Path) -> None:
    assert told.bank["file_count"] == len(told.bank["files"]) > 2
    assert view_faults(kept / "objects", "uvicorn") == []


def test_the_restored_space_is_the_former_one_byte_for_byte(told: Story) -> None:
    assert told.before == told.after
    assert {"_rules.md", "_synthesis.md", "bank/progress.md"} < told.before.keys()
    assert any(path.startswith("_history/") for path in told.before)


def test_a_reader_is_refused_with_the_right_codes(told: Story) -> None:
    assert [(one.attempt, one.face, one.code) for one in told.refusals] == [
        ("write a note", "MCP", "write_required"),
        ("write a note", "REST", "write_required"),
        ("delete the space", "MCP", "admin_required"),
        ("read another space", "REST", "forbidden"),
        ("read without a token", "REST", "unauthenticated"),
    ]


def test_both_faces_were_used_by_several_agents(told: Story) -> None:
    assert Counter(told.agents.values()) == {"MCP": 3, "REST": 3}
    assert all(one.over_mcp and one.over_rest for one in told.rounds)
    assert sum(one.notes for one in told.rounds) == NOTES


def test_the_ledger_sees_a_planted_loss_and_a_planted_double() -> None:
    honest = Ledger({"a.md": "# A\n\n- x 1.2 #3\n"}, Counter(["n"]), frozenset({"n"}), (), frozenset())
    assert (honest.lost({"n": "x"}), honest.doubled()) == ([], [])
    assert honest.lost({"n": "x", "gone": "y"}) == ["gone"]
    assert honest.missing_anchors({"n": "x 1.3"}) == ["n: 1.3"]
    twice = Ledger({"a.md": "# A\n\n- x\n- x\n"}, Counter(["n", "n"]), frozenset({"n"}), (), frozenset())
    assert twice.doubled() == ["n", "- x"]
    assert list(repeated("# A\n\n- x\n\n# B\n\n- x\n")) == []


def test_a_claim_that_does_not_hold_is_shown_and_makes_the_story_untrue(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story(written={"n": "x"})
    assert not story.is_true, "a story without any check proves nothing"
    story.check("the sun rises", holds=True)
    assert story.is_true
    story.check("the moon is green", holds=False)
    assert not story.is_true
    Report().end(story, kept=None)
    assert "FAILED  the moon is green" in capsys.readouterr().out


def test_the_command_tells_it_in_plain_lines_and_leaves_nothing_behind(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    done = live_memory("demo", "--notes", "25", "--svg", str(picture), folder=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 notes written = 25 notes filed, 0 lost, 0 doubled" in done.stdout
    assert "26 tools" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert [path.name for path in tmp_path.iterdir()] == ["demo.svg"]
    drawn = picture.read_text(encoding="utf-8")
    assert len(drawn) < 150_000
    assert re.findall(r"https?://[^\"' ]+", drawn.replace("http://www.w3.org/2000/svg", "")) == []


def test_a_folder_that_is_not_empty_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        demo(notes=5, keep=tmp_path, svg=None)
    assert ended.value.code == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_service_and_removes_its_folder(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app", "demo"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "empty folder" in process.stdout.readline()
        [folder] = tmp_path.iterdir()
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "Interrupted" in complaint
    assert list(tmp_path.iterdir()) == []
    assert not servers_of(folder)


def servers_of(folder: Path) -> list[str]:
    """The processes whose command names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command:
            found.append(process.parent.name)
    return found
