"""What was measured, and the tables that tell it."""

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


SERVERS = ["curd-server", "nginx", "proxpi", "devpi", "pypiserver gunicorn", "pypiserver waitress"]

ROWS = {
    "page": Row("a project's page", "requests/s", "at least 0.8 x nginx", times(0.8)),
    "unchanged": Row("the same, unchanged (304)", "requests/s", "at least 0.8 x nginx", times(0.8)),
    "wheel": Row("wheel of 20 kB", "requests/s", "at least 0.6 x nginx", times(0.6)),
    "big": Row("wheel of 300 MB, 4 connections", "GB/s", "at least 0.95 x nginx", times(0.95)),
    "p99": Row("page, 1,000 connections kept alive, p99", "ms", "at most 3 x nginx", times(-3), more=False),
    "auth5": Row("page with Basic auth, bcrypt cost 5", "requests/s", "at least 0.8 x without", times(0.8, "curd-server without")),
    "auth10": Row("page with Basic auth, bcrypt cost 10", "requests/s", "at least 0.8 x without", times(0.8, "curd-server without")),
    "upload1": Row("uploads of 20 kB, 1 at once", "wheels/s", "at least 300", bound(300)),
    "upload16": Row("uploads of 20 kB, 16 at once", "wheels/s", "at least 1,000", bound(1000)),
    "disk1": Row("the same on this machine's disk, 1 at once", "wheels/s", "beside what the disk allows", beside("write, fsync, rename")),
    "disk16": Row("the same on this machine's disk, 16 at once", "wheels/s", "beside what the disk allows", beside("write, fsync, rename")),
    "start": Row("start to first page, {many} wheels, second start", "s", "at most 0.5", bound(-0.5), more=False),
    "memory": Row("memory, idle, {many} wheels", "MB", "at most 60", bound(-60), more=False),
    "memory-load": Row("memory, page requests from 32 connections, {many} wheels", "MB", "at most 100", bound(-100), more=False),
    "latency": Row("page of one project to one client, 2,000 wheels", "ms", "", more=False),
    "latency-large": Row("the same, {large} wheels", "ms", "no growth (at most 1.2 x)",
                         times(-1.2, "curd-server, 2,000 wheels"), more=False),
    "start-large": Row("start to first page, {large} wheels, second start", "s", "", more=False),
    "memory-large": Row("memory, idle, {large} wheels", "MB", "", more=False),
    "burst": Row("50 clients, one missing 60 MB file: fetches upstream", "fetches", "1", bound(-1), more=False),
    "burst-time": Row("the same: until the last one has it", "s", more=False),
    "burst-first": Row("the same: until the first one has a byte", "s", more=False),
    "burst-memory": Row("the same: memory at the most", "MB", "flat", more=False),
    "wrong": Row("upstream sends a wrong byte", "", "never whole, never kept", is_text(["not served whole, not kept"])),
    "silent-page": Row("upstream silent: a page that is held and due", "s", "within a second", bound(-1), more=False),
    "silent-file": Row("upstream silent: a file that is held", "s", "at once", bound(-0.1), more=False),
}


@dataclass
class Cell:
    values: list = field(default_factory=list)
    cpu: list = field(default_factory=list)     # seconds of the server's processors for each unit of work
    peak: list = field(default_factory=list)    # bytes


class Results:
    def __init__(self, deadline, rounds, say):
        self.deadline, self.rounds, self.say = deadline, rounds, say
        self.cells, self.notes = {}, []

    def add(self, row, server, value, cpu=None, peak=None):
        cell = self.cells.setdefault((row, server), Cell())
        cell.values.append(value)
        if cpu is not None:
            cell.cpu.append(cpu)
        if peak:
            cell.peak.append(peak)
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
        for key, row in ROWS.items():
            samples = self.samples(key)
            if not samples:
                continue
            got, holds = row.holds(samples) if row.holds else ("", None)
            unit = f" ({row.unit})" if row.unit else ""
            lines.append([row.title.format(**sizes) + unit, *(number(middle(samples.get(s, []))) for s in SERVERS),
                          got, row.goal, {True: "yes", False: "**no**", None: ""}[holds]])
        return markdown(["what", *SERVERS, "curd-server", "goal", "holds"], lines)

    def details(self, sizes):
        """Medians with their spread, and what each unit of work cost the server."""
        lines = []
        for key, row in ROWS.items():
            for (k, server), cell in self.cells.items():
                if k == key:
                    lines.append([row.title.format(**sizes), server, f"{spread(cell.values)} {'' if isinstance(cell.values[0], str) else row.unit}".strip(), len(cell.values),
                                  cell.cpu and spread([c * 1e6 for c in cell.cpu]), cell.peak and spread([p / 1e6 for p in cell.peak])])
        return markdown(["what", "server", "median (from, to)", "rounds", "processor, µs for one (MB for the big wheel)", "memory at the most, MB"],
                        [["" if c is None or c == [] else c for c in line] for line in lines])
