"""What can be changed in a file of queries, by its words: each is still SQL, with the same parameters."""

import re
from collections.abc import Iterator

from mutation.mutant import Edit

CHANGES = [
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r" AND (?!\d)", " OR "),
        (r" OR ", " AND "),
        (r" <= ", " < "),
        (r" >= ", " > "),
        (r" < ", " <= "),
        (r" > ", " >= "),
        (r" <> ", " = "),
        (r"(?<=WHERE )(\S+) = (?=\S)", r"\1 <> "),
        (r"(?<=AND )(\S+) = (?=\S)", r"\1 <> "),
        (r"\bIS NULL", "IS NOT NULL"),
        (r"\bIS NOT NULL", "IS NULL"),
        (r"\bNOT (?=EXISTS|IN\b)", ""),
        (r"\bDISTINCT ", ""),
        (r"\bLEFT (?=JOIN)", ""),
        (r"\bmin\(", "max("),
        (r"\bmax\(", "min("),
        (r" ORDER BY [\w., ]+(?=\s*(;|LIMIT|\)))", " "),
        (r" LIMIT \?", " LIMIT ? + 1"),
        (r"'\w+', (?=')", ""),
        (r"(?<='), '\w+'(?=\))", ""),
        (r"\w+ = (:\w+|'\w+'|\d+|NULL), ", ""),
        (r", \w+ = (:\w+|'\w+'|\d+|NULL)(?=\s+WHERE)", ""),
        (r"\b0\b", "1"),
        (r"\b1\b(?!, 2)", "2"),
        (r"\bUNION ALL\b", "EXCEPT"),
        (r"\bON CONFLICT DO NOTHING", ""),
        (r"\bcoalesce\((\S+), (\S+)\)", r"\1"),
    )
]


def sql_edits(source: bytes) -> Iterator[Edit]:
    """Yield each change that could be made in the queries of a file, whose names and comments stay."""
    for query in re.finditer(r"-- (\w+):[^\n]*\n((?:(?!-- ).)*)", source.decode("ascii"), re.DOTALL):
        for pattern, instead in CHANGES:
            for found in pattern.finditer(source.decode("ascii"), query.start(2), query.end(2)):
                yield Edit(found.start(), found.end(), found.expand(instead), query[1])
