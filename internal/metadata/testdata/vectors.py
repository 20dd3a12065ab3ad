"""Writes what Python's packaging makes of core metadata.

    python3 vectors.py SEED OUTFILE

needs `packaging` importable. Each line of the gzip'ed OUTFILE is a JSON array:

    [text, null]      name or version cannot be used
    [text, {field: value}, wrong]

text stands for its bytes in Latin-1. Of a field that repeats but must not, the
first counts; a value is stripped of white space as pip strips it. wrong is the
first field that is refused ("Requires-Dist" goes first), or null; its refused
values are left out.
"""

import gzip
import json
import random
import sys

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

VALUES = {
    "Metadata-Version": ["2.1", "2.4", "1.0", "", "9.9"],
    "Name": ["foo", "Foo.Bar", "foo_bar", " foo ", "foo bar", "", "UNKNOWN", "foo\n bar", "fo\u00f6"],
    "Version": ["1.0", "1.0.0rc1", " 1.0+Ubuntu_1", "", "x", "1.0\n "],
    "Summary": ["A summary", "UNKNOWN", "", "Zwei\n        Zeilen", "Gr\u00fc\u00dfe", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "a: b"],
    "Requires-Dist": [
        "bar", "bar (>=1.0)", "bar>=1.0,<2; python_version<'3.8'", "Bar_Baz[a,B] ; extra == 'Test_X'", "bar @ https://example.com/bar.zip",
        "bar (>=1.0) ; extra=='x'", "\n  bar", "bar\n  >=1.0", "bar=1", "", "bar>=1.0.*", "bar;", "bar ; platform_version == '\u00fc'",
    ],
    "Requires-Python": [">=3.8", ">=3.6, !=3.7.*", "", "3.8", ">=3.8.*", "~=3.8 ", "\n >=3"],
    "Provides-Extra": ["test", "Test_X", "a b", "", "dev.x"],
    "Dynamic": ["Requires-Dist", "version", "LICENSE-FILE ", ""],
    "Classifier": ["Programming Language :: Python :: 3", "License :: OSI Approved"],
    "Project-URL": ["Home, https://example.com/", "Home,https://example.com/,x", "no url"],
    "Home-page": ["https://example.com", "UNKNOWN"],
    "License": ["MIT", "Long\n        text\n       |of a\n\n        license"],
    "Description": ["short", "line\n        two\n        \n        four", "line\n       |two"],
    "Description-Content-Type": ["text/markdown", "text/x-rst; charset=UTF-8"],
    "Unknown-Field": ["x", "y\n z"],
    "X_y.z!": ["odd name"],
}
ODD = ["From nobody Thu Jan  1 00:00:00 1970", ": no name", " continues", "\tcontinues", "not a header", "Bad Name: x", "", "Name", "\x00: x",
       "N\u00e4me: x", "Requires-Dist : bar", "requires-dist:bar", "REQUIRES-DIST:   Bar", "name: second", "VERSION: 9"]


def header(rng):
    if rng.random() < 0.04:
        return rng.choice(ODD)
    name = rng.choice(list(VALUES) + ["Requires-Dist"] * 8)
    values = VALUES[name]
    value = rng.choice(values if rng.random() < 0.25 else values[: max(1, len(values) // 2)])
    spelling = rng.choice([name] * 8 + [name.lower(), name.upper()])
    return spelling + ":" + rng.choice([" "] * 8 + ["", "  ", "\t"]) + value


def text(rng):
    lines = [header(rng) for _ in range(rng.randrange(12))]
    for name in ("Version", "Name", "Metadata-Version"):
        if rng.random() < 0.97:
            lines.insert(rng.randrange(3) if rng.random() < 0.1 else 0, name + ": " + rng.choice(VALUES[name][: 1 if rng.random() < 0.8 else 99]))
    joined = "\n".join(lines) + rng.choice(["", "\n"])
    if rng.random() < 0.4:
        joined += rng.choice(["\n", "\n\n"]) + rng.choice(["A body\n", "Gr\u00fc\u00dfe\n\nName: not a header\n", " \n", "\n\n"])
    if rng.random() < 0.2:
        joined = joined.replace("\n", rng.choice(["\r\n", "\r"]))
    return joined.encode()


def values(raw, unparsed, key, name):
    """Every value of a field, stripped."""
    found = raw.get(key)
    if found is None:
        found = unparsed.get(name, [])
    return [v.strip() for v in ([found] if isinstance(found, str) else found)]


def vector(data):
    raw, unparsed = parse_email(data)
    latin = data.decode("latin-1")

    def all_of(key, name):
        return values(raw, unparsed, key, name)

    def first(key, name):
        return (all_of(key, name) or [""])[0]

    result, wrong = {}, None
    try:
        result["Name"] = str(canonicalize_name(first("name", "name"), validate=True))
        result["Version"] = str(Version(first("version", "version")))
    except (InvalidName, InvalidVersion):
        return [latin, None]
    result["RequiresDist"] = []
    for value in all_of("requires_dist", "requires-dist"):
        try:
            r = Requirement(value)
            r.name, r.extras = canonicalize_name(r.name, validate=True), {canonicalize_name(e, validate=True) for e in r.extras}
            result["RequiresDist"].append(str(r))
        except (InvalidRequirement, InvalidName):
            wrong = "Requires-Dist"
    result["RequiresPython"] = ""
    try:
        result["RequiresPython"] = str(SpecifierSet(first("requires_python", "requires-python")))
    except InvalidSpecifier:
        wrong = wrong or "Requires-Python"
    result["ProvidesExtra"] = []
    for value in all_of("provides_extra", "provides-extra"):
        try:
            result["ProvidesExtra"].append(str(canonicalize_name(value, validate=True)))
        except InvalidName:
            pass
    result["Dynamic"] = [v.lower() for v in all_of("dynamic", "dynamic")]
    result["Classifiers"] = all_of("classifiers", "classifier")
    result["MetadataVersion"] = first("metadata_version", "metadata-version")
    summary = " ".join(first("summary", "summary").split())
    result["Summary"] = "" if summary == "UNKNOWN" else summary
    description = raw.get("description", "")
    folded = "\n" in description.rstrip("\n") or "\r" in latin
    if not folded and "description" not in unparsed and "From " not in latin:
        result["Description"] = description if description.strip() else ""
    return [latin, result, wrong]


def main(seed, out):
    rng = random.Random(int(seed))
    lines = (json.dumps(vector(text(rng)), separators=(",", ":")) + "\n" for _ in range(2000))
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write("".join(lines).encode())


main(*sys.argv[1:])
