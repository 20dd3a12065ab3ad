"""Rows of starting and of memory, with many wheels."""

import time

from bench.process import Watch

from .reading import wrk


def start(results, begin, project, filename, suffix="", load=True):
    """Starts a server, waits for a page, looks at its memory at rest and under load, and stops it."""
    def run():
        server = begin()
        try:
            results.add("start" + suffix, server.name, server.until(project, filename))
            time.sleep(3)
            results.add("memory" + suffix, server.name, server.process.memory() / 1e6)
            if load:
                with Watch(server.process) as used:
                    wrk(server.page_url(project), 1, headers=server.headers)
                results.add("memory-load", server.name, used.peak / 1e6)
        finally:
            server.stop()
    return run


def settle(server, count, projects, get, timeout=300):
    """Waits until curd-server knows all files of a folder and is done with what it makes of them in the background, so
    that the next start finds all there."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        server.process.check()
        try:
            if get(server.url + "/api/")[2].count(b'"') == 2 * projects:
                break
        except OSError:
            pass
        time.sleep(0.2)
    else:
        raise TimeoutError(f"curd-server does not know {count} wheels after {timeout} s")
    before = -1.0
    while before != (before := server.process.cpu()) and time.monotonic() < end:
        time.sleep(1)


def latency(results, server, project, row, name, seconds):
    """One client, one page after the other: the median."""
    def run():
        results.add(row, name, wrk(server.page_url(project), seconds, connections=1, threads=1, headers=server.headers)["p50"])
    return run
