"""The bank in memory while notes are filed: files, sections and blocks, each block with what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.bank.document.blocks import (
    BLANK,
    FRONT,
    ITEM,
    TEXT,
    Block,
    blank_after,
    content_end,
    content_start,
    digest,
    insert,
    split_body,
    would_absorb,
)
from app.bank.document.bullets import Bullet, anatomy, utc
from app.bank.document.edits import place_of_section
from app.bank.document.layout import FileRule, Layout, title_from, titles_of
from app.bank.document.markdown import Document, Section, fold_title, heading_line, parse

Moment = tuple[datetime, str]
"""A note's instant and id: their order is the order of notes."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What is remembered of a note filed earlier."""

    ts: datetime
    agent: str
    category: str


@dataclass(slots=True, eq=False)
class Entry:
    """The equal blocks of one file, which share their sources."""

    page: "Page"
    digest: str
    blocks: list[Block]
    ids: set[str] = field(default_factory=set)
    categories: set[str] = field(default_factory=set)
    oldest: Moment | None = None
    newest: Moment | None = None
    _bullet: Bullet | None = None

    @property
    def raw(self) -> str:
        return self.blocks[0].raw

    @property
    def bullet(self) -> Bullet:
        if self._bullet is None:
            self._bullet = anatomy(self.raw)
        return self._bullet

    def become(self, raws: Sequence[str]) -> None:
        """Take another text, one for each block."""
        for block, raw in zip(self.blocks, raws, strict=True):
            block.raw = raw
        self.digest = digest(self.raw)
        self._bullet = None

    @property
    def is_item(self) -> bool:
        return self.blocks[0].kind == ITEM

    @property
    def order(self) -> tuple[str, str]:
        """A total order that does not depend on how the entry came to be."""
        return self.page.path, self.digest

    def rest_on(self, note_id: str, filed: Filed | None) -> None:
        """Add a note to the sources."""
        self.ids.add(note_id)
        if filed is None:
            return
        self.categories.add(filed.category)
        moment = (utc(filed.ts), note_id)
        self.oldest = moment if self.oldest is None else min(self.oldest, moment)
        self.newest = moment if self.newest is None else max(self.newest, moment)


@dataclass(slots=True, eq=False)
class Shelf:
    """A section with its blocks."""

    section: Section
    blocks: list[Block]


class Page:
    """A file whose sections are taken apart once, changed in place and put together at the end."""

    def __init__(self, path: str, rule: FileRule | None, content: str, *, is_new: bool = False) -> None:
        self.path = path
        self.append_only = rule is not None and rule.append_only
        self.protected = rule is not None and rule.protected
        self.is_new = is_new
        self._document: Document = parse(content)
        self.shelves = [
            Shelf(section, split_body(section.body, 0 if number else self._document.front))
            for number, section in enumerate(self._document.sections)
        ]
        self._found: dict[tuple[str, str], Shelf] = {}
        self._paths: dict[int, tuple[str, ...]] = {}

    @property
    def newline(self) -> str:
        return self._document.newline

    def render(self) -> str:
        for shelf in self.shelves:
            shelf.section.body = "".join(block.raw for block in shelf.blocks)
        return self._document.render()

    def section_path(self, shelf: Shelf) -> tuple[str, ...]:
        path = self._paths.get(id(shelf))
        if path is None:
            path = self._paths[id(shelf)] = self._document.path(self.shelves.index(shelf))
        return path

    def shelf_for(self, title: str, category: str) -> tuple[Shelf, bool]:
        """The section a category is filed in, and whether it had to be made."""
        key = (title, category)
        if known := self._found.get(key):
            return known, False
        wanted = [fold_title(title)]
        if title in titles_of(category):
            wanted += sorted(fold_title(other) for other in titles_of(category))
        for folded in wanted:
            for shelf in self.shelves[1:]:
                if fold_title(shelf.section.title) == folded:
                    self._found[key] = shelf
                    return shelf, False
        self._found[key] = shelf = self._add(title)
        return shelf, shelf is not self.shelves[0]

    def _add(self, title: str) -> Shelf:
        at, level = place_of_section(self._document, self._document.title_section())
        if at == 0:
            return self.shelves[0]
        before = self.shelves[at - 1]
        _end_line(before.section, before.blocks, self.newline)
        if before.section.heading or before.blocks:
            above = before.blocks[-1].raw if before.blocks else before.section.heading
            if not before.blocks or before.blocks[-1].kind != BLANK:
                before.blocks.append(blank_after(above, self.newline))
        section = Section(level, title, heading_line(level, title, self.newline), "")
        shelf = Shelf(section, [])
        self._document.sections.insert(at, section)
        self.shelves.insert(at, shelf)
        return shelf

    def put(self, shelf: Shelf, block: Block, at: int) -> None:
        """Insert an item, and the blank lines it needs."""
        _end_line(shelf.section, shelf.blocks, self.newline)
        blocks = shelf.blocks
        open_ended = self._document.is_open and shelf is self.shelves[-1]
        if open_ended:
            at = min(at, max(content_end(blocks) - 1, 0))
        next_up = next((later for later in range(at, len(blocks)) if blocks[later].kind != BLANK), None)
        follower = None if next_up is None else blocks[next_up]
        added = [block]
        if follower is not None and would_absorb(follower):
            if open_ended:
                # Nothing can follow what is open, so the two are kept apart by a comment nobody sees.
                added += [blank_after(block.raw, self.newline), Block(TEXT, f"<!-- -->{self.newline}")]
            else:
                at = content_end(blocks)
        insert(blocks, at, added, self.newline, heading=shelf.section.heading)
        if shelf is not self.shelves[-1] and blocks[-1].kind != BLANK:
            blocks.append(blank_after(blocks[-1].raw, self.newline))


def _end_line(section: Section, blocks: Sequence[Block], newline: str) -> None:
    if section.heading and not section.heading.endswith(("\n", "\r")):
        section.heading += newline
    if blocks and not blocks[-1].raw.endswith(("\n", "\r")):
        blocks[-1].raw += newline


class Pages:
    """All files of a bank and the entries in them."""

    def __init__(
        self,
        files: Mapping[str, str],
        provenance: Mapping[str, Mapping[str, Sequence[str]]],
        refs: Mapping[str, Filed],
        layout: Layout,
    ) -> None:
        self.layout = layout
        self.refs = dict(refs)
        self.pages: dict[str, Page] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self._entry_of: dict[int, Entry] = {}
        self._folded: dict[str, str] = {}
        for path in sorted(files):
            page = self._hold(Page(path, layout.rule_of(path), files[path]))
            sources = provenance.get(path, {})
            for shelf in page.shelves:
                for block in shelf.blocks:
                    if block.kind not in {BLANK, FRONT}:
                        self._enter(page, block, sources)

    def _hold(self, page: Page) -> Page:
        self.pages[page.path] = page
        self._folded.setdefault(page.path.casefold(), page.path)
        return page

    def _enter(self, page: Page, block: Block, sources: Mapping[str, Sequence[str]]) -> Entry:
        name = digest(block.raw)
        entry = self.entries.get((page.path, name))
        if entry is None:
            entry = self.entries[page.path, name] = Entry(page, name, [block])
            for note_id in sources.get(name, ()):
                entry.rest_on(note_id, self.refs.get(note_id))
        else:
            entry.blocks.append(block)
        self._entry_of[id(block)] = entry
        return entry

    def page(self, path: str) -> tuple[Page, bool]:
        """The file of that name in whatever case, and whether it had to be made."""
        if known := self._folded.get(path.casefold()):
            return self.pages[known], False
        rule = self.layout.rule_of(path)
        title = rule.title if rule is not None and not rule.is_pattern else title_from(path)
        return self._hold(Page(path, rule, heading_line(1, title, "\n"), is_new=True)), True

    def entry_of(self, block: Block) -> Entry | None:
        return self._entry_of.get(id(block))

    def file(self, page: Page, shelf: Shelf, raw: str, note_id: str) -> Entry:
        """Put a bullet where its time belongs: newest first, or at the end of an append-only file."""
        filed = self.refs[note_id]
        block = Block(ITEM, raw.replace("\n", page.newline))
        at = content_end(shelf.blocks) if page.append_only else self._place(shelf, (utc(filed.ts), note_id))
        page.put(shelf, block, at)
        entry = self._enter(page, block, {})
        entry.rest_on(note_id, filed)
        return entry

    def _place(self, shelf: Shelf, moment: Moment) -> int:
        blocks = shelf.blocks
        last = None
        for at in range(content_start(blocks), len(blocks)):
            if blocks[at].kind != ITEM:
                if last is not None and blocks[at].kind != BLANK:
                    break
                continue
            entry = self._entry_of.get(id(blocks[at]))
            if entry is None or entry.newest is None or entry.newest <= moment:
                return at
            last = at
        return content_end(blocks) if last is None else last + 1

    def rewrite(self, entry: Entry, raws: Sequence[str]) -> Entry:
        """Give the blocks of an entry another text; the entry that has it from now on."""
        del self.entries[entry.page.path, entry.digest]
        entry.become(raws)
        twin = self.entries.get((entry.page.path, entry.digest))
        if twin is None:
            self.entries[entry.page.path, entry.digest] = entry
            return entry
        for note_id in entry.ids:
            twin.rest_on(note_id, self.refs.get(note_id))
        twin.blocks += entry.blocks
        for block in entry.blocks:
            self._entry_of[id(block)] = twin
        return twin

    def changed(self, files: Mapping[str, str]) -> dict[str, str]:
        """The content of every file that is not as it was."""
        rendered = {path: page.render() for path, page in sorted(self.pages.items())}
        return {path: content for path, content in rendered.items() if files.get(path) != content}

    def provenance(self) -> dict[str, dict[str, list[str]]]:
        """The map of the bank as it stands."""
        found: dict[str, dict[str, list[str]]] = {}
        for (path, name), entry in sorted(self.entries.items(), key=lambda item: item[0]):
            if entry.ids:
                found.setdefault(path, {})[name] = sorted(entry.ids)
        return found
