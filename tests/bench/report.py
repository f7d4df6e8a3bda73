"""Tables: what stands in a cell, and how the whole is printed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timing import Spread, Timing

NOTHING = "-"
_BUSY = 1.1  # processors, from where on more than one thread took part
_OVER, _UNDER = "over", "under"
_MISSED = (_OVER, _UNDER)


@dataclass
class Table:
    """Cells as text, ready to print; records as they were measured, for the JSON file."""

    title: str
    head: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def add(self, cells: Iterable[str], **record: Any) -> None:
        """One row, and what it was made from."""
        self.rows.append(list(cells))
        self.records.append(record)

    @property
    def missed(self) -> int:
        """How many limits were not kept."""
        last = (cell.split()[-1].rstrip("~") for row in self.rows for cell in row)
        return sum(word in _MISSED for word in last)

    def record(self) -> dict[str, Any]:
        """For the JSON file: the rows as printed, and what they were made from."""
        rows = [
            {"printed": dict(zip(self.head, row, strict=True)), **record}
            for row, record in zip(self.rows, self.records, strict=True)
        ]
        return {"title": self.title, "notes": self.notes, "rows": rows}

    def remark(self, label: str, taken: dict[str, Timing]) -> None:
        """Note what took more than one thread, and what waited for the kernel to clear pages."""
        busy = [f"{name} {t.threads:.1f}" for name, t in taken.items() if t.threads > _BUSY]
        if busy:
            self.notes.append(f"({label}) processors kept busy: {', '.join(busy)}")
        faults = [f"{name} {t.faults:.0f}" for name, t in taken.items() if t.faults >= 1]
        if faults:
            self.notes.append(f"({label}) page faults in a call: {', '.join(faults)}")

    def text(self, *, markdown: bool) -> str:
        """The whole table."""
        lines = [list(self.head), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        padded = [
            [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
        ]
        rule = ["-" * width for width in widths]
        if markdown:
            body = ["| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]]]
            return "\n".join([f"### {self.title}", "", *body, "", *_bullets(self.notes)])
        body = ["  ".join(line).rstrip() for line in [padded[0], rule, *padded[1:]]]
        return "\n".join([self.title, "", *body, *_bullets(self.notes)])


def _bullets(notes: list[str]) -> list[str]:
    return [f"- {note}" for note in notes]


def number(value: float) -> str:
    """Three digits that mean something."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and abs(value) < 0.01:
        return f"{value:.1e}"
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{decimals}f}"


def at_most(value: Spread, limit: float | None) -> str:
    """A figure with its quartiles and, where there is one, its limit and whether it keeps it."""
    return _against(value, limit, "<=", _OVER)


def at_least(value: Spread, limit: float | None) -> str:
    """The same where more is better."""
    return _against(value, limit, ">=", _UNDER)


def error_at_most(value: float, limit: float | None) -> str:
    """An error, which was found once and has no spread."""
    shown = f"{value:.1e}"
    return shown if limit is None else f"{shown} <={limit:.0e} {_mark(value <= limit, _OVER)}"


def _against(value: Spread, limit: float | None, sign: str, missed: str) -> str:
    shown = f"{number(value.median)} [{number(value.low)} {number(value.high)}]"
    if limit is None:
        return shown
    kept = value.median <= limit if sign == "<=" else value.median >= limit
    unsure = "~" if value.low <= limit <= value.high else ""
    return f"{shown} {sign}{limit:g} {_mark(kept, missed)}{unsure}"


def _mark(kept: bool, missed: str) -> str:
    return "OK" if kept else missed
