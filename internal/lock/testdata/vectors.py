"""Writes what Python's packaging makes of lock files (packaging.pylock).

    python3 vectors.py SEED OUTFILE

needs `packaging` (26.3 or newer) and `pip` (for its TOML writer) importable.
Each line of the gzip'ed OUTFILE is a JSON array [text, target, output]:

    target  {"python", "environment", "tags", "extras", "groups"}; groups may be null
    output  null where the file is refused, else [[PACKAGE], [CHOSEN]]; null
            instead of [CHOSEN] where nothing can be chosen
    PACKAGE [name, version, marker, requires-python]
    CHOSEN  [name, kind, file name, subdirectory, editable]
"""

import datetime
import gzip
import json
import logging
import random
import re
import sys
import tomllib
from urllib.parse import urlsplit

from packaging.pylock import Pylock, PylockSelectError, PylockValidationError
from packaging.tags import parse_tag
from pip._vendor import tomli_w

DIGESTS = {"sha256": 64, "sha512": 128, "md5": 32, "blake2b": 16}
NAMES = ["foo", "foo-bar", "a", "numpy", "x-1", "b", "c", "d"]
MARKERS = [
    "sys_platform == 'win32'", "sys_platform != 'win32'", "python_version >= '3.12'", "python_full_version < '3.12'", "'x' in extras",
    "'dev' in dependency_groups", "'Dev' in dependency_groups or 'test' in dependency_groups", "'x' not in extras and os_name == 'posix'",
    "platform_machine == 'arm64'", "extra == 'x'", "'y' in extras", "'default' in dependency_groups",
]
TAGS = ["cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-cp311-win_amd64", "cp312-cp312-macosx_11_0_arm64", "cp39-abi3-manylinux_2_17_x86_64",
        "py3-none-any", "py2.py3-none-any", "cp311-none-any", "pp310-pypy310_pp73-win_amd64"]
TARGETS = [
    ("3.11.7", "linux", ["cp311-cp311-manylinux_2_17_x86_64", "cp39-abi3-manylinux_2_17_x86_64", "cp311-none-any", "py3-none-any"]),
    ("3.11.7", "linux", ["py3-none-any", "cp311-cp311-manylinux2014_x86_64"]),
    ("3.12.1", "darwin", ["cp312-cp312-macosx_11_0_arm64", "py3-none-any"]),
    ("3.11.0", "win32", ["cp311-cp311-win_amd64", "py2-none-any"]),
    ("3.10.4", "win32", []),
]


def environment(python, platform):
    windows, mac = platform == "win32", platform == "darwin"
    return {
        "implementation_name": "cpython", "implementation_version": python, "os_name": "nt" if windows else "posix",
        "platform_machine": "arm64" if mac else "x86_64", "platform_release": "1", "platform_system": {"win32": "Windows", "darwin": "Darwin"}.get(platform, "Linux"),
        "platform_version": "1", "python_full_version": python, "platform_python_implementation": "CPython",
        "python_version": ".".join(python.split(".")[:2]), "sys_platform": platform,
    }


def hashes(rng):
    names = ["sha256"] if rng.random() < 0.93 else rng.sample(list(DIGESTS), 2)
    return {n: rng.choice("0123456789abcdefA") * DIGESTS[n] for n in names}


def place(rng, name, url="https://e.com/d/"):
    r = rng.random()
    if r < 0.5:
        return {"url": url + name}
    if r < 0.6:
        return {"url": url + name.replace("+", "%2B") + "?a=b#c"}
    if r < 0.75:
        return {"path": rng.choice(["", "./", "../d/", "/abs/"]) + name}
    return {"name": name, **rng.choice([{"url": "https://u:p@e.com/x"}, {"path": "x/y"}, {"path": "x", "url": url}])}


def file(rng, name):
    f = {**place(rng, name), "hashes": hashes(rng)}
    if rng.random() < 0.4:
        f["size"] = rng.randrange(1, 10**9)
    if rng.random() < 0.4:
        f["upload-time"] = datetime.datetime(2024, 1, 2, 3, 4, 5, rng.choice([0, 120000]), rng.choice([None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2))]))
    return f


def package(rng):
    name, version = rng.choice(NAMES), rng.choice(["1.0", "2.1.post1", "1!3+local.1"])
    p = {"name": name}
    if rng.random() < 0.9:
        p["version"] = version if rng.random() < 0.97 else "9"
    if rng.random() < 0.5:
        p["marker"] = " and ".join(rng.sample(MARKERS, rng.choice([1, 1, 2])))
    if rng.random() < 0.2:
        p["requires-python"] = rng.choice([">=3.8", ">=3.8", ">=3.8", ">=3.12", "<3.12,>=3"])
    if rng.random() < 0.2:
        p["dependencies"] = [{"name": rng.choice(NAMES)}]
    if rng.random() < 0.2:
        p["index"] = "https://index.example.com/simple/"
    subdirectory = {"subdirectory": rng.choice(["a", "a/b"])} if rng.random() < 0.3 else {}
    r = rng.random()
    kinds = ["files"] if r < 0.7 else ["vcs"] if r < 0.8 else ["directory"] if r < 0.9 else ["archive"]
    if rng.random() < 0.03:
        kinds += rng.sample(["files", "vcs", "directory", "archive"], 1)
    stem = name.replace("-", "_") + "-" + version
    if "files" in kinds:
        if rng.random() < 0.75:
            p["sdist"] = file(rng, stem + rng.choice([".tar.gz", ".tar.gz", ".zip"]))
        if rng.random() < 0.8 or "sdist" not in p:
            p["wheels"] = [file(rng, f"{stem}-{t}.whl") for t in rng.sample(TAGS, rng.randrange(1, 5))]
    if "vcs" in kinds:
        p["vcs"] = {"type": "git", "commit-id": "0123456789" * 4, **rng.choice([{"url": "https://e.com/r.git"}, {"url": "ssh://git@e.com/r"}, {"path": "../r"}]), **subdirectory}
        if rng.random() < 0.5:
            p["vcs"]["requested-revision"] = "main"
    if "directory" in kinds:
        p["directory"] = {"path": rng.choice([".", "../x", "/abs/x"]), **subdirectory}
        if rng.random() < 0.5:
            p["directory"]["editable"] = rng.random() < 0.5
    if "archive" in kinds:
        p["archive"] = {**file(rng, "foo.zip"), **subdirectory}
    if rng.random() < 0.1:
        p["attestation-identities"] = [{"kind": "Forge", "repository": "a/b", "n": 1}]
    if rng.random() < 0.1:
        p["tool"] = {"x": {"a b": [1, 2.5, True], "t": datetime.date(2024, 1, 2)}}
    return p


def lock(rng):
    l = {"lock-version": rng.choice(["1.0"] * 60 + ["1", "1.1", "1.9", "2.0", "0.9", "x"]), "created-by": "me"}
    if rng.random() < 0.1:
        l["environments"] = rng.sample(["sys_platform == 'linux'", "sys_platform == 'win32'", "python_version >= '3.11'"], 2)
    if rng.random() < 0.4:
        l["requires-python"] = rng.choice([">=3.8", ">=3.8", ">=3.10", "~=3.11.0"])
    l["extras"], l["dependency-groups"], l["default-groups"] = ["x", "y"], ["dev", "Test"], ["default"]
    for key in ("extras", "dependency-groups", "default-groups"):
        if rng.random() < 0.1:
            del l[key]
    l["packages"] = [package(rng) for _ in range(rng.randrange(5))]
    if rng.random() < 0.1:
        l["tool"] = {"me": {"x": "\u00e9\"\\\n\x7f"}}
    return l


WRONG = [1, -1, 1.5, True, "", "x", "X_y", [], ["x"], [1], {}, {"x": 1}, [{}], datetime.date(2024, 1, 2), "sha256"]


def mutate(rng, value):
    """Replaces, removes or adds something somewhere."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        if rng.random() < 0.3:
            del value[key]
        elif isinstance(value, dict) and rng.random() < 0.1:
            value["unknown"] = rng.choice(WRONG)
        else:
            value[key] = rng.choice(WRONG)
        return


def refused_here(l):
    """Whether the lock is one that packaging accepts and we do not."""

    def bad_url(url, schemes):
        return bool(url) and (not re.fullmatch(schemes, urlsplit(url).scheme) or not urlsplit(url).netloc)

    for p in l.packages:
        for f in [p.sdist, p.archive, *(p.wheels or [])]:
            if f and (bad_url(f.url, "https?|file") or (f.size or 0) < 0 or not all(re.fullmatch("([0-9a-fA-F]{2})+", h) for h in f.hashes.values())):
                return True
            if f and any(len(h) != DIGESTS[a] for a, h in f.hashes.items() if a in ("sha256", "sha512")):
                return True
            if f and "sha256" in f.hashes and len(f.hashes["sha256"]) != 64:
                return True
        if p.vcs and (bad_url(p.vcs.url, "https?|ssh") or not re.fullmatch("[0-9a-f]{40}", p.vcs.commit_id) or p.vcs.type != "git"):
            return True
        if bad_url(p.index, "https?"):
            return True
    return False


def chosen(l, target):
    known = {n.lower() for n in [*(l.dependency_groups or []), *(l.default_groups or [])]}
    if not set(target["extras"]) <= set(l.extras or []) or not {g.lower() for g in target["groups"] or l.default_groups or []} <= known:
        return None  # refused here, and by packaging 26.4
    tags = [t for text in target["tags"] for t in parse_tag(text)]
    try:
        selected = list(l.select(environment=target["environment"], tags=tags, extras=target["extras"], dependency_groups=target["groups"]))
    except PylockSelectError:
        return None
    except Exception as e:
        if type(e).__name__ not in ("UndefinedEnvironmentName", "UndefinedComparison", "KeyError"):
            raise
        return None
    result = []
    for p, s in selected:
        kind = type(s).__name__.removeprefix("Package").lower()
        if kind in ("wheel", "sdist", "archive") and not {"sha256", "sha512"} & set(s.hashes):
            return None  # refused here
        name = s.filename if kind in ("wheel", "sdist") else ""
        result.append([p.name, kind, name, getattr(s, "subdirectory", None) or "", bool(getattr(s, "editable", False))])
    return result


def vector(rng):
    l = lock(rng)
    if rng.random() < 0.4:
        mutate(rng, l)
    text = tomli_w.dumps(l)
    python, platform, tags = rng.choice(TARGETS)
    groups = rng.choice([None, None, None, None, None, [], ["dev"], ["dev", "default"], ["test", "default"], ["none"]])
    target = {"python": python, "environment": environment(python, platform), "tags": tags, "groups": groups, "extras": rng.choice([[], [], ["x"], ["x", "y"]])}
    try:
        l = Pylock.from_dict(tomllib.loads(text))
    except PylockValidationError:
        return [text, target, None]
    if refused_here(l):
        return [text, target, None]
    packages = [[p.name, str(p.version or ""), str(p.marker or ""), str(p.requires_python or "")] for p in l.packages]
    return [text, target, [packages, chosen(l, target)]]


def main(seed, out):
    logging.disable()
    rng = random.Random(int(seed))
    lines = (json.dumps(vector(rng), separators=(",", ":")) + "\n" for _ in range(2000))
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write("".join(lines).encode())


main(*sys.argv[1:])
