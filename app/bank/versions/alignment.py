"""What two sequences have in common, found with bounded effort however long and repetitive they are."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

EFFORT: Final = 400_000
"""Steps that are taken where neither the ends nor what stands once in each tell what belongs together."""


@dataclass(frozen=True, slots=True)
class Match:
    """So many items from one place on are the same in both."""

    first: int
    second: int
    length: int


@dataclass(slots=True)
class Effort:
    """What is left to be spent; several comparisons may share it."""

    left: int = EFFORT


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch that is kept, or one that takes the place of another; either of the two may be empty."""

    first: range
    second: range
    is_same: bool


def aligned(first: Sequence[Hashable], second: Sequence[Hashable], effort: Effort | None = None) -> list[Match]:
    """The matches, in their order in both. When the effort is spent, what is left counts as different."""
    aligner = _Aligner(first, second, effort or Effort())
    aligner.between(0, len(first), 0, len(second))
    return aligner.matches


def steps(first: Sequence[Hashable], second: Sequence[Hashable], effort: Effort | None = None) -> Iterator[Step]:
    """How one becomes the other, from their beginning to their end."""
    done, made = 0, 0
    for match in [*aligned(first, second, effort), Match(len(first), len(second), 0)]:
        if done < match.first or made < match.second:
            yield Step(range(done, match.first), range(made, match.second), is_same=False)
        done, made = match.first + match.length, match.second + match.length
        if match.length:
            yield Step(range(match.first, done), range(match.second, made), is_same=True)


class _Aligner:
    """Trims what is common at the ends, goes by what stands once in each, and walks through the rest."""

    def __init__(self, first: Sequence[Hashable], second: Sequence[Hashable], effort: Effort) -> None:
        self._first, self._second = first, second
        self._effort = effort
        self.matches: list[Match] = []

    def between(self, start: int, end: int, begin: int, stop: int, *, anchored: bool = False) -> None:
        """Add the matches of two stretches."""
        first, second = self._first, self._second
        length = min(end - start, stop - begin)
        head = 0
        while head < length and first[start + head] == second[begin + head]:
            head += 1
        tail = 0
        while tail < length - head and first[end - 1 - tail] == second[stop - 1 - tail]:
            tail += 1
        self._add(start, begin, head)
        start, begin, end, stop = start + head, begin + head, end - tail, stop - tail
        if start < end and begin < stop:
            if anchored:
                self._walk(start, end, begin, stop)
            else:
                self._along(start, end, begin, stop)
        self._add(end, stop, tail)

    def _add(self, first: int, second: int, length: int) -> None:
        if not length:
            return
        last = self.matches[-1] if self.matches else None
        if last and (last.first + last.length, last.second + last.length) == (first, second):
            self.matches[-1] = Match(last.first, last.second, last.length + length)
        else:
            self.matches.append(Match(first, second, length))

    def _along(self, start: int, end: int, begin: int, stop: int) -> None:
        for at, there in self._anchors(start, end, begin, stop):
            self.between(start, at, begin, there, anchored=True)
            self._add(at, there, 1)
            start, begin = at + 1, there + 1
        self.between(start, end, begin, stop, anchored=True)

    def _anchors(self, start: int, end: int, begin: int, stop: int) -> list[tuple[int, int]]:
        """The longest row of items that stand once in each, in the same order."""
        once = {item for item, times in Counter(self._first[start:end]).items() if times == 1}
        times = Counter(self._second[begin:stop])
        where = {item: at for at, item in enumerate(self._second[begin:stop], begin) if times[item] == 1}
        pairs = [
            (at, where[item]) for at, item in enumerate(self._first[start:end], start) if item in once and item in where
        ]
        ends: list[int] = []
        """The smallest place at which a row of each length ends."""
        last: list[int] = []
        """Of the pairs at these places: their numbers."""
        before: list[int] = []
        """Of each pair: the number of the one before it in its row."""
        for number, (_at, there) in enumerate(pairs):
            length = bisect_left(ends, there)
            before.append(last[length - 1] if length else -1)
            ends[length : length + 1] = [there]
            last[length : length + 1] = [number]
        row: list[tuple[int, int]] = []
        number = last[-1] if last else -1
        while number >= 0:
            row.append(pairs[number])
            number = before[number]
        return row[::-1]

    def _walk(self, start: int, end: int, begin: int, stop: int) -> None:
        """Add the matches on a shortest way from one stretch to the other, if it is found with what effort is left.

        After E. W. Myers, "An O(ND) difference algorithm and its variations": of each number of changes it is known
        how far they lead on each diagonal.
        """
        width, height = end - start, stop - begin
        rounds: list[list[int]] = []
        """After each number of changes: how far the diagonals from the lowest on are reached, every other one."""
        kept = self._effort.left // 2  # for the stretches that follow
        for changes in range(width + height + 1):
            reached: list[int] = []
            for diagonal in range(-changes, changes + 1, 2):
                x = _entered(rounds[-1], changes, diagonal) if rounds else 0
                y = x - diagonal
                self._effort.left -= 1
                while x < width and y < height and self._first[start + x] == self._second[begin + y]:
                    x, y = x + 1, y + 1
                    self._effort.left -= 1
                    if self._effort.left < kept:
                        return
                if self._effort.left < kept:
                    return
                reached.append(x)
                if x >= width and y >= height:
                    self._retrace(rounds, changes, diagonal, x, (start, begin))
                    return
            rounds.append(reached)

    def _retrace(self, rounds: list[list[int]], changes: int, diagonal: int, x: int, corner: tuple[int, int]) -> None:
        found: list[Match] = []
        while changes >= 0:
            entered = _entered(rounds[changes - 1], changes, diagonal) if changes else 0
            found.append(Match(corner[0] + entered, corner[1] + entered - diagonal, x - entered))
            if not changes:
                break
            diagonal = _from(rounds[changes - 1], changes, diagonal)
            changes -= 1
            x = rounds[changes][(diagonal + changes) // 2]
        for match in reversed(found):
            self._add(match.first, match.second, match.length)


def _from(reached: list[int], changes: int, diagonal: int) -> int:
    """The diagonal from which one more change leads farthest on this one."""
    at = (diagonal + changes) // 2
    comes_down = diagonal == -changes or (diagonal != changes and reached[at - 1] < reached[at])
    return diagonal + 1 if comes_down else diagonal - 1


def _entered(reached: list[int], changes: int, diagonal: int) -> int:
    """How far that change leads."""
    at = (diagonal + changes) // 2
    return reached[at] if _from(reached, changes, diagonal) > diagonal else reached[at - 1] + 1
