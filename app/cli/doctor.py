"""`live-memory doctor`: is everything in place, here and at the service, and if not, what to do."""

import asyncio
from collections.abc import Iterator

from app.cli.connection import Connection, resolve
from app.cli.findings import Finding, is_well, ok, problem, report, skipped
from app.cli.local_checks import folder, load_settings
from app.cli.model_checks import model
from app.cli.profiles import Unusable
from app.cli.render import Screen
from app.cli.server_checks import service
from app.core.clock import SystemClock
from app.core.errors import Situation
from app.core.logging import configure_logging
from app.core.settings import InvalidSetting, Settings, StoreKind
from app.main import OBJECTS, make_store

_FAILED = 1


def doctor(connection: Connection, *, local: bool, as_json: bool, screen: Screen | None = None) -> int:
    """Look at everything, and return the exit status: 0 when there is no problem."""
    screen = screen or Screen()
    # What is found is shown below; a log between would spoil the JSON.
    configure_logging(level="ERROR")
    findings = [*(_here() if local else ()), *_there(connection)]
    report(findings, screen, as_json=as_json)
    return 0 if is_well(findings) else _FAILED


def _here() -> Iterator[Finding]:
    settings, found = load_settings()
    yield from found
    if settings is None:
        yield skipped("store", "the settings come first")
        yield skipped("model", "the settings come first")
        return
    match settings.live_memory_store:
        case StoreKind.MEMORY:
            yield ok("store", "in the memory of the process: it is lost at the end")
        case StoreKind.DIRECTORY:
            yield from folder(settings.live_memory_data_dir)
            # Opening a store makes its folder, which is for the service to do, as its own user.
            if (settings.live_memory_data_dir / OBJECTS).exists():
                yield asyncio.run(_store(settings))
        case StoreKind.S3:
            yield from asyncio.run(_bucket(settings))
    yield model(settings)


async def _bucket(settings: Settings) -> list[Finding]:
    """What the bucket can be trusted with."""
    from app.cli import s3_checks  # noqa: PLC0415 - it brings the client of S3
    from app.storage.bucket import bucket  # noqa: PLC0415 - as above

    store = bucket(settings, SystemClock())
    async with store.opened():
        return [finding async for finding in s3_checks.bucket(store)]


async def _store(settings: Settings) -> Finding:
    """Whether the store can be opened and listed, as the service does it."""
    try:
        store = make_store(settings, SystemClock())
        async with store.opened():
            await anext(aiter(store.list("", delimiter="/")))
    except InvalidSetting as fault:
        return problem("store", str(fault), "Correct the settings of the store.")
    except (Situation, OSError) as error:
        return problem("store", str(error), "Check the folder or the address, the credentials and the bucket.")
    return ok("store", f"{store.location} answers")


def _there(connection: Connection) -> Iterator[Finding]:
    try:
        target = resolve(connection)
    except Unusable as fault:
        yield problem("connection", str(fault), "Correct the option, the variable or the profile.")
        return
    yield from service(target)
