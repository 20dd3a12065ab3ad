"""Rows of reading: pages, wheels, many connections, passwords."""

import base64
import json
import subprocess
from pathlib import Path

from bench import peers
from bench.process import Watch

from .servers import PASSWORD, get

LUA = Path(__file__).with_name("report.lua")


def wrk(url, seconds, connections=32, headers=None, threads=2):
    """What wrk counted; times in ms."""
    command = [peers.system("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", LUA, url]
    for key, value in (headers or {}).items():
        command += ["-H", f"{key}: {value}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    lines = [line for line in run.stdout.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise RuntimeError(f"wrk: {run.stdout[-300:]} {run.stderr[-300:]}")
    counted = json.loads(lines[0])
    if counted["failed"]:
        raise RuntimeError(f"{counted['failed']} of {counted['requests']} requests of {url} failed")
    if not counted["bytes"]:
        raise RuntimeError(f"nothing came from {url} in {seconds} s")
    return counted


def trial(results, row, server, url, seconds, value, unit=lambda c: c["requests"], name=None, **kind):
    """A measurement of one server, to be run in turn with others."""
    def run():
        with Watch(server.process) as used:
            counted = wrk(url, seconds, **kind)
        results.add(row, name or server.name, value(counted), used.cpu / unit(counted) if unit(counted) else None, used.peak)
    return run


def rate(counted):
    return counted["requests"] / counted["seconds"]



def pages(results, servers, project, seconds, row="page"):
    return {s.name: trial(results, row, s, s.page_url(project), seconds, rate, headers=s.headers) for s in servers}


def unchanged(results, servers, project, seconds):
    """304, of the servers that have a validator for pages."""
    trials = {}
    for s in servers:
        tag = get(s.page_url(project), s.headers)[1]["ETag"]
        if not tag:
            results.note(f"{s.name} gives pages no validator (304)")
            continue
        headers = {**s.headers, "If-None-Match": tag}
        if get(s.page_url(project), headers)[0] != 304:
            results.note(f"{s.name} does not answer 304 to its own ETag")
            continue
        trials[s.name] = trial(results, "unchanged", s, s.page_url(project), seconds, rate, headers=headers)
    return trials


def wheels(results, servers, filename, seconds):
    return {s.name: trial(results, "wheel", s, s.file_url(filename), seconds, rate) for s in servers}


def big(results, servers, filename, seconds):
    """GB each second; wrk counts what came, whole or not, and the cost is for each MB."""
    return {s.name: trial(results, "big", s, s.file_url(filename), seconds, lambda c: c["bytes"] / c["seconds"] / 1e9,
                          unit=lambda c: c["bytes"] / 1e6, connections=4) for s in servers}


def answered_p99(counted):
    if not counted["requests"]:
        raise RuntimeError(f"no answer in {counted['seconds']:.0f} s")
    return counted["p99"]


def p99(results, servers, project, seconds):
    return {s.name: trial(results, "p99", s, s.page_url(project), seconds, answered_p99, connections=1000, headers=s.headers)
            for s in servers}


def with_password(results, without, servers, project, seconds, cost):
    """Pages with and without a password; only curd-server's own is compared, the others are shown."""
    basic = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    row, trials = f"auth{cost}", {}
    for s in servers:
        headers = {**s.headers, "Authorization": basic}
        get(s.page_url(project), headers)  # what a server remembers of a password it has now
        trials[s.name] = trial(results, row, s, s.page_url(project), seconds, rate, headers=headers)
    trials["curd-server without"] = trial(results, row, without, without.page_url(project), seconds, rate,
                                          name="curd-server without", headers=without.headers)
    return trials
