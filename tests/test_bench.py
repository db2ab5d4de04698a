"""The benchmark runs, and its page is made from what it measured; how fast anything is, no test says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

PRINT_PAGE = """
import sys
from cases import CASES
from plot import plot
from report import kept, page, plotted
sys.stdout.write(page(CASES, kept()) + plot(plotted(CASES, kept())))
"""


def run(*arguments: str) -> str:
    """Run Python where the benchmark is, and return what it prints."""
    command = (sys.executable, *arguments)
    return subprocess.run(command, cwd=ROOT / "bench", capture_output=True, text=True, check=True).stdout


def test_case() -> None:
    """A case is measured in a process of its own; as many notifications as are in flight share a sync."""
    printed = run("run.py", "group-commit", "--rounds", "1")
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines() if "in flight" in line]
    assert rows == [[f"{count:,} in flight", f"{count:,} notifications"] for count in (1, 10, 100, 1_000)]


def test_page() -> None:
    """The page and its plot are what the results give."""
    page = (ROOT / "docs/performance.md").read_text() + (ROOT / "docs/performance.svg").read_text()
    assert run("-c", PRINT_PAGE) == page, "make it again: python bench/run.py --page"
