"""A Markdown text as a tree of sections that renders to the same bytes."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.bank.document.remembering import remembered

MAX_LEVEL: Final = 6

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)\Z", re.DOTALL)
_FENCE: Final = re.compile(r"( {0,3}(?:(?:[-*+]|\d{1,9}[.)])[ \t]{1,4})*)(`{3,}|~{3,})(.*)\Z", re.DOTALL)
_FENCE_END: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*\Z")
_TELLING: Final = re.compile(r"\n(?=[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(?:#|`{3}|~{3}|<!--))")
"""Before a line that can be a heading, or the first one of a fence or a comment: most lines cannot."""
_COMMENT: Final = re.compile(r" {0,3}<!--")
_WORDY: Final = re.compile(r"[^\W_]+")


def lines_of(text: str) -> list[str]:
    """The lines of a text with their endings; LF, CRLF and CR end a line and nothing else does."""
    return _LINE.findall(text)


def indent_of(line: str) -> int:
    """Columns of white space at the start of a line."""
    columns = 0
    for character in line:
        if character == " ":
            columns += 1
        elif character == "\t":
            columns += 4 - columns % 4
        else:
            break
    return columns


@dataclass(slots=True)
class Enclosure:
    """Follows lines into fenced code and HTML comments, where nothing is a heading."""

    kind: str = ""
    """`fence`, `comment`, or nothing when the next line is ordinary text."""
    _mark: str = ""
    _content: int = 0

    @property
    def is_open(self) -> bool:
        return bool(self.kind)

    def feed(self, line: str) -> bool:
        """Take the next line; does it belong to an enclosure, its first and last lines included?"""
        bare = line.rstrip("\r\n")
        if self.kind == "comment":
            if "-->" in bare:
                self.kind = ""
            return True
        if self.kind == "fence":
            if self._content and bare.strip() and indent_of(bare) < self._content:
                # The code stood in a list item, and this line is no longer part of the item.
                self.kind = ""
                return self.feed(line)
            closing = _FENCE_END.match(bare)
            if closing and closing[1][0] == self._mark[0] and len(closing[1]) >= len(self._mark):
                near = self._content or indent_of(bare) < 4  # noqa: PLR2004 - Markdown's limit of an indented block
                if near:
                    self.kind = ""
            return True
        return self._enter(bare)

    def _enter(self, bare: str) -> bool:
        opening = _FENCE.match(bare)
        if opening and not (opening[2][0] == "`" and "`" in opening[3]):
            self.kind, self._mark = "fence", opening[2]
            self._content = indent_of(" " * len(opening[1])) if opening[1].strip() else 0
            return True
        comment = _COMMENT.match(bare)
        if comment and bare.find("-->", comment.end() - 2) < 0:
            self.kind = "comment"
            return True
        return False


def heading_of(line: str) -> tuple[int, str] | None:
    """Level and title, when the line by itself is an ATX heading with a title."""
    match = _HEADING.match(line.rstrip("\r\n"))
    if match is None:
        return None
    written = match[2].rstrip(" \t")
    title = written.rstrip("#")
    if title and title[-1] not in " \t":
        title = written
    title = title.strip()
    return (len(match[1]), title) if title else None


@dataclass(slots=True)
class Section:
    """A heading with its own body: the text up to the next heading. The first section has no heading."""

    level: int
    """0 for what precedes the first heading."""
    title: str
    heading: str
    """The heading line with its ending."""
    body: str


@dataclass(slots=True)
class Document:
    """The sections of a text in their order."""

    sections: list[Section]
    newline: str = "\n"
    """The line ending most lines have."""
    front: int = 0
    """Length of the front matter at the start of the first section's body."""
    is_open: bool = False
    """The last section ends inside a fence or a comment."""

    def render(self) -> str:
        return "".join(section.heading + section.body for section in self.sections)

    def outline(self) -> tuple[tuple[int, str], ...]:
        """Level and title of every heading."""
        return tuple((section.level, section.title) for section in self.sections[1:])

    def path(self, index: int) -> tuple[str, ...]:
        """The titles from the outermost heading down to this section: its identity."""
        titles: list[str] = []
        level = MAX_LEVEL + 1
        for section in reversed(self.sections[: index + 1]):
            if 0 < section.level < level:
                titles.append(section.title)
                level = section.level
        return tuple(reversed(titles))

    def subtree_end(self, index: int) -> int:
        """Index after the last section below this one."""
        if index == 0:
            return 1
        level = self.sections[index].level
        end = index + 1
        while end < len(self.sections) and self.sections[end].level > level:
            end += 1
        return end

    def children(self, index: int) -> Iterator[int]:
        """The sections directly below this one; of 0, those no other section holds."""
        end = len(self.sections) if index == 0 else self.subtree_end(index)
        at = index + 1
        while at < end:
            yield at
            at = self.subtree_end(at)

    def title_section(self) -> int:
        """The section of the whole file: its single H1 when the file starts with it, else what has no heading."""
        tops = [at for at, section in enumerate(self.sections) if section.level == 1]
        starts = tops == [1] and not self.sections[0].body[self.front :].strip()
        return 1 if starts else 0

    def find(self, path: tuple[str, ...]) -> int | None:
        """The section with that path of titles, when there is exactly one."""
        wanted = tuple(fold_title(title) for title in path)
        found = [
            at
            for at in range(1, len(self.sections))
            if fold_title(self.sections[at].title) == wanted[-1]
            and tuple(fold_title(title) for title in self.path(at)) == wanted
        ]
        return found[0] if len(found) == 1 else None


def parse(text: str) -> Document:
    """The tree of any text: `parse(text).render() == text`."""
    front = _front_matter(text)
    enclosure = Enclosure()
    sections: list[Section] = []
    level, title, heading, begin = 0, "", "", 0
    for start, end in _telling_lines(text, front, enclosure):
        line = text[start:end]
        found = None if enclosure.feed(line) else heading_of(line)
        if found is not None:
            sections.append(Section(level, title, heading, text[begin:start]))
            (level, title), heading, begin = found, line, end
    sections.append(Section(level, title, heading, text[begin:]))
    return Document(sections, dominant_newline(text), front, enclosure.is_open)


def _telling_lines(text: str, at: int, enclosure: Enclosure) -> Iterator[tuple[int, int]]:
    """Where the lines are that can be headings or edges of an enclosure; every line of one that is open."""
    below = "\n" + text
    has_returns = "\r" in text
    while at < len(text):
        if has_returns:
            line = _LINE.match(text, at)
            end = line.end() if line else len(text)
        else:
            if not enclosure.is_open:
                found = _TELLING.search(below, at)
                if found is None:
                    return
                at = found.start()
            end = text.find("\n", at) + 1 or len(text)
        yield at, end
        at = end


def _front_matter(text: str) -> int:
    """Length of the front matter; a mark that is never closed begins none."""
    if not text.startswith(("---", "\ufeff")):
        return 0
    first, *lines = lines_of(text)
    if first.lstrip("\ufeff").rstrip() != "---":
        return 0
    length = len(first)
    for line in lines:
        length += len(line)
        if line.rstrip() in {"---", "..."}:
            return length
    return 0


def dominant_newline(text: str) -> str:
    """The line ending most lines of the text have."""
    both = text.count("\r\n")
    counts = {"\n": text.count("\n") - both, "\r\n": both, "\r": text.count("\r") - both}
    return max(counts, key=lambda ending: counts[ending])


@remembered(16_384, longest=200)
def fold_title(title: str) -> str:
    """A title as two headings are compared: without case, emoji, punctuation and marks."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(_WORDY.findall(folded)) or folded.strip()


def heading_line(level: int, title: str, newline: str) -> str:
    """A heading with its ending."""
    return f"{'#' * min(level, MAX_LEVEL)} {title}{newline}"
