"""The plot of docs/performance.md: each comparison's sides as bars, by notifications a second. Made by hand, as SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from measure import Measured

WIDTH = 760
_NAMES = 250
"""Where the bars begin."""
_ROW = 22
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
text {{ font: 13px sans-serif; fill: #333 }}
.case {{ font-weight: bold }} .ours {{ fill: #2b7bba }} .other {{ fill: #a9b4be }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .other {{ fill: #5c6873 }} }}
</style>"""


def plot(comparisons: Sequence[tuple[str, Sequence[Measured]]]) -> str:
    """Return a plot: a group of bars for each comparison, to a scale of its own."""
    lines: list[str] = []
    y = 0
    for name, sides in comparisons:
        measured = [side for side in sides if side.rounds]
        if measured:
            y += 2 * _ROW
            lines.append(_text(0, y, f"{name}, notifications a second", "case"))
            lines += _bars(measured, y)
            y += _ROW * len(measured)
    return "\n".join([_HEAD.format(width=WIDTH, height=y + _ROW), *lines, "</svg>", ""])


def _bars(sides: Sequence[Measured], y: int) -> Iterator[str]:
    most = max(side.per_second for side in sides)
    for number, side in enumerate(sides):
        y += _ROW
        width = round((WIDTH - _NAMES - 70) * side.per_second / most, 1)
        kind = "other" if number else "ours"
        yield _text(0, y, side.name)
        yield f'<rect class="{kind}" x="{_NAMES}" y="{y - 13}" width="{width}" height="16"/>'
        yield _text(_NAMES + width + 6, y, f"{side.per_second:,.0f}")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
