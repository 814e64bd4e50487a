"""A real client in front of a scripted endpoint on a real socket."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.cli.fake_authors import Author, Json
from app.cli.fake_llm import MODEL, FakeEndpoint, Received, Script
from app.llm.client import Message, Role
from app.llm.limits import Limits
from app.llm.openai import OpenAILLM
from tests.fakes.clock import FrozenClock
from tests.fakes.sleeper import Sleeper

KEY = "sk-the-key-that-nobody-may-see-0123456789"
ANSWER = '{"ops":[{"op":"append","at":"s1","text":"- Élodie a choisi \U0001f9ed à Bâle\u2028 — 10²"}],"skipped":[]}'
SCHEMA: Json = {"type": "object", "properties": {"ops": {"type": "array"}}, "required": ["ops"]}
MESSAGES = (
    Message(Role.SYSTEM, "You keep the memory of a project. Answer with JSON."),
    Message(Role.USER, "Une note : l'équipe a choisi PostgreSQL 16 — décision de Zoé. " * 10),
)
SHORT = Limits(connect=5, write=5, pool=5, first_byte=20, between_chunks=20, without_content=20, health=5)
"""Nothing here waits that long; a test of a limit makes that one shorter."""

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Not used on loopback; a default one would be made anew for each test, which takes long."""


def writes(text: str) -> Author:
    """An author who always writes the same."""
    return lambda _messages, _schema: text


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """An endpoint that sends exactly these bytes, one answer after the other, and then the last one always."""
    left = list(answers)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        # Who has read enough may be gone by now.
        with suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@dataclass(slots=True)
class Asked:
    """A client, its endpoint, and the means to see what happened between them."""

    llm: OpenAILLM
    endpoint: FakeEndpoint
    sleeper: Sleeper
    clock: FrozenClock
    heard: list[str] = field(default_factory=list)

    @property
    def requests(self) -> Sequence[Received]:
        return self.endpoint.requests


@asynccontextmanager
async def asking(
    script: Script = (),
    author: Author | None = None,
    *,
    limits: Limits = SHORT,
    structured: str = "auto",
    model: str = MODEL,
    window: int = 100_000,
    served_window: int = 100_000,
) -> AsyncIterator[Asked]:
    """A client that is opened, in front of an endpoint that serves."""
    clock, sleeper = FrozenClock(), Sleeper()
    endpoint = FakeEndpoint(script, author or writes(ANSWER), window=served_window, clock=clock)
    async with endpoint.serving() as url:
        llm = OpenAILLM(
            url=url,
            key=SecretStr(KEY),
            model=model,
            clock=clock,
            window=window,
            structured=structured,
            price_in=1.8,
            price_out=8.0,
            limits=limits,
            tls=TLS,
            sleep=sleeper,
        )
        async with llm.opened():
            yield Asked(llm, endpoint, sleeper, clock)
