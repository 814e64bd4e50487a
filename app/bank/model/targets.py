"""What the handles of an answer stand for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from app.bank.document.blocks import digest
from app.bank.document.markdown import Document, fold_title, parse
from app.bank.document.paths import bank_path
from app.bank.document.text import clean
from app.bank.extract.snapshot import Snapshot
from app.bank.model.grounding import is_placeholder
from app.bank.model.proposals import (
    ADD_SECTION,
    CREATE_FILE,
    DELETE_SECTION,
    REPLACE,
    SUPERSEDE,
    VERBS,
    Answer,
    Handles,
    ProposedOp,
    Refusal,
    ResolvedOp,
    ResolvedSkip,
    SectionTarget,
)

_OPS_PER_NOTE: Final = 4
_OPS_MORE: Final = 20
_SHOWN: Final = 60
_LISTED: Final = 8
_HANDLE: Final = re.compile(r"[\s\[\](){}<>`'\"*#.,:;=]*([sfnSFN])[ _-]?(\d{1,6})[\s\[\](){}<>`'\"*.,:;=|]*")
_PARTS: Final = re.compile(r"\s*(?:>|\u203a|»|→|::|/|\||#)\s*")


@dataclass(frozen=True, slots=True)
class Resolution:
    """An answer whose handles are known to mean something."""

    ops: tuple[ResolvedOp, ...]
    skips: tuple[ResolvedSkip, ...]
    refused: tuple[Refusal, ...]
    handles: Mapping[str, str] = field(default_factory=dict)
    """Id of a note, then its handle."""


class _NotResolved(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def resolve(handles: Handles, answer: Answer, snapshot: Snapshot, *, repaired: bool = False) -> Resolution:
    """The operations and skips of an answer with files, sections and notes in place of handles."""
    return _Resolver(handles, snapshot).resolve(answer, repaired=repaired)


class _Resolver:
    def __init__(self, handles: Handles, snapshot: Snapshot) -> None:
        self._handles = handles
        self._snapshot = snapshot
        self._paths = {path.casefold(): path for path in sorted(snapshot.files, reverse=True)}
        self._ids = {note.id: handle for handle, note in handles.notes.items()}
        self._documents: dict[str, Document] = {}
        self._added: list[tuple[str, tuple[str, ...]]] = []
        """Sections that earlier operations of the answer add."""
        self._created: dict[str, str] = {}

    def resolve(self, answer: Answer, *, repaired: bool) -> Resolution:
        refused = list(answer.refused)
        most = _OPS_PER_NOTE * len(self._handles.notes) + _OPS_MORE
        ops: list[ResolvedOp] = []
        if len(answer.ops) > most:
            reason = f"{len(answer.ops)} operations for {len(self._handles.notes)} notes; at most {most}."
            refused.append(Refusal(most + 1, answer.ops[most].op[:_SHOWN], "", "too_many_ops", reason))
        else:
            taken = {refusal.number for refusal in answer.refused}
            places = (number for number in count(1) if number not in taken)
            for number, op in zip(places, answer.ops, strict=False):
                try:
                    ops.append(self._op(number, op, repaired=repaired))
                except _NotResolved as problem:
                    target = " ".join(clean(op.at or op.title).split())[:_SHOWN]
                    refused.append(Refusal(number, op.op[:_SHOWN], target, problem.code, str(problem)))
        skips = [found for skip in answer.skips if (found := self._skip(skip.note, skip.why, skip.same_as))]
        return Resolution(tuple(ops), tuple(skips), tuple(refused), dict(self._ids))

    def _op(self, number: int, op: ProposedOp, *, repaired: bool) -> ResolvedOp:
        if op.op not in VERBS:
            raise _NotResolved("unknown_op", f"There is no operation '{op.op[:_SHOWN]}'; there are {', '.join(VERBS)}.")
        if op.op != DELETE_SECTION and is_placeholder(op.text):
            raise _NotResolved("bad_shape", "It has no text.")
        if op.op in {SUPERSEDE, ADD_SECTION} and not clean(op.title).strip():
            meaning = "the first words of the entry" if op.op == SUPERSEDE else "the title of the new section"
            raise _NotResolved("bad_shape", f"It has no title: {meaning}.")
        sources = self._sources(op)
        path, section_path, shown, seen = self._created_path(op) if op.op == CREATE_FILE else self._target(op)
        if op.op == ADD_SECTION:
            self._added.append((path, (*section_path, " ".join(clean(op.title).split()))))
        return ResolvedOp(
            number=number,
            op=op.op,
            path=path,
            section_path=section_path,
            title=op.title,
            text=op.text,
            sources=sources,
            reason=op.reason,
            shown=shown,
            seen=seen,
            repaired=repaired,
        )

    def _sources(self, op: ProposedOp) -> tuple[str, ...]:
        named = [source for source in op.sources if source.strip()]
        found = dict.fromkeys(note_id for source in named if (note_id := self._note(source)))
        if found:
            return tuple(found)
        if named:
            unknown = ", ".join(f'"{source[:_SHOWN]}"' for source in named[:_LISTED])
            raise _NotResolved("unknown_note", f"There is no note {unknown}.")
        raise _NotResolved("no_sources", "It cites no note.")

    def _note(self, name: str) -> str | None:
        bare = clean(name).strip()
        if bare in self._ids:
            return bare
        if bare in self._handles.notes:
            return self._handles.notes[bare].id
        match = _HANDLE.fullmatch(bare[:_SHOWN])
        handle = f"n{match[2]}" if match and match[1] in "nN" else ""
        return self._handles.notes[handle].id if handle in self._handles.notes else None

    def _created_path(self, op: ProposedOp) -> tuple[str, tuple[str, ...], bool, str]:
        for name in (op.title, op.at):
            wanted = clean(name).strip()
            if not wanted:
                continue
            path = self._handles.files.get(wanted) or self._existing(wanted) or bank_path(wanted)
            if path is None:
                raise _NotResolved("bad_path", f"'{wanted[:_SHOWN]}' is no name for a file of the bank.")
            path = self._existing(path) or path
            self._created.setdefault(path.casefold(), path)
            return path, (), True, ""
        raise _NotResolved("bad_path", "Its title must be the name of the new file.")

    def _existing(self, name: str) -> str | None:
        for candidate in (name, bank_path(name) or name):
            known = self._paths.get(candidate.casefold()) or self._created.get(candidate.casefold())
            if known:
                return known
        return None

    def _target(self, op: ProposedOp) -> tuple[str, tuple[str, ...], bool, str]:
        at = clean(op.at).strip()
        target = self._section(at)
        if isinstance(target, SectionTarget):
            return self._at_section(op, target)
        if isinstance(target, tuple):
            path, section_path = target
            if op.op in {REPLACE, DELETE_SECTION} and not section_path:
                raise _NotResolved("structure", f"It names the file '{path}', not a section of it.")
            return path, section_path, True, ""
        if op.op in {REPLACE, DELETE_SECTION}:
            raise _NotResolved("structure", f"It names the file '{target}', not a section of it.")
        if target not in self._snapshot.files:
            return target, (), True, ""
        document = self._document(target)
        index = document.title_section()
        shown = any(
            known.shown for known in self._handles.sections.values() if known.path == target and known.index == index
        )
        return target, (), shown, digest(document.sections[index].body)

    def _at_section(self, op: ProposedOp, target: SectionTarget) -> tuple[str, tuple[str, ...], bool, str]:
        shown = target.shown
        if op.op == DELETE_SECTION:
            depth = len(target.section_path)
            shown = shown and all(
                other.shown
                for other in self._handles.sections.values()
                if other.path == target.path and other.section_path[:depth] == target.section_path
            )
        if not shown and op.op in {REPLACE, DELETE_SECTION, SUPERSEDE}:
            raise _NotResolved("unknown_target", "The section was not shown whole: append the new fact instead.")
        if op.op == DELETE_SECTION and not target.section_path:
            raise _NotResolved("structure", "The text before the first heading is not a section.")
        seen = ""
        if target.path in self._snapshot.files:
            sections = self._document(target.path).sections
            if 0 <= target.index < len(sections):
                seen = digest(sections[target.index].body)
        return target.path, target.section_path, shown, seen

    def _document(self, path: str) -> Document:
        found = self._documents.get(path)
        if found is None:
            found = self._documents[path] = parse(self._snapshot.files[path])
        return found

    def _section(self, at: str) -> SectionTarget | tuple[str, tuple[str, ...]] | str:
        """A section, a section that the answer itself adds, or the path of a file."""
        if not at:
            raise _NotResolved("unknown_target", f"It says not where; {self._files()}")
        if at in self._handles.sections:
            return self._handles.sections[at]
        if at in self._handles.files:
            return self._handles.files[at]
        match = _HANDLE.fullmatch(at[:_SHOWN]) if len(at) <= _SHOWN else None
        handle = f"{match[1].lower()}{match[2]}" if match else ""
        if handle in self._handles.sections:
            return self._handles.sections[handle]
        if handle in self._handles.files:
            return self._handles.files[handle]
        if path := self._existing(at) or self._allowed(at):
            return path
        if match:
            raise _NotResolved("unknown_target", f'at "{at}" unknown; {self._files()}')
        return self._by_heading(at)

    def _allowed(self, at: str) -> str | None:
        """A file that the rules name, though it is not there yet."""
        path = bank_path(at)
        rule = None if path is None else self._snapshot.layout.rule_of(path)
        return None if rule is None else path if rule.is_pattern else rule.path

    def _by_heading(self, at: str) -> SectionTarget | tuple[str, tuple[str, ...]]:
        wanted, file = at, ""
        parts = [part for part in _PARTS.split(at.lstrip("# ")) if part]
        for cut in range(len(parts), 0, -1):
            # A heading path may begin with the file it stands in.
            if path := self._existing("/".join(parts[:cut])):
                file, parts, wanted = path, parts[cut:], " > ".join(parts[cut:])
                break
        if file and not parts:
            raise _NotResolved("unknown_target", f'at "{at[:_SHOWN]}" unknown; {self._files()}')
        known: list[tuple[str, SectionTarget | tuple[str, tuple[str, ...]], str, tuple[str, ...]]] = [
            (handle, target, target.path, target.section_path)
            for handle, target in self._handles.sections.items()
            if target.section_path
        ]
        known += [("", added, *added) for added in self._added]
        folded = tuple(fold_title(part) for part in parts)
        whole = fold_title(wanted)
        found: dict[tuple[str, tuple[str, ...], int], tuple[str, SectionTarget | tuple[str, tuple[str, ...]]]] = {}
        for handle, target, path, titles in known:
            if file and path != file:
                continue
            own = tuple(fold_title(title) for title in titles)
            if whole and (own[-1] == whole or (len(folded) > 1 and own[-len(folded) :] == folded)):
                index = target.index if isinstance(target, SectionTarget) else -1
                if index < 0 and any(key[:2] == (path, titles) for key in found):
                    continue
                found[path, titles, index] = (handle, target)
        if len(found) == 1:
            return next(iter(found.values()))[1]
        if found:
            listed = ", ".join(
                f"{handle or 'the new one'} in {path}" for (path, _, _), (handle, _) in list(found.items())[:_LISTED]
            )
            raise _NotResolved("ambiguous_target", f'at "{at[:_SHOWN]}" names {len(found)} sections: {listed}.')
        raise _NotResolved("unknown_target", f'at "{at[:_SHOWN]}" unknown; {self._sections(file)}')

    def _files(self) -> str:
        shown = ", ".join(f"{handle} {path}" for handle, path in list(self._handles.files.items())[:_LISTED])
        return f"files: {shown or 'none'}; {self._sections('')}"

    def _sections(self, file: str) -> str:
        found = [
            f'{handle} "{target.section_path[-1][:_SHOWN]}"'
            for handle, target in self._handles.sections.items()
            if target.section_path and (not file or target.path == file)
        ]
        more = ", …" if len(found) > _LISTED else ""
        return f"sections: {', '.join(found[:_LISTED]) or 'none'}{more}"

    def _skip(self, note: str, why: str, same_as: str) -> ResolvedSkip | None:
        note_id = self._note(note)
        if note_id is None:
            return None
        other = self._note(same_as) if same_as else None
        return ResolvedSkip(note_id, why.strip().casefold(), other or clean(same_as).strip())
