"""An OpenAI-compatible endpoint that behaves as it is told: well, badly, or not at all.

It speaks HTTP itself, since a web framework would not let it break off, fall silent or cut a letter in two.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from app.cli.fake_answers import Answer, Gone, Head
from app.cli.fake_authors import Author, Json
from app.cli.fake_moods import Mood
from app.core.clock import Clock, SystemClock

MODEL: Final = "fake"
BYTES_PER_TOKEN: Final = 4
"""Nobody's vocabulary, but near to several."""
_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_BODY: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Received:
    """A request, and what was done with it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    raw: bytes
    body: Json
    mood: Mood = Mood.PLAIN
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The client left before the end of the answer."""

    @property
    def messages(self) -> list[dict[str, str]]:
        return list(self.body.get("messages", ()))

    @property
    def schema(self) -> Json | None:
        """What the answer should keep to, if the request says it."""
        form = self.body.get("response_format") or {}
        schema = (form.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else None


Script = Sequence[Mood] | Callable[[int, Received], Mood]
"""The moods of the first requests, which are plain afterwards; or which mood the nth request, from 0, meets."""


def nothing(_messages: list[dict[str, str]], _schema: Json | None) -> str:
    """An answer that is valid, and does nothing."""
    return '{"ops":[],"skipped":[],"synthesis":""}'


def tokens(text: str) -> int:
    """How many tokens the endpoint counts."""
    return ceil(len(text.encode()) / BYTES_PER_TOKEN)


class FakeEndpoint:
    """An endpoint on loopback, and everything that it was asked."""

    def __init__(
        self,
        script: Script = (),
        author: Author = nothing,
        *,
        model: str = MODEL,
        window: int = 100_000,
        clock: Clock | None = None,
    ) -> None:
        self._script = script
        self._author = author
        self._model = model
        self._window = window
        self._clock = clock or SystemClock()
        self._connections: set[asyncio.Task[Any]] = set()
        self.requests: list[Received] = []
        """Those that ask for an answer, in their order."""
        self.listings: list[Received] = []
        """Those that ask for the models."""
        self.asked = asyncio.Event()
        """Set by each request for an answer."""

    @asynccontextmanager
    async def serving(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Answers while the context lasts, at the address it gives, `/v1` included."""
        server = await asyncio.start_server(self._connected, host, port, limit=_LONGEST_HEAD)
        name = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{name}:{server.sockets[0].getsockname()[1]}/v1"
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            if received := await _receive(reader):
                await self._answer(received, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # Who does not finish asking is not answered.
            pass
        except asyncio.CancelledError:
            # The end of serving; the server would complain about a cancelled connection.
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = Head(writer)
        match received.method, received.path.partition("?")[0]:
            case "GET", "/v1/models":
                self.listings.append(received)
                listed = {"id": self._model, "object": "model", "max_model_len": self._window, "aliases": []}
                await head.body(200, {"object": "list", "data": [listed]})
            case "POST", "/v1/chat/completions":
                received.mood = self._mood(received)
                self.requests.append(received)
                self.asked.set()
                await self._write(received, reader, writer)
            case _:
                await head.body(404, {"error": {"message": "There is nothing here.", "code": 404}})

    def _mood(self, received: Received) -> Mood:
        number = len(self.requests)
        if callable(self._script):
            return self._script(number, received)
        return self._script[number] if number < len(self._script) else Mood.PLAIN

    async def _write(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = received.messages
        if received.mood is Mood.FRONT_TRUNCATION:
            messages = [_without_front(messages)]
        answer = Answer(
            text=self._author(messages, received.schema),
            model=str(received.body.get("model", "")),
            prompt_tokens=sum(tokens(message["content"]) for message in messages),
            count=tokens,
            tells_usage=bool((received.body.get("stream_options") or {}).get("include_usage")),
            now=self._clock.now(),
            asked=received.body,
            bearer=received.headers.get("authorization", "").removeprefix("Bearer "),
        )
        try:
            await answer.write(received.mood, reader, writer)
        except (Gone, ConnectionError):
            received.gone.set()


def _without_front(messages: Sequence[Mapping[str, str]]) -> dict[str, str]:
    text = "\n".join(message["content"] for message in messages)
    return {"role": "user", "content": text[-len(text) // 4 :]}


async def _receive(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = (*first.split(" "), "", "")[:3]
    named = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in named}
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > _LONGEST_BODY:
        return None
    raw = await reader.readexactly(int(length))
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        return None
    return Received(method, path, headers, raw, body if isinstance(body, dict) else {})
