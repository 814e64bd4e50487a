"""Waiting that takes no time."""

import asyncio


class Sleeper:
    """Takes the place of `asyncio.sleep`, and remembers how long it was asked to wait."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)
