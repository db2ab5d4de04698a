"""Check that each module is covered, every branch, by its own test file alone.

A line that another module's tests happen to pass through proves nothing about it. Reads what
`pytest --cov --cov-context=test` left behind; prints what is missing, and exits with 1 if anything is.
"""

import io
import re
import sys
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoDataError

ROOT = Path(__file__).parent.parent
PACKAGES = {ROOT / "daemon/fbsessiond": "tests/daemon", ROOT / "handlers/fbsessiond_handlers": "tests/handlers"}


def main() -> int:
    """Report on every module; return the exit status."""
    coverage = Coverage()
    coverage.load()
    modules = [
        (module, own_test(module, package, tests))
        for package, tests in PACKAGES.items()
        for module in sorted(package.rglob("*.py"))
    ]
    reports = [report for module, test in modules if (report := missing(coverage, module, test))]
    sys.stdout.write("".join(f"{report}\n" for report in reports))
    sys.stdout.write(f"{len(modules) - len(reports)} of {len(modules)} modules are covered by their own tests\n")
    return 1 if reports else 0


def own_test(module: Path, package: Path, tests: str) -> str:
    """Return the path of a module's test file: `tests/daemon/journal/test_records.py` for `journal/records.py`."""
    place = module.relative_to(package)
    name = f"test_{place.stem.strip('_')}.py"
    return (Path(tests) / place.parent / name).as_posix()


def missing(coverage: Coverage, module: Path, test: str) -> str | None:
    """Return what a module's own tests leave out; None where that is nothing. What runs at import counts as theirs."""
    output = io.StringIO()
    try:
        percent = coverage.report(
            morfs=[str(module)], contexts=[rf"^{re.escape(test)}::", r"^$"], show_missing=True, file=output
        )
    except NoDataError:
        return f"{module.relative_to(ROOT)}: never imported"
    if percent >= 100:
        return None
    line = next(line for line in output.getvalue().splitlines() if module.name in line)
    return f"{line}   ({test}{'' if (ROOT / test).exists() else ', which is missing'})"


if __name__ == "__main__":
    sys.exit(main())
