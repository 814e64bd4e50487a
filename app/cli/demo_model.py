"""The model of the demo: a scripted endpoint on loopback, which costs nothing and is in whatever mood."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from app.cli.demo_story import Json, Story
from app.cli.fake_authors import AUTHORS, Author
from app.cli.fake_llm import MODEL, FakeEndpoint, Received
from app.cli.fake_moods import Mood

WELL: Final = "perfect"
WORST: Final = "worst"
WORST_AUTHORS: Final = (
    "perfect", "garbage", "hostile", "lying", "lossy", "empty", "vague", "perfect", "lazy", "inventing", "lossy-prose",
)  # fmt: skip
WORST_MOODS: Final = (
    Mood.PLAIN, Mood.RESET_MID_STREAM, Mood.UNAVAILABLE, Mood.NO_JSON_SCHEMA, Mood.LENGTH, Mood.PLAIN, Mood.HTML,
    Mood.WHITESPACE_FLOOD, Mood.UTF8_SPLIT, Mood.REPETITION, Mood.STALL, Mood.REASONING, Mood.NO_FINISH, Mood.REFUSAL,
    Mood.RESET_BEFORE_HEADERS, Mood.JSON_BODY, Mood.CONTEXT_OVERFLOW, Mood.ERROR_IN_STREAM, Mood.NO_USAGE,
    Mood.CONTENT_FILTER, Mood.BROKEN, Mood.FRONT_TRUNCATION, Mood.CRLF,
)  # fmt: skip
"""One after the other, and from the start again: good ones in between, so that it never is left alone for good."""
_PRICES: Final = {"LLM_PRICE_INPUT": "0.5", "LLM_PRICE_OUTPUT": "2"}
"""Made up, of a million tokens: so that costs are seen."""
_PATIENCE: Final = {"CONSOLIDATION_TIMEOUT": "5"}
"""Seconds for an endpoint of which it is known that it will fall silent."""


class UnknownName(Exception):
    """There is neither an author nor a mood of that name; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """Who writes the answers, and how they are sent: each in turn, from one request to the next."""

    authors: tuple[str, ...] = (WELL,)
    moods: tuple[Mood, ...] = (Mood.PLAIN,)

    @classmethod
    def named(cls, names: str) -> "ScriptedModel":
        """The model of a list of names, separated by commas.

        Raises:
            UnknownName: one of them is none.
        """
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if wanted == [WORST]:
            return cls(WORST_AUTHORS, WORST_MOODS)
        if unknown := [name for name in wanted if name not in AUTHORS and name not in set(Mood)]:
            known = ", ".join(AUTHORS)
            raise UnknownName(
                f"there is no author and no mood '{unknown[0]}': say {WORST}, authors ({known}) or moods, which "
                "`live-memory fake-llm --list` shows"
            )
        authors = tuple(name for name in wanted if name in AUTHORS)
        moods = tuple(Mood(name) for name in wanted if name not in AUTHORS)
        return cls(authors or (WELL,), moods or (Mood.PLAIN,))

    @property
    def said(self) -> str:
        """The model in a few words."""
        if (self.authors, self.moods) == (WORST_AUTHORS, WORST_MOODS):
            return "a scripted model in its worst moods"
        shown = [*self.authors, *(mood.value for mood in self.moods if mood is not Mood.PLAIN)]
        return f"a scripted model ({', '.join(shown)})"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Mapping[str, str]]:
        """It answers while the context lasts; what is given are the settings of a service that uses it."""

        def mood(number: int, _received: Received) -> Mood:
            return self.moods[number % len(self.moods)]

        patience = {} if self.moods == (Mood.PLAIN,) else _PATIENCE
        async with FakeEndpoint(mood, _in_turn([AUTHORS[name] for name in self.authors])).serving() as url:
            yield {"LLMAAS_API_URL": url, "LLMAAS_API_KEY": "any", "LLMAAS_MODEL": MODEL, **_PRICES, **patience}


def _in_turn(authors: Sequence[Author]) -> Author:
    answered = 0

    def write(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> str:
        nonlocal answered
        answered += 1
        return authors[(answered - 1) % len(authors)](messages, schema)

    return write


@dataclass(frozen=True, slots=True)
class Share:
    """What the model did in all rounds."""

    notes: int
    extracted: int
    """Notes that were filed word for word, since the model did not file them well."""
    calls: int
    repairs: int
    refused: int
    """Edits that it wanted and did not get."""
    tokens: int
    cost: float

    @classmethod
    def of(cls, story: Story) -> "Share":
        """As the consolidations told it."""

        def total(name: str) -> Any:  # noqa: ANN401 - a whole number, or what calls cost
            return sum(_told(one.consolidated, name) for one in story.rounds)

        extracted = total("notes_extracted")
        return cls(
            notes=total("notes_processed") - extracted,
            extracted=extracted,
            calls=total("llm_calls"),
            repairs=total("repairs"),
            refused=total("operations_failed"),
            tokens=total("llm_tokens_used"),
            cost=total("llm_cost"),
        )


def _told(consolidated: Json, name: str) -> Any:  # noqa: ANN401 - as above
    return consolidated.get(name) or 0
