"""What most tests start from: services over a store in memory, at a standstill in time."""

import signal

import pytest

from app.bootstrap import Services, build_services
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.storage.memory import MemoryStore
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

configure_logging(level="INFO")

# A shell that runs a command in the background lets it ignore Ctrl-C, and every program started from here would too.
signal.signal(signal.SIGINT, signal.default_int_handler)

BOOTSTRAP_KEY = "a-bootstrap-key-of-the-tests-0123456789"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(clock: FrozenClock) -> FaultyStore:
    """Every test may break it; it works until told otherwise."""
    return FaultyStore(MemoryStore(clock))


@pytest.fixture
def settings() -> Settings:
    return Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY)


@pytest.fixture
def services(store: FaultyStore, clock: FrozenClock, settings: Settings) -> Services:
    return build_services(store, clock, settings)
