"""The configuration: one TOML file, `FBSESSIOND_*` variables over it.

Every mistake is a `ConfigurationError` that names the place, what is expected, and for an unknown key the nearest
known one; all mistakes of a file are told at once.
"""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from fbsessiond import environment
from fbsessiond.conditions import Condition
from fbsessiond.configuration_errors import describe, find_line, nearest
from fbsessiond.durations import Duration
from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import STATE_DIRECTORY
from fbsessiond.plugins import find_handler
from fbsessiond.route import DeliverySettings, Route

PREFIX = "FBSESSIOND_"
"""Begins the names of variables that override the file: FBSESSIOND_GWS__URL for `url` in `[gws]`."""

WELL_KNOWN = (Path("fbsessiond.toml"), Path("/etc/fbsessiond/fbsessiond.toml"))
"""Where the file is looked for when none is named."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Secret(_Table):
    """Where a secret is kept; it is never written into the configuration itself."""

    credential: str | None = None
    """A credential of systemd's (`LoadCredential=`), by its name."""
    env: str | None = None
    """A variable of the environment."""
    file: Path | None = None
    """A file; a line break at its end doesn't count."""

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError("should be { credential = … }, { env = … } or { file = … }: a secret is never inline")  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "Secret":
        if sum(value is not None for value in (self.credential, self.env, self.file)) != 1:
            raise ValueError("should name one place: { credential = … }, { env = … } or { file = … }")
        return self

    def read(self, key: str) -> SecretStr:
        """Fetch the secret. Raises `ConfigurationError` with the configuration's key where it isn't there."""
        if self.env is not None:
            if (value := environment.variables.get(self.env)) is None:
                raise ConfigurationError(f"{key}: the variable {self.env} isn't set")
            return SecretStr(value)
        try:
            return SecretStr(self._path(key).read_text().rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{key}: can't read the secret: {error}") from error

    def _path(self, key: str) -> Path:
        if self.file is not None:
            return self.file
        folder = environment.credentials_directory()
        if folder is None or self.credential is None:
            raise ConfigurationError(
                f"{key}: there are no credentials here ($CREDENTIALS_DIRECTORY isn't set): "
                f"under systemd the unit needs LoadCredential={self.credential}:FILE"
            )
        return folder / self.credential


class GwsSettings(_Table):
    """The platform, and the agent whose sessions are watched."""

    url: AnyHttpUrl
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    """A bearer token, in the place of username and password."""
    agent: str | None = None
    """What the journal calls the agent; by default its username."""
    channels: Annotated[list[str], Field(min_length=1, max_length=100)] = ["/v2/me/*"]
    notifications: str = "/api/v2/notifications"
    transports: Annotated[list[Literal["long-polling", "websocket"]], Field(min_length=1)] = ["long-polling"]
    """In the order of preference. The platform documents long-polling alone. [GWS 8.5.2, CometD deployment]"""
    ca_file: Path | None = None
    """Certificates of a private authority, trusted instead of the system's."""

    @model_validator(mode="after")
    def _one_way_in(self) -> "GwsSettings":
        basic = self.username is not None and self.password is not None
        if basic == (self.token is not None) or (self.password is not None and self.username is None):
            raise ValueError("needs username and password, or a token instead of the password")
        return self

    @property
    def agent_name(self) -> str:
        """What the journal calls the agent."""
        return self.agent or self.username or "me"

    @property
    def notifications_url(self) -> str:
        """The address of the CometD endpoint."""
        return f"{str(self.url).rstrip('/')}/{self.notifications.lstrip('/')}"


class JournalSettings(_Table):
    """The durable record."""

    url: str = "sqlite:journal.db"
    retain: Duration = timedelta(days=30)
    """How long entries are kept."""
    retain_bytes: ByteSize | None = None
    """How large the journal may grow; the oldest entries go first."""


class HttpSettings(_Table):
    """The HTTP interface."""

    listen: str = "127.0.0.1:8707"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class HandlerSettings(BaseModel):
    """One handler's table; what isn't reserved is the handler's own option."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str | None = None
    on: Annotated[list[Condition], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    delivery: DeliverySettings = DeliverySettings()


class Settings(BaseSettings):
    """All of the configuration."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )
    gws: GwsSettings | None = None
    journal: JournalSettings = JournalSettings()
    http: HttpSettings = HttpSettings()
    handlers: dict[str, HandlerSettings] = {}
    handlers_directory: Path = Path("handlers.d")
    """Where handlers that are single files lie; a relative path counts from the configuration file."""
    state_directory: Path | None = None
    """Where the journal and the handlers' files lie; by default the service manager's choice."""

    @classmethod
    def settings_customise_sources(  # noqa: D102  pydantic-settings' own
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


class Configuration:
    """A configuration that was read and found right, with the place it came from."""

    def __init__(self, settings: Settings, path: Path | None, text: str) -> None:
        self.settings = settings
        self._path = path
        self._text = text

    @property
    def state_directory(self) -> Path:
        """Where the journal and the handlers' files lie."""
        return self.settings.state_directory or environment.state_directory()

    @property
    def handlers_directory(self) -> Path:
        """Where handlers that are single files lie."""
        return (self._path.parent if self._path else Path()) / self.settings.handlers_directory

    def routes(self) -> list[Route]:
        """Find each handler and check its options. Raises `ConfigurationError` with all mistakes."""
        routes: list[Route] = []
        mistakes: list[str] = []
        for name, table in self.settings.handlers.items():
            try:
                routes.append(self._route(name, table))
            except ConfigurationError as error:
                mistakes.append(str(error))
        if mistakes:
            raise ConfigurationError("\n".join(mistakes))
        return routes

    def _route(self, name: str, table: HandlerSettings) -> Route:
        above = ("handlers", name)
        try:
            found = find_handler(table.use or name, self.handlers_directory)
        except ConfigurationError as error:
            line = find_line(self._text, (*above, "use"))
            raise ConfigurationError(f"{_where(self._path)}{f'line {line}: ' if line else ''}{error}") from error
        try:
            handler = found.model_validate(table.model_extra or {}, context={STATE_DIRECTORY: self.state_directory})
        except ValidationError as error:
            raise _mistakes(error, found, self._path, self._text, above) from None
        return Route(name, handler, tuple(table.on or ()), table.delivery)


def load(path: Path | None) -> Configuration:
    """Read the configuration from a file, or from the first well-known place that has one, or from none.

    Raises `ConfigurationError` with all mistakes, a line each.
    """
    path = path or _given() or next((known for known in WELL_KNOWN if known.is_file()), None)
    try:
        text = path.read_text() if path else ""
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't read the configuration: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: isn't TOML: {error}") from error
    _check_variables()
    try:
        return Configuration(Settings(**document), path, text)
    except ValidationError as error:
        raise _mistakes(error, Settings, path, text) from None
    except SettingsError as error:
        raise ConfigurationError(f"the variables {PREFIX}*: {error}") from error


def _given() -> Path | None:
    given = environment.variables.get(f"{PREFIX}CONFIG")
    return Path(given) if given else None


def _check_variables() -> None:
    """Find variables that mean nothing: a misspelt one would otherwise be passed over in silence."""
    known = [*Settings.model_fields, "config"]
    for name in environment.variables:
        if name.startswith(PREFIX):
            first = name.removeprefix(PREFIX).partition("__")[0].lower()
            if first not in known:
                hint = nearest(first, known)
                raise ConfigurationError(f"{name}: no such setting; {hint} (variables are {PREFIX}TABLE__KEY)")


def _mistakes(
    error: ValidationError, model: type[BaseModel], path: Path | None, text: str, above: tuple[str, ...] = ()
) -> ConfigurationError:
    return ConfigurationError("\n".join(f"{_where(path)}{line}" for line in describe(error, model, text, above)))


def _where(path: Path | None) -> str:
    return f"{path}: " if path else ""
