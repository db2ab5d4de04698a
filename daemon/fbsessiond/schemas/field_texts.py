"""What a model says of its fields: the text under each, as it stands in the source."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent

from pydantic import BaseModel


def field_texts(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts under a model's fields, those of its bases included, each on one line.

    A model whose source isn't there has none.
    """
    texts: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            texts |= _own_texts(kind)
    return texts


def _own_texts(kind: type) -> Iterator[tuple[str, str]]:
    try:
        source = dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return
    (definition,) = ast.parse(source).body
    for statement, below in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
            case _:
                pass
