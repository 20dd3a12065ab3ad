"""Writes what Python's packaging and pip make of names and file names.

    python3 vectors.py SEED OUTFILE

needs `packaging` and `pip` importable. Each line of the gzip'ed OUTFILE is a
JSON array, whose last member is null where the text is refused:

    ["name", text, normalised]
    ["file", filename, hint, [name, version, build or null, tags]]   (tags: null for an sdist)
"""

import gzip
import json
import random
import re
import sys

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from pip._internal.index.package_finder import _extract_version_from_fragment
from pip._internal.utils.filetypes import ARCHIVE_EXTENSIONS
from pip._internal.utils.misc import splitext

NAMES = """flask Flask ruamel.yaml ruamel_yaml zope.interface backports.zoneinfo Jinja2 PyYAML a b2 0x
foo foo-bar foo_bar foo.bar foo--bar foo-_.bar Foo.Bar-baz x-1 py-2 foo-1.0 _foo foo_ -foo foo- .foo foo. foo__bar
f.0 python-dateutil types-six Django 3to2 é naïve foo/bar foo+bar""".split() + ["", "foo bar", "foo\n", " foo"]
VERSIONS = """1 1.0 2.0.1 1.0a1 1.0.b2 1.0rc1 1.0.post1 1.0-1 1.0.dev3 1!2.0 2020.1.2 1.0+local 1.0+ubuntu.1
1.0+ubuntu_1 1.0_1 v1.0 1.0-alpha 1.0.c1 1.0-r4 1.0-beta-2 0.0.0 1.0.0.0 dev 1.x 1.0.final 1.0-py3.11 1.0-py2 20200101.dev0""".split() + [""]
BUILDS = ["1", "0", "01", "2abc", "10_x", "1.5", "x1", "", "123456789012345678", "1_1"]
PYTHONS = ["py3", "py2.py3", "cp311", "cp39.cp310.cp311", "pp310", "CP311", "py2.py3.py2", "", "py3.", "3py", "py_3", "py+3"]
ABIS = ["none", "abi3", "cp311", "cp313t", "cp27mu.cp27m", "NONE", "", "none.abi3"]
PLATFORMS = ["any", "linux_x86_64", "win_amd64", "win32", "macosx_11_0_arm64", "Any", "",
             "manylinux_2_17_x86_64.manylinux2014_x86_64", "musllinux_1_2_aarch64",
             "macosx_10_9_x86_64.macosx_11_0_arm64.macosx_10_9_universal2", "any.", "linux+x"]
ENDINGS = [".tar.gz", ".tar.gz", ".zip", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma",
           ".tar.lz", ".tlz", ".tar.Z", ".egg", ".exe", ".whl.asc", ".tar.gz.sig", ".gz", ".whl", ".rpm", "", ".TAR.GZ",
           ".tar.gz.asc", ".tar.zip", ".tar.tar", ".WHL", ".whl.metadata", ".msi", ".dmg", ".deb"]


def pick(rng, values, good):
    """One of values, more often one of the first `good`."""
    return rng.choice(values[:good] if rng.random() < 0.85 else values)


def mutate(rng, s):
    if rng.random() > 0.15:
        return s
    at = rng.randrange(len(s) + 1)
    return s[:at] + rng.choice(list("-_.+!~ /\\:") + ["\0", "é", "--", "x", "1", "X"]) + s[at + rng.randrange(2):]


def fits(filename):
    """What this package allows in a file name; packaging allows anything."""
    return len(filename) <= 255 and re.fullmatch(r"[A-Za-z0-9_.+!-]*", filename)


def normalised(name):
    try:
        return str(canonicalize_name(name, validate=True)) if len(name) <= 255 else None
    except ValueError:
        return None


def parse(filename, hint):
    if not fits(filename):
        return None
    stem, ending = splitext(filename)
    try:
        if ending == ".whl":
            name, version, build, tags = parse_wheel_filename(filename)
            if build and len(re.match("[0-9]+", stem.split("-")[2])[0]) > 18 or len(tags) > 1024:
                return None
            raw = stem.split("-")[0]
            result = [str(name), str(version), list(build) or None, sorted(map(str, tags))]
        elif ending not in ARCHIVE_EXTENSIONS:
            return None
        elif hint:
            version = _extract_version_from_fragment(stem, hint)
            if version is None:
                return None
            raw = hint
            result = [hint, str(Version(version)), None, None]
        else:
            name, version = parse_sdist_filename(stem + ".tar.gz")
            raw = stem.rpartition("-")[0]
            result = [str(name), str(version), None, None]
    except ValueError:
        return None
    if normalised(raw) is None or hint and result[0] != hint:
        return None
    return result


def wheel(rng):
    name = pick(rng, NAMES, 20)
    if rng.random() < 0.8:
        name = name.replace("-", "_")
    parts = [name, pick(rng, VERSIONS, 13)]
    if rng.random() < 0.3:
        parts.append(pick(rng, BUILDS, 5))
    parts += [pick(rng, PYTHONS, 6), pick(rng, ABIS, 5), pick(rng, PLATFORMS, 5)]
    if rng.random() < 0.05:
        parts.pop(rng.randrange(len(parts)))
    return "-".join(parts) + (".whl" if rng.random() < 0.97 else rng.choice(ENDINGS))


def sdist(rng):
    return pick(rng, NAMES, 20) + "-" + pick(rng, VERSIONS, 24) + pick(rng, ENDINGS, 12)


def vectors(rng):
    for name in NAMES:
        yield ["name", name, normalised(name)]
    for _ in range(400):
        name = "".join(rng.choice("abzAZ059-_.-_." + rng.choice("é +\0/~")) for _ in range(rng.randrange(1, 12)))
        yield ["name", name, normalised(name)]
    for n in (254, 255, 256):
        yield ["name", "a" * n, normalised("a" * n)]
    for _ in range(3000):
        filename = mutate(rng, wheel(rng) if rng.random() < 0.5 else sdist(rng))
        hint = ""
        if rng.random() < 0.4:
            hint = normalised(re.split("-|[.]tar", filename)[0]) or "foo"
        elif rng.random() < 0.2:
            hint = normalised(rng.choice(NAMES)) or ""
        yield ["file", filename, hint, parse(filename, hint)]


def main(seed, out):
    rng = random.Random(int(seed))
    lines = (json.dumps(v, separators=(",", ":")) + "\n" for v in vectors(rng))
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write("".join(lines).encode())


main(*sys.argv[1:])
