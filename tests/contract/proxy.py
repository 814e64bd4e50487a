"""The proxy of deploy/, run for real before whatever stands behind it."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.contract.servers import HOST, ServerFailed, binary, free_port

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
PATIENCE = 60.0
"""Seconds a proxy has to start, and to notice what became of the service."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs."""

    url: str
    log: Path

    def http(self, **options: Any) -> httpx.Client:
        """A client of the proxy, which the machine's own settings have no say in."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)

    def lines(self) -> list[dict[str, Any]]:
        """Each whole line of its log."""
        text = self.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def requests(self, path: str) -> list[dict[str, Any]]:
        """The lines of the access log about a path, as soon as there is one: it is written after the answer."""

        def found() -> list[dict[str, Any]]:
            access = [line for line in self.lines() if line.get("logger", "").startswith("http.log.access")]
            return [line for line in access if line["request"]["uri"].split("?")[0] == path]

        return until(found, f"no line about {path}")

    def await_status(self, status: int, path: str = "/ready") -> None:
        """Wait until the path is answered with the status."""
        with self.http() as http:

            def answered() -> bool:
                try:
                    return http.get(path).status_code == status
                except httpx.TransportError:
                    return False

            until(answered, f"{path} is not answered with {status}: {self.log.read_text(encoding='utf-8')[-3000:]}")


def until(look: Callable[[], Found], otherwise: str) -> Found:
    """What is looked for, once it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise ServerFailed(otherwise)


@contextmanager
def proxying(upstream: str, folder: Path, *, change: Callable[[str], str] = str) -> Iterator[Proxy]:
    """Caddy with the rules of deploy/ before the upstream; `change` plants a fault in the rules."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    # A container has its network to itself; here the proxy must not be seen from outside.
    rules = CADDYFILE.read_text(encoding="utf-8").replace("admin off", f"admin off\n\tdefault_bind {HOST}", 1)
    (folder / "Caddyfile").write_text(change(rules), encoding="utf-8")
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "SITE_ADDRESS": f"http://:{port}",
                "UPSTREAM": upstream,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        proxy = Proxy(f"http://{HOST}:{port}", log)
        proxy.await_status(404, "/metrics")  # which the proxy answers by itself
        yield proxy
    finally:
        process.kill()
        process.wait()


@contextmanager
def swallowing() -> Iterator[str]:
    """A service that is always ready and reads every body to its end; what it is given is its address."""
    with ThreadingHTTPServer((HOST, 0), _Swallower) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Swallower(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        if length is not None:
            self.rfile.read(int(length))
        else:
            while (size := int(self.rfile.readline() or b"0", 16)) > 0:
                self.rfile.read(size + 2)
            self.rfile.readline()
        self._answer(json.dumps(dict(self.headers.items())).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
