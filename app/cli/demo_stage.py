"""Where the demo plays: one process on a folder, or several on one bucket, and the stored files for its audit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.cli.demo_service import RunningService, running_service
from app.cli.demo_story import FOLDER
from app.core.clock import SystemClock
from app.core.settings import Settings
from app.main import OBJECTS
from app.storage.mirror import keys_of, mirror, remove_everything

NOTHING: Final[Mapping[str, str]] = {}
"""No setting at all."""
_BUCKET: Final = (
    "s3_endpoint_url", "s3_bucket_name", "s3_region_name", "s3_access_key_id", "s3_signature", "s3_conditional_writes",
    "s3_sse",
)  # fmt: skip
"""Settings that the processes get as they are."""


class NotEmpty(Exception):
    """The bucket holds something already; the message names it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Processes that serve one memory. An agent uses one of them, and never learns which."""

    services: Sequence[RunningService]
    place: str
    """Where the memory is kept, for people."""
    objects: Callable[[], Awaitable[Path]]
    """The stored files as they are now, in a folder, read without the service."""

    @property
    def admin_key(self) -> str:
        return self.services[0].admin_key

    def door(self, number: int) -> RunningService:
        """The process that the caller of that number uses."""
        return self.services[number % len(self.services)]


@contextmanager
def on_a_folder(folder: Path, processes: int, model: Mapping[str, str] = NOTHING) -> Iterator[Stage]:
    """The memory in a folder, as it is when nobody has configured anything, but perhaps a model."""
    with ExitStack() as stack:
        services = [stack.enter_context(running_service(folder, model, name=name)) for name in _names(processes)]

        async def objects() -> Path:
            return folder / OBJECTS

        yield Stage(services, FOLDER, objects)


@asynccontextmanager
async def on_a_bucket(
    folder: Path, processes: int, settings: Settings, model: Mapping[str, str] = NOTHING
) -> AsyncIterator[Stage]:
    """The memory in the bucket of the settings, which is empty before and afterwards.

    Raises:
        NotEmpty: it is somebody else's.
    """
    from app.storage.bucket import bucket  # noqa: PLC0415 - the client of S3 takes a second to import

    store = bucket(settings, SystemClock())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.opened())
        if settings.s3_signature == "auto":
            from app.storage.probe import choose_signature  # noqa: PLC0415 - as above

            await choose_signature(store)
        if keys := await keys_of(store):
            raise NotEmpty(f"the bucket '{store.location}' is not empty: it holds '{keys[0]}'")
        # Runs last, when no process writes any more.
        stack.push_async_callback(remove_everything, store)
        environment = {**_environment(settings, processes), **model}
        with ExitStack() as running:
            services = [
                running.enter_context(running_service(folder, environment, name=name)) for name in _names(processes)
            ]

            async def objects() -> Path:
                return await mirror(store, folder / "mirror")

            yield Stage(services, f"the bucket '{store.location}'", objects)


def _names(processes: int) -> list[str]:
    return ["service", *(f"service-{number}" for number in range(2, processes + 1))]


def _environment(settings: Settings, processes: int) -> Mapping[str, str]:
    secret = settings.s3_secret_access_key
    return {
        **{name.upper(): str(getattr(settings, name)) for name in _BUCKET},
        "S3_SECRET_ACCESS_KEY": secret.get_secret_value() if secret else "",
        "S3_CA_FILE": str(settings.s3_ca_file.absolute()) if settings.s3_ca_file else "",
        "REPLICAS": str(processes),
    }
