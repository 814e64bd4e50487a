"""What `live-memory doctor` finds: each thing that was looked at, how it is, and what to do about it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from app.cli.render import Screen, cell, table


class Verdict(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something about it should be known."""
    PROBLEM = "problem"
    SKIPPED = "skipped"
    """It was not looked at."""


_COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red", Verdict.SKIPPED: "dim"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    """What was seen."""
    advice: str = ""
    """What to do, in one sentence; empty when there is nothing to do."""


def ok(name: str, detail: str) -> Finding:
    """All is well with it."""
    return Finding(name, Verdict.OK, detail)


def warning(name: str, detail: str, advice: str) -> Finding:
    """It works, but."""
    return Finding(name, Verdict.WARNING, detail, advice)


def problem(name: str, detail: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(name, Verdict.PROBLEM, detail, advice)


def skipped(name: str, detail: str, advice: str = "") -> Finding:
    """Nobody looked at it."""
    return Finding(name, Verdict.SKIPPED, detail, advice)


def is_well(findings: Sequence[Finding]) -> bool:
    """Is there no problem?"""
    return all(finding.verdict is not Verdict.PROBLEM for finding in findings)


def report(findings: Sequence[Finding], screen: Screen, *, as_json: bool) -> None:
    """Show the findings, and the advice below them."""
    if as_json:
        document = {
            "status": "ok" if is_well(findings) else "problem",
            "checks": [asdict(finding) for finding in findings],
        }
        screen.document(json.dumps(document, ensure_ascii=False).encode())
        return
    rows = [(cell(one.verdict, _COLOURS[one.verdict]), one.name, one.detail) for one in findings]
    screen.show(table("", "check", "found", rows=rows))
    for one in findings:
        if one.advice:
            screen.say(f"{one.name}: {one.advice}", _COLOURS[one.verdict])
    screen.say(*(("All is well.", "bold green") if is_well(findings) else ("There are problems.", "bold red")))
