"""A registry of tokens in memory, at a fixed time."""

import pytest

from app.core.identity import Caller, Everywhere, Permission
from app.tokens.service import TokenService
from tests.fakes.clock import FrozenClock
from tests.unit.tokens.stores import WatchedStore

BOOTSTRAP_KEY = "a-bootstrap-key-that-is-long-enough-for-anybody"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(clock: FrozenClock) -> WatchedStore:
    return WatchedStore(clock)


@pytest.fixture
def tokens(store: WatchedStore, clock: FrozenClock) -> TokenService:
    return TokenService(store, clock, BOOTSTRAP_KEY, "replica-1")


@pytest.fixture
def elsewhere(store: WatchedStore, clock: FrozenClock) -> TokenService:
    """The same registry, seen by another replica."""
    return TokenService(store, clock, BOOTSTRAP_KEY, "replica-2")


@pytest.fixture
def admin() -> Caller:
    return Caller("admin", frozenset({Permission.ADMIN}), Everywhere(), "bootstrap")
