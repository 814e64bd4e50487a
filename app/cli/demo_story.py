"""What the demo does and finds: printed by its report, looked at by its tests."""

from dataclasses import dataclass, field
from typing import Any, Final

from app.cli.demo_audit import Ledger

Json = dict[str, Any]

FOLDER: Final = "an empty folder"
"""Where the memory is kept when nobody has said otherwise."""


@dataclass(frozen=True, slots=True)
class HistoricNote:
    """A note of the example: what a contributor of a real project had to say about a change."""

    agent: str
    category: str
    content: str
    tags: str

    def arguments(self) -> Json:
        """The note as both faces take it."""
        return {"category": self.category, "content": self.content, "agent": self.agent, "tags": self.tags}


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    number: int
    over_mcp: int
    over_rest: int
    agents: int
    writing: float
    """Seconds until every note was acknowledged."""
    filing: float
    """Seconds until they were filed."""
    consolidated: Json

    @property
    def notes(self) -> int:
        return self.over_mcp + self.over_rest


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something a caller may not do, and what it was told."""

    attempt: str
    face: str
    expected: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Undo:
    """A version that was undone while what came after it stayed."""

    version: int
    last: Json
    """What the last round had changed."""
    reverted: Json


@dataclass(frozen=True, slots=True)
class Check:
    """A claim of the demo, and whether it held."""

    claim: str
    holds: bool


@dataclass(slots=True)
class Story:
    """Everything the demo did and found: what is printed, and what the tests look at."""

    processes: int = 1
    """How many serve the memory together."""
    place: str = FOLDER
    """Where it is kept."""
    model: str = ""
    """Who files the notes, in words; empty without a model."""
    tools: list[str] = field(default_factory=list)
    agents: dict[str, str] = field(default_factory=dict)
    """Token name, and the face it uses."""
    written: dict[str, str] = field(default_factory=dict)
    """Note id, and its content."""
    rounds: list[Round] = field(default_factory=list)
    found: Json = field(default_factory=dict)
    bank: Json = field(default_factory=dict)
    backup: Json = field(default_factory=dict)
    undo: Undo | None = None
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    ledger: Ledger | None = None
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    def check(self, claim: str, holds: bool) -> None:  # noqa: FBT001 - the claim's value
        self.checks.append(Check(claim, holds))

    @property
    def is_true(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)
