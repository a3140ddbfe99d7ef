"""Charts as inline SVG: lines and points on linear or logarithmic axes, and bars."""

import math
from collections.abc import Sequence
from html import escape

import msgspec

Points = Sequence[tuple[float, float]]
COLOURS = ("#1f5fa8", "#c2571a", "#2b7a3d", "#8a3ba1", "#7a6a1f", "#a12b3b")
WIDTH, HEIGHT = 660, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 20, 54


class Axis(msgspec.Struct, frozen=True):
    """A label and the range shown, logarithmic or not."""

    label: str
    low: float
    high: float
    log: bool = True

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        if not self.log:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
            step *= next(by for by in (1, 2, 5, 10) if (self.high - self.low) / (step * by) <= 7)
            return [k * step for k in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]
        powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
        wide = len(powers) >= 4
        steps = (1,) if wide else (1, 2, 5)
        found = [by * 10.0**power for power in range(powers.start - 1, powers.stop) for by in steps]
        return [tick for tick in found if self.low <= tick <= self.high]


def axis_of(label: str, values: Sequence[float], log: bool = True) -> Axis:
    """An axis that holds the values with some room, from zero where it is linear."""
    if log:
        return Axis(label, min(values) / 1.6, max(values) * 1.6)
    return Axis(label, 0.0, max(values) * 1.08, log=False)


def number(value: float) -> str:
    """A short figure: 12k, 3.4M, 0.05."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


class Chart:
    """Lines, points and labels over two axes, drawn in the order added."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y
        self.parts: list[str] = []
        self.legend: list[tuple[str, str]] = []

    def place(self, x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM),
        )

    def line(self, points: Points, colour: str, label: str = "", dashed: bool = False, dots: bool = False) -> None:
        placed = [self.place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if dots:
            for (x, y), (at, value) in zip(placed, points, strict=True):
                title = f"<title>{escape(label)}: {number(at)}, {number(value)}</title>"
                self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>')
        if label:
            self.legend.append((label, colour))

    def point(self, x: float, y: float, colour: str, text: str, above: bool = False) -> None:
        left, top = self.place(x, y)
        self.parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5" fill="{colour}"/>')
        self.text(left + 8, top + (-7 if above else 4), text, "start")

    def text(self, x: float, y: float, text: str, anchor: str, more: str = "") -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>')

    def svg(self) -> str:
        body, self.parts = self.parts, []
        for tick in self.x.ticks():
            x, _ = self.place(tick, self.y.low)
            self.parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" class="grid"/>')
            self.text(x, HEIGHT - BOTTOM + 18, number(tick), "middle")
        for tick in self.y.ticks():
            _, y = self.place(self.x.low, tick)
            self.parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
            self.text(LEFT - 8, y + 4, number(tick), "end")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x.label, "middle")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.text(16, middle, self.y.label, "middle", f' transform="rotate(-90 16 {middle:.0f})"')
        frame, self.parts = self.parts, []
        for i, (label, colour) in enumerate(self.legend):
            y = TOP + 16 + 18 * i
            self.parts.append(f'<rect x="{LEFT + 10}" y="{y - 9}" width="12" height="10" fill="{colour}"/>')
            self.text(LEFT + 28, y, label, "start")
        inside = "".join(frame + body + self.parts)
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{inside}</svg>'


def bars(rows: Sequence[tuple[str, float]], mark: float | None = None) -> str:
    """Horizontal bars with their values, and a line at `mark`."""
    left, height, width = 400, 22, 960
    most = max([value for _, value in rows] + [mark or 0.0]) * 1.05
    scale = (width - left - 70) / most
    parts = []
    for i, (label, value) in enumerate(rows):
        y, colour = i * height + 4, COLOURS[0] if mark is None or value >= mark else COLOURS[1]
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{value * scale:.1f}" height="{height - 6}" fill="{colour}"/>')
        parts.append(f'<text x="{left + value * scale + 6:.1f}" y="{y + 13}">{value:.2f}</text>')
    if mark is not None:
        x = left + mark * scale
        parts.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{len(rows) * height}" class="mark"/>')
    return f'<svg viewBox="0 0 {width} {len(rows) * height + 6}" role="img">{"".join(parts)}</svg>'
