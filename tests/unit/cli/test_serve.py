"""The command as people start it: a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT = 60


def environment(**settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LOG_FORMAT": "json",
        "STORE_FSYNC": "false",
        **settings,
    }


def command(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder, env=environment(**settings), capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip


@contextmanager
def serving(
    folder: Path, *arguments: str, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], str]]:
    """The process, the addresses it wrote, and what it printed until it served."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0", "--ready-file", str(ready), *arguments],
            cwd=folder, env=environment(**settings), stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if line.startswith("admin key"):
                    break
            assert ready.exists(), (folder / "log").read_text() + printed
            yield process, json.loads(ready.read_text()), printed
        finally:
            process.kill()


def test_the_service_starts_answers_and_stops_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, urls, printed):
        for name in ("rest", "docs", "mcp", "sse"):
            assert urls[name] in printed
        key = printed.split("admin key")[1].split()[0]
        assert (tmp_path / "data" / "bootstrap.key").read_text().strip() == key
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{urls['url']}/health").json()["status"] == "healthy"
            assert client.get(f"{urls['url']}/ready").json()["status"] == "ready"
            assert client.get(urls["docs"]).status_code == 200
            assert client.get(f"{urls['rest']}/spaces").status_code == 401
            known = client.get(f"{urls['rest']}/spaces", headers={"Authorization": f"Bearer {key}"})
            assert known.status_code == 200
            assert client.get(urls["docs"], headers={"Host": "evil.example"}).status_code == 421
            assert "server" not in known.headers
        assert command("healthcheck", "--url", urls["url"], folder=tmp_path).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["status"] for line in log if line.get("route") == "/api/v1/spaces"] == [401, 200]
    assert key not in (tmp_path / "log").read_text()
    assert command("healthcheck", "--url", urls["url"], folder=tmp_path).returncode == 1

    with serving(tmp_path) as (process, urls, printed):
        assert key not in printed
        assert "bootstrap.key" in printed
        with httpx.Client(trust_env=False) as client:
            again = client.get(f"{urls['rest']}/spaces", headers={"Authorization": f"Bearer {key}"})
            assert again.status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0


def test_a_service_that_is_told_to_stop_is_first_not_ready(tmp_path: Path) -> None:
    with (
        serving(tmp_path, DRAIN_NOTICE="60", LIVE_MEMORY_STORE="memory") as (process, urls, _),
        httpx.Client(trust_env=False) as client,
    ):
        assert client.get(f"{urls['url']}/ready").status_code == 200
        process.send_signal(signal.SIGTERM)
        while (response := client.get(f"{urls['url']}/ready")).status_code == 200:
            pass
        assert response.json()["checks"]["process"] == "draining"
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = command("serve", "--port", port, folder=tmp_path, LIVE_MEMORY_STORE="memory")
    assert refused.returncode == 1
    assert refused.stderr.strip() == f"live-memory: cannot listen on 127.0.0.1:{port}: address already in use."


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"MCP_SERVER_PORT": "eighty"}, "MCP_SERVER_PORT"),
        ({"S3_BUCKET_NAME": "bucket"}, "S3_ACCESS_KEY_ID"),
        ({"MCP_SERVER_HOST": "0.0.0.0", "ADMIN_BOOTSTRAP_KEY": "very-secret"}, "ADMIN_BOOTSTRAP_KEY"),  # noqa: S104 - the case in which it matters
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    refused = command("serve", folder=tmp_path, **settings)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert sentence in refused.stderr
    assert "very-secret" not in refused.stderr


def test_a_data_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    refused = command("serve", "--port", "0", folder=tmp_path, ADMIN_BOOTSTRAP_KEY="k" * 32)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("live-memory: ")


def test_the_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    shown = command("config", folder=tmp_path, ADMIN_BOOTSTRAP_KEY="k" * 32, MCP_SERVER_NAME="Ours")
    assert shown.returncode == 0
    assert "MCP_SERVER_NAME=Ours" in shown.stdout
    assert "ADMIN_BOOTSTRAP_KEY=********" in shown.stdout
    assert "k" * 32 not in shown.stdout
    assert command("config", folder=tmp_path, MCP_SERVER_PORT="x").returncode == 2


def test_help_answers_without_loading_the_service(tmp_path: Path) -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from app.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['serve', '--help']).exit_code == 0\n"
        "print(sorted({'fastapi', 'mcp', 'starlette', 'uvicorn', 'httpx'} & set(sys.modules)))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == "[]"


def test_the_description_is_written_into_a_folder(tmp_path: Path) -> None:
    written = command("export", "openapi", "out", folder=tmp_path)
    assert written.returncode == 0, written.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "OPERATIONS.md",
        "mcp-tools.json",
        "openapi.json",
    ]
    document = json.loads((tmp_path / "out" / "openapi.json").read_text())
    tools = json.loads((tmp_path / "out" / "mcp-tools.json").read_text())["tools"]
    page = (tmp_path / "out" / "OPERATIONS.md").read_text()
    names = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert {tool["name"] for tool in tools} == names - {"job_events"}, "a stream is no tool"
    assert all(f"### {name}\n" in page for name in names)
    assert "## The 26 operations" in page
