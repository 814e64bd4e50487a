from datetime import timedelta

from app.llm.breaker import Breaker
from app.llm.limits import Limits
from app.llm.window import Window
from tests.fakes.clock import FrozenClock


def test_failures_in_a_row_open_it_and_a_success_in_between_does_not_let_them() -> None:
    breaker = Breaker(FrozenClock(), Limits(jobs_until_open=2))
    breaker.job_failed()
    breaker.job_succeeded()
    breaker.job_failed()
    # An answer alone says nothing about the job it belongs to.
    breaker.answered()
    assert breaker.lets_through()
    assert breaker.seconds_left == 0
    breaker.job_failed()
    assert breaker.is_open
    assert not breaker.lets_through()
    assert breaker.seconds_left == 60


def test_one_trial_a_minute_until_one_succeeds() -> None:
    clock = FrozenClock()
    breaker = Breaker(clock, Limits(jobs_until_open=1))
    breaker.job_failed()
    for _ in range(3):
        clock.advance(timedelta(seconds=59))
        assert not breaker.lets_through()
        clock.advance(timedelta(seconds=1))
        assert breaker.lets_through()
        assert not breaker.lets_through()
    breaker.answered()
    assert not breaker.is_open
    assert breaker.lets_through()


def test_a_window_narrows_for_a_day_and_never_widens_by_itself() -> None:
    clock = FrozenClock()
    window = Window(1000, clock, Limits())
    window.narrow(2000)
    window.narrow(0)
    assert window.tokens == 1000
    window.narrow(500)
    window.narrow(700)
    assert window.tokens == 500
    clock.advance(timedelta(days=1))
    assert window.tokens == 1000


def test_there_is_room_for_what_the_window_leaves() -> None:
    window = Window(1000, FrozenClock(), Limits())
    assert window.room(100, 500) == 500
    assert window.room(800, 500) == 200
    # What does not fit at all is the endpoint's to refuse: the estimate may be wrong.
    assert window.room(1200, 500) == 500
