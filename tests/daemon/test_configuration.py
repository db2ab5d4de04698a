import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fbsessiond import configuration, environment
from fbsessiond.conditions import Condition
from fbsessiond.configuration import Configuration, load
from fbsessiond.errors import ConfigurationError
from fbsessiond.message import Origin
from fbsessiond.settings import Settings

SECRET = "hunter2-correct-horse"  # noqa: S105  to be looked for where it must not be

GWS = """\
[gws]
url = "http://gws.example:8090"
username = "agent1"
password = { env = "GWS_PASSWORD" }
"""

HANDLER = """
from pydantic import SecretStr, field_validator
from fbsessiond import Delivery, Done, Handler, Outcome

class Greet(Handler):
    greeting: str = "hello"
    words: list[str] = []
    key: SecretStr | None = None

    @field_validator("greeting")
    @classmethod
    def check(cls, value: str) -> str:
        if value == "broken":
            raise KeyError(value)
        return value

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()
"""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which no variable is set, and a folder in which nothing lies."""
    for name in list(environment.variables):
        if name.startswith("FBSESSIOND_") or name in {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "XDG_STATE_HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Configuration]:
    """Return how to read a configuration from a file."""

    def read_(text: str) -> Configuration:
        (tmp_path / "c.toml").write_text(text, encoding="utf-8")
        return load(Path("c.toml"))

    return read_


@pytest.fixture
def mistakes(read: Callable[[str], Configuration]) -> Callable[[str], list[str]]:
    """Return how to get all that is told of a configuration that isn't right."""

    def mistakes_(text: str) -> list[str]:
        with pytest.raises(ConfigurationError) as refused:
            read(text).routes()
        assert refused.value.exit_status == os.EX_CONFIG
        return str(refused.value).split("\n")

    return mistakes_


def test_nothing() -> None:
    """Without a file everything is as by default: no platform, no handlers, the journal in the state directory."""
    found = load(None)
    assert found.settings == Settings()
    assert found.settings.gws is None
    assert found.routes() == []
    assert (found.settings.journal.url, found.settings.journal.retain) == ("sqlite:journal.db", timedelta(days=30))
    assert found.state_directory == Path("~/.local/state/fbsessiond").expanduser()
    assert found.handlers_directory == Path("handlers.d")


def test_well_known_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the one that is named, else that of the variable, else the first that lies at a well-known place."""
    names = ["named.toml", "variable.toml", "here.toml", "there.toml"]
    for name in names:
        (tmp_path / name).write_text(f'state_directory = "/{name}"')
    monkeypatch.setattr(configuration, "WELL_KNOWN", (Path("here.toml"), tmp_path / "there.toml"))
    monkeypatch.setenv("FBSESSIOND_CONFIG", "variable.toml")
    assert load(Path("named.toml")).state_directory == Path("/named.toml")
    assert load(None).state_directory == Path("/variable.toml")
    monkeypatch.setenv("FBSESSIOND_CONFIG", "")
    assert load(None).state_directory == Path("/here.toml")
    (tmp_path / "here.toml").unlink()
    assert load(None).state_directory == Path("/there.toml")


def test_all_settings(read: Callable[[str], Configuration], tmp_path: Path) -> None:
    """Each setting is read as what it means."""
    found = read(
        """
        state_directory = "~/state"
        handlers_directory = "mine"
        [gws]
        url = "https://gws.example/prefix/"
        username = "agent1"
        token = { file = "~/token" }
        agent = "the agent"
        channels = ["/v2/me/*", "/v3/me/*"]
        notifications = "elsewhere"
        transports = ["websocket", "long-polling"]
        ca_file = "ca.pem"
        [journal]
        url = "sqlite:other.db"
        retain = "90d"
        retain_bytes = "2GiB"
        [http]
        listen = ""
        [handlers.log]
        level = "debug"
        on = { from = "Invited", not_to = ["Revoked", "Completed"] }
        delivery = { attempts = 3, timeout = "5s", backoff = "100ms", concurrency = 1, snapshot = "run-if-still-true" }
        """
    )
    gws = found.settings.gws
    assert gws is not None
    assert gws.notifications_url == "https://gws.example/prefix/elsewhere"
    assert gws.agent_name == "the agent"
    assert gws.token is not None
    assert gws.token.file == tmp_path / "home" / "token"
    assert found.settings.journal.retain == timedelta(days=90)
    assert found.settings.journal.retain_bytes == 2 * 1024**3
    assert found.settings.http.listen == ""
    assert found.state_directory == tmp_path / "home" / "state"
    assert found.handlers_directory == Path("mine")
    (route,) = found.routes()
    assert (route.name, route.handler.model_dump()) == ("log", {"level": "debug"})
    assert route.on == (Condition.model_validate({"from": "Invited", "not_to": ["Revoked", "Completed"]}),)
    assert (route.delivery.attempts, route.delivery.timeout) == (3, timedelta(seconds=5))
    assert route.delivery.snapshot == "run-if-still-true"


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers that are files lie beside the configuration; the state lies where systemd says, and so do its files."""
    folder = tmp_path / "etc"
    (folder / "handlers.d").mkdir(parents=True)
    (folder / "handlers.d" / "greet.py").write_text(HANDLER)
    (folder / "c.toml").write_text('[handlers.greet]\n[handlers.audit]\npath = "trail.jsonl"\n')
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    greet, audit = load(folder / "c.toml").routes()
    assert type(greet.handler).__name__ == "Greet"
    assert audit.handler.model_dump()["path"] == tmp_path / "state" / "trail.jsonl"


@pytest.mark.parametrize(
    ("on", "conditions"),
    [
        ('on = { to = "LeftChat" }', [{"to": "LeftChat"}]),
        ('on = [{ to = "LeftChat" }, { from = ["A", "B"] }]', [{"to": "LeftChat"}, {"from": ["A", "B"]}]),
        ('[[handlers.log.on]]\nto = "LeftChat"\n[[handlers.log.on]]\nto = "X"', [{"to": "LeftChat"}, {"to": "X"}]),
        (
            'on.not_from = "A"\non.not_to = "B"\non.origin = "live"',
            [{"not_from": "A", "not_to": "B", "origin": "live"}],
        ),
        ('"on" = { "origin" = ["live", "snapshot"] }', [{"origin": [Origin.LIVE, Origin.SNAPSHOT]}]),
        ("", []),
    ],
)
def test_on(read: Callable[[str], Configuration], on: str, conditions: list[dict[str, Any]]) -> None:
    """What a handler wants is a table or a list of tables, however TOML writes them; nothing: every transition."""
    (route,) = read(f"[handlers.log]\n{on}\n").routes()
    assert list(route.on) == [Condition.model_validate(condition) for condition in conditions]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jurnal = 1", "line 1: jurnal: there is no such key; did you mean 'journal'?"),
        ("[xyzzy]", "line 1: xyzzy: there is no such key; known here: "),
        ("[journal]\n\nretian = '1d'", "line 3: journal.retian: there is no such key; did you mean 'retain'?"),
        ("[http]\nlisten_on = ''", "line 2: http.listen_on: there is no such key; did you mean 'listen'?"),
        (GWS + "user = 1", "line 5: gws.user: there is no such key; did you mean 'username'?"),
        (
            GWS.replace("env", "evn"),
            "line 4: gws.password.evn: there is no such key; did you mean 'env'?",
        ),
        ("[handlers.log]\non.too = 'x'", "line 2: handlers.log.on.too: there is no such key; did you mean 'to'?"),
        (
            "[handlers.log]\n[[handlers.log.on]]\nto = 'x'\n[[handlers.log.on]]\nfrm = 'x'",
            "line 5: handlers.log.on.1.frm: there is no such key; did you mean 'from'?",
        ),
        (
            "[handlers.log.delivery]\natempts = 1",
            "line 2: handlers.log.delivery.atempts: there is no such key; did you mean 'attempts'?",
        ),
        ("[handlers.audit]\npth = 'x'", "line 2: handlers.audit.pth: there is no such key; did you mean 'path'?"),
        (
            "[handlers.audti]\n",
            "line 1: handlers.audti: there is no handler 'audti': did you mean 'audit'? (a handler of your own is ",
        ),
        (
            "[handlers.a]\nuse = 'audti'",
            "line 2: handlers.a.use: there is no handler 'audti': did you mean 'audit'? (a handler of your own is ",
        ),
        ("[handlers.a]\nuse = 'json:dumps'", "line 2: handlers.a.use: 'json:dumps' is no handler: "),
    ],
)
def test_unknown_names(mistakes: Callable[[str], list[str]], text: str, words: str) -> None:
    """A name that means nothing is told with its file, line and key, and with the nearest that does, at every level."""
    (line,) = mistakes(text)
    assert line.startswith(f"c.toml: {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[journal]\nretain = 'soon'", "line 2: journal.retain: should be a duration, as '90s', '5m', '2h' or '30d'"),
        ("[journal]\nretain = 30", "line 2: journal.retain: should be a duration, as '90s', '5m', '2h' or '30d'"),
        ("[journal]\nretain_bytes = 'big'", "line 2: journal.retain_bytes: should be a size, as '500MB' or '2GiB'"),
        ("[journal]\nurl = 'journal.db'", "line 2: journal.url: should be a journal's address, as 'sqlite:journal.db'"),
        ("[http]\nlisten = 8707", "line 2: http.listen: should be a text"),
        ("handlers_directory = 1", "line 1: handlers_directory: should be the path of a file or a folder"),
        ("state_directory = '~nobody-here/x'", "line 1: state_directory: should be a path: there is no such home "),
        ("gws = 1", "line 1: gws: should be a table"),
        ("[[handlers.log]]", "line 1: handlers.log: should be a table"),
        ("handlers.log = 1", "line 1: handlers.log: should be a table"),
        ("[handlers.log]\nuse = 1", "line 2: handlers.log.use: should be a text"),
        ("[handlers.log]\nlevel = 'loud'", "line 2: handlers.log.level: should be 'debug', 'info' or 'warning'"),
        ("[handlers.log]\non = 'x'", "line 2: handlers.log.on: should be a table or a list of tables"),
        ("[handlers.log]\non = []", "line 2: handlers.log.on: should have at least 1 item"),
        ("[handlers.log]\non.to = 1", "line 2: handlers.log.on.to: should be a text or a list of texts"),
        ("[handlers.log]\non.origin = 'x'", "line 2: handlers.log.on.origin: should be 'live', 'snapshot' or 'replay'"),
        ("[handlers.log]\ndelivery = 1", "line 2: handlers.log.delivery: should be a table"),
        (
            "handlers.log.delivery.timeout = '0s'",
            "line 1: handlers.log.delivery.timeout: should be greater than 0 seconds",
        ),
        (
            "[handlers.log.delivery]\nsnapshot = 'sometimes'",
            "line 2: handlers.log.delivery.snapshot: should be 'run', 'run-if-still-true' or 'skip'",
        ),
        (
            "[handlers.log]\ndelivery.snapshot = true",
            "line 2: handlers.log.delivery.snapshot: should be 'run', 'run-if-still-true' or 'skip'",
        ),
        (
            "[handlers.log]\ndelivery.snapshots = 'run'",
            "line 2: handlers.log.delivery.snapshots: there is no such key; did you mean 'snapshot'?",
        ),
        (
            "[handlers.log]\non = { to = 'LeftChat', for = '5' }",
            "line 2: handlers.log.on.for: should be a duration, as '90s', '5m', '2h' or '30d'",
        ),
        (
            "[handlers.log]\non = { to = 'LeftChat', when = 'before == 1' }",
            "line 2: handlers.log.on.when: column 8: found no matching overload for '_==_' applied to '(string, int)'",
        ),
        (
            "[handlers.log]\non = [{ to = 'LeftChat', for = '5m', once_within = '1h' }]",
            "line 2: handlers.log.on.0: should have one of 'for', 'once_within' and 'once_after', not several",
        ),
        (
            "[handlers.log]\non = { once_per = 'agent' }",
            "line 2: handlers.log.on: has 'once_per' without 'once_within' or 'once_after'",
        ),
        (
            "[handlers.log]\ndelivery.max_late = '0s'",
            "line 2: handlers.log.delivery.max_late: should be greater than 0 seconds",
        ),
    ],
)
def test_wrong_values(mistakes: Callable[[str], list[str]], text: str, words: str) -> None:
    """A value that can't be is told with its file, line and key, and with what is expected."""
    (line,) = mistakes(text)
    assert line.startswith(f"c.toml: {words}")


@pytest.mark.parametrize(
    ("gws", "words"),
    [
        ('username = "a"', "line 1: gws.url: is missing"),
        ('url = "gws"', "line 2: gws.url: should be an address, as 'http://gws.example:8090'"),
        ('url = "ftp://gws"', "line 2: gws.url: URL scheme should be 'http' or 'https'"),
        (f'url = "http://agent1:{SECRET}@gws"', "line 2: gws.url: should hold no username and no password: they are "),
        ('url = "http://gws/?a=b"', "line 2: gws.url: should end before '?' and '#'"),
        ('url = "http://gws/#a"', "line 2: gws.url: should end before '?' and '#'"),
        ('url = "http://gws"', "line 1: gws: needs username and password, or a token instead of the password"),
        ('url = "http://gws"\nusername = "a"', "line 1: gws: needs username and password, or a token "),
        ('url = "http://gws"\npassword.env = "P"', "line 1: gws: needs username and password, or a token "),
        (
            'url = "http://gws"\nusername = "a"\npassword.env = "P"\ntoken.env = "T"',
            "line 1: gws: needs username and password, or a token instead of the password",
        ),
        ('url = "http://gws"\ntoken.env = "T"\nchannels = "/v2"', "line 4: gws.channels: should be a list"),
        ('url = "http://gws"\ntoken.env = "T"\nchannels = []', "line 4: gws.channels: should have at least 1 item"),
        (
            'url = "http://gws"\ntoken.env = "T"\nchannels = [\n"/v2/me/*",\n"v3"]',
            "line 4: gws.channels.1: should be a channel, as '/v2/me/*'",
        ),
        (
            'url = "http://gws"\ntoken.env = "T"\ntransports = ["udp"]',
            "line 4: gws.transports.0: should be 'long-polling' or 'websocket'",
        ),
        (
            'url = "http://gws"\ntoken.env = "T"\nnotifications = "http://other/n"',
            "line 4: gws.notifications: should be a path below the url, as '/api/v2/notifications'",
        ),
    ],
)
def test_platform(mistakes: Callable[[str], list[str]], gws: str, words: str) -> None:
    """What can't be the platform's address, or a way in, is told; a secret in it isn't repeated."""
    (line,) = mistakes(f"[gws]\n{gws}\n")
    assert line.startswith(f"c.toml: {words}")
    assert SECRET not in line


def test_listening(read: Callable[[str], Configuration]) -> None:
    """Where HTTP is served depends on whether there is a token, wherever in the table that stands."""
    assert read("[http]\nlisten = 'unix:/run/s'").settings.http.listen == "unix:/run/s"
    assert read("[http]\nlisten = '[::]:1'\ntoken = { env = 'T' }").settings.http.listen == "[::]:1"


def test_listening_elsewhere(mistakes: Callable[[str], list[str]]) -> None:
    """A place that won't do is told with its line."""
    (line,) = mistakes("[http]\nlisten = '0.0.0.0:8707'")
    assert line.startswith("c.toml: line 2: http.listen: should be a loopback address or unix:PATH: ")


def test_listening_with_a_wrong_token(mistakes: Callable[[str], list[str]]) -> None:
    """Where the token is what is wrong, the address isn't told as well."""
    (line,) = mistakes("[http]\nlisten = '0.0.0.0:8707'\ntoken = 'inline'")
    assert line.startswith("c.toml: line 3: http.token: should be { credential = ")


def test_all_at_once(mistakes: Callable[[str], list[str]]) -> None:
    """All mistakes are told together, those of handlers' own options too, though another table is wrong."""
    text = (
        "jurnal = 1\n"
        "[gws]\nurl = 'http://gws'\nusernam = 'x'\n"
        "[journal]\nretain = 'soon'\n"
        "[handlers.audit]\npth = 'x'\nrotate_bytes = '5 apples'\n"
        "[handlers.lgo]\n"
        "[handlers.log]\non.too = 'x'\nlevel = 'loud'\n"
    )
    lines = sorted(int(line.removeprefix("c.toml: line ").partition(":")[0]) for line in mistakes(text))
    assert lines == [1, 4, 6, 8, 9, 10, 12, 13]


def test_mistakes_of_several_handlers(mistakes: Callable[[str], list[str]]) -> None:
    """Mistakes of several handlers are told together, too."""
    assert len(mistakes("[handlers.audit]\npth = 1\n[handlers.log]\nlevel = 1\n")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb = = 2", "line 2, column 5: isn't TOML: invalid value"),
        ("[gws\n", "line 1, column 5: isn't TOML: expected ']' at the end of a table declaration"),
        ("a = [\n1", "line 2, column 2: isn't TOML: unclosed array"),
        ("a = 1\na = 2", "line 2, column 6: isn't TOML: cannot overwrite a value"),
        (f"password = '{SECRET}", f"line 1, column {len(SECRET) + 13}: isn't TOML: "),
        (f"a = {'[' * 10_000}", "isn't TOML: maximum recursion depth exceeded"),
        (f"a = {'9' * 5_000}", "isn't TOML: Exceeds the limit (4300 digits)"),
    ],
)
def test_not_toml(mistakes: Callable[[str], list[str]], text: str, words: str) -> None:
    """Where a file isn't TOML, the line, the column and what is wrong there are told; not what stands there."""
    (line,) = mistakes(text)
    assert line.startswith(f"c.toml: {words}")
    assert SECRET not in line


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that isn't there, is a folder, or isn't UTF-8, is told with its path."""
    (tmp_path / "latin.toml").write_bytes(b'a = "caf\xe9"')
    for path, words in ((Path("no.toml"), "No such file"), (tmp_path, "Is a directory"), (Path("latin.toml"), "utf-8")):
        with pytest.raises(ConfigurationError, match=f"^{path}: can't read the configuration: .*{words}"):
            load(path)


def test_text_of_other_systems(tmp_path: Path) -> None:
    """A file with a byte order mark, or the line ends of another system, is read as any other."""
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf[journal]\r\nretain = '1d'\r\n[xyzzy]\r\n")
    with pytest.raises(ConfigurationError, match=r"^c.toml: line 3: xyzzy"):
        load(Path("c.toml"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GWS__URL": "http://other.example"}, "http://other.example/"),
        ({"gws__url": "http://other.example"}, "http://other.example/"),
        ({"GWS": '{"url": "http://other.example", "token": {"env": "T"}}'}, "http://other.example/"),
        ({"GWS": '{"token": {"env": "T"}}', "GWS__URL": "http://other.example"}, "http://other.example/"),
    ],
)
def test_variables(
    read: Callable[[str], Configuration], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """A variable is over the file: for one key, or as JSON for a whole table."""
    for name, value in variables.items():
        monkeypatch.setenv(f"FBSESSIOND_{name}", value)
    gws = read(GWS).settings.gws
    assert gws is not None
    assert str(gws.url) == expected


def test_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables need no file; texts, numbers, lists, empty texts and handlers can all be set by them."""
    for name, value in {
        "GWS__URL": "http://gws.example",
        "GWS__TOKEN__FILE": "token",
        "GWS__CHANNELS": '["/v3/me/*"]',
        "STATE_DIRECTORY": "/state",
        "HTTP__LISTEN": "[::1]:8707",
        "HANDLERS__AUDIT__ROTATE_BYTES": "1MiB",
        "HANDLERS__AUDIT__DELIVERY__ATTEMPTS": "3",
        "HANDLERS__AUDIT__ON__TO": '["A", "B"]',
    }.items():
        monkeypatch.setenv(f"FBSESSIOND_{name}", value)
    found = load(None)
    assert found.settings.gws is not None
    assert found.settings.gws.channels == ["/v3/me/*"]
    assert found.settings.http.listen == "[::1]:8707"
    (route,) = found.routes()
    assert route.handler.model_dump() == {"path": Path("/state/audit.jsonl"), "rotate_bytes": 1024**2}
    assert (route.delivery.attempts, route.on[0].to) == (3, ("A", "B"))


def test_variables_of_names_with_hyphens(read: Callable[[str], Configuration], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a variable's name an underscore stands for the hyphen of an instance's, and case doesn't matter."""
    monkeypatch.setenv("FBSESSIOND_HANDLERS__WRAP_UP__DELIVERY__ATTEMPTS", "3")
    monkeypatch.setenv("FBSESSIOND_HANDLERS__AUDIT2__ROTATE_BYTES", "1MiB")
    wrap_up, audit = read('[handlers.wrap-up]\nuse = "log"\n[handlers.Audit2]\nuse = "audit"\n').routes()
    assert (wrap_up.name, wrap_up.delivery.attempts) == ("wrap-up", 3)
    assert (audit.name, audit.handler.model_dump()["rotate_bytes"]) == ("Audit2", 1024**2)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GWS__ULR", "x", "FBSESSIOND_GWS__ULR: gws.ulr: there is no such key; did you mean 'url'?"),
        ("GSW__URL", "x", "FBSESSIOND_GSW__URL: gsw: there is no such key; did you mean 'gws'?"),
        ("CONFIG__X", "x", "FBSESSIOND_CONFIG__X: config: there is no such key; "),
        ("", "x", 'FBSESSIOND_: "": there is no such key; '),
        ("GWS__URL", "x", "FBSESSIOND_GWS__URL: gws.url: should be an address, as 'http://gws.example:8090'"),
        ("GWS", "x", "FBSESSIOND_GWS: gws: should be a table, in a variable written as JSON"),
        ("JOURNAL", "{bad", "FBSESSIOND_JOURNAL: journal: should be a table, in a variable written as JSON"),
        ("JOURNAL", '{"retain": "x"}', "FBSESSIOND_JOURNAL: journal.retain: should be a duration, as "),
        ("GWS__CHANNELS", "/v2", "FBSESSIOND_GWS__CHANNELS: gws.channels: should be a list, in a variable written as "),
        ("GWS__CHANNELS", "[" * 5_000, "FBSESSIOND_GWS__CHANNELS: gws.channels: should be a list, in a variable "),
        ("GWS__PASSWORD", SECRET, "FBSESSIOND_GWS__PASSWORD: gws.password: should be { credential = … }, { env = … } "),
        (
            "GWS__PASSWORD__FILE",
            "x",
            "c.toml: line 4, FBSESSIOND_GWS__PASSWORD__FILE: gws.password: should name one place: ",
        ),
        (
            "HANDLERS__AUDIT__PTH",
            "x",
            "FBSESSIOND_HANDLERS__AUDIT__PTH: handlers.audit.pth: there is no such key; did ",
        ),
        ("HANDLERS__AUDIT__USE", "x", "FBSESSIOND_HANDLERS__AUDIT__USE: handlers.audit.use: there is no handler 'x'"),
        ("HANDLERS__AUDTI__PATH", "x", "FBSESSIOND_HANDLERS__AUDTI__PATH: handlers.audti: there is no handler 'audti'"),
        (
            "HANDLERS__AUDIT__DELIVERY__ATTEMPTS",
            "0",
            "FBSESSIOND_HANDLERS__AUDIT__DELIVERY__ATTEMPTS: handlers.audit.delivery.attempts: should be greater ",
        ),
    ],
)
def test_mistakes_in_variables(
    mistakes: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    """A mistake that a variable makes is told with the variable's name, a misspelt name too, and without its value."""
    monkeypatch.setenv(f"FBSESSIOND_{variable}", value)
    (line,) = mistakes(GWS + "[handlers.audit]\npath = 'x'\n")
    assert line.startswith(words)
    assert SECRET not in line


def test_variable_below_a_wrong_value(mistakes: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file has no table for a variable to stand in, that is the mistake."""
    monkeypatch.setenv("FBSESSIOND_GWS__PASSWORD__ENV", "X")
    assert mistakes("gws = 1") == ["c.toml: line 1: gws: should be a table"]
    assert mistakes("gws.password = 1")[0].startswith("c.toml: line 1")


def test_missing_key_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that variables alone begin is told with them."""
    monkeypatch.setenv("FBSESSIOND_GWS__USERNAME", "x")
    with pytest.raises(ConfigurationError, match=r"^FBSESSIOND_GWS__USERNAME: gws\.url: is missing$"):
        load(None)


@pytest.mark.parametrize("password", [f'"{SECRET}"', f'["{SECRET}"]', "5"])
def test_inline_secret(mistakes: Callable[[str], list[str]], password: str) -> None:
    """A secret in the configuration itself is refused, and not repeated."""
    (line,) = mistakes(GWS.replace('{ env = "GWS_PASSWORD" }', password))
    assert line.startswith("c.toml: line 4: gws.password: should be { credential = … }, { env = … } or { file = … }: ")
    assert line.endswith(": a secret is never inline")


@pytest.mark.parametrize("place", ["", 'env = "A", file = "b"', 'credential = "a", env = "b", file = "c"'])
def test_place_of_a_secret(mistakes: Callable[[str], list[str]], place: str) -> None:
    """A secret has one place."""
    (line,) = mistakes(GWS.replace('env = "GWS_PASSWORD"', place))
    assert line.startswith("c.toml: line 4: gws.password: should name one place: { credential = … }, ")


def password(configuration: Configuration) -> SecretStr:
    """Fetch the password of a configuration."""
    gws = configuration.settings.gws
    assert gws is not None
    assert gws.password is not None
    return gws.password.read("gws.password")


def test_secrets(read: Callable[[str], Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is fetched from a variable, a file, or a credential; a line break at a file's end isn't part of it."""
    monkeypatch.setenv("GWS_PASSWORD", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gws").write_text(f"{SECRET}\r\n")
    (tmp_path / "file").write_text(f"{SECRET}\n")
    for place in ('env = "GWS_PASSWORD"', f'file = "{tmp_path}/file"', 'credential = "gws"'):
        fetched = password(read(GWS.replace('env = "GWS_PASSWORD"', place)))
        assert fetched.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ('env = "GWS_PASSWORD"', "the variable GWS_PASSWORD isn't set"),
        ('env = "EMPTY"', "the secret is empty"),
        ('file = "nowhere"', "can't read the secret: .* No such file or directory: 'nowhere'"),
        ('file = "."', "can't read the secret: .* Is a directory"),
        ('file = "empty"', "the secret is empty"),
        ('file = "latin"', "can't read the secret: latin isn't UTF-8"),
        ('credential = "gws"', r"there are no credentials here \(\$CREDENTIALS_DIRECTORY isn't set\): .*=gws:FILE"),
    ],
)
def test_missing_secret(
    read: Callable[[str], Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, words: str
) -> None:
    """A secret that isn't there is told with its key and its place."""
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigurationError, match=f"^gws.password: {words}") as refused:
        password(read(GWS.replace('env = "GWS_PASSWORD"', place)))
    assert refused.value.__cause__ is None or not isinstance(refused.value.__cause__, UnicodeDecodeError)


def test_missing_credential(
    read: Callable[[str], Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd a credential that the unit doesn't load is told with the file that it would be."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"^gws.password: can't read the secret: .*{tmp_path}/gws"):
        password(read(GWS.replace('env = "GWS_PASSWORD"', 'credential = "gws"')))


def test_secrets_are_never_shown(
    read: Callable[[str], Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No representation of the configuration, its handlers or an error shows a secret, an option's included."""
    monkeypatch.setenv("GWS_PASSWORD", SECRET)
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "greet.py").write_text(HANDLER)
    found = read(f"{GWS}[handlers.greet]\nkey = '{SECRET}'\n")
    routes = found.routes()
    shown = [repr(found.settings), str(found.settings), repr(routes), repr(password(found)), str(password(found))]
    assert not any(SECRET in text for text in shown)
    assert "HandlerSettings(" in shown[0]
    wrong = [f"[handlers.greet]\nkey = ['{SECRET}']\n", f"[handlers.greet]\nwords = '{SECRET}'\n", f"gws = '{SECRET}'"]
    for text in (*wrong, f"[handlers.greet]\n{SECRET}x = 1\ngreeting = 'broken'\n", f"journal.retain = '{SECRET}'"):
        with pytest.raises(ConfigurationError) as refused:
            read(text).routes()
        trace = "".join(traceback.format_exception(refused.value))
        assert SECRET not in trace.replace(f"{SECRET}x", "")


def test_broken_check_of_options(mistakes: Callable[[str], list[str]], tmp_path: Path) -> None:
    """A handler whose own check of its options fails is told with the error and its place, not with its text."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "greet.py").write_text(HANDLER)
    (line,) = mistakes("[handlers.greet]\ngreeting = 'broken'\n")
    place = "KeyError in greet.py, line 14"
    assert line == f"c.toml: line 1: handlers.greet: the handler's own check of its options fails: {place}"


def test_exit_status(tmp_path: Path) -> None:
    """A program with a wrong configuration ends with status 78, the mistakes on standard error, and no journal."""
    (tmp_path / "c.toml").write_text('state_directory = "state"\n[gws]\nulr = "x"\n[handlers.audit]\npth = "x"\n')
    command = [sys.executable, "-m", "fbsessiond", "run", "--config", "c.toml"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == os.EX_CONFIG
    assert ran.stdout == ""
    assert [line.partition(": c.toml: ")[2] for line in ran.stderr.splitlines()] == [
        "line 2: gws.url: is missing",
        "line 3: gws.ulr: there is no such key; did you mean 'url'?",
        "line 5: handlers.audit.pth: there is no such key; did you mean 'path'?",
    ]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("depth", [100, 490, 491, 492, 493, 494, 495, 496, 497, 498, 510, 3_000])
@pytest.mark.parametrize("form", ["lists", "tables"])
def test_nested_too_deeply(mistakes: Callable[[str], list[str]], form: str, depth: int) -> None:
    """A file nested deeper than anything is read is a mistake, whatever Python's own limit is."""
    text = f"a = {'[' * depth}{']' * depth}" if form == "lists" else f"[{'.'.join('a' * depth)}]\nx = 1"
    (mistake,) = mistakes(text)
    assert mistake.startswith("c.toml: ")
    assert "tables and lists stand in each other more than 100 deep" in mistake or "isn't TOML: maximum" in mistake


@pytest.mark.parametrize("depth", [99, 100, 480, 490, 500, 900])
def test_variable_nested_too_deeply(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    """A variable that is nested too deeply is a text, and no list."""
    monkeypatch.setenv("FBSESSIOND_GWS__CHANNELS", "[" * depth + "]" * depth)
    with pytest.raises(ConfigurationError, match="FBSESSIOND_GWS__CHANNELS: gws"):
        load(None)
