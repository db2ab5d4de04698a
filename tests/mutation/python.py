"""What can be changed in Python so that it still runs, and does something else.

Left alone is what only people read: texts with a blank in them, what is logged, annotations, decorators, and what a
field's schema tells of it.
"""

import ast
from collections.abc import Iterator
from itertools import accumulate

from mutation.mutant import Edit

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}
METHODS = {"partition": "rpartition", "rpartition": "partition", "strip": "lstrip", "casefold": "upper"}
"""What does nearly the same."""

LEFT_ALONE = {"TypeVar", "get_logger", "log"}
"""Names of what is called without anything to be seen in a test but by its words."""

DOCUMENTATION = {"examples", "json_schema_input_type"}
"""Arguments of a field that its schema alone tells: what is taken doesn't change with them."""


def python_edits(source: bytes) -> Iterator[Edit]:
    """Yield each change that could be made in a module."""
    starts = [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]
    for node, place in _nodes(ast.parse(source), ""):
        for changed, instead in _changes(node):
            begin = starts[changed.lineno - 1] + changed.col_offset
            end = starts[(changed.end_lineno or 0) - 1] + (changed.end_col_offset or 0)
            yield Edit(begin, end, instead, place or "module")


def _nodes(node: ast.AST, place: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield what may be changed, with the names of the function and class around it."""
    for field, child in _children(node):
        if field in {"annotation", "returns", "decorator_list", "bases", "keywords_of_class"} or _is_left_alone(child):
            continue
        inner = place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{place}.{child.name}".lstrip(".")
        yield child, inner
        if not isinstance(child, ast.JoinedStr) and not (isinstance(child, ast.Expr) and _is_log(child.value)):
            yield from _nodes(child, inner)


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield field, child


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Assign(value=ast.Call(func=ast.Name(name) | ast.Attribute(attr=name))):
            return name in LEFT_ALONE
        case ast.keyword(arg=name):
            return name in DOCUMENTATION
        case _:
            return False


def _is_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).partition(".")[0] in {"log", "say"}


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt | ast.pattern, str]]:  # noqa: C901, PLR0912  a table
    """Yield what could be changed in a node itself: which part of it, and what it becomes."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            for other in OPERATORS[type(operator)]:
                yield node, _written(ast.Compare(left, [other()], [right]))  # type: ignore[list-item]
        case ast.BoolOp(op=operator, values=values):
            (other,) = OPERATORS[type(operator)]
            yield node, _written(ast.BoolOp(other(), values))  # type: ignore[arg-type]
            for each in range(len(values)):
                yield node, _written(ast.BoolOp(operator, [*values[:each], *values[each + 1 :]]))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            yield node, _written(ast.BinOp(left, OPERATORS[type(operator)][0](), right))  # type: ignore[arg-type]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, _written(operand)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from ((test, "True"), (test, "False"))
        case ast.While(test=test) if not isinstance(test, ast.Constant):
            yield test, "False"
        case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated):
            yield iterated, "()"
        case ast.comprehension(ifs=conditions):
            yield from ((condition, "True") for condition in conditions)
        case ast.match_case(pattern=pattern, guard=None):
            yield pattern, f"{ast.unparse(pattern)} if False"
        case ast.match_case(guard=ast.expr() as guard):
            yield from ((guard, "True"), (guard, "False"))
        case ast.ExceptHandler(body=[first, *_]) if not isinstance(first, ast.Raise):
            yield first, "raise"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]) | ast.AnnAssign(target=ast.Attribute()):
            yield node, "pass"
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Delete() | ast.AugAssign():
            yield node, "pass"
        case ast.Constant(value=value):
            yield from ((node, instead) for instead in _other_constants(value))
        case ast.JoinedStr(values=values) if not _is_text(node):
            for each in range(len(values)):
                yield node, ast.unparse(ast.JoinedStr([*values[:each], *values[each + 1 :]]))
        case ast.Call(func=function, args=arguments, keywords=keywords):
            for each, keyword in enumerate(keywords):
                if not _is_text(keyword.value) and not _is_left_alone(keyword):
                    yield node, _written(ast.Call(function, arguments, [*keywords[:each], *keywords[each + 1 :]]))
            match function:
                case ast.Name(id=name) if name in FUNCTIONS:
                    yield function, FUNCTIONS[name]
                case ast.Attribute(value=value, attr=name) if name in METHODS:
                    yield function, f"{_written(value)}.{METHODS[name]}"
                case _:
                    pass
        case _:
            pass


def _written(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _other_constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield repr(not value)
    elif isinstance(value, int | float):
        yield repr(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield repr(f"{value}XX")
    elif isinstance(value, bytes):
        yield repr(value + b"XX")


def _is_text(node: ast.AST) -> bool:
    """Say whether it is for people: it has blanks between its words."""
    return any(
        isinstance(one, ast.Constant) and isinstance(one.value, str) and " " in one.value for one in ast.walk(node)
    )
