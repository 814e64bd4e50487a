import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.llm.limits import Limits
from app.llm.retries import TryAgain, repeated, server_delay
from tests.fakes.sleeper import Sleeper

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


class Flaky:
    """Fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.attempts = 0

    async def __call__(self) -> str:
        self.attempts += 1
        await asyncio.sleep(0)
        if self._failures:
            raise self._failures.pop(0)
        return "done"


async def tried(flaky: Flaky, sleeper: Sleeper, *, seconds_left: float = 600) -> str:
    return await repeated(flaky, Limits(), seconds_left=lambda: seconds_left, sleep=sleeper)


async def test_it_waits_longer_each_time_and_stops_after_four_attempts() -> None:
    flaky, sleeper = Flaky(*(TryAgain("busy") for _ in range(4))), Sleeper()
    with pytest.raises(TryAgain, match="busy"):
        await tried(flaky, sleeper)
    assert flaky.attempts == 4
    for waited, longest in zip(sleeper.waited, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= waited <= longest


async def test_what_the_server_asks_for_is_waited_for_in_full() -> None:
    flaky, sleeper = Flaky(TryAgain("busy", delay=61.5), TryAgain("busy")), Sleeper()
    assert await tried(flaky, sleeper) == "done"
    assert sleeper.waited[0] == 61.5
    assert 0.2 <= sleeper.waited[1] <= 0.4


async def test_no_delay_is_begun_that_cannot_end_in_time() -> None:
    flaky, sleeper = Flaky(TryAgain("busy", delay=61)), Sleeper()
    with pytest.raises(TryAgain) as caught:
        await tried(flaky, sleeper, seconds_left=60)
    assert (flaky.attempts, sleeper.waited, caught.value.delay) == (1, [], 61)


async def test_other_errors_are_not_repeated() -> None:
    flaky, sleeper = Flaky(KeyError("x")), Sleeper()
    with pytest.raises(KeyError):
        await tried(flaky, sleeper)
    assert flaky.attempts == 1


async def test_the_longest_own_wait_has_a_limit() -> None:
    flaky, sleeper = Flaky(*(TryAgain("busy") for _ in range(11))), Sleeper()
    await repeated(flaky, Limits(attempts=20), seconds_left=lambda: 600, sleep=sleeper)
    assert 15 <= sleeper.waited[-1] <= 30


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, 30),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        ({"retry-after": str(EPOCH + 12)}, 12),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ratelimit-reset-requests": "1m2s"}, 62),
        ({"x-ratelimit-reset-requests": "1h0.5s"}, 3600.5),
        ({"x-ratelimit-reset-tokens": "250ms"}, 0.25),
        ({"x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-reset-requests": str(EPOCH + 20)}, 20),
        ({"x-ratelimit-reset-requests": str((EPOCH + 20) * 1000)}, 20),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m",
            },
            2,
        ),
    ],
)
def test_a_server_says_in_many_ways_when_to_come_back(headers: dict[str, str], delay: float | None) -> None:
    assert server_delay(429, headers, NOW) == (None if delay is None else pytest.approx(delay))


def test_how_much_is_left_of_a_quota_matters_only_once_it_is_spent() -> None:
    assert server_delay(503, {"x-ratelimit-reset-requests": "6m0s"}, NOW) is None
    assert server_delay(503, {"retry-after": "6"}, NOW) == 6
