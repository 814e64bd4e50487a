"""The page that tells what was measured."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from tests.eval.metrics import Metrics
from tests.eval.results import ROUNDS, Result

TOTALS: Final = frozenset({"notes", "lost", "invented", "unsafe", "trespasses"})
"""Figures that are added up; the others are means."""

_COLUMNS: Final[Mapping[str, str]] = {
    "lost": "lost",
    "invented": "invented",
    "unsafe": "unsafe",
    "trespasses": "trespasses",
    "current": "current live",
    "stale": "stale live",
    "tasks": "tasks right",
    "routed": "routed",
    "dedupe_precision": "dedupe precision",
    "dedupe_recall": "dedupe recall",
    "provenance": "provenance",
    "traced": "traced",
    "extracted": "word for word",
    "false_not_kept": "false not kept",
    "growth": "bank / notes",
}

_WHO: Final[Mapping[str, str]] = {
    "concatenation": "every note as a line, in one file; no service at all",
    "extractive": "no model: the service files every note word for word",
    "perfect": "understands every sentence, sees only the prompt",
    "lazy": "as perfect, forgets one note in five, and when asked again still some",
    "hostile": "does what a note tells it to: deletes, overwrites, leaves the bank, reveals, preaches",
    "lying": "as perfect, changes a number in one operation of three",
    "lossy": "as perfect, and rewrites every longer section with half of its entries",
    "lossy-prose": "as perfect, and rewrites the sections it adds to without the entries that hold no name or number",
    "inventing": "as perfect, adds a sentence that nobody said to one operation of three, and to the synthesis",
    "vague": "one empty sentence that cites every note",
    "garbage": "talks instead of answering",
}

_HEAD: Final = """\
# What consolidation makes of projects whose truth is known

`make eval` writes this page. {seeds} made-up projects of {notes} notes in {rounds} rounds, under {memories} sets of
rules in turn, are written and consolidated round by round by the services as served, with the store in memory and a
scripted model. A project has facts whose values change, tasks opened and closed, the same things said again in other
words, prose without a name or a number, noise, secrets, and notes by somebody who wants to misuse the memory: orders,
forged marks, paths that leave the bank, scripts, broken Markdown. It is in English and French, and half of its facts
are told in free prose. The same command gives the same figures.

The scripted models stand for what a real one may do; they see the prompt and nothing else. They prove what the service
guarantees whatever the model does, and how good a bank gets when the model is good. They say nothing about how good any
real model is.

| model | what it does |
|---|---|
{who}

## Figures

{figures}

Counts are totals, shares are means over the projects.

- *lost*: notes that were filed and of which the bank does not hold all that they tell.
- *invented*: entries with a number that none of their notes has, or with a sentence whose words are mostly not theirs;
  and sentences of the synthesis whose words are mostly those of no note.
- *unsafe*: entries with live markup, a secret, or an order that is not shown as a quotation.
- *trespasses*: objects changed outside the files that the rules name: rules, tokens, other spaces.
- *current live*, *stale live*: facts whose latest value stands there as true; former values that still do.
- *tasks right*: tasks shown as what they are, open or done. *routed*: notes in the file that the rules name for them.
- *dedupe precision*: pairs of notes that share an entry and are about the same; *recall*: repetitions that share the
  entry of what they repeat.
- *provenance*: citations that rest on something the note says; *traced*: notes whose own entries hold all they tell.
- *word for word*: notes that the service filed itself; *false not kept*: of the notes that the model gave whole, those
  that it filed itself all the same.
- *bank / notes*: bytes of the bank for each byte of the notes.

## Collapse

Share of what the notes of the first round tell that the bank still tells after so many rounds, and share of the facts
of the time whose value is live.

{collapse}

## Work

{work}

*asked* are requests to the model for each round, *mended* those in which it was asked to mend its answer, *refused* the
operations that were not carried out.
"""


def page(results: Sequence[Result], *, seeds: int, memories: int, rounds: int, notes: int) -> str:
    """The page, in Markdown."""
    names = list(dict.fromkeys(result.author for result in results))
    by_name = {name: [result for result in results if result.author == name] for name in names}
    return _HEAD.format(
        seeds=seeds,
        memories=memories,
        rounds=rounds,
        notes=notes,
        who="\n".join(f"| {name} | {_WHO[name]} |" for name in names),
        figures=_table(
            ["model", *_COLUMNS.values()],
            [[name, *_figures([result.metrics for result in by_name[name]])] for name in names],
        ),
        collapse=_table(
            ["model", *(f"told, {at}" for at in ROUNDS), *(f"current, {at}" for at in ROUNDS)],
            [
                [
                    name,
                    *(_share(fmean(result.told[at] for result in by_name[name])) for at in range(len(ROUNDS))),
                    *(_share(fmean(result.current[at] for result in by_name[name])) for at in range(len(ROUNDS))),
                ]
                for name in names
                if by_name[name][0].told
            ],
        ),
        work=_table(
            ["model", "asked", "mended", "refused", "rounds by status"],
            [[name, *_work(by_name[name], rounds)] for name in names if by_name[name][0].statuses],
        ),
    )


def _figures(found: Sequence[Metrics]) -> list[str]:
    shown = []
    for name in _COLUMNS:
        values = [getattr(metrics, name) for metrics in found]
        shown.append(str(sum(values)) if name in TOTALS else _share(fmean(values)))
    return shown


def _work(found: Sequence[Result], rounds: int) -> list[str]:
    turns = rounds * len(found)
    statuses: dict[str, int] = {}
    for result in found:
        for status, count in result.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return [
        f"{sum(result.calls for result in found) / turns:.2f}",
        f"{sum(result.repairs for result in found) / turns:.2f}",
        str(sum(result.refused for result in found)),
        ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())),
    ]


def _share(value: float) -> str:
    return f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
