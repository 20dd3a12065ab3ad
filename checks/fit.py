#!/usr/bin/env python3
"""Holds the platforms that `curd` gives to what it builds against auditwheel's verdict.

Each project is built from its source distribution by `curd wheel --no-binary`; then `auditwheel show` says of the wheel
for which platform it is. The same, or `linux` of both, or it is a difference, which fails unless REASONS has it.
--markdown prints a table. Dials the default index. What some of the projects need to build, on Debian: libpq-dev
libxml2-dev libxslt1-dev libjpeg-dev zlib1g-dev libffi-dev libssl-dev libyaml-dev libsodium-dev unixodbc-dev
libcurl4-openssl-dev libzmq3-dev gfortran cmake, and Rust (cargo). odrpack's build fetches nanobind from Meson's WrapDB.
CFLAGS=-O0 and RUSTFLAGS='-C opt-level=0' make it quicker.
"""
import argparse
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

import venvs

PROJECTS = {
    "C": """markupsafe ujson simplejson wrapt multidict frozenlist propcache psutil xxhash mmh3 bitarray setproctitle
        immutables coverage regex lz4 brotli pycryptodome zope.interface lazy-object-proxy httptools ciso8601 rjsmin crcmod""",
    "C with libraries": "pyyaml cffi psycopg2 lxml pillow pycurl pynacl scrypt",
    "C++": "kiwisolver greenlet pyodbc editdistance",
    "Cython": "cymem murmurhash preshed cytoolz quadprog msgpack sqlalchemy",
    "Rust": "rpds-py bcrypt jiter",
    "Fortran": "apexpy odrpack",
}

# REASONS say why a verdict differs and is right all the same, by project.
REASONS = {}


def verdict(auditwheel, wheel):
    """The platform that auditwheel names, without its older name, and what it says."""
    said = venvs.run(auditwheel, "show", wheel)
    found = re.search(r'consistent\s+with\s+the\s+following\s+platform\s+tag:\s+"([^"]+)"', said)
    constrained = re.search(r'constrains the platform tag\s+to "([^"]+)"', said)
    return (found or constrained).group(1), " ".join(said.split())


def needed(wheel, work):
    """The libraries that its files ask for and that it does not bring, as readelf tells it."""
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.unpack_archive(wheel, tree, "zip")
    found = set()
    for file in tree.rglob("*.so*"):
        found.update(re.findall(r"\(NEEDED\).*\[(.*)\]", venvs.run("readelf", "-dW", file)))
    return sorted(found - {f.name for f in tree.rglob("*.so*")})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("project", nargs="*", default=[p for of in PROJECTS.values() for p in of.split()])
    parser.add_argument("--markdown", action="store_true", help="print a table")
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-fit-"))
    count = dict.fromkeys(["same", "explained", "DIFFERENT", "no machine code", "not built"], 0)
    kinds = {p: kind for kind, of in PROJECTS.items() for p in of.split()}
    line = "| {} | {} | {} | {} | {} | {} |" if args.markdown else "{} ({}): {}, auditwheel: {}: {}; {}"
    if args.markdown:
        print(line.format("wheel of", "kind", "ours", "auditwheel's", "", "needs beside libc, seconds"))
        print("|---|---|---|---|---|---|")
    try:
        venvs.run(sys.executable, "-m", "venv", work / "tools")
        venvs.run(work / "tools/bin/pip", "install", "-q", "auditwheel")
        for project in args.project:
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            begun = time.monotonic()
            ours = theirs = name = remark = ""
            try:
                venvs.run(args.curd, "wheel", "-q", "-w", out, "--no-deps", "--no-binary", project, "--python", sys.executable,
                          project, env=dict(venvs.ENV, CURD_CACHE=str(work / "curds"), CURD_CACHES=""))
                wheel = next(out.glob("*.whl"))
                name = " ".join(wheel.name.split("-")[:2])
                ours = wheel.stem.split("-")[-1].split(".")[-1]
                theirs, said = verdict(work / "tools/bin/auditwheel", wheel) if ours != "any" else ("", "")
                result = "no machine code" if ours == "any" else "same" if ours == theirs else "explained" if project in REASONS else "DIFFERENT"
                libraries = [n for n in needed(wheel, work) if not re.match(r"lib(c|m|dl|pthread|rt)\.so|ld-", n)]
                remark = f"{', '.join(libraries) or '-'}, {time.monotonic() - begun:.0f} s"
                if result == "DIFFERENT":
                    remark = said
                elif result == "explained":
                    remark += ": " + REASONS[project]
            except venvs.Failed as e:
                result, remark = "not built", venvs.telling(e)
            count[result] += 1
            print(line.format(name or project, kinds.get(project, "?"), ours, theirs, result, remark), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(*(f"{n} {what}" for what, n in count.items()), sep=", ")
    sys.exit(count["DIFFERENT"] != 0)


if __name__ == "__main__":
    main()
