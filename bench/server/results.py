"""The rows of the table, with their goals."""

from bench.rows import Row, beside, bound, is_text, times
from bench.table import markdown, spread

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


def details(results, sizes):
    """Medians with their spread, and what each unit of work cost the server."""
    lines = []
    for key, row in ROWS.items():
        for (k, server), cell in results.cells.items():
            if k == key:
                lines.append([row.title.format(**sizes), server, f"{spread(cell.values)} {'' if isinstance(cell.values[0], str) else row.unit}".strip(), len(cell.values),
                              cell.cpu and spread([c * 1e6 for c in cell.cpu]), cell.peak and spread([p / 1e6 for p in cell.peak])])
    return markdown(["what", "server", "median (from, to)", "rounds", "processor, µs for one (MB for the big wheel)", "memory at the most, MB"],
                    [["" if c is None or c == [] else c for c in line] for line in lines])
