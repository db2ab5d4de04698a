"""A mutant put into what is imported already: the code of one function, or the text of one query."""

import ast
import gc
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

from coverage import Coverage

from mutation.mutant import Mutant

SOURCES: Final = Path("daemon")


@dataclass
class Place:
    """A file of the sources, as this process has it imported."""

    file: Path
    """From the root."""
    functions: dict[tuple[str, int], list[FunctionType]] = field(default_factory=dict[tuple[str, int], Any])
    """Those made of this file, by name and first line."""
    used: dict[str, set[int | str]] = field(default_factory=dict[str, set[int | str]])
    """What each test ran of this file: lines of Python, or names of queries; under "" while it was imported."""

    @property
    def is_sql(self) -> bool:
        """Say whether it is a file of queries."""
        return self.file.suffix == ".sql"

    def look_up(self) -> None:
        """Find the functions that were made of the file."""
        path = str(self.file.absolute())
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename == path:
                code = each.__code__
                self.functions.setdefault((code.co_qualname, code.co_firstlineno), []).append(each)

    def put(self, mutant: Mutant) -> tuple[Callable[[], None], set[str]] | None:
        """Return what puts a mutant in its place, and the tests that use it; `None` where that needs a new import."""
        if self.is_sql:
            return self._reread, self._using({mutant.key.place})
        before, after = (compile(each, str(self.file.absolute()), "exec") for each in (self._text(), mutant.text))
        if (pair := changed_function(before, after)) is None:
            return None
        old, new = pair
        live = self.functions.get((old.co_qualname, old.co_firstlineno), [])
        lines = set(_body_lines(self._text(), old))
        is_captured = old.co_freevars != new.co_freevars
        if not live or is_captured or lines & self.used.get("", set()):  # what an import did isn't done again
            return None

        def replace() -> None:
            for each in live:
                each.__code__ = new

        return replace, self._using(lines)

    def _text(self) -> bytes:
        return self.file.read_bytes()

    def _using(self, parts: set[Any]) -> set[str]:
        return {test for test, used in self.used.items() if used & parts}

    @property
    def queries(self) -> MutableMapping[str, str]:
        """Return the queries that were read of the file, by name."""
        found: MutableMapping[str, str] = vars(self._module)["_SQL"]
        return found

    @queries.setter
    def queries(self, queries: MutableMapping[str, str]) -> None:
        vars(self._module)["_SQL"] = queries

    @property
    def _module(self) -> Any:
        return sys.modules[".".join(self.file.relative_to(SOURCES).with_suffix("").parts)]

    def _reread(self) -> None:
        """Read the queries anew."""
        read = sys.modules["fbsessiond.journal.sql.queries"].read_queries
        self.queries.update(read(self.file.name))


class Watch:
    """Notes what of a file is used, by whom."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._coverage = Coverage(
            data_file=None, config_file=False, include=[str(place.file.absolute())], messages=False
        )

    def start(self) -> None:
        """Begin, with an import."""
        if not self._place.is_sql:
            self._coverage.start()

    def begin(self, test: str) -> None:
        """Note from here on what a test uses."""
        if self._place.is_sql:
            self._place.queries = Noting(self._place.queries, self._place.used.setdefault(test, set()))
        else:
            self._coverage.switch_context(test)

    def stop(self) -> None:
        """End, and put all that was noted where it belongs."""
        if self._place.is_sql:
            return
        self._coverage.stop()
        noted = self._coverage.get_data().contexts_by_lineno(str(self._place.file.absolute()))
        for line, tests in noted.items():
            for test in tests:
                self._place.used.setdefault(test, set()).add(line)


class Noting(dict[str, str]):
    """Queries by name, which note what is asked for."""

    def __init__(self, queries: MutableMapping[str, str], noted: set[int | str]) -> None:
        super().__init__(queries)
        self._noted = noted

    def __getitem__(self, name: str) -> str:
        """Note a name, and return its query."""
        self._noted.add(name)
        return super().__getitem__(name)


def changed_function(before: CodeType, after: CodeType) -> tuple[CodeType, CodeType] | None:
    """Return the one function that differs between two modules, outside of any other; `None` where more differs."""
    pairs = list(zip(_inner(before), _inner(after), strict=False))
    if _own(before) != _own(after) or len(pairs) != len(_inner(before)) or len(pairs) != len(_inner(after)):
        return None
    match [(old, new) for old, new in pairs if _whole(old) != _whole(new)]:
        case [(old, new)] if old.co_flags & CO_OPTIMIZED:
            return old, new
        case [(old, new)]:  # a class
            return changed_function(old, new)
        case _:
            return None


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _own(code: CodeType) -> tuple[object, ...]:
    """Return what a code does, without where it stands, and without what it has in it."""
    constants = [(type(each), repr(each)) for each in code.co_consts if not isinstance(each, CodeType)]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, tuple(constants)


def _whole(code: CodeType) -> tuple[object, ...]:
    return *_own(code), code.co_exceptiontable, tuple(_whole(each) for each in _inner(code))


def _body_lines(source: bytes, code: CodeType) -> Iterator[int]:
    """Yield the lines of a function's body: those that aren't run when it is made."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == code.co_firstlineno:
                yield from range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
    if code.co_name == "<lambda>":
        yield code.co_firstlineno
