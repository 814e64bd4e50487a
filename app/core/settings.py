"""Every environment variable of the service: name, type, default and one sentence. Only the process reads them."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

MIN_BOOTSTRAP_KEY: Final = 32
_PLACEHOLDERS: Final = frozenset({
    "change_me_in_production", "change_me", "changeme", "admin", "administrator", "password", "secret", "bootstrap",
    "default", "example", "test",
})  # fmt: skip
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")


class StoreKind(StrEnum):
    """Where the memory is kept."""

    DIRECTORY = "directory"
    S3 = "s3"
    MEMORY = "memory"


class S3Signature(StrEnum):
    """How requests to the S3 server are signed."""

    AUTO = "auto"
    V4 = "v4"
    HYBRID = "hybrid"
    V2 = "v2"


class ConditionalWrites(StrEnum):
    """What becomes of a bucket whose server may not keep conditions."""

    AUTO = "auto"
    REQUIRE = "require"
    OFF = "off"


class Structured(StrEnum):
    """What is asked of a model's endpoint to hold the answer to its form."""

    AUTO = "auto"
    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


class Uncovered(StrEnum):
    """What becomes of a note that the model did not file well."""

    EXTRACT = "extract"
    LEAVE = "leave"


class ExtraFiles(StrEnum):
    """Whether a model may create files that the rules do not name."""

    REFUSE = "refuse"
    ALLOW = "allow"


class ToolSet(StrEnum):
    """Which operations are MCP tools."""

    CORE = "core"
    FULL = "full"


class LogFormat(StrEnum):
    """How a log line looks."""

    JSON = "json"
    CONSOLE = "console"
    AUTO = "auto"


class LogLevel(StrEnum):
    """The least important line that is written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class InvalidSetting(Exception):
    """A setting is wrong: the message is one sentence that names the variable and never shows a secret."""


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Several values, separated by commas."""


class Settings(BaseSettings):
    """What the operator decided. The attribute of `MCP_SERVER_PORT` is `mcp_server_port`, and so on."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    mcp_server_name: str = "Live Memory"
    """Name the service gives itself in its answers and in the MCP handshake."""
    mcp_server_host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""
    mcp_server_port: int = Field(default=8002, ge=0, le=65535)
    """Port to listen on; 0 lets the system choose a free one."""
    admin_bootstrap_key: SecretStr | None = None
    """Token of the first administrator, 32 characters or more; without one, the first start makes one and keeps it."""
    admin_bootstrap_key_file: Path | None = None
    """File that holds ADMIN_BOOTSTRAP_KEY."""

    live_memory_store: Annotated[StoreKind, BeforeValidator(_lower)] = StoreKind.DIRECTORY
    """Where the memory is kept: directory, s3 or memory (lost at the end); s3 by itself once S3_ENDPOINT_URL or
    S3_BUCKET_NAME is set."""
    live_memory_data_dir: Path = Path("data")
    """Folder of the directory store and of the generated administrator's key."""
    store_fsync: bool = True
    """Whether the directory store waits until each write is on the disk."""
    s3_endpoint_url: str = ""
    """Address of the S3 server; empty for AWS."""
    s3_access_key_id: str = ""
    """Name of the S3 credentials."""
    s3_secret_access_key: SecretStr | None = None
    """Secret of the S3 credentials."""
    s3_secret_access_key_file: Path | None = None
    """File that holds S3_SECRET_ACCESS_KEY."""
    s3_bucket_name: str = "live-mem"
    """Bucket of the memory."""
    s3_region_name: str = "fr1"
    """Region of the bucket."""
    s3_signature: Annotated[S3Signature, BeforeValidator(_lower)] = S3Signature.AUTO
    """Signature of requests: v4, v2, hybrid (v2 for calls on one object, else v4), or auto (the first that works)."""
    s3_conditional_writes: Annotated[ConditionalWrites, BeforeValidator(_lower)] = ConditionalWrites.AUTO
    """What a server that does not keep conditional writes means: auto (one process writes, alone), require (the service
    never becomes ready), or off (one process writes, alone, whatever the server does)."""
    s3_sse: str = ""
    """Encryption at rest: empty for none, AES256, or the id of a KMS key."""
    s3_ca_file: Path | None = None
    """Certificates to trust for the S3 server instead of the system's."""
    replicas: int = Field(default=1, ge=1, le=1000)
    """Processes that serve the same memory; more than one on S3 needs a server that keeps conditional writes."""

    llmaas_api_url: str = ""
    """Base address, /v1 included, of an OpenAI-compatible model; empty to consolidate without one."""
    llmaas_api_key: SecretStr | None = None
    """Key of the model's interface."""
    llmaas_api_key_file: Path | None = None
    """File that holds LLMAAS_API_KEY."""
    llmaas_model: str = "qwen3-2507:235b"
    """Name of the model."""
    llmaas_max_tokens: int = Field(default=100_000, ge=1)
    """Most tokens the model may answer with; it is asked for no more than a batch needs."""
    llmaas_temperature: float = Field(default=0.3, ge=0, le=2)
    """How freely the model answers."""
    llm_ca_file: Path | None = None
    """Certificates to trust for the model's address beside the system's."""
    llm_context_window: int = Field(default=100_000, ge=2_000)
    """Tokens of prompt and answer together that the model takes; less when the endpoint says so."""
    llm_prompt_budget: int = Field(default=32_000, ge=1_000)
    """Most tokens of a prompt, and never more than 60 % of the window."""
    llm_structured: Annotated[Structured, BeforeValidator(_lower)] = Structured.AUTO
    """What holds the answer to its form: json_schema, json_object, none, or auto (the best that the endpoint takes)."""
    llm_nfkc: bool = False
    """Whether prompts are sent in Unicode's compatibility form, which some gateways demand; notes stay as written."""
    llm_price_input: float = Field(default=0, ge=0)
    """Price of a million tokens read by the model, for the costs in results and caps."""
    llm_price_output: float = Field(default=0, ge=0)
    """Price of a million tokens written by the model."""
    llm_daily_calls: int = Field(default=0, ge=0)
    """Most calls to the model a day for one space; 0 for no limit."""
    llm_daily_cost: float = Field(default=0, ge=0)
    """Most that one space may cost a day, in the currency of the prices; 0 for no limit."""
    consolidation_timeout: int = Field(default=600, ge=1, le=3600)
    """Seconds that one answer of the model may take, repetitions included."""
    consolidation_max_notes: int = Field(default=500, ge=1, le=10_000)
    """Most notes that one consolidation takes up."""
    consolidation_batch_size: int = Field(default=24, ge=1, le=500)
    """Notes that are given to a model at once."""
    consolidation_wait: float = Field(default=540, ge=0, le=3600)
    """Seconds that bank_consolidate waits for the outcome before it answers with the id of the job."""
    consolidation_on_uncovered: Annotated[Uncovered, BeforeValidator(_lower)] = Uncovered.EXTRACT
    """What becomes of a note that the model did not file well, or of all when it fails or is over its limit: extract
    (filed word for word) or leave (it waits)."""
    consolidation_extra_files: Annotated[ExtraFiles, BeforeValidator(_lower)] = ExtraFiles.REFUSE
    """Whether the model may create files that the rules do not name: refuse or allow."""
    consolidation_compact_over: float = Field(default=0, ge=0, le=1000, allow_inf_nan=False)
    """How many times as long as the rules allow a file may get, say 1.5, before the model that files notes there names
    what it can do without, which moves to archive/; 0: never unasked. No later note strikes what rests there."""

    mcp_tools: Annotated[ToolSet, BeforeValidator(_lower)] = ToolSet.CORE
    """Which operations are MCP tools: core (the 26) or full."""
    sse_enabled: bool = True
    """Whether the older MCP transport answers on /sse."""
    allowed_hosts: Names = ()
    """Host names that requests may address, separated by commas, * for any; by default the local names when the service
    listens on a loopback address, else any."""
    allowed_origins: Names = ()
    """Origins whose pages may call /mcp and /sse, separated by commas; by default none but the local ones."""
    forwarded_allow_ips: str = ""
    """Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, separated by commas; by default
    none."""
    drain_notice: float = Field(default=0, ge=0, le=60)
    """Seconds that /ready answers 503 before the service stops accepting requests."""
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = LogLevel.INFO
    """Least important line that is logged: DEBUG, INFO, WARNING or ERROR."""
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = LogFormat.AUTO
    """Look of the log: json, console, or auto (console on a terminal, else json)."""

    secrets: ClassVar[tuple[str, ...]] = ("admin_bootstrap_key", "s3_secret_access_key", "llmaas_api_key")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        for name in cls.secrets:
            path = values.get(f"{name}_file")
            if path in (None, ""):
                continue
            if values.get(name):
                raise ValueError(f"{name.upper()} and {name.upper()}_FILE are both set; keep one.")
            values[name] = _read_secret(f"{name.upper()}_FILE", Path(path))
        if "live_memory_store" not in values and (values.get("s3_endpoint_url") or values.get("s3_bucket_name")):
            values["live_memory_store"] = StoreKind.S3
        return values

    @model_validator(mode="after")
    def _ask_for_what_s3_needs(self) -> Self:
        if self.live_memory_store is not StoreKind.S3:
            return self
        if not self.s3_access_key_id:
            raise ValueError("S3_ACCESS_KEY_ID is missing: the memory is kept on S3.")
        if self.s3_secret_access_key is None:
            raise ValueError(
                "S3_SECRET_ACCESS_KEY, or S3_SECRET_ACCESS_KEY_FILE, is missing: the memory is kept on S3."
            )
        if self.s3_endpoint_url and not re.match(r"https?://[^/\s]", self.s3_endpoint_url):
            raise ValueError("S3_ENDPOINT_URL must begin with http:// or https:// and name a host.")
        if self.s3_ca_file is not None and not self.s3_ca_file.is_file():
            raise ValueError(f"S3_CA_FILE: there is no file '{self.s3_ca_file}'.")
        if self.s3_conditional_writes is ConditionalWrites.OFF and self.replicas > 1:
            raise ValueError("REPLICAS must be 1 when S3_CONDITIONAL_WRITES is off.")
        return self

    @model_validator(mode="after")
    def _ask_for_what_a_model_needs(self) -> Self:
        if self.llmaas_api_url and not re.match(r"https?://[^/\s]", self.llmaas_api_url):
            raise ValueError("LLMAAS_API_URL must begin with http:// or https:// and name a host.")
        if self.llmaas_api_url and not self.llmaas_model.strip():
            raise ValueError("LLMAAS_MODEL is missing: a model's address is set.")
        if self.llm_ca_file is not None and not self.llm_ca_file.is_file():
            raise ValueError(f"LLM_CA_FILE: there is no file '{self.llm_ca_file}'.")
        return self

    @model_validator(mode="after")
    def _refuse_a_weak_key(self) -> Self:
        if self.admin_bootstrap_key is None:
            return self
        key = self.admin_bootstrap_key.get_secret_value()
        if not key.isascii() or not key.isprintable() or any(letter.isspace() for letter in key):
            raise ValueError("ADMIN_BOOTSTRAP_KEY must be made of printable ASCII characters without blanks.")
        if len(key) > 256:  # noqa: PLR2004 - the longest value the bearer header may carry
            raise ValueError("ADMIN_BOOTSTRAP_KEY must not be longer than 256 characters.")
        if self.listens_on_loopback:
            return self
        if key.lower() in _PLACEHOLDERS:
            raise ValueError("ADMIN_BOOTSTRAP_KEY is a well-known placeholder; set a random value, or remove it.")
        if len(key) < MIN_BOOTSTRAP_KEY:
            raise ValueError(f"ADMIN_BOOTSTRAP_KEY must have {MIN_BOOTSTRAP_KEY} characters or more.")
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:  # noqa: ANN401 - each setting has a type of its own
        """The settings of this process; overrides come from the command line.

        Raises:
            InvalidSetting: a variable is malformed, contradicts another or is unsafe.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise InvalidSetting(_sentence(error)) from None
        except (SettingsError, UnicodeDecodeError, OSError) as error:
            raise InvalidSetting(
                f"The settings cannot be read: {type(error).__name__} in the environment or .env."
            ) from None

    @classmethod
    def for_tests(cls, **overrides: Any) -> "Settings":  # noqa: ANN401 - each setting has a type of its own
        """Settings that neither the environment nor `.env` has a say in."""
        return _Isolated(**overrides)

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.mcp_server_host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that requests may address."""
        return self.allowed_hosts or (LOOPBACK_HOSTS if self.listens_on_loopback else ("*",))

    @property
    def mcp_hosts(self) -> tuple[str, ...]:
        """The same names as the MCP transports want them: a name with any port is an entry of its own."""
        named = (host for host in self.hosts if not re.search(r":(\d+|\*)\Z", host))
        return tuple(dict.fromkeys((*self.hosts, *(f"{host}:*" for host in named if host != "*"))))

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins whose pages may call the MCP transports."""
        local = [f"http://{host}{port}" for host in LOOPBACK_HOSTS for port in ("", ":*")]
        return self.allowed_origins or (tuple(local) if self.listens_on_loopback else ())

    def shown(self) -> dict[str, str]:
        """Each variable and its value as text, secrets masked."""
        return {name.upper(): _shown(getattr(self, name)) for name in type(self).model_fields}


class _Isolated(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def is_loopback(host: str) -> bool:
    """Whether the address belongs to this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _read_secret(variable: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}: the file '{path}' cannot be read ({type(error).__name__}).") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError(f"{variable}: the file '{path}' is empty.")
    return secret


def _sentence(error: ValidationError) -> str:
    """The first fault, in one sentence. Pydantic's own message never holds the value (`hide_input_in_errors`)."""
    fault = error.errors(include_url=False, include_input=False)[0]
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    return f"{str(fault['loc'][0]).upper()} is wrong: {message[:1].lower()}{message[1:]}."


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return "********"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(str(item) for item in value)
        case _:
            return str(value)
