"""The folder that a benchmark works in: on tmpfs where that can be had, and gone afterwards."""

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def make(below=None, size="6g"):
    """Makes a folder: below the one that is given, else on a tmpfs of its own (root), else below /dev/shm or /tmp."""
    if below:
        folder = Path(tempfile.mkdtemp(prefix="curdling-bench-", dir=below))
    else:
        folder = Path(tempfile.mkdtemp(prefix="curdling-bench-", dir=None if os.geteuid() == 0 else _shared_memory()))
    mounted = not below and os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode == 0

    def remove():
        if mounted:
            subprocess.run(["umount", "-l", folder])
        shutil.rmtree(folder, ignore_errors=True)
    atexit.register(remove)
    return folder


def _shared_memory():
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def kind(folder):
    """What file system a folder lies on."""
    best, name = "", "unknown"
    with open("/proc/mounts") as f:
        for line in f:
            _, point, fstype, *_ = line.split()
            if str(folder).startswith(point.rstrip("/") + "/") and len(point) >= len(best):
                best, name = point, fstype
    return name
