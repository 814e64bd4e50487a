"""What the model has cost a space, day by day, and whether it may cost more."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from math import ceil

from app.bank.errors import BudgetSpent
from app.core.schema import Record
from app.llm.client import Usage
from app.storage.document import Document
from app.storage.store import ObjectStore


class Spent(Record):
    """Calls to the model, what they read and wrote, and what they cost."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0

    def plus(self, calls: int, usage: Usage, cost: float) -> "Spent":
        return Spent(
            calls=self.calls + calls,
            prompt_tokens=self.prompt_tokens + usage.prompt,
            completion_tokens=self.completion_tokens + usage.completion,
            cached_tokens=self.cached_tokens + usage.cached,
            cost=round(self.cost + cost, 6),
        )


class UsageDay(Record):
    """One day of one space: `{space}/_usage/{YYYY-MM-DD}.json`."""

    day: str
    total: Spent = Spent()
    by_actor: dict[str, Spent] = {}
    """Name of whoever asked for the consolidation, then what it took."""
    automatic_runs: int = 0
    """Consolidations that nobody asked for."""
    estimated: bool = False
    """Some tokens were counted here, since the endpoint did not tell."""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one space may take a day; 0: no limit."""

    calls: int = 0
    cost: float = 0.0


def seconds_left(now: datetime) -> int:
    """How long it is until another day begins, and with it what may be spent."""
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time.min, tzinfo=now.tzinfo)
    return ceil((tomorrow - now).total_seconds())


def usage_prefix(space_id: str) -> str:
    """Under which key prefix the days of a space lie."""
    return f"{space_id}/_usage/"


class Ledger:
    """Writes down every call, failed and repeated ones included, and says when a limit is reached."""

    def __init__(self, store: ObjectStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    async def demand(self, space_id: str) -> None:
        """Raise BudgetSpent when today's limit of the space is reached."""
        if not self._limits.calls and not self._limits.cost:
            return
        version = await self._today(space_id).read()
        if version is None:
            return
        spent = version.model.total
        if self._limits.calls and spent.calls >= self._limits.calls:
            raise BudgetSpent(f"Space '{space_id}' has made its {self._limits.calls} calls to the model of today.")
        if self._limits.cost and spent.cost >= self._limits.cost:
            raise BudgetSpent(f"Space '{space_id}' has spent its {self._limits.cost:g} of today on the model.")

    async def charge(self, space_id: str, usage: Usage, *, calls: int, cost: float, actor: str) -> None:
        """Add calls that were made; a call that was paid is written down even if its answer was of no use."""
        day = self._day()

        def charged(present: UsageDay | None) -> UsageDay:
            known = present or UsageDay(day=day)
            return known.model_copy(
                update={
                    "total": known.total.plus(calls, usage, cost),
                    "by_actor": {
                        **known.by_actor,
                        actor: known.by_actor.get(actor, Spent()).plus(calls, usage, cost),
                    },
                    "estimated": known.estimated or usage.estimated,
                }
            )

        await self._today(space_id).change(charged)

    async def count_run(self, space_id: str, *, at_most: int) -> bool:
        """Count one more automatic consolidation of today; False when there were that many already."""
        day = self._day()
        before = 0

        def counted(present: UsageDay | None) -> UsageDay | None:
            nonlocal before
            known = present or UsageDay(day=day)
            before = known.automatic_runs
            if before >= at_most:
                return None
            return known.model_copy(update={"automatic_runs": before + 1})

        await self._today(space_id).change(counted)
        return before < at_most

    async def take_back_run(self, space_id: str) -> None:
        """Count one automatic consolidation less: another process was at it already."""

        def counted(present: UsageDay | None) -> UsageDay | None:
            if present is None or not present.automatic_runs:
                return present
            return present.model_copy(update={"automatic_runs": present.automatic_runs - 1})

        await self._today(space_id).change(counted)

    async def forget_today(self, space_id: str) -> None:
        """Remove what was written down today: the space is gone, and nothing may be left under its name."""
        await self._store.delete(f"{usage_prefix(space_id)}{self._day()}.json")

    def _day(self) -> str:
        return self._store.now().date().isoformat()

    def _today(self, space_id: str) -> Document[UsageDay]:
        return Document(self._store, f"{usage_prefix(space_id)}{self._day()}.json", UsageDay)
