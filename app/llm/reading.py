"""What an endpoint sends, read as an answer."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from app.llm.client import Finish, Usage
from app.llm.sse import EventSplitter

_DONE: Final = "[DONE]"
_FINISHES: Final[Mapping[str, Finish]] = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "content_filter": Finish.REFUSED,
    "refusal": Finish.REFUSED,
    "safety": Finish.REFUSED,
}
"""All others mean that it has said what it wanted to say."""
_BROKEN: Final = frozenset({"error", "abort"})


class Unreadable(Exception):
    """This is no answer of an OpenAI-compatible endpoint."""


class ErrorInside(Exception):
    """The endpoint began with a success, and reports an error in the middle of it."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        """The number it names, or 500."""
        self.body = body


class Chunks:
    """Turns the bytes of an answer into its chunks, whether it comes as a stream or, although not asked for, whole."""

    def __init__(self) -> None:
        self._splitter = EventSplitter()
        self._whole: list[bytes] | None = None
        self._start = b""
        self._found = False
        self.is_done = False
        """The end was announced."""

    def feed(self, piece: bytes) -> list[Mapping[str, Any]]:
        """The chunks that are complete now."""
        if self._whole is not None:
            self._whole.append(piece)
            return []
        if not self._start:
            first = piece.removeprefix(b"\xef\xbb\xbf").lstrip()
            if first.startswith(b"{"):
                self._whole = [first]
                return []
            self._start = first[:1]
        return list(self._parsed(self._splitter.feed(piece)))

    def close(self) -> list[Mapping[str, Any]]:
        """What is left at the end.

        Raises:
            Unreadable: there was no chunk at all.
        """
        if self._whole is not None:
            chunk = _parse(b"".join(self._whole).decode("utf-8", "replace"))
            self.is_done = True
            return [chunk]
        chunks = list(self._parsed(self._splitter.close()))
        if not self._found:
            raise Unreadable
        return chunks

    def _parsed(self, events: Iterable[str]) -> Iterator[Mapping[str, Any]]:
        for event in events:
            # Some separate their events by a single line end, and then two of them look like one.
            for data in (event,) if "\n" not in event or _is_json(event) else event.split("\n"):
                if not data.strip():
                    continue
                self._found = True
                if data.strip() == _DONE:
                    self.is_done = True
                    return
                yield _parse(data)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(text: str) -> Mapping[str, Any]:
    try:
        chunk = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable from None
    if not isinstance(chunk, dict):
        raise Unreadable
    return chunk


class Reading:
    """An answer as far as it has come."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._said_no = False
        self.reasoning: list[str] = []
        """What the model said to itself: counted, never read."""
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        """As the endpoint counted; 0 where it did not."""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def prompt_tokens(self) -> int:
        """Of the prompt, as the endpoint counted them; 0 when it did not."""
        if self.usage is None:
            return 0
        # Some leave out what they had in their cache.
        return self.usage.prompt + (self.usage.cached if self.usage.cached > self.usage.prompt else 0)

    def take(self, chunk: Mapping[str, Any]) -> tuple[str, str]:
        """Keep a chunk, and return its text and its reasoning.

        Raises:
            ErrorInside: the chunk is an error.
        """
        if error := chunk.get("error"):
            raise ErrorInside(_status_of(error), json.dumps(error, ensure_ascii=False))
        if isinstance(counted := chunk.get("usage"), dict):
            self.usage = _usage(counted)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return "", ""
        said = choice.get("delta") or choice.get("message")
        content, reasoning = self._said(said) if isinstance(said, dict) else ("", "")
        if content:
            self._pieces.append(content)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            if reason in _BROKEN:
                raise ErrorInside(500, reason)
            self.finish = Finish.REFUSED if self._said_no else _FINISHES.get(reason, Finish.STOP)
        return content, reasoning

    def _said(self, said: Mapping[str, Any]) -> tuple[str, str]:
        if said.get("refusal"):
            self._said_no = True
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        thought = reasoning if isinstance(reasoning, str) else ""
        if thought:
            self.reasoning.append(thought)
        return _content(said.get("content")), thought


def _content(content: object) -> str:
    match content:
        case str():
            return content
        case list():
            # Typed parts, of which those that are not text are thoughts.
            return "".join(_content(part.get("text")) for part in content if _is_text(part))
    return ""


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _status_of(error: object) -> int:
    named = error.get("code", error.get("status")) if isinstance(error, dict) else None
    try:
        status = int(named) if isinstance(named, int | str) else 500
    except ValueError:
        return 500
    return status if 400 <= status <= 599 else 500  # noqa: PLR2004 - the errors of HTTP


def _usage(counted: Mapping[str, Any]) -> Usage:
    def number(within: object, *names: str) -> int:
        found = [within.get(name) for name in names] if isinstance(within, Mapping) else []
        return max((value for value in found if isinstance(value, int) and not isinstance(value, bool)), default=0)

    cached = number(counted.get("prompt_tokens_details"), "cached_tokens")
    return Usage(
        prompt=max(0, number(counted, "prompt_tokens")),
        completion=max(0, number(counted, "completion_tokens")),
        cached=max(0, cached or number(counted, "cached_tokens", "prompt_cache_hit_tokens")),
        reasoning=max(0, number(counted.get("completion_tokens_details"), "reasoning_tokens")),
    )
