"""What models an endpoint offers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_WINDOWS: Final = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
_LATEST: Final = ":latest"
"""What some add to a name that has no tag."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of an endpoint."""

    name: str
    aliases: tuple[str, ...]
    window: int | None
    """Tokens of prompt and answer together, where the endpoint tells it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The models of an endpoint."""

    models: tuple[Listed, ...]

    @classmethod
    def read(cls, body: bytes) -> "Listing | None":
        """What the endpoint sent; None when that is no list of models."""
        try:
            listing = json.loads(body)
        except (ValueError, RecursionError):
            return None
        models = listing.get("data") if isinstance(listing, dict) else None
        if not isinstance(models, list):
            return None
        return cls(tuple(_listed(model) for model in models if isinstance(model, dict)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    def find(self, name: str) -> Listed | None:
        """The model of that name or alias."""
        return next(
            (one for one in self.models if name in {one.name, one.name.removesuffix(_LATEST), *one.aliases}), None
        )


def _listed(model: Mapping[str, Any]) -> Listed:
    aliases = model.get("aliases")
    windows = [value for name in _WINDOWS if isinstance(value := model.get(name), int) and value > 0]
    return Listed(
        name=str(model.get("id", "")),
        aliases=tuple(map(str, aliases)) if isinstance(aliases, list) else (),
        window=min(windows, default=None),
    )
