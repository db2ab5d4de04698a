"""Every reason that stands in the code: why a delivery or a follow-up is in its state, for the test of `why`.

A reason is what is given to a parameter, a field or a variable named `because`, wherever that is; what says why a
handler doesn't want something; and what an error of GWS says, which becomes one. What can't be read off, since it is
put together elsewhere, stands as `<expression>`: it is never left out in silence.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import fbsessiond

SOURCE = Path(fbsessiond.__file__).parent

NO_REASONS = ("simulator", "acts.py", "cli", "page")
"""The simulated GWS has reasons of its own; the others show what the daemon wrote down."""

LOGGING = ("log", "say")
"""What is called with these says what was written down."""

NAME = "because"

VERDICTS = ("Wish | str", "str | None")
VERDICTS_IN = ("conditions.py", "handler.py", "route.py")
"""What functions of these modules return that is annotated so: why something isn't wanted."""

ERRORS = ("NotPerformed", "InDoubt", "UnavailableError", "RefusedError")
ERRORS_IN = "gws"
"""Errors whose texts become reasons."""


def reasons() -> set[str]:
    """Return them all, with `{}` for what is put into one."""
    modules = {path.relative_to(SOURCE): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    trees = {path: tree for path, tree in modules.items() if path.parts[0] not in NO_REASONS}
    takers = {name: place for tree in trees.values() for name, place in _takers(tree)}
    found: set[str] = set()
    for path, tree in trees.items():
        constants = dict(_constants(tree))
        for value in _values(path, tree, takers):
            found.update(_texts(value, constants))
    return found


def _takers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield functions and classes that take a reason, with its place among the arguments."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [one.arg for one in node.args.args if one.arg != "self"]
        elif isinstance(node, ast.ClassDef):
            names = [
                one.target.id
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            ]
        if NAME in names and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, names.index(NAME)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str()) as value):
                yield name, value
            case _:
                pass


def _values(path: Path, tree: ast.Module, takers: dict[str, int]) -> Iterator[ast.expr]:
    """Yield what is given as a reason."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="because")], value=value):
                yield value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                yield from (value for name, value in zip(names, values, strict=True) if ast.unparse(name) == NAME)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                if ast.unparse(node.func).partition(".")[0] not in LOGGING:
                    yield from _given(node, takers.get(name))
                if name in ERRORS and path.parts[0] == ERRORS_IN:
                    yield node.args[0]
            case ast.FunctionDef(returns=ast.expr() as returns) if path.name in VERDICTS_IN:
                if ast.unparse(returns) in VERDICTS:
                    yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value)
            case _:
                pass


def _given(call: ast.Call, place: int | None) -> Iterator[ast.expr]:
    """Yield the reason that a call is given."""
    yield from (keyword.value for keyword in call.keywords if keyword.arg == NAME)
    if place is not None and place < len(call.args):
        yield call.args[place]


def _texts(value: ast.expr, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    """Yield the texts that an expression can be; of one that was made elsewhere, and is passed on, none."""
    match value:
        case ast.Constant(value=None):
            pass
        case ast.Constant(value=text):
            yield str(text)
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.Name(id=name) if name in constants:
            yield from _texts(constants[name], constants)
        case ast.Subscript(value=inner, slice=ast.Slice()):  # the beginning of it
            yield from _texts(inner, constants)
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, constants)
            yield from _texts(other, constants)
        case _ if not any(_is_passed_on(node) for node in ast.walk(value)):
            yield f"<{ast.unparse(value)}>"
        case _:
            pass


def _is_passed_on(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == NAME) or (isinstance(node, ast.Attribute) and node.attr == NAME)
