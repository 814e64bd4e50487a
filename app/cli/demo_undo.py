"""The demo's change of mind: what a round changed is looked at, and one before the last is undone."""

from collections.abc import Awaitable, Callable
from typing import Final

from app.cli.demo_audit import anchors
from app.cli.demo_story import Json, Story, Undo

_LAST: Final = -1
_UNDONE: Final = -2

Call = Callable[..., Awaitable[Json]]
"""A request over REST: method, path, and what belongs to it."""


async def undo_a_round(call: Call, space_id: str, story: Story) -> Undo:
    """Undo the version that ended the last round but one, keep the last round, and say what came of it."""
    bank = f"/spaces/{space_id}/bank"
    version = story.rounds[_UNDONE].consolidated["version"]
    current = story.rounds[_LAST].consolidated["version"]

    async def difference(earlier: int, later: int) -> Json:
        return await call("GET", f"{bank}/diff", params={"from": str(earlier), "to": str(later)})

    own, last = await difference(version - 1, version), await difference(version, current)
    reverted = await call("POST", f"{bank}/revert", json={"version": version})
    waiting = await call("GET", f"/spaces/{space_id}/notes", params={"limit": 0})
    files = (await call("GET", bank))["files"]
    text = "\n".join(file["content"] for file in files)

    story.check(f"bank_diff names the {story.rounds[_LAST].notes} notes of the last round",
                len(last["notes_filed"]) == story.rounds[_LAST].notes)  # fmt: skip
    settled = len(reverted["notes_requeued"]) + len(reverted["notes_kept"])
    story.check("every note of the undone version waits again or is still cited", settled == len(own["notes_filed"]))
    story.check("what waits again is in the queue", waiting["matched"] == len(reverted["notes_requeued"]))
    kept = [anchor for note in last["notes_filed"] for anchor in anchors(story.written[note]) if anchor not in text]
    story.check("what the last round filed stays", not kept)
    return Undo(version=version, last=last, reverted=reverted)
