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
    """What files the notes. Unless it was asked a question, the model is not paid for this answer."""

    status: Literal["ok", "warning", "error"] = Field(examples=["warning"])
    """`ok`: it can be used. `warning`: none is configured. `error`: it cannot be used."""
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


class TemplateAbout(Result):
    """Rules that are ready to use."""

    name: str = Field(examples=["template:standard"])
    """Give it as `rules` to `space_create`."""
    description: str = Field(examples=["A software project: current work, decisions, progress."])
    """What it is for."""


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
    rule_templates: list[TemplateAbout]
    """Rules that are ready to use for a new space."""


class WhoAmI(Result):
    """Who calls, and what they may do."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    name: str = Field(examples=["agent-one"])
    """Name of the token: notes are signed with it."""
    client_name: str = Field(examples=["agent-one"])
    """The same."""
    auth_type: Literal["bootstrap", "token"] = Field(examples=["token"])
    """`bootstrap` for the administrator's first key, else `token`."""
    is_admin: bool = Field(examples=[False])
    """It may do everything everywhere."""
    permissions: list[str] = Field(examples=[["read", "write"]])
    """What it may do."""
    space_ids: list[str] = Field(examples=[["project-alpha"]])
    """Spaces it may open; empty: all."""
    allowed_spaces: list[str] = Field(examples=[["project-alpha"]])
    """The same."""
    token_hash: str = Field(examples=["sha256:" + "0123456789abcdef" * 4])
    """Names the token in the operations of an administrator; empty for the first key."""
    created_at: str | None
    """When the token was made, in UTC; null: not known."""
    expires_at: str | None
    """When it ends by itself, in UTC; null: never."""
    last_used_at: str | None
    """When it was last presented before, in UTC, up to a minute late; null: not that we know."""
    note: str = ""
    """What to know about this way of calling; mostly empty."""
