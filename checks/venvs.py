"""What the checks share: running programs, fresh virtualenvs, and what is in one."""
import atexit
import csv
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

# Nobody's settings but those of the machine's pip get into a check.
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("CURD_", "UV_")) and k != "VIRTUAL_ENV"}


class Failed(Exception):
    """A program ended with another exit status than 0."""


def run(*command, env=ENV, cwd=None, errors=False):
    """What the command prints, and with errors what it prints to its standard error, too."""
    done = subprocess.run([str(c) for c in command], env=env, cwd=cwd, text=True, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if errors else "")


def telling(failed):
    """The line of an output that says most of why a program failed: the last that speaks of an error."""
    lines = [line.strip() for line in str(failed).strip().splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower() or line.startswith("hint:")), lines[-1])[:300]


def fresh(venv, python=sys.executable):
    """Makes venv a virtualenv without pip, and without what was there before."""
    shutil.rmtree(venv, ignore_errors=True)
    shutil.copytree(template(python), venv, symlinks=True)
    return venv


@functools.cache
def template(python):
    """An empty virtualenv: a copy of it is made in a hundredth of the time that a new one takes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="curd-venv-"))
    atexit.register(shutil.rmtree, folder)
    run(python, "-m", "venv", "--without-pip", folder)
    return folder


def newest_pip(folder, python=sys.executable):
    """The newest pip for that Python, in a virtualenv of its own: pip("install", "flask", python=venv)."""
    run(python, "-m", "venv", folder)
    program = folder / "bin/pip"
    run(program, "install", "-q", "--upgrade", "pip")

    def pip(*args, python, cwd=None):
        return run(program, "--python", python, *args, cwd=cwd)
    return pip


def versions(pip, venv):
    return {(normal(p["metadata"]["name"]), p["metadata"]["version"])
            for p in json.loads(pip("inspect", python=venv))["installed"]}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def exact(venv):
    """Maps each path to what it is, to the bit."""
    found = {}
    for path in venv.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(venv))] = os.readlink(path)
        elif path.is_dir():
            found[str(path.relative_to(venv))] = mode(path)
        else:
            found[str(path.relative_to(venv))] = mode(path), hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# What each installer writes in its own way.
OWN = {"RECORD", "REQUESTED", "INSTALLER", "uv_cache.json", "uv_build.json"}


def listing(venv, aside=()):
    """Maps each file's path to what it holds, with the virtualenv's own path and the installer's name taken out.
    Of bytecode only the name counts. Left out, from RECORD too, are the names aside, and with OWN the scripts."""
    found = {}
    for path in sorted(venv.rglob("*")):
        rel = path.relative_to(venv)
        if path.is_dir() or path.is_symlink() or path.name.startswith((".curdling", ".lock")):
            continue
        if path.name in aside or aside is OWN and rel.parts[0] == "bin":
            continue
        content = path.read_bytes()
        if path.name == "RECORD":
            content = "\n".join(",".join(row) for row in record(content, aside)).encode()
        elif path.name == "INSTALLER" or path.suffix == ".pyc":
            content = b""
        elif path.name == "WHEEL":  # curd's builds have a build tag
            content = re.sub(rb"(?m)^Build: 0b[0-9a-f]+\n", b"", content)
        else:
            content = content.replace(bytes(venv), b"VENV")
        found[str(rel)] = hashlib.sha256(content).hexdigest(), mode(path)
    return found


def record(content, aside):
    """The rows of RECORD, in order, without what may differ: the hashes of INSTALLER, WHEEL and of scripts, which name the virtualenv."""
    for row in csv.reader(content.decode().splitlines()):
        name = row[0].rpartition("/")[2]
        if name not in aside:
            yield row[:1] if name in ("INSTALLER", "WHEEL") or re.match(r"(\.\./)+bin/", row[0]) else row


def mode(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


def differences(a, b):
    """One line that tells where two maps differ, "" where they do not."""
    paths = sorted(p for p in a.keys() | b.keys() if a.get(p) != b.get(p))
    said = [f"{p} {'only theirs' if p not in b else 'only ours' if p not in a else f'{a[p]} {b[p]}'}" for p in paths[:5]]
    return "; ".join(said) + (f"; and {len(paths) - 5} more" if len(paths) > 5 else "")
