"""The command line as people and scripts use it: its own process, against a real service."""

import json
import os
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.catalogue import CATALOGUE
from tests.e2e.conftest import Server, answer, environment
from tests.e2e.walk import NAMES, RULES

PROGRAM = [sys.executable, "-m", "app"]
pytestmark = pytest.mark.timeout(400)  # each command is a process of its own, and a test runs up to thirty
PATIENCE = 60.0
NOTHING: Mapping[str, str] = {}
FILES = ("bank_files_created", "bank_files_updated", "bank_files_unchanged")
CHANCE = re.compile(r'"(uptime_seconds|latency_ms|last_used_at)":[^,}]+')


class CommandLine:
    """A user of the command line: a folder, a home and a token of their own."""

    def __init__(self, server: Server, folder: Path, token: str | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = environment(HOME=str(folder), MCP_URL=server.base_url, MCP_TOKEN=token or server.admin_key)

    def run(
        self, *arguments: str, given: bytes = b"", settings: Mapping[str, str] = NOTHING
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env={**self.environment, **settings},
            input=given,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )

    def done(self, *arguments: str, given: bytes = b"", settings: Mapping[str, str] = NOTHING) -> str:
        """What a command that succeeds writes."""
        ended = self.run(*arguments, given=given, settings=settings)
        assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
        return ended.stdout.decode()

    def json(self, *arguments: str, given: bytes = b"") -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.done(*arguments, "--json", given=given))
        return said

    def fails(self, status: int, *arguments: str, given: bytes = b"", settings: Mapping[str, str] = NOTHING) -> str:
        """What a command that ends with that status says on standard error; it has no results."""
        ended = self.run(*arguments, given=given, settings=settings)
        assert (ended.returncode, ended.stdout) == (status, b""), (arguments, ended.stdout, ended.stderr)
        return ended.stderr.decode()


@pytest.fixture
def admin(server: Server, tmp_path: Path) -> CommandLine:
    return CommandLine(server, tmp_path / "admin")


@pytest.fixture
def alpha(admin: CommandLine) -> CommandLine:
    """The administrator, after a space was made."""
    admin.done("space", "create", "alpha", "--rules", RULES)
    return admin


def test_every_operation_is_done_by_its_command(admin: CommandLine) -> None:
    (admin.folder / "rules.md").write_text(RULES, encoding="utf-8")
    done = {
        "system_health": admin.done("health"),
        "system_about": admin.done("about"),
        "space_create": admin.done("space", "create", "alpha", "-d", "A walk", "--rules-file", "rules.md", "-o", "me"),
        "space_list": admin.done("space", "list"),
        "space_rules": admin.done("space", "rules", "alpha"),
        "live_note": admin.done(
            "live", "note", "alpha", "decision", "We chose PostgreSQL 15 (#42).", "--tags", "db,api"
        ),
        "live_read": admin.done("live", "read", "alpha", "--limit", "5", "--category", "decision"),
        "live_search": admin.done("live", "search", "alpha", "postgresql"),
        "admin_gc_notes": admin.done("gc", "--space-id", "alpha", "--max-age-days", "0"),
        "bank_consolidate": admin.done("bank", "consolidate", "alpha"),
        "bank_list": admin.done("bank", "list", "alpha"),
        "bank_read": admin.done("bank", "read", "alpha", "decisions.md"),
        "bank_read_all": admin.done("bank", "read-all", "alpha"),
        "space_info": admin.done("space", "info", "alpha"),
        "space_summary": admin.done("space", "summary", "alpha"),
        "space_export": admin.done("space", "export", "alpha"),
        "backup_create": admin.done("backup", "create", "alpha", "-d", "Before"),
        "backup_list": admin.done("backup", "list", "--space-id", "alpha"),
    }
    backup = admin.json("backup", "list")["backups"][0]["backup_id"]
    done |= {
        "backup_download": admin.done("backup", "download", backup),
        "space_delete": admin.done("space", "delete", "alpha", "--confirm"),
        "backup_restore": admin.done("backup", "restore", backup, "--yes"),
        "backup_delete": admin.done("backup", "delete", backup, "-y"),
        "admin_create_token": admin.done("token", "create", "bob", "--permissions", "read"),
        "admin_list_tokens": admin.done("token", "list"),
    }
    token = admin.json("token", "list")["tokens"][0]["token_hash"]
    done |= {
        "admin_update_token": admin.done("token", "update", token, "--permissions", "read,write"),
        "admin_revoke_token": admin.done("token", "revoke", token),
    }
    assert done.keys() == NAMES
    assert [name for name, output in done.items() if not output.strip()] == []
    assert "healthy" in done["system_health"]
    assert done["space_rules"] == RULES, "in a pipe a text is as it is"
    assert "PostgreSQL 15 (#42)" in done["live_search"]
    assert "- " in done["bank_read"]
    assert "PostgreSQL 15 (#42)" in done["bank_read"]
    assert "notes filed    1" in done["bank_consolidate"]
    assert "lm_live_" in done["admin_create_token"]
    assert "restored" in done["backup_restore"]
    assert not any("\x1b" in output for output in done.values())


def test_every_later_operation_is_done_by_its_command_too(alpha: CommandLine) -> None:
    (alpha.folder / "glossary.md").write_text("# Glossary\n\n- API: how programs talk\n", encoding="utf-8")
    (alpha.folder / "rules.md").write_text(RULES + "\n## glossary.md\nWords.\n", encoding="utf-8")
    alpha.done("live", "note", "alpha", "decision", "We chose PostgreSQL 15 (#42).")
    note = alpha.json("live", "read", "alpha")["notes"][0]["filename"]
    job = alpha.done("bank", "consolidate", "alpha", "--no-wait").strip()
    done = {
        "job_events": alpha.done("job", "events", job),
        "job_get": alpha.done("job", "get", job),
        "job_cancel": alpha.done("job", "cancel", job),
        "bank_note": alpha.done("bank", "note", "alpha", note),
        "bank_write": alpha.done("bank", "write", "alpha", "glossary.md", "--file", "glossary.md"),
        "bank_diff": alpha.done("bank", "diff", "alpha", "--from", "1", "--to", "2"),
        "bank_delete": alpha.done("bank", "delete", "alpha", "glossary.md", "--yes"),
        "bank_revert": alpha.done("bank", "revert", "alpha", "--version", "3"),
        "bank_repair": alpha.done("bank", "repair", "alpha"),
        "bank_compact": alpha.done("bank", "compact", "alpha", "decisions.md", "--target-bytes", "8000"),
        "bank_history": alpha.done("bank", "history", "alpha"),
        "space_update": alpha.done("space", "update", "alpha", "-d", "Another walk", "--owner", "me"),
        "space_update_rules": alpha.done("space", "update-rules", "alpha", "--rules-file", "rules.md"),
        "system_whoami": alpha.done("whoami"),
    }
    alpha.done("token", "create", "bob", "--permissions", "read")
    token = alpha.json("token", "list")["tokens"][0]["token_hash"]
    alpha.done("token", "revoke", token)
    done |= {
        "admin_purge_tokens": alpha.done("token", "purge"),
        "admin_delete_token": alpha.done("token", "delete", token, "--yes"),
    }
    assert done.keys() == {one.name for noun in CATALOGUE for one in noun.declared if not one.core}
    said = {
        "job_events": "batch_started", "job_get": f"job {job}", "job_cancel": "over already",
        "bank_note": "We chose PostgreSQL 15 (#42).\n", "bank_write": "glossary.md is created",
        "bank_diff": "+- API: how programs talk", "bank_delete": "glossary.md is deleted, version 3",
        "bank_revert": "undoes version 3", "bank_repair": "", "bank_compact": "stays as it is",
        "bank_history": "version 4 is the current one",
        "space_update": "Another walk", "space_update_rules": "", "system_whoami": "first key",
        "admin_purge_tokens": "bob", "admin_delete_token": "",
    }  # fmt: skip
    for name, words in said.items():
        assert done[name].strip(), name
        assert words in done[name], (name, done[name])
        assert "│ status" not in done[name], f"{name} is shown as it is"
    assert "glossary.md" in alpha.done("bank", "list", "alpha")
    alpha.done("bank", "write", "alpha", "stdin.md", "--file", "-", given=b"# From a pipe\n")
    assert alpha.done("bank", "read", "alpha", "stdin.md") == "# From a pipe\n"


def test_a_job_is_followed_line_by_line_and_again_from_the_middle(alpha: CommandLine) -> None:
    alpha.done("live", "note", "alpha", "todo", "Measure it")
    job = alpha.done("bank", "consolidate", "alpha", "--no-wait").strip()
    events = [json.loads(line) for line in alpha.done("job", "events", job, "--json").splitlines()]
    names = [event["event"] for event in events]
    assert (names[0], names[-1], "batch_started" in names) == ("queued", "done", True)
    assert events[-1]["result"]["notes_processed"] == 1
    later = alpha.done("job", "events", job, "--json", "--after", str(events[1]["id"])).splitlines()
    assert [json.loads(line) for line in later] == events[2:]
    assert "No job" in alpha.fails(5, "job", "events", "alpha.0000000000000000")


def test_a_consolidation_says_the_same_with_json_as_rest_does(server: Server, alpha: CommandLine) -> None:
    with server.http() as http:
        answer(http.post("/spaces/alpha/notes", json={"category": "todo", "content": "One"}), 201)
        over_rest = answer(http.post("/spaces/alpha/bank/consolidate"))
    alpha.done("live", "note", "alpha", "todo", "Two")
    said = alpha.json("bank", "consolidate", "alpha")
    assert list(said) == list(over_rest), "the same members in the same order"
    own = {"version", "job_id", "duration_seconds", "operations_applied", "synthesis_size", *FILES}
    assert {key: value for key, value in said.items() if key not in own} == {
        key: value for key, value in over_rest.items() if key not in own
    }


def test_json_is_what_rest_answers(server: Server, alpha: CommandLine) -> None:
    alpha.done("live", "note", "alpha", "todo", "Grüße, 😀")
    with server.http() as http:
        for path, *command in (
            ("/spaces", "space", "list"),
            ("/spaces/alpha", "space", "info", "alpha"),
            ("/spaces/alpha/rules", "space", "rules", "alpha"),
            ("/spaces/alpha/summary", "space", "summary", "alpha"),
            ("/spaces/alpha/export", "space", "export", "alpha"),
            ("/spaces/alpha/notes?limit=1", "live", "read", "alpha", "-l", "1"),
            ("/spaces/alpha/notes/search?query=%F0%9F%98%80", "live", "search", "alpha", "😀"),
            ("/spaces/alpha/bank", "bank", "read-all", "alpha"),
            ("/spaces/alpha/bank/files", "bank", "list", "alpha"),
            ("/backups", "backup", "list"),
            ("/admin/tokens", "token", "list"),
            ("/system/health", "health"),
            ("/system/about", "about"),
        ):
            over_rest, said = http.get(path), alpha.done(*command, "--json")
            answer(over_rest)
            assert CHANCE.sub("", said) == CHANCE.sub("", over_rest.text) + "\n", command


def test_json_is_an_option_and_never_part_of_a_text(alpha: CommandLine) -> None:
    alpha.done("live", "note", "alpha", "todo", "--", "--json")
    alpha.done("live", "note", "alpha", "todo", "write --json  twice")
    notes = alpha.json("live", "read", "alpha")["notes"]
    assert [note["content"] for note in notes] == ["write --json  twice", "--json"]


def test_a_failure_has_its_exit_status_and_a_sentence(server: Server, alpha: CommandLine, tmp_path: Path) -> None:
    reader_token = alpha.json("token", "create", "r", "--permissions", "read", "--space-ids", "alpha")["token"]
    alpha.done("space", "create", "beta", "--rules", RULES)
    reader = CommandLine(server, tmp_path / "reader", reader_token)
    stranger = CommandLine(server, tmp_path / "stranger", "lm_live_nonsense")
    for user, status, code, *command in (
        (alpha, 2, "Missing argument", "space", "info"),
        (alpha, 2, "No such option", "space", "info", "alpha", "--nope"),
        (alpha, 2, "--rules-file", "space", "create", "gamma"),
        (stranger, 3, "unauthenticated", "space", "list"),
        (reader, 4, "write_required", "live", "note", "alpha", "todo", "x"),
        (reader, 4, "forbidden", "bank", "read-all", "beta"),
        (alpha, 5, "space_not_found", "space", "info", "absent"),
        (alpha, 5, "file_not_found", "bank", "read", "alpha", "absent.md"),
        (alpha, 6, "space_exists", "space", "create", "alpha", "--rules", "# R"),
        (alpha, 7, "invalid_input", "live", "note", "alpha", "gossip", "x"),
        (alpha, 7, "invalid_input", "live", "read", "alpha", "--limit", "501"),
        (alpha, 7, "invalid_space_id", "space", "info", "--", "-absent"),
        (alpha, 7, "cannot be a name", "space", "info", "alpha/rules"),
        (alpha, 9, "cannot be reached", "space", "list", "--url", "http://127.0.0.1:1"),
    ):  # fmt: skip
        assert code in user.fails(status, *command), command


def test_a_failure_with_json_is_the_problem_of_rest(alpha: CommandLine) -> None:
    ended = alpha.run("space", "info", "absent", "--json")
    assert ended.returncode == 5
    assert json.loads(ended.stdout)["code"] == "space_not_found"
    assert b"No space 'absent'" in ended.stderr


def test_a_service_that_lost_its_store_is_told_to_be_degraded(server: Server, admin: CommandLine) -> None:
    assert "healthy" in admin.done("health")
    objects = server.objects
    objects.rename(objects.with_name("away"))
    until = time.monotonic() + PATIENCE
    while (ended := admin.run("health")).returncode == 0:
        assert time.monotonic() < until, ended.stdout
    objects.with_name("away").rename(objects)
    assert ended.returncode == 9
    assert b"degraded" in ended.stdout
    assert b"degraded" in ended.stderr


def test_texts_come_through_pipes(alpha: CommandLine) -> None:
    alpha.done("live", "note", "alpha", "todo", "-", given="  erste Zeile\nzweite: 😀\n".encode())
    assert alpha.json("live", "read", "alpha")["notes"][0]["content"] == "erste Zeile\nzweite: 😀"
    alpha.done("space", "create", "beta", "--rules-file", "-", given=RULES.encode())
    assert alpha.done("space", "rules", "beta") == RULES
    assert "not UTF-8" in alpha.fails(2, "live", "note", "alpha", "todo", "-", given=b"\xff")
    assert "keep one" in alpha.fails(2, "space", "create", "c", "--rules", "x", "--rules-file", "-", given=b"y")
    assert "cannot be read" in alpha.fails(2, "space", "create", "c", "--rules-file", "absent.md")


def test_a_reader_that_stops_reading_is_no_error(alpha: CommandLine) -> None:
    command = " ".join(map(shlex.quote, [*PROGRAM, "space", "rules", "alpha"]))
    piped = ["bash", "-c", f"{command} | head -c 3"]
    ended = subprocess.run(
        piped, cwd=alpha.folder, env=alpha.environment, capture_output=True, check=False, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, RULES[:3].encode(), b"")


def test_an_archive_is_a_file(alpha: CommandLine) -> None:
    alpha.done("live", "note", "alpha", "todo", "Write it down.")
    assert "alpha.tar.gz" in alpha.done("space", "export", "alpha")
    archive = alpha.folder / "alpha.tar.gz"
    with tarfile.open(archive) as opened:
        assert "_rules.md" in opened.getnames()
    first = archive.read_bytes()
    archive.write_bytes(b"precious")
    assert "--force" in alpha.fails(2, "space", "export", "alpha")
    assert archive.read_bytes() == b"precious"
    alpha.done("space", "export", "alpha", "--force")
    assert archive.read_bytes() == first
    (alpha.folder / "there").mkdir()
    alpha.done("space", "export", "alpha", "--output", "there")
    alpha.done("space", "export", "alpha", "--output", "there/other.tgz")
    assert alpha.run("space", "export", "alpha", "-o", "-").stdout == first
    assert sorted(path.name for path in (alpha.folder / "there").iterdir()) == ["alpha.tar.gz", "other.tgz"]
    backup = alpha.json("backup", "create", "alpha")["backup_id"]
    alpha.done("backup", "download", backup)
    with tarfile.open(alpha.folder / f"{backup.replace('/', '-')}.tar.gz") as opened:
        assert "_bank.json" in opened.getnames()


def test_an_archive_that_is_refused_leaves_no_file(alpha: CommandLine) -> None:
    assert "space_not_found" in alpha.fails(5, "space", "export", "absent")
    assert "cannot be written" in alpha.fails(2, "space", "export", "alpha", "-o", "absent/folder/a.tar.gz")
    assert [path.name for path in alpha.folder.iterdir()] == []


def test_what_cannot_be_undone_is_not_done_unasked(alpha: CommandLine) -> None:
    assert "--confirm" in alpha.fails(2, "space", "delete", "alpha")
    assert "--confirm" in alpha.fails(2, "space", "delete", "alpha", given=b"y\n"), "a pipe is nobody"
    alpha.done("space", "info", "alpha")
    alpha.done("space", "delete", "alpha", "--yes")
    alpha.fails(5, "space", "info", "alpha")


class Terminal:
    """A person at a terminal in front of a command."""

    def __init__(self, user: CommandLine, *arguments: str, **settings: str) -> None:
        own, theirs = pty.openpty()
        self._own: int | None = own
        self._seen = ""
        self._process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=user.folder,
            env={**user.environment, "TERM": "xterm", "COLUMNS": "100", **settings},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> str:
        """Read until the text is seen."""
        until = time.monotonic() + PATIENCE
        while text not in self._seen:
            assert time.monotonic() < until, self._seen
            if not self._read():
                raise AssertionError(self._seen)
        before, _, self._seen = self._seen.partition(text)
        return before + text

    def type(self, text: str) -> None:
        assert self._own is not None
        os.write(self._own, text.encode())

    def interrupt(self) -> None:
        """What Ctrl-C does to the program in front of a person."""
        self._process.send_signal(signal.SIGINT)

    def interrupt_until(self, text: str) -> None:
        """Press Ctrl-C until the text is seen, as a person would: one may come while the line is being drawn."""
        assert self._own is not None
        for _attempt in range(10):
            self.interrupt()
            while text not in self._seen and select.select([self._own], [], [], 3.0)[0]:
                assert self._read(), self._seen
            if text in self._seen:
                break
        self.wait_for(text)

    def end(self) -> tuple[int, str]:
        """The exit status, and what was still written."""
        while self._read():
            pass
        status = self._process.wait(PATIENCE)
        self.leave()
        return status, self._seen

    def leave(self) -> None:
        """Close the terminal, whatever still runs in it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        if self._own is not None:
            os.close(self._own)
            self._own = None

    def _read(self) -> bool:
        assert self._own is not None
        ready, _, _ = select.select([self._own], [], [], PATIENCE)
        assert ready, self._seen
        try:
            piece = os.read(self._own, 65536)
        except OSError:  # Linux ends a terminal whose last process left with an error
            return False
        self._seen += piece.decode(errors="replace")
        return bool(piece)


def test_at_a_terminal_a_person_is_asked(alpha: CommandLine) -> None:
    doubtful = Terminal(alpha, "space", "delete", "alpha")
    doubtful.wait_for("'alpha'")
    doubtful.type("n\n")
    status, said = doubtful.end()
    assert (status, "Nothing was done" in said) == (2, True)
    alpha.done("space", "info", "alpha")
    sure = Terminal(alpha, "space", "delete", "alpha")
    sure.wait_for("[y/N]")
    sure.type("y\n")
    status, said = sure.end()
    assert (status, "is deleted" in said) == (0, True)


def test_at_a_terminal_there_is_colour_unless_it_is_unwanted(alpha: CommandLine) -> None:
    status, said = Terminal(alpha, "health").end()
    assert (status, "\x1b[1;32m" in said) == (0, True)
    status, said = Terminal(alpha, "health", NO_COLOR="1").end()
    assert (status, re.findall(r"\x1b\[[0-9;]*3[0-9]m", said)) == (0, [])


def test_at_a_terminal_a_long_operation_shows_that_it_works(alpha: CommandLine) -> None:
    status, said = Terminal(alpha, "bank", "consolidate", "alpha").end()
    assert (status, "File the waiting notes" in said) == (0, True)
    assert "File the waiting notes" not in alpha.run("bank", "consolidate", "alpha").stderr.decode()


def test_an_archive_never_goes_to_the_terminal(alpha: CommandLine) -> None:
    for extra in (["-o", "-"], ["--json"]):
        status, said = Terminal(alpha, "space", "export", "alpha", *extra).end()
        assert (status, "not for the terminal" in said) == (2, True)


@pytest.fixture
def talk(alpha: CommandLine) -> Iterator[Terminal]:
    """A shell that is ready for the first line."""
    shell = Terminal(alpha, "shell")
    shell.wait_for("live-memory> ")
    yield shell
    shell.leave()


def test_a_shell_goes_on_after_errors_and_keeps_no_token(alpha: CommandLine, talk: Terminal) -> None:
    lines = [
        ('live note alpha todo "two  words" --tags a', "_todo_"),
        ("space info absent", "space_not_found"),
        ('live note alpha todo "open', "close the quotation"),
        ("nonsense", "No such command"),
        ("live read alpha", "two words"),
        (f"space list --token {alpha.environment['MCP_TOKEN']}", "alpha"),
        ("space list -tlm_live_x", "unauthenticated"),
        ("help bank", "consolidate"),
        ("space delete alpha", "[y/N]"),
        ("n", "Nothing was done"),
    ]
    for typed, expected in lines:
        talk.type(typed + "\n")
        talk.wait_for("\n")
        talk.wait_for(expected)
        if expected != "[y/N]":
            talk.wait_for("live-memory> ")
    talk.type("live se\tal")
    talk.wait_for("live search al")
    talk.interrupt_until("`exit` leaves")
    talk.type("exit\n")
    status, _ = talk.end()
    assert status == 0
    history = alpha.folder / ".local/state/live-memory/history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    kept = history.read_text(encoding="utf-8")
    assert "space info absent" in kept
    assert "token" not in kept
    assert "lm_live_" not in kept
    assert alpha.environment["MCP_TOKEN"] not in kept


def test_a_shell_reads_a_script(alpha: CommandLine) -> None:
    script = b'# a comment\n\nlive note alpha todo "quoted  words"\nspace info absent\nlive-memory space info alpha\n'
    ended = alpha.run("shell", given=script)
    assert (ended.returncode, b"space_not_found" in ended.stderr) == (0, True)
    assert alpha.json("live", "read", "alpha")["notes"][0]["content"] == "quoted  words"
    assert alpha.run("shell", given=b"space info alpha\nspace info absent\nexit\nhealth\n").returncode == 5


def test_profiles_name_several_services(server: Server, alpha: CommandLine) -> None:
    without = {"MCP_URL": "", "MCP_TOKEN": ""}
    key = alpha.folder / "key"
    key.write_text(server.admin_key, encoding="utf-8")
    key.chmod(0o600)
    alpha.done("profile", "add", "here", "--url", server.urls["mcp"], "--token-file", "key")
    alpha.done("profile", "add", "nowhere", "--url", "http://127.0.0.1:1", "--token", "-", given=b"lm_live_secret\n")
    assert "alpha" in alpha.done("space", "list", settings=without)
    alpha.done("profile", "use", "nowhere")
    alpha.fails(9, "space", "list", settings=without)
    assert "alpha" in alpha.done("--profile", "here", "space", "list", settings=without)
    assert "alpha" in alpha.done("space", "list", "--profile", "here", settings=without)
    assert "alpha" in alpha.done("space", "list", settings={**without, "LIVE_MEMORY_PROFILE": "here"})
    listed = alpha.done("profile", "list") + alpha.done("profile", "list", "--json")
    assert "lm_live_secret" not in listed
    assert "* nowhere" in listed
    alpha.done("profile", "remove", "nowhere")
    assert "no profile" in alpha.fails(2, "space", "list", "--profile", "nowhere", settings=without)
    assert "lm_live_secret" not in (alpha.folder / ".config/live-memory/config.toml").read_text(encoding="utf-8")


def test_the_key_of_this_machine_is_used_and_told_only_for_the_default_address(
    server: Server, alpha: CommandLine
) -> None:
    without = {"MCP_TOKEN": "", "LIVE_MEMORY_DATA_DIR": str(server.data)}
    said = alpha.fails(3, "space", "list", settings=without)
    assert "unauthenticated" in said
    assert "administrator's key" not in said


def test_the_doctor_finds_nothing_wrong_with_a_service_that_works(server: Server, alpha: CommandLine) -> None:
    settings = {"LIVE_MEMORY_DATA_DIR": str(server.data)}
    said = alpha.done("doctor", settings=settings)
    assert "All is well" in said
    for check in ("settings", "fsync", "flock", "store", "ready", "token"):
        assert re.search(rf"ok +{check} ", said), check
    found = json.loads(alpha.done("doctor", "--json", settings=settings))
    assert {check["verdict"] for check in found["checks"]} == {"ok"}


def test_the_doctor_says_what_is_wrong_and_what_to_do(server: Server, alpha: CommandLine) -> None:
    cases: list[tuple[list[str], dict[str, str], str]] = [
        (["--url", "http://127.0.0.1:1"], {}, "live-memory serve"),
        (["--token", "lm_live_nonsense"], {}, "Ask an administrator"),
        ([], {"MCP_SERVER_PORT": "many"}, "MCP_SERVER_PORT"),
        ([], {"LIVE_MEMORY_DATA_DIR": __file__}, "LIVE_MEMORY_DATA_DIR"),
        (["--profile", "absent"], {}, "no profile 'absent'"),
    ]
    for arguments, settings, advice in cases:
        ended = alpha.run("doctor", *arguments, settings={"LIVE_MEMORY_DATA_DIR": str(server.data), **settings})
        assert ended.returncode == 1, (arguments, settings, ended.stdout)
        assert re.search(advice, ended.stdout.decode()), ended.stdout.decode()


def test_completion_knows_commands_options_and_values(alpha: CommandLine) -> None:
    for typed, expected in (
        ("live-memory bank co", "consolidate"),
        ("live-memory space create --rul", "--rules-file"),
        ("live-memory live note alpha de", "decision"),
    ):
        told = {"_LIVE_MEMORY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        program = "import sys; sys.argv[0] = 'live-memory'; from app.cli.main import run; run()"
        ended = subprocess.run(
            [sys.executable, "-c", program], env=alpha.environment | told, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        assert expected in ended.stdout.split(), (typed, ended.stdout, ended.stderr)
