"""The set: what is asked for, the wheels that it was resolved to, and what was installed in the end."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

NAMES = ("trio sphinx sphinx_rtd_theme sphinxcontrib-trio pytest pytest-cov jupyterlab black mypy numpy pandas requests django "
         "sqlalchemy lxml").split()
# What pip resolved these to: the same each time. Another Python or system may need a file of its own.
PINS = Path(__file__).with_name("pins.txt").read_text().split()


def project(filename):
    return re.sub(r"[-_.]+", "-", filename.split("-")[0]).lower()


def prepare(folder, pip):
    """Fills a folder with the wheels, from the default index; nothing is done where they are there."""
    stamp, want = folder / "stamp", "\n".join([sys.version, *PINS])
    if stamp.exists() and stamp.read_text() == want:
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([pip, "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "-d", folder, *PINS], check=True)
    stamp.write_text(want)


def serve_from(folder, wheels, static):
    """Copies the wheels for curd-server, and beside it for nginx, with the metadata of each (PEP 658)."""
    wheels.mkdir()
    static.mkdir()
    for source in folder.glob("*.whl"):
        path = wheels / source.name
        shutil.copyfile(source, path)
        (static / path.name).hardlink_to(path)
        with zipfile.ZipFile(path) as z:
            member = next(n for n in z.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
            (static / (path.name + ".metadata")).write_bytes(z.read(member))


# What installers write themselves.
OWN = re.compile(r"[^/]+\.dist-info/(INSTALLER|RECORD|REQUESTED|direct_url\.json|uv_cache\.json)|.*\.pyc")


def installed(venv):
    """The files of an environment, a line each, with their sizes; those of bin without, since each installer writes scripts its own way."""
    site = next(venv.glob("lib/python*/site-packages"))
    for path in sorted(venv.rglob("*")):
        name = path.relative_to(site if path.is_relative_to(site) else venv).as_posix()
        if path.is_file() and not path.is_symlink() and not OWN.fullmatch(name) and not name.startswith("."):
            yield name if path.parent == venv / "bin" else f"{name} {path.stat().st_size}"


def listing(venv, out):
    """Writes what is installed, in a process of its own: the memory of this one counts for programs that it starts (getrusage(2))."""
    subprocess.run([sys.executable, "-m", __name__, venv, out], check=True, cwd=Path(__file__).parents[2])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text("\n".join(installed(Path(sys.argv[1]))))
