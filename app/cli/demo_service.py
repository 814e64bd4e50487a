"""The service of the demo: a real process of its own on a folder of its own, gone afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.settings import Settings

ROOT: Final = Path(__file__).parents[2]
START: Final = 60.0
"""Seconds the service may take until it serves."""
STOP: Final = 20.0
"""Seconds it may take to stop when it is asked to."""
_LOOK_EVERY: Final = 0.02
_SHOWN_LINES: Final = 12


class ServiceFailed(Exception):
    """The service did not start, or did not stop as it should; the message shows the end of its log."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """Where the service answers, and where it keeps its memory."""

    urls: dict[str, str]
    folder: Path
    seconds: float
    """How long it took until it served."""

    @property
    def rest(self) -> str:
        return self.urls["rest"]

    @property
    def mcp(self) -> str:
        return self.urls["mcp"]

    @property
    def admin_key(self) -> str:
        """The key that the first start made and kept."""
        return (self.folder / "bootstrap.key").read_text(encoding="utf-8").strip()

    @property
    def objects(self) -> Path:
        return self.folder / "objects"


@contextmanager
def running_service(
    folder: Path, settings: Mapping[str, str] | None = None, *, name: str = "service"
) -> Iterator[RunningService]:
    """Serve from the folder while the context lasts, or from where the settings say; several may share it.

    Raises:
        ServiceFailed: it did not start, or its end was not the clean one.
    """
    ready, journal = folder / f"{name}.json", folder / f"{name}.log"
    ready.unlink(missing_ok=True)
    began = time.monotonic()
    with journal.open("wb") as log:
        command = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--data-dir", str(folder), "--ready-file", str(ready)],
            cwd=folder,
            env={**_environment(), **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        urls = _urls(process, ready, until=began + START)
        if urls is None:
            raise ServiceFailed(f"The service did not start.\n{_end_of(journal)}")  # noqa: TRY301 - it is stopped below
        yield RunningService(urls, folder, time.monotonic() - began)
    except BaseException:
        _stop(process)
        raise
    if (status := _stop(process)) != 0:
        raise ServiceFailed(f"The service ended with status {status}.\n{_end_of(journal)}")


def _urls(process: subprocess.Popen[bytes], ready: Path, *, until: float) -> dict[str, str] | None:
    """Where the service answers, once it does; None when it has ended or takes too long."""
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            return None
        time.sleep(_LOOK_EVERY)
    urls: dict[str, str] = json.loads(ready.read_text(encoding="utf-8"))
    return urls


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _environment() -> dict[str, str]:
    """Ours without any setting of the service: the demo shows what it does when nobody has configured it."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    known = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(known), "PYTHONUNBUFFERED": "1"}


def _end_of(journal: Path) -> str:
    lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_SHOWN_LINES:])
