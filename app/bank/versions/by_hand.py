"""Files of a bank written, deleted and repaired by people: commits like any other."""

import asyncio
from collections.abc import Mapping, Sequence

from app.bank.document.paths import bank_path
from app.bank.document.provenance import existing, inherit
from app.bank.document.rules import compile_rules
from app.bank.errors import FileNameTaken, FileNotFound
from app.bank.models import CommitKind, Edit
from app.bank.store import Draft
from app.bank.versions.repair import Repaired, repaired
from app.bank.versions.revisions import BankFileDeleted, BankRepaired, BankWrite, BankWritten, Duplicate, NameRepair
from app.bank.versions.timeline import Timeline
from app.bank.versions.writer import BankWriter
from app.core.errors import FieldFault, InvalidInput, StaleVersion
from app.spaces.models import Head

FILED_BY = "manual"


class HandEdits:
    """What people do to the files of a bank."""

    def __init__(self, writer: BankWriter, timeline: Timeline) -> None:
        self._writer = writer
        self._timeline = timeline

    async def write(
        self, space_id: str, filename: str, request: BankWrite, *, actor: str, if_match: str = ""
    ) -> BankWritten:
        """Give a file just this content. The blocks that stay, or nearly so, keep the notes they rest on.

        Raises:
            InvalidInput: no file can have that name.
            FileNameTaken: another file has nearly that name.
            StaleVersion: the bank, or the file, is not what the writer believes.
        """

        async def make(head: Head, rules: str) -> tuple[Draft | None, tuple[str, str]]:
            path = _path_for(head, filename)
            _demand_match(head, if_match, path)
            await self._demand_unchanged(head, path, request.if_version)
            present = head.files.get(path)
            if present is not None and present.raw is None and present.content == request.content:
                return None, (path, "unchanged")
            before = "" if present is None else present.content
            sources = head.provenance.get(path, {})
            kept = await asyncio.to_thread(inherit, before, request.content, sources)
            edited = kept.keys() - sources.keys()
            draft = Draft(
                kind=CommitKind.MANUAL,
                actor=actor,
                job_id="",
                batch=0,
                rules=rules,
                files={path: request.content},
                provenance=_with(head.provenance, path, kept),
                edits=[_edit("create_file" if present is None else "write", path)],
                synthesis=None,
                edited={path: edited},
            )
            return draft, (path, "created" if present is None else "replaced")

        opened, (path, action) = await self._writer.change(space_id, make)
        return BankWritten(
            space_id=space_id,
            filename=path,
            action=action,
            size=len(request.content.encode()),
            version=opened.head.version,
        )

    async def delete(
        self, space_id: str, filename: str, *, if_version: int | None, actor: str, if_match: str = ""
    ) -> BankFileDeleted:
        """Take a file out of the bank; earlier versions still have it.

        Raises:
            FileNotFound: there is no such file.
            StaleVersion: the bank, or the file, is not what the caller believes.
        """

        async def make(head: Head, rules: str) -> tuple[Draft | None, str]:
            path = filename if filename in head.files else bank_path(filename) or filename
            if path not in head.files:
                raise FileNotFound(space_id, filename)
            _demand_match(head, if_match, path)
            await self._demand_unchanged(head, path, if_version)
            draft = Draft(
                kind=CommitKind.MANUAL,
                actor=actor,
                job_id="",
                batch=0,
                rules=rules,
                files={},
                provenance=_with(head.provenance, path, {}),
                edits=[_edit("delete_file", path)],
                synthesis=None,
                removed=(path,),
            )
            return draft, path

        opened, path = await self._writer.change(space_id, make)
        return BankFileDeleted(space_id=space_id, filename=path, files_deleted=1, version=opened.head.version)

    async def repair(self, space_id: str, *, dry_run: bool, actor: str) -> BankRepaired:
        """Put names right and say everything once, in one commit; a dry run says what that would be."""

        async def make(head: Head, rules: str) -> tuple[Draft | None, Repaired]:
            files = {path: file.content for path, file in head.files.items()}
            raw = [path for path, file in head.files.items() if file.raw is not None]
            preferred = [rule.path for rule in compile_rules(rules).files if not rule.is_pattern]
            found = await asyncio.to_thread(repaired, files, untouchable=raw, preferred=preferred)
            changed = {path: content for path, content in found.files.items() if files.get(path) != content}
            removed = files.keys() - found.files.keys()
            if dry_run or not (changed or removed):
                return None, found
            draft = Draft(
                kind=CommitKind.MANUAL,
                actor=actor,
                job_id="",
                batch=0,
                rules=rules,
                files=changed,
                provenance=existing(found.files, _gathered(head.provenance, found.origins)),
                edits=_repairs(found),
                synthesis=None,
                removed=removed,
                edited={
                    path: [block for origin in origins for block in head.edited.get(origin, ())]
                    for path, origins in found.origins.items()
                },
            )
            return draft, found

        before = 0

        async def counted(head: Head, rules: str) -> tuple[Draft | None, Repaired]:
            nonlocal before
            before = len(head.files)
            return await make(head, rules)

        opened, found = await self._writer.change(space_id, counted)
        return _report(space_id, before, found, version=opened.head.version, dry_run=dry_run)

    async def _demand_unchanged(self, head: Head, path: str, version: int | None) -> None:
        if version is None or version == head.version:
            return
        then = None
        if version:
            _key, commit = await self._timeline.commit(head, version)
            entry = commit.manifest.get(path)
            then = entry.sha256 if entry else None
        now = head.files[path].sha256 if path in head.files else None
        if then != now:
            raise StaleVersion(
                f"'{path}' has changed since version {version} of the bank, which is at {head.version} now: read it "
                "again."
            )


def _path_for(head: Head, filename: str) -> str:
    """The path under which the file is, or will be."""
    if filename in head.files:
        return filename
    path = bank_path(filename)
    if path is None:
        detail = (
            "a file name is up to four parts of letters, digits, '_', '.' and '-', separated by '/', and ends in '.md'"
        )
        raise InvalidInput(f"'{filename}' cannot be the name of a file.", faults=[FieldFault("filename", detail)])
    for present in head.files:
        same = present.casefold() == path.casefold() and present != path
        if same or present.startswith(f"{path}/") or path.startswith(f"{present}/"):
            raise FileNameTaken(path, present)
    return path


def _demand_match(head: Head, if_match: str, path: str) -> None:
    """Raise unless the bank is still the one whose ETag the caller holds."""
    wanted = if_match.strip()
    if not wanted:
        return
    known = path in head.files if wanted == "*" else f'"{head.nonce}"' in {one.strip() for one in wanted.split(",")}
    if not known:
        raise StaleVersion(f"The bank is at version {head.version} now, which is not the one named in `If-Match`.")


def _with(
    provenance: Mapping[str, Mapping[str, Sequence[str]]], path: str, sources: Mapping[str, Sequence[str]]
) -> dict[str, Mapping[str, Sequence[str]]]:
    whole = {one: blocks for one, blocks in provenance.items() if one != path}
    return {**whole, path: sources} if sources else whole


def _gathered(
    provenance: Mapping[str, Mapping[str, Sequence[str]]], origins: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[str]]]:
    """The sources of each file: those of every file that went into it."""
    whole: dict[str, dict[str, list[str]]] = {}
    for path, inside in origins.items():
        for origin in inside:
            for block, ids in provenance.get(origin, {}).items():
                known = whole.setdefault(path, {}).setdefault(block, [])
                known += [one for one in ids if one not in known]
    return whole


def _edit(op: str, path: str, *, section: Sequence[str] = (), text: str = "") -> Edit:
    return Edit(op=op, path=path, section_path=list(section), text=text, sources=[], filed_by=FILED_BY)


def _repairs(found: Repaired) -> list[Edit]:
    names = [
        _edit("merge_file" if one.merged else "rename_file", one.becomes, text=one.filename) for one in found.renamed
    ]
    return names + [
        _edit(f"join_{one.kind}", one.filename, section=one.section, text=one.text) for one in found.doubled
    ]


def _report(space_id: str, scanned: int, found: Repaired, *, version: int, dry_run: bool) -> BankRepaired:
    wrong = {one.filename for one in found.renamed}
    wrong |= {origin for one in found.doubled for origin in found.origins[one.filename]}
    names, doubles = len(found.renamed), len(found.doubled)
    did = f"{names} file names and {doubles} duplicates"
    if not names and not doubles:
        message = "Nothing is wrong with names or contents."
    elif dry_run:
        message = f"{did} would be repaired: repeat with dry_run=false."
    else:
        message = f"{did} were repaired; bank_revert undoes it."
    return BankRepaired(
        space_id=space_id,
        mode="dry-run" if dry_run else "applied",
        files_scanned=scanned,
        files_ok=scanned - len(wrong),
        files_to_repair=len(wrong),
        duplicates_found=doubles,
        repairs=[
            NameRepair(filename=one.filename, becomes=one.becomes, action="merged" if one.merged else "renamed")
            for one in found.renamed
        ],
        duplicates=[
            Duplicate(filename=one.filename, section=list(one.section), kind=one.kind, text=one.text)
            for one in found.doubled
        ],
        left=list(found.left),
        version=version,
        message=message,
    )
