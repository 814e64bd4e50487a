"""How a scripted author chooses what a file can do without: the oldest entries, as many as have to go."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

_ASKED: Final = re.compile(r"^\[TASK\]\nEntries of at least (?P<bytes>\d+) bytes in all have to leave ", re.MULTILINE)
_ENTRY: Final = re.compile(r"^(?P<handle>e\d+) (?P<bytes>\d+)\| (?P<day>\d{4}-\d\d-\d\d)?", re.MULTILINE)


def choice(messages: Sequence[Mapping[str, str]]) -> dict[str, list[str]] | None:
    """What a prompt that asks for entries is answered; None when it asks for something else."""
    said = next((one["content"] for one in messages if _ASKED.search(one["content"])), "")
    asked = _ASKED.search(said)
    if asked is None:
        return None
    left = int(asked["bytes"])
    named: list[str] = []
    for entry in sorted(_ENTRY.finditer(said), key=lambda entry: entry["day"] or "9999"):
        if left <= 0:
            break
        named.append(entry["handle"])
        left -= int(entry["bytes"])
    return {"archive": named}
