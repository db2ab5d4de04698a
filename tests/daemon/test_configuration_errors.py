import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyHttpUrl, BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import TypedDict

from fbsessiond.configuration_errors import Key, Places, describe, dotted, find_line, nearest


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(Table):
    operation: str
    pause: int = 0


class Jump(Table):
    where: str


class Loose(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]

    anything: int


class Inner(Table):
    name: str = "x"
    on: list[Step] | None = None
    size: ByteSize = ByteSize(0)


class Document(Table):
    """One option of each kind."""

    text: str = ""
    short: Annotated[str, Field(min_length=1)] = "x"
    pattern: Annotated[str, Field(pattern="^/")] = "/"
    number: Annotated[int, Field(ge=1)] = 1
    ratio: float = 0.5
    switch: bool = False
    mode: Literal["fast", "slow"] = "fast"
    words: Annotated[list[str], Field(min_length=1)] = ["x"]
    pair: tuple[str, ...] = ()
    path: Path = Path()
    url: AnyHttpUrl | None = None
    size: ByteSize = ByteSize(0)
    inner: Inner | None = None
    table: dict[str, int] = {}
    either: int | list[int] = 0
    many: dict[str, Inner] = {}
    steps: list[Step | Jump] = []
    loose: Loose = {}
    from_: str | None = Field(default=None, alias="from")
    checked: int = 0

    @field_validator("checked")
    @classmethod
    def _check(cls, value: int) -> int:
        assert value < 5, "Must be small"
        if value < 0:
            raise ValueError("Should not be below zero")
        return value


def mistakes(text: str, places: Places | None = None) -> list[str]:
    """Return what is told of a text that doesn't fit."""
    document = tomllib.loads(text)
    with pytest.raises(ValidationError) as refused:
        Document.model_validate(document)
    return list(describe(refused.value, Document, document, places or Places(None, text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text = 5", "text: should be a text"),
        ("short = ''", "short: should have at least 1 character"),
        ("pattern = 'x'", "pattern: should match pattern '^/'"),
        ("number = 'x'", "number: should be a whole number"),
        ("number = 1.5", "number: should be a whole number"),
        ("number = []", "number: should be a whole number"),
        ("number = 0", "number: should be greater than or equal to 1"),
        ("ratio = 'x'", "ratio: should be a number"),
        ("ratio = []", "ratio: should be a number"),
        ("switch = 'x'", "switch: should be true or false"),
        ("switch = []", "switch: should be true or false"),
        ("mode = 'x'", "mode: should be 'fast' or 'slow'"),
        ("words = 'x'", "words: should be a list"),
        ("words = []", "words: should have at least 1 item"),
        ("words = ['a', 5]", "words.1: should be a text"),
        ("pair = 5", "pair: should be a list"),
        ("path = 5", "path: should be the path of a file or a folder"),
        ("url = 5", "url: should be an address, as 'http://gws.example:8090'"),
        ("url = 'x'", "url: should be an address, as 'http://gws.example:8090'"),
        ("url = 'ftp://x'", "url: URL scheme should be 'http' or 'https'"),
        ("size = 'x'", "size: should be a size, as '500MB' or '2GiB'"),
        ("size = '5 apples'", "size: should be a size, as '500MB' or '2GiB'"),
        ("inner = 5", "inner: should be a table"),
        ("table = 5", "table: should be a table"),
        ("table = { a = 'x' }", "table.a: should be a whole number"),
        ("checked = -1", "checked: should not be below zero"),
        ("checked = 9", "checked: must be small"),
        ("inner = { on = [{ pause = 5 }] }", "inner.on.0.operation: is missing"),
        ("from = 5", "from: should be a text"),
    ],
)
def test_words(text: str, words: str) -> None:
    """A mistake is told with its key and what should stand there, in TOML's words; never with what stands there."""
    assert mistakes(text) == [f"line 1: {words}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("txt = 5", "txt: there is no such key; did you mean 'text'?"),
        ("frm = 5", "frm: there is no such key; did you mean 'from'?"),
        ("from_ = 5", "from_: there is no such key; did you mean 'from'?"),
        ("inner = { nam = 5 }", "inner.nam: there is no such key; did you mean 'name'?"),
        ("inner = { xyzzy = 5 }", "inner.xyzzy: there is no such key; known here: name, on, size"),
        ("many.wrap-up = { siz = 5 }", "many.wrap-up.siz: there is no such key; did you mean 'size'?"),
        ("many.on.xyzzy = 5", "many.on.xyzzy: there is no such key; known here: name, on, size"),
        ("many.x.on = [{ operation = '', paus = 1 }]", "many.x.on.0.paus: there is no such key; did you mean 'pause'?"),
        ("loose = { anythin = 1 }", "loose.anythin: there is no such key; known here: none"),
    ],
)
def test_unknown_keys(text: str, words: str) -> None:
    """An unknown key is told with the nearest that its table may have, or with all of them."""
    assert mistakes(text) == [f"line 1: {words}"]


def test_unions() -> None:
    """What pydantic adds to a place, such as the members of a union, isn't part of the key; each reading is told."""
    assert mistakes("either = 'x'") == ["line 1: either: should be a whole number", "line 1: either: should be a list"]
    assert "line 1: steps.0.wher: there is no such key; did you mean 'where'?" in mistakes("steps = [{ wher = 'x' }]")


FILE = """\
# a comment
title = "x"
dotted . "quoted key".'and more' = 1

[gws]
url = '''
[journal]
url = "not this one"
'''
channels = [
  "/v2/me/*",   # [handlers]
  "x"
]

  [ handlers . "wrap-up" ]   # a table's own line
use = "operations"
on = { to = "LeftChat", origin = ["live"] }
delivery.attempts = 3

[[steps]]
operation = "one"
[[steps]]
operation = "two"
[steps.options]
fast = true
[[steps.inner]]
x = 1
[[steps.inner]]
x = 2

[only.implied.tables]
x = 1
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("title",), 2),
        (("dotted", "quoted key", "and more"), 3),
        (("dotted", "quoted key"), 3),
        (("dotted",), 3),
        (("gws",), 5),
        (("gws", "url"), 6),
        (("gws", "missing"), 5),
        (("gws", "channels"), 10),
        (("gws", "channels", 1), 10),
        (("gws", "channels", 7), 10),
        (("handlers",), 15),
        (("handlers", "wrap-up"), 15),
        (("handlers", "wrap-up", "use"), 16),
        (("handlers", "wrap-up", "on", "to"), 17),
        (("handlers", "wrap-up", "on", "origin", 0), 17),
        (("handlers", "wrap-up", "on", "missing"), 17),
        (("handlers", "wrap-up", "delivery", "attempts"), 18),
        (("handlers", "wrap-up", "delivery"), 18),
        (("handlers", "wrap-up", "delivery", "missing"), 18),
        (("handlers", "wrap-up", "missing"), 15),
        (("steps",), 20),
        (("steps", 0, "operation"), 21),
        (("steps", 1), 22),
        (("steps", 1, "operation"), 23),
        (("steps", 1, "options", "fast"), 25),
        (("steps", 1, "inner", 0, "x"), 27),
        (("steps", 1, "inner", 1, "x"), 29),
        (("only",), 31),
        (("only", "implied"), 31),
        (("only", "implied", "tables", "x"), 32),
        (("journal",), None),
        (("journal", "url"), None),
        ((), 2),
    ],
)
def test_find_line(key: Key, line: int | None) -> None:
    """A key's line is found however it is written; else that of what is inside it, or of the table around it."""
    tomllib.loads(FILE)
    assert find_line(FILE, key) == line


@pytest.mark.parametrize("text", ["a = 1\r\n[b]\r\nc = 2", "a = 1\n[b]\nc = 2\n", 'a = "\u2028\x85"\n[b]\nc = 2'])
def test_find_line_whatever_ends_it(text: str) -> None:
    """Lines are counted as TOML counts them: by line feeds."""
    assert find_line(text, ("b", "c")) == 3


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5)


@given(st.lists(names, min_size=1, max_size=3), names, st.integers(0, 5))
def test_find_line_of_any_name(table: list[str], name: str, blank: int) -> None:
    """Names in quotes may hold anything, brackets, dots and signs of equality included."""
    quoted = [f'"{part}"' for part in (p.replace("\\", "\\\\").replace('"', '\\"') for p in (*table, name))]
    text = f"{'#' * blank}\n" * blank + f"[{'.'.join(quoted[:-1])}]\n{quoted[-1]} = 1\n"
    assert find_line(text, (*table, name)) == blank + 2


PATH = Path("fbsessiond.toml")


@pytest.mark.parametrize(
    ("key", "begin"),
    [
        (("gws", "url"), "FBSESSIOND_GWS__URL: "),
        (("gws", "username"), "fbsessiond.toml: line 2: "),
        (("gws",), "fbsessiond.toml: line 1, FBSESSIOND_GWS__URL: "),
        (("journal", "retain"), "FBSESSIOND_JOURNAL: "),
        (("http",), "FBSESSIOND_HTTP__LISTEN: "),
        (("handlers", "log"), "fbsessiond.toml: "),
    ],
)
def test_places(key: Key, begin: str) -> None:
    """A mistake's place is the variable that sets the key or a table around it, else the line; for a table, both."""
    variables: dict[Key, str] = {
        ("gws", "url"): "FBSESSIOND_GWS__URL",
        ("journal",): "FBSESSIOND_JOURNAL",
        ("http", "listen"): "FBSESSIOND_HTTP__LISTEN",
    }
    assert Places(PATH, "[gws]\nusername = 5\n", variables).begin(key) == begin


def test_no_place() -> None:
    """Where nothing is known of where the settings come from, nothing is said of it."""
    assert Places().begin(("gws", "url")) == ""


@pytest.mark.parametrize("kind", ["words", "inner", "table", "pair"])
def test_variables_of_lists_and_tables(kind: str) -> None:
    """Where a variable should hold a list or a table, it is told how that is written there."""
    (line,) = mistakes(f"{kind} = 'x'", Places(PATH, "", {(kind,): "FBSESSIOND_IT"}))
    assert line.startswith(f"FBSESSIOND_IT: {kind}: should be a ")
    assert line.endswith(", in a variable written as JSON")


def test_missing_key_of_a_variable() -> None:
    """A key that is missing in a table that a variable began is told with that variable."""
    (line,) = mistakes("steps = [{ pause = 1 }]\ninner.on = []", Places(PATH, "", {("steps",): "FBSESSIOND_STEPS"}))[:1]
    assert line.startswith("FBSESSIOND_STEPS: steps.0.")


def test_above() -> None:
    """A handler's options are told with the table in which they stand."""
    text = "[handlers.wrap-up]\nnumber = 0\n"
    options: Any = tomllib.loads(text)["handlers"]["wrap-up"]
    with pytest.raises(ValidationError) as refused:
        Document.model_validate(options)
    told = describe(refused.value, Document, options, Places(PATH, text), ("handlers", "wrap-up"))
    assert list(told) == ["fbsessiond.toml: line 2: handlers.wrap-up.number: should be greater than or equal to 1"]


def test_dotted() -> None:
    """A key is written as TOML writes it, in quotes where it needs them; places in lists too."""
    assert dotted(("handlers", "wrap-up", "on", 1, "to")) == "handlers.wrap-up.on.1.to"
    assert dotted(("a b", "", "é", 'a"b\nc\x1b')) == '"a b".""."é"."a\\"b\\nc\\u001b"'


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("ulr", ["username", "url"], "did you mean 'url'?"),
        ("xyzzy", ["url", "agent"], "known here: agent, url"),
        ("xyzzy", [], "known here: none"),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    """The hint is the nearest known name, or all that there are."""
    assert nearest(name, known) == hint
