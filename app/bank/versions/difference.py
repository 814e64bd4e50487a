"""What is different between two versions of the files of a bank."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.bank.document.markdown import lines_of
from app.bank.versions.alignment import Effort, Step, steps

_CONTEXT: Final = 3
"""Lines that are shown before and after what has changed."""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file that is not the same in both."""

    path: str
    change: str
    """`created`, `updated` or `deleted`."""
    added: int
    """Lines."""
    removed: int
    """Lines."""
    diff: str
    """In the unified format."""


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[FileDifference]:
    """The files that differ, by path.

    Where so much has changed that the shortest way would take too long to find, whole stretches are shown as replaced.
    """
    effort = Effort()
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield _difference(path, before.get(path), after.get(path), effort)


def _difference(path: str, before: str | None, after: str | None, effort: Effort) -> FileDifference:
    old, new = lines_of(before or ""), lines_of(after or "")
    changed = [step for step in steps(old, new, effort) if not step.is_same]
    names = ("/dev/null" if before is None else f"a/{path}", "/dev/null" if after is None else f"b/{path}")
    head = [f"--- {names[0]}\n", f"+++ {names[1]}\n"] if changed else []
    lines = head + [line for hunk in _hunks(changed) for line in _shown(hunk, old, new)]
    change = "created" if before is None else "deleted" if after is None else "updated"
    text = "".join(line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return FileDifference(
        path=path,
        change=change,
        added=sum(len(step.second) for step in changed),
        removed=sum(len(step.first) for step in changed),
        diff=text,
    )


def _hunks(changed: Sequence[Step]) -> Iterator[list[Step]]:
    """The changes whose surroundings touch, together."""
    hunk: list[Step] = []
    for step in changed:
        if hunk and step.first.start - hunk[-1].first.stop > 2 * _CONTEXT:
            yield hunk
            hunk = []
        hunk.append(step)
    if hunk:
        yield hunk


def _shown(hunk: Sequence[Step], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    lead = min(_CONTEXT, hunk[0].first.start)
    trail = min(_CONTEXT, len(old) - hunk[-1].first.stop)
    was = range(hunk[0].first.start - lead, hunk[-1].first.stop + trail)
    now = range(hunk[0].second.start - lead, hunk[-1].second.stop + trail)
    yield f"@@ -{_place(was)} +{_place(now)} @@\n"
    at = was.start
    for step in hunk:
        yield from (f" {line}" for line in old[at : step.first.start])
        yield from (f"-{line}" for line in old[step.first.start : step.first.stop])
        yield from (f"+{line}" for line in new[step.second.start : step.second.stop])
        at = step.first.stop
    yield from (f" {line}" for line in old[at : was.stop])


def _place(lines: range) -> str:
    """Where lines stand, as the format wants it: counted from 1, or the line before when there are none."""
    if len(lines) == 1:
        return str(lines.start + 1)
    return f"{lines.start + 1 if lines else lines.start},{len(lines)}"
