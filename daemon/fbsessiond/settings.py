"""The tables of the configuration, as models: which keys there are, what each may be, and what it is by default."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
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
    JsonValue,
    ValidationInfo,
    model_validator,
)

from fbsessiond import limits
from fbsessiond.conditions import Condition
from fbsessiond.durations import Duration
from fbsessiond.errors import ConfigurationError
from fbsessiond.listening import check_place
from fbsessiond.paths import HomePath
from fbsessiond.readiness import DEFAULT_GROUP
from fbsessiond.route import DeliverySettings
from fbsessiond.secret import Secret

SHORTEST_TOKEN = 16
"""How long the token of the HTTP interface is at least."""


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


_WAYS_IN: list[JsonValue] = [
    {"required": ["username", "password"], "not": {"required": ["token"]}},
    {"required": ["token"], "not": {"required": ["password"]}},
]
"""The credentials that can stand together, for the JSON Schema."""

NO_WAY_IN = "needs username and password, or a token instead of the password"


class _Who(_Table):
    """An agent, and its credentials."""

    username: str | None = Field(default=None, examples=["agent1"])
    """The agent's name, for HTTP Basic."""
    password: Secret | None = Field(default=None, examples=[{"file": "/etc/fbsessiond/password"}])
    """Where the password is kept; it is never written here."""
    token: Secret | None = Field(default=None, examples=[{"env": "GWS_TOKEN"}])
    """A bearer token, in the place of username and password."""
    agent: str | None = Field(default=None, examples=["agent1"])
    """What the journal calls the agent; by default its username."""
    group: Annotated[str, Field(min_length=1, max_length=100)] = DEFAULT_GROUP
    """Where the agent belongs, for metrics, `coverage` and `sessions`: a team, a site."""

    @property
    def agent_name(self) -> str:
        """What the journal calls the agent."""
        return self.agent or self.username or "me"

    @property
    def is_anybody(self) -> bool:
        """Whether an agent is named at all."""
        return any(value is not None for value in (self.username, self.password, self.token, self.agent))

    def check_way_in(self) -> None:
        """Raise `ValueError` where there is none, or more than one."""
        basic = self.username is not None and self.password is not None
        if basic == (self.token is not None) or (self.password is not None and self.username is None):
            raise ValueError(NO_WAY_IN)


class AgentSettings(_Who):
    """One of several agents whose sessions are watched; the platform is that of `[gws]`."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _WAYS_IN})

    @model_validator(mode="after")
    def _one_way_in(self) -> "AgentSettings":
        self.check_way_in()
        return self


class GwsSettings(_Who):
    """The platform, and the agent whose sessions are watched; none here where `[[agents]]` has them."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [*_WAYS_IN, {"not": {"anyOf": [{"required": ["password"]}, {"required": ["token"]}]}}]
        }
    )

    url: Annotated[AnyHttpUrl, AfterValidator(_address_alone)] = Field(examples=["http://gws.example:8090"])
    """Where GWS is; the REST interface is below it, under /api/v2."""
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

    @property
    def notifications_url(self) -> str:
        """The address of the CometD endpoint."""
        return f"{str(self.url).rstrip('/')}/{self.notifications.lstrip('/')}"

    def seen_by(self, who: AgentSettings) -> "GwsSettings":
        """Return the same platform, as another agent comes to it."""
        return self.model_copy(update={name: getattr(who, name) for name in _Who.model_fields})


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


def _reachable(place: str, info: ValidationInfo) -> str:
    return check_place(place, has_token=info.data.get("token", ...) is not None)


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


def _with_an_agent(gws: GwsSettings | None, info: ValidationInfo) -> GwsSettings | None:
    is_elsewhere = info.data.get("agents", ...) or info.data.get("agents_file", ...)
    if gws is not None and (gws.is_anybody or not is_elsewhere):
        gws.check_way_in()
    return gws


class Settings(_Table):
    """All of the configuration."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"gws": {"anyOf": _WAYS_IN}}},
                {"required": ["agents"]},
                {"required": ["agents_file"]},
            ]
        }
    )

    agents: Annotated[list[AgentSettings], Field(max_length=limits.AGENTS)] = Field(
        default=[], examples=[[{"username": "agent1", "password": {"file": "/etc/fbsessiond/agent1"}}]]
    )
    """Many agents: a table `[[agents]]` for each, in the place of the credentials in `[gws]`, or beside them."""
    agents_file: HomePath | None = Field(default=None, examples=["agents.toml"])
    """A TOML file with further `[[agents]]`; a relative path counts from the configuration file."""
    gws: Annotated[GwsSettings | None, AfterValidator(_with_an_agent)] = None
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

    @property
    def watched(self) -> Sequence[GwsSettings]:
        """The platform as each agent comes to it; without `agents_file`, which is read with the configuration."""
        if self.gws is None:
            return []
        return [*([self.gws] if self.gws.is_anybody else []), *map(self.gws.seen_by, self.agents)]
