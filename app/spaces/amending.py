"""What becomes of a space when it is described anew or gets other rules; computed, not written."""

import hashlib
from collections.abc import Sequence
from typing import Final

from app.core.ids import new_nonce
from app.spaces.models import (
    About,
    Automatic,
    Head,
    RulesChange,
    RulesChanged,
    SpaceRules,
    SpaceRulesUpdated,
    SpaceUpdate,
    SpaceUpdated,
)

_REMEMBERED: Final = 50
"""Changes of the rules that a head names; earlier ones are still told by the commits made under them."""


def digest_of(rules: str) -> str:
    """The digest by which rules are named, in hex: the one that commits name them by."""
    return hashlib.sha256(rules.encode()).hexdigest()


def changes_to(head: Head, request: SpaceUpdate) -> dict[str, object]:
    """The parts of a head that are different after the request."""
    about = _described(head.about, request)
    changes: dict[str, object] = {"about": about} if about != head.about else {}
    if request.automatic is not None:
        automatic = Automatic.model_validate(request.automatic.model_dump())
        changes |= {"automatic": automatic} if automatic != head.automatic else {}
    return changes


def _described(about: About, request: SpaceUpdate) -> About:
    given = {name: text for name, text in (("description", request.description), ("owner", request.owner)) if text}
    return about.model_copy(update={**given, **dict.fromkeys(request.cleared, "")})


def ruled(head: Head, before: str, rules: str, *, by: str, at: str) -> Head:
    """The head with other rules, unlike every head before: whatever was planned under the former ones is void."""
    change = RulesChange(at=at, by=by, sha256=digest_of(rules), previous=digest_of(before) if before else "")
    return head.model_copy(
        update={"opening": rules, "rules_changes": [*head.rules_changes, change][-_REMEMBERED:], "nonce": new_nonce()}
    )


def told_rules(head: Head, rules: str) -> SpaceRules:
    """The rules of a space as they are answered."""
    return SpaceRules(
        space_id=head.space_id,
        rules=rules,
        rules_size=len(rules.encode()),
        rules_sha256=digest_of(rules),
        changes=[
            RulesChanged(at=one.at, by=one.by, sha256=one.sha256, previous=one.previous)
            for one in reversed(head.rules_changes)
        ],
    )


def told_update(before: Head, after: Head) -> SpaceUpdated:
    """What was changed about a space, as it is answered."""
    names = [name for name in ("description", "owner") if getattr(before.about, name) != getattr(after.about, name)]
    names += ["automatic"] if before.automatic != after.automatic else []
    return SpaceUpdated(
        space_id=after.space_id,
        updated_fields=names,
        description=after.about.description,
        owner=after.about.owner,
        automatic=after.automatic,
        message=f"Changed: {', '.join(names)}." if names else "Nothing was to be changed.",
    )


def told_rules_update(head: Head, before: str, rules: str, warnings: Sequence[str]) -> SpaceRulesUpdated:
    """What was changed about the rules, as it is answered."""
    return SpaceRulesUpdated(
        space_id=head.space_id,
        rules_size=len(rules.encode()),
        rules_sha256=digest_of(rules),
        previous_sha256=digest_of(before) if before else "",
        warnings=list(warnings),
        message="The rules are as they were."
        if before == rules
        else "The rules are changed. The next consolidation follows them; what is in the bank stays where it is.",
    )
