"""A model behind an OpenAI-compatible endpoint: the only file that sends it anything."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, cast

import httpx
import structlog
from pydantic import SecretStr

from app.core.clock import Clock
from app.llm import faults
from app.llm.breaker import Breaker
from app.llm.capabilities import Capabilities, Learned, Structured
from app.llm.client import Completion, FailureKind, Finish, LLMFailed, LLMHealth, Message, Usage
from app.llm.endpoint import Endpoint
from app.llm.limits import Limits
from app.llm.listing import Listing
from app.llm.question import Question
from app.llm.reading import Chunks, ErrorInside, Reading, Unreadable
from app.llm.retries import TryAgain, repeated, server_delay
from app.llm.tokens import Calibration, count_messages
from app.llm.watchdogs import Watchdog
from app.llm.window import Window

AUTO: Final = "auto"
"""Whatever the endpoint can do, the strictest first."""
_DEFAULT_LIMITS: Final = Limits()
_CUT: Final = frozenset({Finish.WHITESPACE_FLOOD, Finish.REPETITION, Finish.TOO_LONG})
_MEANING: Final[Mapping[FailureKind, str]] = {
    FailureKind.AUTH: "The endpoint does not accept the key.",
    FailureKind.CONTEXT: "The prompt is too long for the model.",
    FailureKind.REQUEST: "The endpoint does not accept the request.",
}

log = structlog.get_logger(__name__)


class _TurnedAway(Exception):
    """The endpoint answered, and did not begin to work: nothing was paid."""

    def __init__(self, status: int, text: str, delay: float | None) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.delay = delay


class _OptionRefused(Exception):
    """The endpoint does not know an option; the request may be made again without it."""

    def __init__(self, left: Capabilities) -> None:
        super().__init__()
        self.left = left


_UNPAID: Final = (_TurnedAway, httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteTimeout)
"""The endpoint did not get the request, or did not want it."""


class OpenAILLM:
    """A model behind an endpoint that speaks the language of OpenAI; usable inside `opened`."""

    def __init__(
        self,
        *,
        url: str,
        key: SecretStr | None,
        model: str,
        clock: Clock,
        temperature: float = 0.3,
        max_tokens: int = 100_000,
        window: int = 100_000,
        structured: str = AUTO,
        price_in: float = 0.0,
        price_out: float = 0.0,
        limits: Limits = _DEFAULT_LIMITS,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`url` includes `/v1`, `max_tokens` is a cap, the prices are for a million tokens, `tls` says whom to trust.

        Raises:
            ValueError: the address, the key or `structured` cannot be used; the message shows no key.
        """
        self._endpoint = Endpoint(url, key)
        self._model = model
        self._clock = clock
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._prices = (price_in, price_out)
        self._limits = limits
        self._tls = tls
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None
        self._breaker = Breaker(clock, limits)
        self._calibration = Calibration()
        self._window = Window(window, clock, limits)
        is_fixed = structured != AUTO
        at_first = Capabilities(Structured(structured) if is_fixed else Structured.JSON_SCHEMA, is_fixed=is_fixed)
        self._learned = Learned(at_first, clock, limits)
        self._health: LLMHealth | None = None
        self._health_until = 0.0
        self._asking_health = asyncio.Lock()

    def __repr__(self) -> str:
        return f"OpenAILLM({self._model!r}, {self._endpoint!r})"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["OpenAILLM"]:
        """Usable while the context lasts; its connections end with it."""
        limits = self._limits
        timeout = httpx.Timeout(connect=limits.connect, read=limits.first_byte, write=limits.write, pool=limits.pool)
        # The environment must not send our prompts through a proxy, nor add credentials of its own.
        client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=timeout,
            headers=self._endpoint.headers(),
            verify=self._tls or True,
        )
        async with client:
            self._client = client
            try:
                yield self
            finally:
                self._client = None

    @property
    def model(self) -> str:
        return self._model

    @property
    def window(self) -> int:
        return self._window.tokens

    def estimate(self, text: str) -> int:
        return self._calibration.estimate(text)

    def cost(self, usage: Usage) -> float:
        return usage.cost(*self._prices)

    def job_failed(self) -> None:
        self._breaker.job_failed()

    def job_succeeded(self) -> None:
        self._breaker.job_succeeded()

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int,
        seconds: float,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        if not self._breaker.lets_through():
            detail = f"The model failed again and again; it is asked again in {self._breaker.seconds_left:.0f} seconds."
            raise LLMFailed(FailureKind.CIRCUIT_OPEN, detail)
        call = Question(
            messages, schema, max_tokens, on_text, counted=count_messages(messages), may=self._learned.current()
        )
        if seconds <= 0:
            raise _out_of_time(call)
        began = self._clock.monotonic()
        now = asyncio.get_running_loop().time
        by = now() + seconds
        try:
            async with asyncio.timeout_at(by) as deadline:
                completion = await repeated(
                    lambda: self._attempt(call), self._limits, seconds_left=lambda: by - now(), sleep=self._sleep
                )
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _out_of_time(call) from None
        except TryAgain as failure:
            if call.attempts < self._limits.attempts:
                raise _out_of_time(call, failure) from None
            detail = f"The model failed {call.attempts} times: {failure.detail}"
            raise LLMFailed(FailureKind.UNREACHABLE, detail, usage=call.usage, attempts=call.attempts) from None
        self._breaker.answered()
        return replace(completion, attempts=call.attempts, seconds=self._clock.monotonic() - began)

    async def _attempt(self, call: Question) -> Completion:
        """One attempt, made again at once without each option that the endpoint refuses."""
        call.attempts += 1
        tried = {call.may}
        while True:
            try:
                return await self._ask(call, tried)
            except _OptionRefused as refused:
                call.may = refused.left
                tried.add(call.may)
                log.info("llm_option_refused", model=self._model, structured=call.may.structured.value)

    async def _ask(self, call: Question, tried: set[Capabilities]) -> Completion:
        reading = Reading()
        verdict: Exception | Completion
        try:
            finish = await self._stream(call, reading)
        except _TurnedAway as away:
            verdict = self._judged(call, tried, away)
        except ErrorInside as error:
            broken = _TurnedAway(error.status, self._endpoint.scrubbed(error.body), None)
            verdict = self._judged(call, tried, broken)
            if isinstance(verdict, LLMFailed) and verdict.kind is FailureKind.REQUEST:
                # It had accepted the request, so that cannot be what is wrong.
                verdict = TryAgain(f"The endpoint broke off with {_said(broken)}")
        except Unreadable:
            verdict = TryAgain("The endpoint sent something that is no answer of a model.")
        except (httpx.TransportError, httpx.DecodingError) as error:
            verdict = TryAgain(f"The connection to the endpoint failed ({type(error).__name__}).")
        else:
            return self._concluded(call, reading, finish)
        if isinstance(verdict, Completion):
            return verdict
        # Without its cause, whose request holds the prompt and the key.
        raise verdict from None

    async def _stream(self, call: Question, reading: Reading) -> Finish:
        """Make one request and read its answer to the end, or to where it is cut off."""
        if self._client is None:
            raise RuntimeError("A model is used inside `opened()`.")
        began = asyncio.get_running_loop().time()
        prompt = self._calibration.at_most(call.counted)
        room = self._window.room(prompt, min(call.max_tokens, self._max_tokens))
        content = call.body(model=self._model, temperature=self._temperature, max_tokens=room)
        try:
            async with self._client.stream(
                "POST",
                self._endpoint.at("/chat/completions"),
                content=content,
                headers={"Content-Type": "application/json"},
            ) as response:
                await self._welcomed(response)
                finish = await self._read(response, reading, call, began)
        except BaseException as error:
            # Also when it is cancelled: what was sent may have to be paid.
            if not isinstance(error, _UNPAID):
                call.pay(reading, self._calibration)
            raise
        call.pay(reading, self._calibration)
        return finish

    async def _welcomed(self, response: httpx.Response) -> None:
        if (status := response.status_code) == httpx.codes.OK:
            return
        body = b""
        try:
            async with asyncio.timeout(self._limits.between_chunks), _pieces(response) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > self._limits.longest_refusal:
                        break
        except (TimeoutError, httpx.TransportError, httpx.DecodingError) as error:
            # The number alone says enough.
            log.info("llm_refusal_unread", status=status, error=type(error).__name__)
        text = self._endpoint.scrubbed(body.decode("utf-8", "replace"))
        raise _TurnedAway(status, text, server_delay(status, response.headers, self._clock.now()))

    async def _read(self, response: httpx.Response, reading: Reading, call: Question, began: float) -> Finish:
        limits, now = self._limits, asyncio.get_running_loop().time
        watchdog, chunks = Watchdog(limits), Chunks()
        content_by = alive_by = began + limits.first_byte
        size = 0
        async with _pieces(response) as pieces:
            piece: bytes | None = b""
            while piece is not None and not chunks.is_done:
                try:
                    async with asyncio.timeout_at(min(content_by, alive_by)):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    raise TryAgain("The endpoint fell silent.") from None
                alive_by = now() + limits.between_chunks
                for chunk in chunks.close() if piece is None else chunks.feed(piece):
                    text, reasoning = reading.take(chunk)
                    if text or reasoning:
                        content_by = now() + limits.without_content
                    if text and call.on_text is not None:
                        call.on_text(text)
                    if why := watchdog.sees(text) or watchdog.hears(reasoning):
                        return why
                size += len(piece or b"")
                if size > limits.longest_body:
                    return Finish.TOO_LONG
        if reading.finish is None and not (chunks.is_done and reading.text):
            raise TryAgain("The answer of the endpoint ended in the middle.")
        return reading.finish or Finish.STOP

    def _concluded(self, call: Question, reading: Reading, finish: Finish) -> Completion:
        """An answer that came to its end, or was cut off here."""
        told = reading.prompt_tokens
        if told and self._calibration.is_short(told, call.counted):
            self._window.narrow(told)
            detail = (
                f"The endpoint read {told} tokens of a prompt of about {self._calibration.likely(call.counted)}: "
                "it cut the rest without a word, so its answer is not used."
            )
            raise LLMFailed(FailureKind.CONTEXT, detail, usage=call.usage, attempts=call.attempts)
        self._calibration.observe(told, call.counted)
        may, structured = call.may, call.structured
        if reading.reasoning:
            may = may.thinking_seen()
        if finish in _CUT:
            log.info("llm_cut_off", model=self._model, why=finish.value, structured=structured.value)
            may = may.lowered() if structured is not Structured.NONE else may
        self._learned.learn(may)
        return Completion(
            text=reading.text, finish=finish, usage=call.usage, structured=structured.value, model=self._model
        )

    def _judged(self, call: Question, tried: set[Capabilities], away: _TurnedAway) -> Exception | Completion:
        """What follows from a refusal."""
        status, text = away.status, away.text
        kind = faults.kind_of(status, text)
        if kind is FailureKind.CONTEXT:
            self._window.narrow(faults.window_in(text) or 0)
        elif faults.is_filtered(status, text):
            return Completion(text="", finish=Finish.REFUSED, usage=call.usage, model=self._model)
        elif len(tried) <= self._limits.refused_options:
            # The name of a model may contain the name of an option.
            left = call.may.without_refused(
                status, text.replace(self._model, ""), is_structured=call.structured is not Structured.NONE
            )
            if left is not None and left not in tried:
                return _OptionRefused(left)
        if kind is None:
            return TryAgain(f"The endpoint answered {_said(away)}", delay=away.delay)
        detail = f"{_MEANING[kind]} It answered {_said(away)}"
        return LLMFailed(kind, detail, usage=call.usage, attempts=call.attempts)

    async def health(self) -> LLMHealth:
        async with self._asking_health:
            if self._health is None or self._clock.monotonic() >= self._health_until:
                self._health = await self._ask_health()
                self._health_until = self._clock.monotonic() + self._limits.health_kept
            return self._health

    async def _ask_health(self) -> LLMHealth:
        where = f"The endpoint at {self._endpoint.host}"
        if self._client is None:
            return self._unhealthy("The model is not in use.")
        try:
            async with (
                asyncio.timeout(self._limits.health),
                self._client.stream("GET", self._endpoint.at("/models")) as response,
            ):
                body = await _beginning(response, self._limits.longest_listing)
        except (TimeoutError, httpx.TransportError, httpx.DecodingError) as error:
            return self._unhealthy(f"{where} does not answer ({type(error).__name__}).")
        if response.status_code != httpx.codes.OK:
            away = _TurnedAway(response.status_code, self._endpoint.scrubbed(body.decode("utf-8", "replace")), None)
            return self._unhealthy(f"{where} answered {_said(away)}")
        is_too_long = len(body) > self._limits.longest_listing
        listing = None if is_too_long else Listing.read(body)
        if listing is None:
            why = "answers with more than a list of models" if is_too_long else "does not list its models"
            return self._unhealthy(f"{where} {why}; its address may lack a /v1.")
        found = listing.find(self._model)
        if found is None:
            return self._unhealthy(f"{where} has no model '{self._model}'.", listing)
        self._window.narrow(found.window or 0)
        message = f"{where} has the model; it takes {self._window.tokens} tokens."
        return LLMHealth(ok=True, message=message, model=self._model, models=listing.names)

    def _unhealthy(self, message: str, listing: Listing | None = None) -> LLMHealth:
        return LLMHealth(ok=False, message=message, model=self._model, models=listing.names if listing else ())


def _pieces(response: httpx.Response) -> aclosing[AsyncGenerator[bytes, None]]:
    """The bytes of an answer; whoever leaves before their end must close them."""
    return aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes()))


async def _beginning(response: httpx.Response, limit: int) -> bytes:
    """The answer, or its beginning when it is longer than that."""
    body = bytearray()
    async with _pieces(response) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > limit:
                break
    return bytes(body)


def _said(away: _TurnedAway) -> str:
    words = faults.words_of(away.text)
    return f"{away.status}: {words}" if words else f"{away.status}."


def _out_of_time(call: Question, failure: TryAgain | None = None) -> LLMFailed:
    detail = "The model did not answer in time."
    if failure is not None and failure.delay is not None:
        detail = f"{detail} The next attempt would have had to wait {failure.delay:.0f} seconds: {failure.detail}"
    return LLMFailed(FailureKind.DEADLINE, detail, usage=call.usage, attempts=call.attempts)
