"""What the service says about itself."""

from typing import Literal

from pydantic import Field

from app.core.schema import Result


class StoreHealth(Result):
    """Whether the object store answers."""

    status: Literal["ok", "error"] = Field(examples=["ok"])
    """`ok` or `error`."""
    kind: str = Field(examples=["directory"])
    """`memory`, `directory` or `s3`."""
    bucket: str = Field(examples=["directory"])
    """The bucket; for a store without one, its kind."""
    latency_ms: float = Field(examples=[1.4])
    """How long its last answer took, or how long it was waited for."""
    message: str | None = None
    """What is wrong; null: nothing."""


class ModelHealth(Result):
    """What files the notes. The model is not called for this answer."""

    status: Literal["ok", "warning"] = Field(examples=["warning"])
    """`ok` when a model is configured, otherwise `warning`."""
    model: str | None = Field(examples=[None])
    """Name of the language model; null: none is configured."""
    message: str
    """Who does the work."""


class ServiceHealth(Result):
    """What the service stands on."""

    s3: StoreHealth
    """The object store, of whatever kind."""
    llmaas: ModelHealth
    """The language model."""


class Health(Result):
    """Whether the service can do its work."""

    status: Literal["ok", "healthy", "degraded"] = Field(examples=["ok"])
    """`ok`, or `healthy` on the MCP endpoint `/mcp`, or `degraded`."""
    service_name: str = Field(examples=["Live Memory"])
    """As configured."""
    version: str = Field(examples=["1.0.0"])
    """Of the service."""
    uptime_seconds: float = Field(examples=[86400.5])
    """Since this process started."""
    services: ServiceHealth
    """One by one."""
    spaces_count: int = Field(examples=[3])
    """Spaces that are stored, those deleted in the last days included; -1: they cannot be counted now."""


class ToolAbout(Result):
    """One operation."""

    name: str = Field(examples=["live_note"])
    """Name of the operation, the same on every face."""
    description: str = Field(examples=["Write a note."])
    """What it does, in at most 100 characters."""


class About(Result):
    """What this service is."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    name: str = Field(examples=["Live Memory"])
    """As configured."""
    version: str = Field(examples=["1.0.0"])
    """Of the service."""
    description: str
    """In one sentence."""
    author: str
    """Who makes it."""
    documentation: str = Field(examples=["/docs"])
    """Path of the API's documentation on this server."""
    python_version: str = Field(examples=["3.13.1"])
    """Of the interpreter."""
    platform: str = Field(examples=["Linux"])
    """Of the machine."""
    tools_count: int = Field(examples=[26])
    """How many operations there are."""
    tools: list[ToolAbout]
    """Each of them."""
