"""How much a model takes at once."""

from app.core.clock import Clock
from app.llm.limits import Limits


class Window:
    """Tokens of prompt and answer together: as configured, or less when the endpoint turned out to take less.

    What was observed is forgotten after a day, since the endpoint may have been given more.
    """

    def __init__(self, configured: int, clock: Clock, limits: Limits) -> None:
        self._configured = configured
        self._clock = clock
        self._limits = limits
        self._observed = configured
        self._until = 0.0

    @property
    def tokens(self) -> int:
        return self._observed if self._clock.monotonic() < self._until else self._configured

    def narrow(self, observed: int) -> None:
        """Take in that the endpoint takes no more than this."""
        if 0 < observed < self.tokens:
            self._observed = observed
            self._until = self._clock.monotonic() + self._limits.learned

    def room(self, prompt: int, asked: int) -> int:
        """How much of an answer may be asked for beside a prompt; some servers refuse more than the window holds."""
        left = self.tokens - prompt
        return max(1, min(asked, left) if left > 0 else asked)
