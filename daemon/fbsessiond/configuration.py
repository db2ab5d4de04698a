"""The configuration: one TOML file, `FBSESSIOND_*` variables over it.

Every mistake is a `ConfigurationError` that names the place, what is expected, and for an unknown key the nearest
known one; all mistakes are told at once.
"""

import copy
import json
import re
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from fbsessiond import environment, limits
from fbsessiond.conditions import Condition
from fbsessiond.configuration_errors import Key, Places, describe, dotted
from fbsessiond.durations import Duration
from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import STATE_DIRECTORY
from fbsessiond.notification import is_too_deep
from fbsessiond.paths import HomePath
from fbsessiond.plugins import find_handler
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.secret import Secret

PREFIX = "FBSESSIOND_"
"""Begins the names of variables that override the file: FBSESSIOND_GWS__URL for `url` in `[gws]`."""

WELL_KNOWN = (Path("fbsessiond.toml"), Path("/etc/fbsessiond/fbsessiond.toml"))
"""Where the file is looked for when none is named."""

_SYNTAX_ERROR = re.compile(r"(.*) \(at (?:(line \d+, column \d+)|end of document)\)", re.DOTALL)
"""How tomllib says what is wrong and where."""

UNIX = "unix:"
"""Begins where to listen if that is the path of a Unix socket."""

HIGHEST_PORT = 65_535

SHORTEST_TOKEN = 16
"""How long the token of the HTTP interface is at least."""

_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})", re.ASCII)
"""`127.0.0.1:8707`, `localhost:0`, `[::1]:8707`."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _address_alone(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.username is not None or url.password is not None:
        raise ValueError("should hold no username and no password: they are settings of their own")
    if url.query is not None or url.fragment is not None:
        raise ValueError("should end before '?' and '#'")
    return url


def _below_the_address(path: str) -> str:
    if "://" in path:
        raise ValueError("should be a path below the url, as '/api/v2/notifications'")
    return path


def _channel(name: str) -> str:
    if not name.startswith("/"):
        raise ValueError("should be a channel, as '/v2/me/*'")
    return name


Channel: TypeAlias = Annotated[str, AfterValidator(_channel), Field(json_schema_extra={"pattern": "^/"})]
"""A CometD channel's name."""


class GwsSettings(_Table):
    """The platform, and the agent whose sessions are watched."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["username", "password"], "not": {"required": ["token"]}},
                {"required": ["token"], "not": {"required": ["password"]}},
            ]
        }
    )

    url: Annotated[AnyHttpUrl, AfterValidator(_address_alone)] = Field(examples=["http://gws.example:8090"])
    """Where GWS is; the REST interface is below it, under /api/v2."""
    username: str | None = Field(default=None, examples=["agent1"])
    """The agent's name, for HTTP Basic."""
    password: Secret | None = Field(default=None, examples=[{"file": "/etc/fbsessiond/password"}])
    """Where the password is kept; it is never written here."""
    token: Secret | None = Field(default=None, examples=[{"env": "GWS_TOKEN"}])
    """A bearer token, in the place of username and password."""
    agent: str | None = Field(default=None, examples=["agent1"])
    """What the journal calls the agent; by default its username."""
    channels: Annotated[list[Channel], Field(min_length=1, max_length=100)] = ["/v2/me/*"]
    """What is subscribed to."""
    notifications: Annotated[str, AfterValidator(_below_the_address)] = "/api/v2/notifications"
    """Where the CometD endpoint is, below the url."""
    transports: Annotated[list[Literal["long-polling", "websocket"]], Field(min_length=1)] = ["long-polling"]
    """In the order of preference. The platform documents long-polling alone. [GWS 8.5.2, CometD deployment]"""
    ca_file: HomePath | None = Field(default=None, examples=["/etc/ssl/certs/private-authority.pem"])
    """Certificates of a private authority, trusted instead of the system's."""
    resume: bool = True
    """Go on with the CometD session after a restart, so that nothing is missed if that is short. False: end it."""

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


def _with_engine(url: str) -> str:
    if not re.match("[a-z]+:.", url):
        raise ValueError("should be a journal's address, as 'sqlite:journal.db'")
    return url


class JournalSettings(_Table):
    """The durable record."""

    url: Annotated[str, AfterValidator(_with_engine)] = "sqlite:journal.db"
    """Its engine, and where that finds it."""
    retain: Duration = timedelta(days=30)
    """How long entries are kept."""
    retain_bytes: ByteSize | None = Field(default=None, examples=["10GB"])
    """How large the journal may grow; the oldest entries go first."""
    reserve: ByteSize | None = Field(default=None, examples=["64MiB"])
    """How much of its disk stays free: with less, nothing is taken in until there is room again. By default 64MiB, or
    an eighth of a smaller disk."""


class SnapshotsSettings(_Table):
    """How the agent's list of sessions is compared with what is known of them."""

    every: Duration = Field(default=timedelta(minutes=5), ge=timedelta(seconds=1), le=timedelta(days=1))
    """How often, about, where nothing else gives a reason to."""
    settling: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=timedelta(minutes=10))
    """How long after a difference was seen it has to be there still: a notification may be on its way."""


class FollowUpsSettings(_Table):
    """How operations on GWS are carried out."""

    attempts: int = Field(default=10, ge=1, le=1_000)
    """How often an operation is sent, each time only when it is known that it didn't happen."""
    confirmation: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0), le=timedelta(hours=1))
    """How long after GWS took an operation a notification may take to show its effect."""
    settling: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=timedelta(hours=1))
    """How long after a request in doubt its effect may take to show; then the session is read back."""
    backoff: Duration = Field(default=timedelta(seconds=1), gt=timedelta(0), le=timedelta(hours=1))
    """The longest pause after the first failure; it doubles with each further one, up to an hour."""
    concurrency: int = Field(default=64, ge=1, le=10_000)
    """How many sessions at a time; on one session one operation at a time."""


def is_loopback(host: str) -> bool:
    """Say whether a host, an address without brackets, is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(listen: str) -> str:
    """Return the host of an address such as `127.0.0.1:8707` or `[::1]:8707`, without brackets."""
    return listen.rpartition(":")[0].strip("[]")


def _reachable(place: str, info: ValidationInfo) -> str:
    if not place or (place.startswith(f"{UNIX}/") and "\0" not in place):
        return place
    match = _HOST_AND_PORT.fullmatch(place)
    if match is None or int(match[3]) > HIGHEST_PORT:
        raise ValueError("should be HOST:PORT, as '127.0.0.1:8707', or unix:PATH, as 'unix:/run/http.sock', or ''")
    if is_loopback(host := match[1] or match[2]):
        return place
    if info.data.get("token", ...) is None:
        raise ValueError(
            "should be a loopback address or unix:PATH: "
            "beyond this machine it needs a token, as token = { file = '/etc/fbsessiond/http-token' }"
        )
    try:
        ip_address(host)
    except ValueError:
        raise ValueError("should be an address of this machine, as '10.0.0.5:8707': no name is looked up") from None
    return place


class HttpSettings(_Table):
    """The HTTP interface."""

    token: Secret | None = Field(default=None, examples=[{"file": "/etc/fbsessiond/http-token"}])
    """What allows to change something on the operator page, and to see anything from beyond this machine."""
    listen: Annotated[str, AfterValidator(_reachable)] = "127.0.0.1:8707"
    """A loopback address, or `unix:` and a whole path, or with a token any address of this machine; empty: none."""

    def read_token(self) -> str | None:
        """Fetch the token. Raises `ConfigurationError` where it isn't there, or could be guessed."""
        if self.token is None:
            return None
        token = self.token.read("http.token").get_secret_value()
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or token != token.strip():
            raise ConfigurationError(
                f"http.token: should be {SHORTEST_TOKEN} or more letters and digits, as `openssl rand -hex 32` prints"
            )
        return token


class TracesSettings(_Table):
    """Traces for OpenTelemetry."""

    endpoint: Annotated[AnyHttpUrl, AfterValidator(_address_alone)] | None = Field(
        default=None, examples=["http://127.0.0.1:4318"]
    )
    """The base address of a collector that takes OTLP over HTTP; none: no traces are made."""


def _as_list(value: object) -> object:
    if not isinstance(value, dict | list):
        raise ValueError("should be a table or a list of tables")  # noqa: TRY004  pydantic takes a ValueError for the verdict
    return [value] if isinstance(value, dict) else value


Conditions: TypeAlias = Annotated[
    list[Condition],
    BeforeValidator(_as_list, json_schema_input_type=Condition | Annotated[list[Condition], Field(min_length=1)]),
    Field(min_length=1),
]
"""A condition or a list of conditions."""


class HandlerSettings(BaseModel):
    """One handler's table; what isn't reserved is the handler's own option."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str | None = Field(default=None, examples=["log"])
    """Which handler: an installed one, a file of that name in handlers.d/, or `module:Class`; by default NAME."""
    on: Conditions | None = Field(default=None, examples=[{"to": "LeftChat"}])
    """Which transitions it wants: a condition, or a list of which any may match; by default every one."""
    delivery: DeliverySettings = DeliverySettings()
    """How its deliveries are carried out."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out the values of the handler's options: only the handler knows which of them are secret."""
        for name, value in super().__repr_args__():
            yield name, "…" if name in (self.model_extra or {}) else value


class Settings(_Table):
    """All of the configuration."""

    gws: GwsSettings | None = None
    journal: JournalSettings = JournalSettings()
    follow_ups: FollowUpsSettings = FollowUpsSettings()
    snapshots: SnapshotsSettings = SnapshotsSettings()
    http: HttpSettings = HttpSettings()
    traces: TracesSettings = TracesSettings()
    handlers: dict[str, HandlerSettings] = {}
    handlers_directory: HomePath = Path("handlers.d")
    """Where handlers that are single files lie; a relative path counts from the configuration file."""
    state_directory: HomePath | None = Field(default=None, examples=["/var/lib/fbsessiond"])
    """Where the journal and the handlers' files lie; by default the service manager's choice."""


class Configuration:
    """A configuration that was read and found right, with the place it came from."""

    def __init__(
        self, settings: Settings, path: Path | None, text: str, variables: Mapping[Key, str] | None = None
    ) -> None:
        self.settings = settings
        self._places = Places(path, text, variables or {})

    @property
    def path(self) -> Path | None:
        """The file; None where there is none."""
        return self._places.path

    @property
    def state_directory(self) -> Path:
        """Where the journal and the handlers' files lie."""
        return self.settings.state_directory or environment.state_directory()

    @property
    def handlers_directory(self) -> Path:
        """Where handlers that are single files lie."""
        return (self.path.parent if self.path else Path()) / self.settings.handlers_directory

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
        above: Key = ("handlers", name)
        named_by: Key = (*above, "use") if table.use is not None else above
        try:
            found = find_handler(table.use or name, self.handlers_directory)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._places.begin(named_by)}{dotted(named_by)}: {error}") from error
        options = table.model_extra or {}
        try:
            handler = found.model_validate(options, context={STATE_DIRECTORY: self.state_directory})
        except ValidationError as error:
            raise ConfigurationError("\n".join(describe(error, found, options, self._places, above))) from None
        except Exception as error:  # noqa: BLE001  a handler's own code, which can raise anything
            begin = f"{self._places.begin(above)}{dotted(above)}"
            raise ConfigurationError(f"{begin}: the handler's own check of its options fails: {_kind(error)}") from None
        return Route(name, handler, tuple(table.on or ()), table.delivery)


def _kind(error: Exception) -> str:
    """Say which error it is and where; not its text, in which an option can stand, and an option can be a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def load(path: Path | None) -> Configuration:
    """Read the configuration from a file, or from the first well-known place that has one, or from none.

    Raises `ConfigurationError` with all mistakes, a line each.
    """
    path = path or _given() or next((known for known in WELL_KNOWN if known.is_file()), None)
    text = _read(path) if path else ""
    try:
        in_file = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {_syntax_error(text, error)}") from error
    if is_too_deep(in_file):
        raise ConfigurationError(f"{path}: tables and lists stand in each other more than {limits.NESTING} deep")
    document, variables = _overridden(in_file)
    try:
        return Configuration(Settings.model_validate(document), path, text, variables)
    except ValidationError as error:
        mistakes = list(describe(error, Settings, document, Places(path, text, variables)))
        rest = _without_mistakes(document, error)
    try:
        Configuration(rest, path, text, variables).routes()
    except ConfigurationError as error:
        mistakes.append(str(error))
    raise ConfigurationError("\n".join(mistakes))


def _given() -> Path | None:
    given = environment.variables.get(f"{PREFIX}CONFIG")
    return Path(given) if given else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't read the configuration: {error}") from error


def _syntax_error(text: str, error: Exception) -> str:
    if match := _SYNTAX_ERROR.fullmatch(str(error)):
        what, where = match.groups()
        lines = text.split("\n")
        where = where or f"line {len(lines)}, column {len(lines[-1]) + 1}"
        return f"{where}: isn't TOML: {what[:1].lower()}{what[1:]}"
    return f"isn't TOML: {error}"


def _overridden(in_file: dict[str, Any]) -> tuple[dict[str, Any], dict[Key, str]]:
    """Return a document with what the variables set in it, and the variables' names by the keys that they set.

    `__` leads into a table. Upper and lower case are the same there, and so are `_` and `-`, which the name of a
    variable can't hold: FBSESSIOND_HANDLERS__WRAP_UP__DELIVERY__ATTEMPTS is about `[handlers.wrap-up]`.
    """
    document = copy.deepcopy(in_file)
    names: dict[Key, str] = {}
    for name in sorted(environment.variables):
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
            continue
        *tables, last = name.removeprefix(PREFIX).split("__")
        table: Any = document
        key: Key = ()
        for part in tables:
            key = (*key, _as_spelled(part, table))
            table = table.setdefault(key[-1], {})
            if not isinstance(table, dict):
                break  # where the variable wants a table, the file has something else: that is the mistake to tell
        else:
            key = (*key, _as_spelled(last, table))
            table[key[-1]] = _value(environment.variables[name])
            names[key] = name
    return document, names


def _as_spelled(part: str, table: Mapping[str, Any]) -> str:
    """Return the key of a table that a variable's name means; a new one in lower case."""
    plain = part.lower()
    return next((key for key in table if key.lower().replace("-", "_") == plain), plain)


def _value(text: str) -> object:
    """Return a variable's value: a list or a table where it is one in JSON, else the text."""
    if not text.startswith(("[", "{")):
        return text
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text  # an address such as `[::1]:8707`; where a list is wanted, the settings say so
    return text if is_too_deep(value) else value


def _without_mistakes(document: dict[str, Any], error: ValidationError) -> Settings:
    """Return the settings without what is wrong in them: the handlers' own options can still be checked."""
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        match problem["loc"]:
            case ("handlers", name, "on" | "delivery" as key, *_):
                document["handlers"].get(name, {}).pop(key, None)
            case ("handlers", name, *_):
                document["handlers"].pop(name, None)
            case location:
                document.pop(str(location[0]), None)
    return Settings.model_validate(document)
