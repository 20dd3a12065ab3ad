"""Rows of mirrors: many clients for one missing file, and an upstream that fails."""

import http.client
import json
import subprocess
import time

from bench.process import Process, Watch, free_port

from .servers import Server, get

SILENCE = 12   # seconds that a client waits for what is held
PATIENCE = 40  # seconds that a mirror may refuse a file after it got a wrong one


class Upstream:
    """A small index on loopback that counts, and fails when it is told to."""

    def __init__(self, tool, folder, log):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process([tool, "upstream", "-dir", folder, "-port", port], log)
        Server("upstream", self.process, self.url).until("small0")

    def behave(self, how=""):
        get(f"{self.url}/control?{how}", method="POST")

    def fetches(self):
        return json.loads(get(self.url + "/control")[2])["fetches"]


def ask(tool, server, filename, sha256, clients=1, timeout=60):
    """What clients of a file got."""
    run = subprocess.run([tool, "burst", "-url", server.file_url(filename), "-clients", str(clients), "-sha256", sha256, "-timeout", f"{timeout}s"],
                         check=True, capture_output=True, text=True, timeout=timeout + 30)
    return json.loads(run.stdout)


def burst(results, tool, upstream, begin, file):
    """50 clients at the same instant for a file that the mirror does not hold."""
    def run():
        server = begin()
        try:
            server.until(file["project"], file["file"])
            upstream.behave()
            with Watch(server.process) as used:
                got = ask(tool, server, file["file"], file["sha256"], 50)
            if got["right"] < 50:
                results.note(f"{server.name}: {got['right']} of 50 clients got the file ({got['wrong']} a wrong one, {got['failed']} none: {got.get('failure')})")
            results.add("burst", server.name, upstream.fetches())
            results.add("burst-time", server.name, got["seconds"])
            results.add("burst-first", server.name, got["first"])
            results.add("burst-memory", server.name, used.peak / 1e6)
        finally:
            server.stop()
    return run


def wrong(results, tool, upstream, begin, file):
    """One client while the upstream sends a wrong byte, and one after it was healed."""
    def run():
        server = begin()
        try:
            server.until(file["project"], file["file"])
            upstream.behave("wrong=1")
            first = ask(tool, server, file["file"], file["sha256"])
            time.sleep(0.5)
            upstream.behave()
            healed = time.monotonic()
            second = ask(tool, server, file["file"], file["sha256"])
            while second["failed"] and time.monotonic() < healed + PATIENCE:
                time.sleep(0.5)
                second = ask(tool, server, file["file"], file["sha256"])
            if (after := time.monotonic() - healed) > 2 and not second["failed"]:
                results.note(f"{server.name} fetched the file again {after:.0f} s after a wrong one")
            results.add("wrong", server.name, ("served whole" if first["wrong"] else "not served whole") + ", " + (
                "kept and served again" if second["wrong"] else "not kept" if second["right"] else f"then {second.get('failure')}"))
        finally:
            upstream.behave()
            server.stop()
    return run


def silent(results, tool, upstream, begin, file):
    """A page and a file that are held, when the upstream has stopped answering and the page is due to be asked for again."""
    def run():
        server = begin()
        try:
            server.until(file["project"], file["file"])
            url = server.file_url(file["file"])
            if get(url)[0] != 200:
                raise RuntimeError("the file was not served before")
            time.sleep(server.due)
            upstream.behave("silent=1")
            for row, what, headers in ("silent-file", url, {}), ("silent-page", server.page_url(file["project"]), server.headers):
                began = time.monotonic()
                try:
                    status = get(what, headers, timeout=SILENCE)[0]
                except (OSError, http.client.HTTPException):
                    status = 0
                took = time.monotonic() - began
                results.add(row, server.name, took if status == 200 else f"nothing in {SILENCE} s" if took > SILENCE - 1 else f"{status} after {took:.1f} s")
        finally:
            upstream.behave()
            server.stop()
    return run
