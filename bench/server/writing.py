"""Rows of uploads, on tmpfs beside the others, and on this machine's disk."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

from bench.process import Watch


def upload(results, tool, server, at_once, seconds, row=None):
    """Uploads of wheels of new projects, as twine sends them."""
    turn = iter(range(1000))

    def run():
        command = [tool, "upload", "-url", server.url + server.upload, "-at-once", at_once, "-seconds", seconds, "-max", 400 if at_once == 1 else 2500,
                   "-round", f"u{at_once}r{next(turn)}p"]
        if server.user:
            command += ["-user", server.user[0], "-password", server.user[1]]
        with Watch(server.process) as used:
            sent = json.loads(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, timeout=90).stdout)
        if sent["failures"]:
            results.note(f"{server.name}: {sent['failures']} of {sent['failures'] + sent['count']} uploads failed, {at_once} at once "
                         f"({' '.join(sent['failure'].split())[:200]})")
        if not sent["count"]:
            raise RuntimeError("no upload came through")
        results.add(row or f"upload{at_once}", server.name, sent["count"] / sent["seconds"], used.cpu / sent["count"], used.peak)
    return run


def disk_limit(results, folder, at_once, seconds, row):
    """What the disk allows: write a temporary file of 20 kB, fsync, rename, fsync of the folder."""
    content = os.urandom(20_000)
    turn = iter(range(1 << 40))

    def write(directory, number):
        path = Path(folder, f"limit-{number}")
        fd = os.open(f"{path}.tmp", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o666)
        os.write(fd, content)
        os.fsync(fd)
        os.close(fd)
        os.rename(f"{path}.tmp", path)
        os.fsync(directory)

    def run():
        counts, end = [0] * at_once, time.monotonic() + seconds
        start = time.monotonic()

        def work(i):
            directory = os.open(folder, os.O_RDONLY)
            while time.monotonic() < end:
                write(directory, next(turn))
                counts[i] += 1
            os.close(directory)
        threads = [threading.Thread(target=work, args=[i]) for i in range(at_once)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        results.add(row, "write, fsync, rename", sum(counts) / (time.monotonic() - start))
        for path in Path(folder).glob("limit-*"):
            path.unlink()
    return run
