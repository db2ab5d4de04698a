"""The queries, in files of their own: one a subject, beside the module that runs them."""

from importlib.resources import files


def read_queries(name: str, package: str = "fbsessiond.journal.sql") -> dict[str, str]:
    """Return the queries of a file by name: each stands under a comment `-- name: what it does`."""
    queries: dict[str, str] = {}
    for part in files(package).joinpath(name).read_text().split("-- ")[1:]:
        title, _, body = part.partition("\n")
        queries[title.partition(":")[0]] = body.strip().rstrip(";")
    return queries
