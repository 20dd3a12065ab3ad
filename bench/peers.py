"""Other people's programs, at pinned versions: from the Python index into virtualenvs, or from the system."""

import shutil
import subprocess
import sys

# What each virtualenv holds. A newer version is tried by editing this list.
# watchdog lets pypiserver cache its listing. Newer ones report files that are opened, and
# pypiserver forgets its listing at each, which makes it 7 times slower; older ones stop gevent.
PINNED = {
    "pypiserver-gunicorn": ["pypiserver==2.4.2", "watchdog==7.1.0", "passlib==1.7.4", "bcrypt==4.0.1", "gunicorn==27.0.1", "gevent==26.9.0"],
    "pypiserver-waitress": ["pypiserver==2.4.2", "watchdog==2.1.9", "waitress==3.0.2"],
    "proxpi": ["proxpi==1.3.1", "packaging==26.4", "gunicorn==27.0.1", "gevent==26.9.0"],
    "devpi": ["devpi-server==6.20.3", "waitress==3.0.2"],
    "ci": ["pip==26.3", "uv==0.13.9"],
}


def virtualenv(folder, name):
    """The bin/ of a virtualenv with what is pinned for a name; made where it is missing or of other versions."""
    venv, want = folder / name, "\n".join([sys.version, *PINNED[name]])
    stamp = venv / "pinned"
    if not (stamp.exists() and stamp.read_text() == want):
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PINNED[name]], check=True)
        stamp.write_text(want)
    return venv / "bin"


def system(program):
    """The path of a program of Debian's packages, or an end with advice."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not path:
        raise SystemExit(f"{program} is missing: apt-get install {program} (Debian and Ubuntu), or your system's package of that name")
    return path


def versions():
    """What is compared, for the table's head."""
    first = lambda command: (lambda r: (r.stdout + r.stderr).splitlines()[0])(  # noqa: E731
        subprocess.run(command, capture_output=True, text=True))
    yield first([system("nginx"), "-v"]).replace("nginx version: nginx/", "nginx ")
    yield " ".join(first([system("wrk"), "-v"]).split()[:2])
    for pins in (pins for name, pins in PINNED.items() if name != "ci"):
        yield ", ".join(p.replace("==", " ") for p in pins)
