"""The service as an operator runs it: a process of its own, which a test may stop, kill and start again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
START = 90.0
STOP = 40.0


def environment(**settings: str) -> dict[str, str]:
    """Nothing but what the test says: no setting of the machine it runs on."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", **settings}


def live_memory(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the product to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START,
    )


@dataclass
class Server:
    """A server process; several may share one data folder."""

    data: Path
    folder: Path
    """What belongs to this process alone: its log and its ready file."""
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    urls: dict[str, str] = field(default_factory=dict)

    def start(self) -> "Server":
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        with (self.folder / "stderr").open("ab") as errors, (self.folder / "stdout").open("wb") as output:
            where = ["--port", "0", "--data-dir", str(self.data), "--ready-file", str(ready)]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", *where],
                cwd=self.folder,
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        until = time.monotonic() + START
        while not ready.exists():
            assert self.process.poll() is None, f"the server ended: {self.log()}"
            assert time.monotonic() < until, f"the server does not become ready: {self.log()}"
            time.sleep(0.02)
        self.urls = json.loads(ready.read_text(encoding="utf-8"))
        return self

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the server was never started"
        return self.process

    @property
    def base_url(self) -> str:
        return self.urls["url"]

    @property
    def rest(self) -> str:
        return self.urls["rest"]

    @property
    def admin_key(self) -> str:
        return (self.data / "bootstrap.key").read_text(encoding="utf-8").strip()

    @property
    def objects(self) -> Path:
        return self.data / "objects"

    def output(self) -> str:
        """What the last start printed."""
        return (self.folder / "stdout").read_text(encoding="utf-8")

    def log(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")[-4000:]

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to tidy up."""
        self.running.kill()
        self.running.wait(STOP)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
        return self.running.wait(STOP)

    def http(self, token: str | None = None) -> httpx.Client:
        """A client of its REST interface; the administrator's unless another token is given."""
        headers = {"Authorization": f"Bearer {token or self.admin_key}"}
        return httpx.Client(base_url=self.rest, headers=headers, timeout=60, trust_env=False)

    def http_async(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token or self.admin_key}"}
        return httpx.AsyncClient(base_url=self.rest, headers=headers, timeout=60, trust_env=False)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator["Servers"]:
    """Makes servers, and ends what is left of them."""
    made = Servers(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def server(servers: "Servers") -> Server:
    """One server on an empty folder."""
    return servers.make().start()


class Servers:
    """The servers of one test, by default all on one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Server] = []

    def make(self, **settings: str) -> Server:
        """A server that is not started yet."""
        settings = {"STORE_FSYNC": "false", **settings}
        made = Server(self._folder / "data", self._folder / f"server-{len(self._made)}", settings)
        self._made.append(made)
        return made

    def end(self) -> None:
        for server in self._made:
            if server.process is not None and server.process.poll() is None:
                server.kill()


def answer(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The object of a response that has the status."""
    assert response.status_code == status, f"{response.request.method} {response.request.url}: {response.text}"
    body: dict[str, Any] = response.json()
    return body
