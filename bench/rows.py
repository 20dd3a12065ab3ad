"""Rows of a benchmark's table: what was measured of each program, the goal, and whether it holds."""

import http.client
import subprocess
import time
from dataclasses import dataclass, field

from bench.table import markdown, middle, number, ratio, spread

# What a server that fails may raise in those that ask it.
FAILURES = (OSError, RuntimeError, ValueError, KeyError, http.client.HTTPException, subprocess.SubprocessError)


@dataclass(frozen=True)
class Row:
    """A line of the table."""
    title: str
    unit: str
    goal: str = ""             # in words
    holds: object = None       # function of the samples of the row by server: ratio or value, whether the goal holds
    more: bool = True          # more is better


def times(factor, other="nginx", subject="curd-server"):
    """At least, or (below zero) at most, so many times another server."""
    def judge(samples):
        r = ratio(samples.get(subject, []), samples.get(other, []))
        return ("", None) if r is None else (f"{number(r)} x {other}", r >= factor if factor > 0 else r <= -factor)
    return judge


def beside(other, subject="curd-server"):
    """So many times another, without a verdict."""
    return lambda samples: (times(1, other, subject)(samples)[0], None)


def bound(limit, subject="curd-server"):
    """At least, or (below zero) at most, a value."""
    def judge(samples):
        m = middle(samples.get(subject, []))
        return ("", None) if m is None or isinstance(m, str) else (number(m), m >= limit if limit > 0 else m <= -limit)
    return judge


def is_text(wanted, subject="curd-server"):
    def judge(samples):
        said = samples.get(subject)
        return (spread(said), all(s in wanted for s in said)) if said else ("", None)
    return judge


@dataclass
class Cell:
    values: list = field(default_factory=list)
    cpu: list = field(default_factory=list)     # seconds of processor time for each unit of work
    peak: list = field(default_factory=list)    # bytes
    other: list = field(default_factory=list)   # seconds of processor time at the other end


class Results:
    """Samples of rows (Row by key) and columns, the programs; subject is the one that the goals are of."""

    def __init__(self, rows, columns, subject, deadline, rounds, say):
        self.rows, self.columns, self.subject = rows, columns, subject
        self.deadline, self.rounds, self.say = deadline, rounds, say
        self.cells, self.notes = {}, []

    def add(self, row, server, value, cpu=None, peak=None, other=None):
        cell = self.cells.setdefault((row, server), Cell())
        cell.values.append(value)
        if cpu is not None:
            cell.cpu.append(cpu)
        if peak:
            cell.peak.append(peak)
        if other is not None:
            cell.other.append(other)
        self.say(f"  {row}, {server}: {number(value)}")

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"  note: {text}")

    def late(self):
        return time.monotonic() > self.deadline

    def in_turn(self, trials, rounds=None, row=""):
        """Runs trials, a function by name, in turn; the order turns from round to round. One that fails twice is left out."""
        trials, failed = dict(trials), set()
        for i in range(rounds or self.rounds):
            names = list(trials)
            row = row and f"{row.rstrip(', ')}, "
            for name in names[i % len(names):] + names[:i % len(names)] if names else []:
                if self.late():
                    self.note(f"time was up after {i} rounds of {', '.join(names)}")
                    return
                try:
                    trials[name]()
                except FAILURES as error:
                    self.note(f"{row}{name} failed{' again, and was left out' if name in failed else ''}: {' '.join(str(error).split())[-300:]}")
                    if name in failed:
                        del trials[name]
                    failed.add(name)

    def samples(self, row):
        return {server: cell.values for (key, server), cell in self.cells.items() if key == row}

    def summary(self, sizes):
        """The table: medians, the ratio, the goal and whether it holds."""
        lines = []
        for key, row in self.rows.items():
            samples = self.samples(key)
            if not samples:
                continue
            got, holds = row.holds(samples) if row.holds else ("", None)
            unit = f" ({row.unit})" if row.unit else ""
            lines.append([row.title.format(**sizes) + unit, *(number(middle(samples.get(s, []))) for s in self.columns),
                          got, row.goal, {True: "yes", False: "**no**", None: ""}[holds]])
        return markdown(["what", *self.columns, self.subject, "goal", "holds"], lines)
