"""`live-memory serve`: one process, from its settings to a clean stop."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
import typer
import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from app.api.app import LiveMemory
from app.cli.bootstrap_key import with_bootstrap_key
from app.core.errors import Situation
from app.core.settings import InvalidSetting, Settings, StoreKind
from app.llm.endpoint import Endpoint
from app.main import create, set_up_logging

KEEP_ALIVE: Final = 75
"""Seconds; longer than a proxy keeps an idle connection, so that it never reuses one we are closing."""
GRACE: Final = 10
"""Seconds that running requests get after the stop signal."""
BACKLOG: Final = 2048

log = structlog.get_logger(__name__)


def serve(*, host: str | None, port: int | None, data_dir: Path | None, ready_file: Path | None) -> int:
    """Run the service until it is told to stop, and return the exit status."""
    try:
        settings = Settings.load(mcp_server_host=host, mcp_server_port=port, live_memory_data_dir=data_dir)
        set_up_logging(settings)
        key = with_bootstrap_key(settings)
        app = create(key.settings)
    except InvalidSetting as fault:
        return _refuse(str(fault), 2)
    try:
        listener = listen(settings.mcp_server_host, settings.mcp_server_port)
    except OSError as error:
        where = f"{settings.mcp_server_host}:{settings.mcp_server_port}"
        return _refuse(f"cannot listen on {where}: {(error.strerror or str(error)).lower()}.", 1)

    def announce() -> None:
        urls = addresses(settings, listener)
        if ready_file is not None:
            _write_whole(ready_file, json.dumps(urls) + "\n")
        for line in (*_banner(settings, urls), *key.sentences):
            typer.echo(line)
        sys.stdout.flush()

    server = Server(configuration(app, settings), app, notice=settings.drain_notice, announce=announce)
    with listener, asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        return runner.run(_run(app, server, listener))


async def _run(app: LiveMemory, server: "Server", listener: socket.socket) -> int:
    try:
        # Entered here and not by uvicorn, which would turn the reason of a failed start into a traceback.
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listener])
    except Situation as situation:
        return _refuse(situation.detail, 1)
    except OSError as error:
        return _refuse(f"cannot start: {error}.", 1)
    return 0


def configuration(app: LiveMemory, settings: Settings) -> uvicorn.Config:
    """How uvicorn is to behave: our log lines instead of its own, and no word about itself."""
    return uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips or None,
        backlog=BACKLOG,
        ws="none",
    )


class Server(uvicorn.Server):
    """uvicorn, which tells when it serves and ends with status 0 when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, app: LiveMemory, *, notice: float, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._notice = notice
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Open event streams would hold the stop without end: they go first."""
        self._app.state.services.jobs.drain()
        self._app.state.bridge.close()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Listen to the signals without raising them again afterwards: a stop that was asked for is a success."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Readiness goes first, so that a balancer looks elsewhere; a second signal does not wait for it."""
        is_first = not getattr(self._app.state, "draining", False)
        self._app.state.draining = True
        if is_first and self._notice:
            asyncio.get_running_loop().call_later(self._notice, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound and listens, so that a taken port is known before anything is opened."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def addresses(settings: Settings, listener: socket.socket) -> dict[str, str]:
    """Where each face answers, for a client on this machine."""
    host, port = settings.mcp_server_host, listener.getsockname()[1]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - an address to recognise, not to listen on
        host = "127.0.0.1"
    base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    urls = {"url": base, "rest": f"{base}/api/v1", "docs": f"{base}/docs", "mcp": f"{base}/mcp"}
    return urls | ({"sse": f"{base}/sse"} if settings.sse_enabled else {})


def _banner(settings: Settings, urls: dict[str, str]) -> list[str]:
    lines = [f"{settings.mcp_server_name} is serving."]
    lines += [f"{name:<10} {urls[name]}" for name in ("rest", "docs", "mcp", "sse") if name in urls]
    match settings.live_memory_store:
        case StoreKind.MEMORY:
            lines.append("memory     in this process only: it is lost at the end")
        case StoreKind.S3:
            lines.append(f"memory     bucket {settings.s3_bucket_name} at {settings.s3_endpoint_url or 'AWS'}")
        case StoreKind.DIRECTORY:
            lines.append(f"memory     {settings.live_memory_data_dir.absolute()}")
    if settings.llmaas_api_url:
        lines.append(f"model      {settings.llmaas_model} at {Endpoint(settings.llmaas_api_url, None).host}")
    return lines


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file never sees half of it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _refuse(sentence: str, status: int) -> int:
    typer.echo(f"live-memory: {sentence}", err=True)
    return status
