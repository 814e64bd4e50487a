"""`live-memory migrate`: what the start of the service would do to stored data, without starting it."""

import asyncio
from collections.abc import Sequence

import typer

from app.core.clock import SystemClock
from app.core.errors import Situation
from app.core.ids import replica_name
from app.core.settings import InvalidSetting, Settings
from app.main import make_store, set_up_logging
from app.storage.migrations import Migrations, Step


async def migrate(settings: Settings, *, dry_run: bool) -> list[Step]:
    """Run the migrations that are due on the store of the settings, or say what they would write."""
    store = make_store(settings, SystemClock())
    async with store.opened():
        return await Migrations(store, replica_name()).run(dry_run=dry_run)


def run(settings: Settings, *, dry_run: bool) -> int:
    """The same for a terminal: say what was done, and return the exit status."""
    set_up_logging(settings)
    try:
        steps = asyncio.run(migrate(settings, dry_run=dry_run))
    except InvalidSetting as fault:
        typer.echo(f"live-memory: {fault}", err=True)
        return 2
    except Situation as situation:
        typer.echo(f"live-memory: {situation.detail}", err=True)
        return 1
    for line in lines(steps, dry_run=dry_run):
        typer.echo(line)
    return 0


def lines(steps: Sequence[Step], *, dry_run: bool) -> list[str]:
    """What a person reads."""
    if not steps:
        return ["Nothing to do: the stored data is as this version reads it."]
    if not dry_run:
        return [f"done: {step.name}" for step in steps]
    return [
        line
        for step in steps
        for line in (f"would run: {step.name}", *(f"  {method} {key}" for method, key in step.writes))
    ]
