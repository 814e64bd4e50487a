"""The command line in front of a service whose model is the scripted one of `live-memory fake-llm`."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server, Servers, environment
from tests.e2e.test_cli import PATIENCE, PROGRAM, CommandLine, Terminal
from tests.e2e.walk import RULES

pytestmark = pytest.mark.timeout(300)
NOTES = 6


@contextmanager
def fake_llm(*arguments: str) -> Iterator[dict[str, str]]:
    """The command, and the settings that it prints; it ends by Ctrl-C without a complaint."""
    with subprocess.Popen(
        [*PROGRAM, "fake-llm", "--port", "0", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield dict(word.split("=", 1) for word in process.stdout.readline().split())
        finally:
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=PATIENCE)
        assert (process.returncode, complaint) == (0, "")


def a_user(servers: Servers, folder: Path, **settings: str) -> tuple[Server, CommandLine]:
    """The administrator of a service with a space in which notes wait."""
    server = servers.make(**settings).start()
    user = CommandLine(server, folder / "user")
    user.done("space", "create", "alpha", "--rules", RULES)
    with server.http() as http:
        for number in range(NOTES):
            note = {"category": "decision", "content": f"We chose number {number} (#{number})."}
            assert http.post("/spaces/alpha/notes", json=note).status_code == 201
    return server, user


def test_a_person_sees_the_model_at_work_and_then_what_it_did(servers: Servers, tmp_path: Path) -> None:
    with fake_llm() as settings:
        _, user = a_user(servers, tmp_path, **settings, CONSOLIDATION_BATCH_SIZE="2")
        status, said = Terminal(user, "bank", "consolidate", "alpha").end()
        assert status == 0
        assert "6, the others word for word" in said
        assert "3 calls" in said
        assert f"{NOTES} of {NOTES} notes" in said or "batch 3 of 3" in said, "the bar"
        found = json.loads(user.done("doctor", "--json", settings=settings))
    checks = {check["name"]: check for check in found["checks"]}
    assert (checks["model"]["verdict"], checks["service's model"]["verdict"]) == ("ok", "ok")
    assert "has 'fake' and takes the key; its window is 100,000 tokens" in checks["model"]["detail"]


def test_whoever_presses_ctrl_c_leaves_the_job_and_may_cancel_it(servers: Servers, tmp_path: Path) -> None:
    with fake_llm("--mood", "silence", "--repeat") as settings:
        _, user = a_user(servers, tmp_path, **settings)
        waiting = Terminal(user, "bank", "consolidate", "alpha")
        waiting.wait_for("batch 1 of 1")
        waiting.interrupt()
        status, said = waiting.end()
        assert status == 130
        assert "goes on" in said
        job = said.split("live-memory job get ", 1)[1].split("`", 1)[0]
        found = user.json("job", "get", job)
        assert found["state"] == "running", found
        assert "consolidation_running" in user.fails(6, "bank", "consolidate", "alpha")
        user.done("job", "cancel", job)
        last = json.loads(user.done("job", "events", job, "--json").splitlines()[-1])
        assert (last["event"], last["state"]) == ("done", "cancelled")
        assert user.json("live", "read", "alpha")["total"] == NOTES, "and every note waits"


def test_a_model_that_fails_has_the_exit_status_and_the_words_of_rest(servers: Servers, tmp_path: Path) -> None:
    with fake_llm("--mood", "401", "--repeat") as settings:
        server, user = a_user(servers, tmp_path, **settings, CONSOLIDATION_ON_UNCOVERED="leave")
        over_rest = httpx.post(
            f"{server.rest}/spaces/alpha/bank/consolidate",
            headers={"Authorization": f"Bearer {server.admin_key}"},
            timeout=PATIENCE,
            trust_env=False,
        )
        assert (over_rest.status_code, over_rest.json()["code"]) == (502, "llm_failed")
        failed = user.run("bank", "consolidate", "alpha", "--json")
        assert failed.returncode == 9, failed.stderr
        said, expected = json.loads(failed.stdout), over_rest.json()
        own = {"job_id", "request_id", "title", "errors"}
        assert {name: said[name] for name in said if name not in own} == {
            name: expected[name] for name in expected if name not in own
        }
        assert user.fails(9, "bank", "consolidate", "alpha").endswith("(llm_failed)\n")


def test_a_long_file_is_made_short_and_each_end_is_shown(servers: Servers, tmp_path: Path) -> None:
    with fake_llm() as settings:
        server, user = a_user(servers, tmp_path, **settings)
        lines = "".join(f"- 2026-01-{day:02d} Fact number {day} holds here.\n" for day in range(1, 20))
        (user.folder / "facts.md").write_text(f"# Facts\n\n{lines}", encoding="utf-8")
        user.done("bank", "write", "alpha", "facts.md", "--file", "facts.md")
        planned = user.run("bank", "compact", "alpha", "facts.md", "--dry-run")
        assert planned.returncode == 0
        assert "facts.md has 760 B, and should have 506 B" in planned.stdout.decode()
        assert "the model would be asked." in planned.stderr.decode()

        moved = user.run("bank", "compact", "alpha", "facts.md")
        assert moved.returncode == 0, moved.stderr.decode()
        assert "-- 2026-01-01 Fact number 1 holds here." in moved.stdout.decode()
        assert "instead of 760 B, version 2" in moved.stdout.decode()
        assert "Moved to archive/facts-2026-01.md" in moved.stderr.decode()

        with server.http() as http:
            begun = http.post("/spaces/alpha/bank/compact", json={"filename": "facts.md", "wait": False})
            assert (begun.status_code, begun.json()["status"]) == (202, "accepted")
            assert begun.headers["Location"].endswith(f"/jobs/{begun.json()['job_id']}")
        assert "done" in user.done("job", "events", begun.json()["job_id"])
        accepted = user.done("bank", "compact", "alpha", "facts.md", "--no-wait", "--target-bytes", "100").strip()
        assert accepted.startswith("alpha.")
        user.done("job", "events", accepted)
        kept = user.done("bank", "read", "alpha", "facts.md") + user.done(
            "bank", "read", "alpha", "archive/facts-2026-01.md"
        )
        assert all(kept.count(line) == 1 for line in lines.splitlines(keepends=True))


def test_a_model_that_fails_makes_no_file_short(servers: Servers, tmp_path: Path) -> None:
    with fake_llm("--mood", "401", "--repeat") as settings:
        _, user = a_user(servers, tmp_path, **settings)
        holds = "".join(f"- 2026-01-{day:02d} Fact number {day} holds here.\n" for day in range(1, 20))
        for name, over in (("facts.md", ""), ("tasks.md", "- [x] 2026-01-01 Done (done 2026-01-02)\n")):
            (user.folder / name).write_text(f"# Facts\n\n{holds}{over}", encoding="utf-8")
            user.done("bank", "write", "alpha", name, "--file", name)
        assert "llm_failed" in user.fails(9, "bank", "compact", "alpha", "facts.md")
        partly = user.run("bank", "compact", "alpha", "tasks.md")
        assert "1 entry moved to the archive" in partly.stderr.decode()
        assert "The model gave no answer" in partly.stderr.decode()
        assert user.json("bank", "compact", "alpha", "tasks.md", "--target-bytes", "5000")["action"] == "unchanged"
