"""What may happen to a space."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

import structlog

from app.core.clock import iso
from app.core.errors import ConfirmationRequired, Unavailable
from app.core.identity import Caller, Permission
from app.core.ids import new_incarnation, new_nonce
from app.core.schema import parse_instant
from app.spaces.amending import changes_to, digest_of, ruled, told_rules, told_rules_update, told_update
from app.spaces.claims import Claims
from app.spaces.errors import (
    RulesNotFound,
    RulesVersionNotFound,
    SpaceBusy,
    SpaceContended,
    SpaceExists,
    SpaceNotFound,
)
from app.spaces.founding import Adopter, Founding
from app.spaces.models import (
    About,
    Head,
    Opened,
    SpaceCreate,
    SpaceCreated,
    SpaceDeleted,
    SpaceRules,
    SpaceRulesUpdate,
    SpaceRulesUpdated,
    SpaceState,
    SpaceUpdate,
    SpaceUpdated,
)
from app.spaces.store import SpaceStore
from app.storage.document import DamagedDocument
from app.storage.store import ObjectStore, PreconditionFailed

_ROUNDS: Final = 5
_REMEMBERED: Final = timedelta(days=7)
"""How long a deleted space leaves a tombstone."""

log = structlog.get_logger(__name__)


class Membership(Protocol):
    """Lets a caller reach one more space."""

    async def grant(self, caller: Caller, space_id: str) -> bool:
        """Add the space to the caller's own token; False when it reached it already."""
        ...


class SpaceService:
    """The spaces there are. Everything that changes one goes through `swap`, so two writers never mix."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        membership: Membership,
        adopter: Adopter,
        understand: Callable[[str], Sequence[str]],
    ) -> None:
        self._objects = store
        self._store = SpaceStore(store)
        self._claims = Claims(store, self._store)
        self._membership = membership
        self._adopter = adopter
        self._founding = Founding(store, self._store, adopter)
        self._understand = understand
        self._listeners: list[Callable[[Head], None]] = []

    def subscribe(self, listener: Callable[[Head], None]) -> None:
        """Tell the listener of every head that this process writes."""
        self._listeners.append(listener)

    async def find(self, space_id: str) -> Opened | None:
        """The space, or None when there is none for its users."""
        opened = await self._find(space_id)
        return opened if opened is not None and opened.head.state is SpaceState.LIVE else None

    async def _find(self, space_id: str) -> Opened | None:
        """The head in whatever state; whoever first touches a space of an older tool gives it one."""
        if opened := await self._store.find(space_id):
            return await self._founding.settled(opened)
        head = await self._adopter.first_head(space_id)
        if head is None:
            return None
        try:
            return await self._store.create(head)
        except PreconditionFailed:
            winner = await self._store.find(space_id)
            # Of a later version nobody can tell at a glance whether ours is among its ancestors.
            if winner is not None and winner.head.version == 1 and winner.head.history != head.history:
                await self._adopter.discard(head)
            return winner

    def known(self, space_id: str) -> Opened | None:
        """The space as this process last saw it, without asking the store; None when it has not."""
        opened = self._store.known(space_id)
        return opened if opened is not None and opened.head.state is SpaceState.LIVE else None

    async def open(self, space_id: str) -> Opened:
        """The space as it is now; raises SpaceNotFound."""
        if opened := await self.find(space_id):
            return opened
        raise SpaceNotFound(space_id)

    async def ids(self) -> AsyncIterator[str]:
        """Names under which something is stored; some may be of deleted spaces."""
        async for space_id in self._store.ids():
            yield space_id

    async def swap(self, opened: Opened, head: Head) -> Opened:
        """Replace just the head that was read, and tell the listeners.

        Raises:
            PreconditionFailed: somebody else has replaced it meanwhile.
        """
        swapped = await self._store.replace(opened, head)
        for listener in self._listeners:
            listener(head)
        return swapped

    async def create(self, request: SpaceCreate, *, caller: Caller) -> SpaceCreated:
        now = iso(self._objects.now())
        head = Head(
            space_id=request.space_id,
            incarnation=new_incarnation(),
            committed_at=now,
            nonce=new_nonce(),
            about=About(description=request.description, owner=request.owner, created_at=now, created_by=caller.name),
            opening=request.rules,
        )
        await self._claim(head)
        granted = not caller.sees(request.space_id) and await self._membership.grant(caller, request.space_id)
        for listener in self._listeners:
            listener(head)
        return SpaceCreated(
            space_id=request.space_id,
            description=request.description,
            rules_size=len(request.rules.encode()),
            created_at=now,
            warnings=list(self._understand(request.rules)),
            token_auto_updated=granted,
        )

    async def _claim(self, head: Head) -> None:
        """One write decides between two creators, and nothing half-made is ever visible."""
        try:
            await self._founding.found(head)
        except PreconditionFailed:
            present = await self._store.find(head.space_id)
        else:
            return
        if present is None:
            raise SpaceBusy(head.space_id)
        if present.head.state is SpaceState.LIVE:
            raise SpaceExists(head.space_id)
        await self._take_over(present, head)

    async def _take_over(self, former: Opened, head: Head) -> Opened:
        """Use again the name of a deleted space, or of an abandoned restore, once nothing is left of it.

        Raises:
            SpaceBusy: another process is at work there, or something could not be removed.
        """
        if not former.head.swept and self._claims.is_held(former.head):
            raise SpaceBusy(head.space_id)
        try:
            claim, _removed, remaining = await self._claims.clear(await self._claims.take(former))
            if remaining:
                raise SpaceBusy(head.space_id)
            return await self._store.replace(claim, head)
        except PreconditionFailed:
            raise SpaceBusy(head.space_id) from None

    async def rules_written(self, head: Head) -> bool:
        """Have the opening rules got their own object?"""
        return await self._store.rules(head.space_id) == head.opening

    async def rules_of(self, opened: Opened) -> str:
        """The rules, verbatim; empty when they have been removed by hand."""
        # As long as the head holds them, the object may still be that of a former space.
        if opened.head.opening is not None:
            return opened.head.opening
        return await self._store.rules(opened.head.space_id) or ""

    async def rules(self, space_id: str, *, sha256: str = "") -> SpaceRules:
        """The rules as they are, or as they were when they had that digest."""
        # Together, since a round trip counts: the object is asked for in vain only while the head holds the rules.
        opened, written = await asyncio.gather(self.open(space_id), self._store.rules(space_id))
        rules = written if opened.head.opening is None else opened.head.opening
        if rules is None:
            # Asked for before the head, they may have been written in between.
            rules = await self._store.rules(space_id)
        if sha256 and sha256 != digest_of(rules or ""):
            rules = await self._store.former_rules(space_id, sha256)
            if rules is None:
                raise RulesVersionNotFound(space_id, sha256)
        if rules is None:
            raise RulesNotFound(space_id)
        return told_rules(opened.head, rules)

    async def ensure_rules(self, head: Head) -> None:
        """Write the rules that the head holds to their own object, for people and older tools.

        Raises:
            PreconditionFailed: the head has moved on.
        """
        await self._store.ensure_rules(head)

    async def delete(self, space_id: str, *, confirm: bool) -> SpaceDeleted:
        """Remove a space. From its first write on, every operation says that the space is not there."""
        if not confirm:
            raise ConfirmationRequired(
                f"Deleting space '{space_id}' removes its notes and its bank: repeat with confirm=true."
            )
        for _round in range(_ROUNDS):
            opened = await self.open(space_id)
            tombstone = self._claims.stamped(
                opened.head,
                state=SpaceState.DELETED,
                version=opened.head.version + 1,
                deleted_at=iso(self._objects.now()),
                swept=False,
                files={},
                synthesis=None,
                provenance={},
                note_refs={},
                consumed={},
                requeue={},
                edited={},
                opening=None,
            )
            try:
                buried = await self.swap(opened, tombstone)
            except PreconditionFailed:
                continue
            removed, remaining = await self._sweep(buried)
            return SpaceDeleted(space_id=space_id, files_deleted=removed, files_remaining=remaining)
        raise SpaceBusy(space_id)

    async def _sweep(self, claim: Opened) -> tuple[int, int]:
        """Remove what a deleted space leaves; the tombstone stays, so that a late writer finds it."""
        removed = remaining = 0
        try:
            claim, removed, remaining = await self._claims.clear(claim)
            if not remaining:
                await self._store.replace(claim, self._claims.stamped(claim.head, swept=True))
        except PreconditionFailed:
            log.info("sweep_overtaken", space_id=claim.head.space_id)
        return removed, remaining

    async def sweep_deleted(self) -> None:
        """Finish the deletions that a crash or an outage has cut short, and remove tombstones that are old enough."""
        async for space_id in self._store.ids():
            try:
                found = await self._store.find(space_id)
                if found is None or found.head.state is not SpaceState.DELETED or self._claims.is_held(found.head):
                    continue
                if found.head.swept:
                    await self._bury(found)
                else:
                    removed, remaining = await self._sweep(await self._claims.take(found))
                    log.info("deletion_resumed", space_id=space_id, removed=removed, remaining=remaining)
            except (Unavailable, PreconditionFailed) as error:
                log.warning("sweep_failed", space_id=space_id, error=repr(error))

    async def _bury(self, tombstone: Opened) -> None:
        """Remove a tombstone that no late writer can come upon any more.

        It is claimed before, so that nobody uses the name again between the last look and the removal.
        """
        deleted_at = tombstone.head.deleted_at
        if deleted_at is None or self._objects.now() - parse_instant(deleted_at) < _REMEMBERED:
            return
        # A job that was still running when its space went may have left its record beside the tombstone.
        claim, _removed, remaining = await self._claims.clear(await self._claims.take(tombstone))
        if remaining:
            return
        await self._store.forget(await self._claims.keep(claim))
        log.info("tombstone_removed", space_id=claim.head.space_id)

    async def claim_restore(self, space_id: str, backup_id: str) -> Opened:
        """Reserve the name for a backup. The space is seen as absent until `finish_restore`.

        Raises:
            SpaceExists: a live space has that name.
            SpaceBusy: another process is at work under it.
        """
        present = await self._store.find(space_id)
        now = iso(self._objects.now())
        claim = Head(
            space_id=space_id,
            incarnation=new_incarnation(),
            state=SpaceState.RESTORING,
            committed_at=now,
            claimed_at=now,
            nonce=new_nonce(),
            about=About(created_at=now),
            restoring_from=backup_id,
        )
        if present is None:
            if await self._store.has_meta(space_id):
                raise SpaceExists(space_id)
            try:
                # An older tool whose deletion was cut short has left files: they are of no space any more.
                opened, _removed, remaining = await self._claims.clear(await self._store.create(claim))
            except PreconditionFailed:
                raise SpaceBusy(space_id) from None
            if remaining:
                raise SpaceBusy(space_id)
            return opened
        if present.head.state is SpaceState.LIVE:
            raise SpaceExists(space_id)
        return await self._take_over(present, claim)

    async def keep_restore(self, claim: Opened) -> Opened:
        """Go on with a restore under its claim; raises SpaceBusy when somebody has taken it over."""
        try:
            return await self._claims.keep(claim)
        except PreconditionFailed:
            raise SpaceBusy(claim.head.space_id) from None

    async def find_any(self, space_id: str) -> Head | None:
        """The head in whatever state: a tombstone tells which space had the name last."""
        found = await self._find(space_id)
        return found.head if found else None

    async def first_head(self, space_id: str) -> Head | None:
        """The head of a space whose plain objects have been restored; None when they do not make one."""
        return await self._adopter.first_head(space_id)

    async def finish_restore(self, claim: Opened, saved: Head) -> Opened:
        """The last write of a restore: from here on the space is there, as it was saved."""
        head = saved.model_copy(
            update={
                "incarnation": claim.head.incarnation,
                "lineage": [*saved.lineage, saved.incarnation],
                "nonce": new_nonce(),
                "state": SpaceState.LIVE,
                "claimed_at": None,
                "restoring_from": None,
            }
        )
        try:
            return await self.swap(claim, head)
        except PreconditionFailed:
            raise SpaceBusy(saved.space_id) from None

    async def update(self, space_id: str, request: SpaceUpdate, *, caller: Caller) -> SpaceUpdated:
        """Change what is said of a space; what the request leaves empty stays as it is.

        Raises:
            AdminRequired: it is to be consolidated by itself, which files everybody's notes and may cost money.
        """
        if request.automatic is not None:
            caller.demand(Permission.ADMIN, space_id)
        before, after = await self._amend(space_id, lambda head: changes_to(head, request))
        return told_update(before, after)

    async def update_rules(self, space_id: str, request: SpaceRulesUpdate, *, caller: Caller) -> SpaceRulesUpdated:
        """Give a space other rules. Those before are kept, and whoever is filing notes now begins anew with these.

        The order of the writes: first both texts are kept, then the head is swapped, last the rules get their own
        object. A crash in between leaves a text that nobody names, or an object that the next touch brings up to date.
        """
        for _round in range(_ROUNDS):
            opened = await self.open(space_id)
            before = await self.rules_of(opened)
            if before == request.rules:
                return told_rules_update(opened.head, before, request.rules, self._understand(request.rules))
            if before:
                await self._store.keep_rules(space_id, before.encode())
            await self._store.keep_rules(space_id, request.rules.encode())
            changed = ruled(opened.head, before, request.rules, by=caller.name, at=iso(self._objects.now()))
            try:
                swapped = await self.swap(opened, changed)
            except PreconditionFailed:
                continue
            log.info("rules_changed", space_id=space_id, by=caller.name, sha256=digest_of(request.rules))
            return told_rules_update(swapped.head, before, request.rules, self._understand(request.rules))
        raise SpaceContended(space_id)

    async def _amend(self, space_id: str, change: Callable[[Head], Mapping[str, object]]) -> tuple[Head, Head]:
        """Change a head by a pure function that may run again: the head before, and after."""
        for _round in range(_ROUNDS):
            opened = await self.open(space_id)
            changes = change(opened.head)
            if not changes:
                return opened.head, opened.head
            try:
                amended = await self.swap(opened, opened.head.model_copy(update={**changes, "nonce": new_nonce()}))
            except PreconditionFailed:
                continue
            return opened.head, amended.head
        raise SpaceContended(space_id)

    async def exists(self, space_id: str) -> bool:
        """Is there such a space for its users? A damaged one is there too."""
        try:
            return await self.find(space_id) is not None
        except DamagedDocument:
            return True
