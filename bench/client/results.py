"""The rows of the table, with their goals (design: speed)."""

import statistics

from bench.rows import Row, bound, times
from bench.table import markdown, number, spread

CURD, CURD_NGINX, UV, PIP, LIMIT = "curd", "curd, nginx", "uv", "pip", "limit"
PROGRAMS = [CURD, CURD_NGINX, UV, PIP, LIMIT]


def at_most(factor):
    return f"at most {factor} x uv", times(-factor, UV, CURD)


ROWS = {
    "cold": Row("cold: an empty machine, resolve and install", "s", *at_most(0.5)),
    "pinned": Row("cold, all pinned, --no-deps", "s", *at_most(0.6)),
    "rtt": Row("cold over a round trip of {rtt} ms", "s", *at_most(0.4)),
    "warm": Row("warm: own cache full, new virtualenv", "s", *at_most(0.6)),
    "nothing": Row("nothing to do", "s", *at_most(1.0)),
    "memory": Row("memory of a cold installation", "MB", "at most 300", bound(-300, CURD)),
}


def details(results, sizes):
    """Medians with their spread, and what each installation cost."""
    lines = []
    for key, row in ROWS.items():
        for program in PROGRAMS:
            cell, uv = results.cells.get((key, program)), results.cells.get((key, UV))
            if not cell or not cell.cpu:
                continue
            beside = uv and number(statistics.median(cell.cpu) / statistics.median(uv.cpu))
            lines.append([row.title.format(**sizes), program, spread(cell.values), len(cell.values), spread(cell.cpu), beside or "",
                          spread(cell.other), spread([p / 1e6 for p in cell.peak])])
    return markdown(["what", "program", "time, s: median (from, to)", "rounds", "processor, s", "processor, x uv", "processor of the server, s", "memory, MB"], lines)
