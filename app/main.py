"""The process: settings, then a store, then the services, then the faces. The only reader of settings."""

import gc
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, assert_never

from app import __version__
from app.api.app import LiveMemory, create_app
from app.api.body import MAX_BODY
from app.bootstrap import Services, build_services
from app.catalogue import CATALOGUE
from app.core.clock import Clock, SystemClock
from app.core.logging import configure_logging
from app.core.settings import InvalidSetting, LogFormat, Settings, StoreKind
from app.llm.client import LLM
from app.mcp.bridge import McpBridge
from app.storage.directory import DirectoryStore
from app.storage.memory import MemoryStore
from app.storage.store import ObjectStore

OBJECTS: Final = "objects"
"""Folder of the store inside the data folder: what lies beside it can be reached through no key."""


def create(settings: Settings | None = None) -> LiveMemory:
    """The whole service as an application that opens nothing before its lifespan begins.

    Without settings it reads them, and sets up the log: so it can be given to any ASGI server as a factory.

    Raises:
        InvalidSetting: the settings ask for something that cannot be had.
    """
    if settings is None:
        settings = Settings.load()
        set_up_logging(settings)
    clock = SystemClock()
    store = make_store(settings, clock)
    return assemble(build_services(store, clock, settings, make_llm(settings, clock)), store, settings)


def set_up_logging(settings: Settings) -> None:
    """Let the log look as the settings say."""
    is_terminal = settings.log_format is LogFormat.AUTO and sys.stderr.isatty()
    human = is_terminal or settings.log_format is LogFormat.CONSOLE
    configure_logging(level=settings.log_level.value, human=human)


def make_store(settings: Settings, clock: Clock) -> ObjectStore:
    """The object store that the settings name, not opened yet."""
    match settings.live_memory_store:
        case StoreKind.MEMORY:
            return MemoryStore(clock)
        case StoreKind.DIRECTORY:
            return DirectoryStore(settings.live_memory_data_dir / OBJECTS, clock, fsync=settings.store_fsync)
        case StoreKind.S3:
            from app.storage.bucket import probed_bucket  # noqa: PLC0415 - the client of S3 takes a second to import

            return probed_bucket(settings, clock)
        case never:
            assert_never(never)


def make_llm(settings: Settings, clock: Clock) -> LLM | None:
    """The model that the settings name, not opened yet; None when they name none.

    Raises:
        InvalidSetting: the address or the key cannot be used.
    """
    if not settings.llmaas_api_url:
        return None
    from app.llm.openai import OpenAILLM  # noqa: PLC0415 - the HTTP client takes a while to import

    try:
        return OpenAILLM(
            url=settings.llmaas_api_url,
            key=settings.llmaas_api_key,
            model=settings.llmaas_model,
            clock=clock,
            temperature=settings.llmaas_temperature,
            max_tokens=settings.llmaas_max_tokens,
            window=settings.llm_context_window,
            structured=settings.llm_structured.value,
            price_in=settings.llm_price_input,
            price_out=settings.llm_price_output,
            tls=_trusting(settings.llm_ca_file),
        )
    except (ValueError, ssl.SSLError) as error:
        raise InvalidSetting(str(error)) from None


def _trusting(certificates: Path | None) -> ssl.SSLContext | None:
    if certificates is None:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(certificates)
    return context


def assemble(services: Services, store: ObjectStore, settings: Settings) -> LiveMemory:
    """The application over services that are already built, with both faces."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:  # noqa: ANN401 - whatever the framework passes
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(store.opened())
            await opened.enter_async_context(services.opened())
            await opened.enter_async_context(bridge.run())
            _settle_memory()
            yield

    app = create_app(
        services,
        CATALOGUE,
        services.authenticator,
        name=settings.mcp_server_name,
        version=__version__,
        hosts=settings.hosts,
        origins=settings.origins,
        lifespan=lifespan,
    )
    bridge = app.state.bridge = McpBridge(
        app,
        app.operations,
        name=settings.mcp_server_name,
        version=__version__,
        authenticator=services.authenticator,
        tools=settings.mcp_tools.value,
        allowed_hosts=settings.mcp_hosts,
        allowed_origins=settings.origins,
        sse=settings.sse_enabled,
        max_body=MAX_BODY,
    )
    bridge.mount()
    return app


def _settle_memory() -> None:
    """Keep what was made at start-up out of every later collection: it stays for the life of the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 25, 50)
