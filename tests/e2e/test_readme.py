"""What the README tells people to type works, as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import binary
from tests.e2e.conftest import ROOT, Servers, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?P<reason>^<!-- not run: \w[^\n]{8,} -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
BLOCKS = [(match["language"], match["text"]) for match in BLOCK.finditer(README)]
SESSIONS = [match["text"] for match in BLOCK.finditer(README) if match["language"] == "sh" and not match["reason"]]
"""What is typed into a shell, but for what says before it why it is not run here."""


def run(sessions: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Type the sessions one after the other into one shell that stops at the first failure."""
    return subprocess.run(
        [binary("bash"), "-euo", "pipefail", "-c", "\n".join(sessions)],
        cwd=folder,
        env={**environment(), "NO_PROXY": "*", "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_sessions_of_the_readme_run_in_order(servers: Servers) -> None:
    binary("curl")
    server = servers.make().start()
    address = "http://127.0.0.1:8002"
    assert any(address in text for text in SESSIONS)
    done = run([text.replace(address, server.base_url) for text in SESSIONS], server.data.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "We chose PostgreSQL 15 for its JSONB indexes (#42)" in done.stdout
    assert '"files_restored"' in done.stdout
    assert (server.data / "backup.tar.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_a_session_that_fails_is_seen(tmp_path: Path) -> None:
    assert run(["true\nfalse\ntrue\n"], tmp_path).returncode != 0
    assert run(["false | cat\n", "true\n"], tmp_path).returncode != 0


def test_every_block_is_run_or_says_why_not() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "json", "text", "ini"}
    assert len(SESSIONS) >= 4


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "json"])
def test_a_clients_configuration_is_valid_and_points_at_mcp(text: str) -> None:
    assert "http://127.0.0.1:8002/mcp" in text
    [server] = json.loads(text)["mcpServers"].values()
    assert "Bearer lm_live_" in json.dumps(server)


def test_every_make_target_and_file_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", "\n".join(text for language, text in BLOCKS if language == "sh"))) <= targets
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(linked) > 8
    assert [path for path in linked if "://" not in path and not (ROOT / path).exists()] == []


def test_every_setting_and_command_that_is_named_exists() -> None:
    client = (ROOT / "app" / "cli" / "connection.py").read_text(encoding="utf-8")
    known = (ROOT / ".env.example").read_text(encoding="utf-8") + "".join(
        f"#{name}=" for name in re.findall(r'"((?:MCP|LIVE_MEMORY)_[A-Z_]+)"', client)
    )
    named = set(re.findall(r"\b(?:LIVE_MEMORY|ALLOWED|FORWARDED|MCP|ADMIN|LLMAAS|LLM|CONSOLIDATION)_[A-Z_]+\b", README))
    assert [name for name in named if f"#{name}=" not in known] == []
    helped = subprocess.run(
        [sys.executable, "-m", "app", "--help"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"`(?:uvx --from . )?live-memory ([a-z]+)`", README)
    assert len(commands) > 2
    assert [command for command in commands if not re.search(rf"\b{command}\b", helped)] == []


def test_the_picture_is_of_a_whole_demo_and_asks_nobody_for_anything() -> None:
    picture = (ROOT / "app" / "examples" / "demo.svg").read_text(encoding="utf-8")
    assert len(picture) < 150_000
    assert re.findall(r"(?:https?:)?//[a-z][^\"' <]+", picture.replace("http://www.w3.org/2000/svg", "")) == []
    assert "300 notes written = 300 notes filed, 0 lost, 0 doubled" in picture.replace("&#160;", " ")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 300
