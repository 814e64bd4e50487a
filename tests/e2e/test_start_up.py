"""How the service starts, and how it ends."""

import os
import signal
import socket
import stat
import subprocess

import pytest

from tests.e2e.clients import curl
from tests.e2e.conftest import Server, Servers, answer, live_memory


def test_the_first_start_shows_its_key_once_and_keeps_it_for_the_owner_alone(servers: Servers) -> None:
    server = servers.make().start()
    key = server.data / "bootstrap.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert server.output().count(server.admin_key) == 1
    assert len(server.admin_key) >= 32
    first = server.admin_key
    assert curl("GET", f"{server.rest}/admin/tokens", first)[0] == 200
    assert server.stop() == 0

    server.start()
    assert server.admin_key == first
    assert first not in server.output()
    assert curl("GET", f"{server.rest}/admin/tokens", first)[0] == 200
    assert first not in server.log()


def test_what_was_written_is_there_after_a_restart(servers: Servers) -> None:
    server = servers.make().start()
    with server.http() as http:
        answer(http.post("/spaces", json={"space_id": "alpha", "description": "", "rules": "# R"}), 201)
        answer(http.post("/spaces/alpha/notes", json={"category": "todo", "content": "Come back (#7)."}), 201)
        before = answer(http.get("/spaces/alpha/notes"))
    assert server.stop() == 0
    server.start()
    with server.http() as http:
        assert answer(http.get("/spaces/alpha/notes")) == before


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"STORE_FSYNC": "perhaps"}, "STORE_FSYNC"),
        ({"ADMIN_BOOTSTRAP_KEY": "short", "MCP_SERVER_HOST": "0.0.0.0"}, "ADMIN_BOOTSTRAP_KEY"),  # noqa: S104 - it is refused
    ],
)
def test_a_wrong_setting_stops_with_one_sentence_that_names_it(
    servers: Servers, settings: dict[str, str], name: str
) -> None:
    folder = servers.make().data
    folder.mkdir()
    done = live_memory("serve", "--port", "0", folder=folder, **settings)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"live-memory: {name}")
    assert sentence.endswith(".")


def test_a_port_in_use_is_said_in_one_sentence(servers: Servers) -> None:
    folder = servers.make().data
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = live_memory("serve", "--port", port, folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"live-memory: cannot listen on 127.0.0.1:{port}: address already in use."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_while_a_stream_is_open(server: Server, number: signal.Signals) -> None:
    with subprocess.Popen(
        ["curl", "-sN", "--noproxy", "*", "-H", f"Authorization: Bearer {server.admin_key}", server.urls["sse"]],
        stdout=subprocess.PIPE,
        text=True,
    ) as stream:
        assert stream.stdout is not None
        assert stream.stdout.readline().strip() == "event: endpoint"
        server.running.send_signal(number)
        assert server.running.wait(40) == 0
        stream.communicate(timeout=40)
    assert "Traceback" not in server.log()


def test_the_health_check_asks_a_running_service(server: Server) -> None:
    folder = server.folder
    assert live_memory("healthcheck", "--url", server.base_url, folder=folder).returncode == 0
    assert server.stop() == 0
    done = live_memory("healthcheck", "--url", server.base_url, folder=folder)
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_an_unprepared_folder_is_refused_in_one_sentence(servers: Servers) -> None:
    folder = servers.make().data
    folder.mkdir()
    (folder / "file").write_text("a file, not a folder")
    done = live_memory("serve", "--port", "0", "--data-dir", str(folder / "file"), folder=folder)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    assert str(folder / "file") in done.stderr.splitlines()[-1]
    assert os.listdir(folder) == ["file"]  # noqa: PTH208 - the names alone
