"""Write the tables in the documentation that are made from the code: `python docs/tables.py`."""

from pathlib import Path

from fbsessiond.operations import OPERATIONS, OperationKind

HERE = Path(__file__).parent

TITLE = """# Operations on GWS

What a handler can ask for, and `fbsessiond operate` can do. Made from the table in `fbsessiond/operations.py` by
`make docs`.

GWS answers a request with "passed on"; whether it took effect shows later. *Success* is what shows it, in a
notification or in the session itself. Where the session can be *read back*, an operation in doubt is looked for in it,
and sent again only if it isn't there; where it can't, one in doubt is parked for a person.

"""


def operations() -> str:
    """Return the page on operations."""
    header = (
        "| operation | does | parameters | capability | success | read back | source |\n|---|---|---|---|---|---|---|\n"
    )
    return TITLE + header + "".join(_row(kind) for kind in OPERATIONS.values())


def _row(kind: OperationKind) -> str:
    separator = " or " if kind.one_of else ", "
    parameters = separator.join(f"`{each.name}`{'' if each.is_needed else '?'}" for each in kind.parameters)
    capabilities = " or ".join(f"`{each}`" for each in kind.capabilities) or "none is known"
    readable = "yes" if kind.can_be_read_back else "no"
    cells = (f"`{kind.name}`", kind.does, parameters or "-", capabilities, kind.succeeds, readable, kind.source)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    (HERE / "operations.md").write_text(operations())
