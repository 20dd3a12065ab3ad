"""Writes what Python's packaging makes of markers.

    python3 vectors.py SEED OUTFILE

needs `packaging` importable. Each line of the gzip'ed OUTFILE is a JSON array:

    ["environment", {variable: value}]                       numbered from 0
    ["marker", text, printed or null, evaluation, ...]       null: refused

An evaluation is [environment, extra, result], or in a lock file [environment,
[extras], [groups], result]; a result is true, false, "comparison" (undefined
comparison) or "name" (undefined environment name).
"""

import gzip
import json
import random
import sys
import warnings

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

KEYS = """implementation_name implementation_version os_name platform_machine platform_python_implementation
platform_release platform_system platform_version python_full_version python_version sys_platform""".split()
ENVIRONMENTS = [
    dict(zip(KEYS, values))
    for values in [
        ("cpython", "3.11.7", "posix", "x86_64", "CPython", "6.1.0-18-amd64", "Linux", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1",
         "3.11.7", "3.11", "linux"),
        ("cpython", "3.8.10", "nt", "AMD64", "CPython", "10", "Windows", "10.0.19045", "3.8.10", "3.8", "win32"),
        ("cpython", "3.13.0", "posix", "arm64", "CPython", "22.6.0", "Darwin", "Darwin Kernel Version 22.6.0: root:xnu",
         "3.13.0", "3.13", "darwin"),
        ("pypy", "7.3.13", "posix", "aarch64", "PyPy", "5.15.0", "Linux", "#1", "3.10.13", "3.10", "linux"),
        ("cpython", "3.14.0b1", "posix", "x86_64", "CPython", "6.6.7-microsoft-standard-WSL2", "Linux", "", "3.14.0b1", "3.14", "linux"),
        ("cpython", "3.15.0a0", "posix", "riscv64", "CPython", "", "FreeBSD", "14.1", "3.15.0a0+", "3.15", "freebsd14"),
    ]
]
VARIABLES = KEYS + ["python_version"] * 6 + ["python_full_version", "sys_platform"] * 2 + ["extra"] * 3
OLD = ["os.name", "sys.platform", "platform.version", "platform.machine", "platform.python_implementation", "python_implementation"]
SETS = ["extras", "dependency_groups"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in", "~=", "==="]
VERSIONS = """3 3.8 3.9 3.10 3.11 3.13 3.8.* 3.* 3.10.0 3.11.7 3.14.0b1 3.14 3.15.0a0 3.15.0a0+local 3.11.7+x 2.7 4 7.3.13 v3.8
10 10.0 6.1 22.6.0 6.1.0 5.15.0 3.8.10.post1 3.13.dev0 3.13rc1 =3.8 =3.11.7 ==3.8 3.x 3.8,<4""".split() + \
    ["", " 3.8", "3.8 ", "2.7 3.8", "3.8, 3.9", "3.10 3.11 3.12", "6.1.0-18-amd64", " ", "3 .8"]
STRINGS = """linux linux2 win32 darwin cygwin posix nt java Linux Windows Darwin x86_64 AMD64 arm64 aarch64 i686 CPython PyPy cpython pypy
test Test dev foo-bar foo_bar Foo.Bar foo--bar foo._-bar all extra extras os_name python_version docs é""".split() + \
    ["", "linux darwin", "test dev docs", "it's", 'say "hi"', "a;b", "a#b", "(", "\u2028", "foo bar"]
ESCAPES = [r"\x61", r"a\tb", r"\101", r"a\\b", r"\u00e9", r"\q", r"\'", r'\"', "\\", r"\x6", r"\8", r"\0", r"\777", r"\U0001F600",
           r"\N{DASH}", r"\ud800", r"\U00110000", "\n", "\r", "\t", r"\'\"", r"\x4z", r"\xZZ", "\\\n"]


def quoted(rng, value):
    quote = rng.choice("'\"")
    if quote in value and rng.random() < 0.9:
        quote = "'" if quote == '"' else '"'
    return quote + value + quote


def literal(rng, variable):
    r = rng.random()
    versions = "version" in variable or "release" in variable
    if r < 0.01:
        return quoted(rng, rng.choice(ESCAPES) + rng.choice(["", "x"]))
    if r < 0.08:
        return quoted(rng, rng.choice(STRINGS if versions else VERSIONS))
    if r < 0.35 and variable in KEYS:
        return quoted(rng, rng.choice(ENVIRONMENTS)[variable])
    return quoted(rng, rng.choice(VERSIONS if versions else STRINGS))


def space(rng, least=""):
    return rng.choice([" "] * 6 + [least, "  ", "\t"])


def comparison(rng, lock):
    r = rng.random()
    if lock and r < 0.6:
        parts = [literal(rng, "extra"), rng.choice(["in", "in", "not in"] + OPERATORS), rng.choice(SETS)]
        if r < 0.03:
            parts.reverse()
    else:
        variable = rng.choice(OLD) if r < 0.05 else rng.choice(SETS) if r < 0.07 else rng.choice(VARIABLES)
        operator = rng.choice(OPERATORS[:8]) if rng.random() < 0.9 else rng.choice(OPERATORS)
        parts = [variable, operator, literal(rng, variable)]
        r = rng.random()
        if r < 0.2:
            parts.reverse()
        elif r < 0.23:
            parts[0] = literal(rng, variable)
        elif r < 0.26:
            parts[2] = rng.choice(VARIABLES)
    parts[1] = parts[1].replace(" ", rng.choice([" "] * 9 + ["  ", "\t", ""]))
    word = parts[1][-1] == "n"
    return parts[0] + space(rng, " " if word and rng.random() < 0.9 else "") + parts[1] + space(rng) + parts[2]


def expression(rng, depth, lock):
    text = comparison(rng, lock)
    while rng.random() < 0.45:
        other = comparison(rng, lock)
        if depth < 4 and rng.random() < 0.35:
            other = "(" + space(rng) + expression(rng, depth + 1, lock) + space(rng) + ")"
        text += space(rng) + rng.choice(["and", "or"]) + space(rng) + other
    if rng.random() < 0.15:
        text = "(" + space(rng) + text + ")"
    return text


def mutate(rng, s):
    if rng.random() > 0.12 or not s:
        return s
    at = rng.randrange(len(s))
    return s[:at] + rng.choice(["", " ", "(", ")", '"', "'", "=", "\n", ".", "x", "é", "and ", "\\", "\0", "\x0b"]) + s[at + rng.randrange(3):]


def refused_here(text, printed):
    """What this package refuses beyond packaging (see its documentation)."""
    return "\\N{" in text or "\\\n" in text or any("\ud800" <= c <= "\udfff" for c in printed)


def evaluate(marker, environment, context):
    try:
        return marker.evaluate(environment, context)
    except UndefinedComparison:
        return "comparison"
    except UndefinedEnvironmentName:
        return "name"


def vector(rng, text, lock):
    try:
        marker = Marker(text)
        printed = str(marker)
    except ValueError:  # InvalidMarker, or it cannot be printed
        return ["marker", text, None]
    if refused_here(text, printed):
        return ["marker", text, None]
    line = ["marker", text, printed]
    for number in rng.sample(range(len(ENVIRONMENTS)), 3):
        environment = dict(ENVIRONMENTS[number])
        if lock:
            extras, groups = ([rng.choice(STRINGS[20:27]) for _ in range(rng.randrange(4))] for _ in range(2))
            environment.update(extras=set(extras), dependency_groups=set(groups))
            line.append([number, extras, groups, evaluate(marker, environment, "lock_file")])
        else:
            environment["extra"] = rng.choice(["", "", "test", "Foo_Bar", "foo-bar", "dev", "Foo--bar", "all"])
            line.append([number, environment["extra"], evaluate(marker, environment, "metadata")])
    return line


def vectors(rng):
    for environment in ENVIRONMENTS:
        yield ["environment", environment]
    for escape in ESCAPES:
        for text in (f"os_name == '{escape}'", f'os_name == "{escape}x"', f"'{escape}' in os_name"):
            yield vector(rng, text, False)
    for _ in range(4000):
        lock = rng.random() < 0.2
        yield vector(rng, mutate(rng, expression(rng, 0, lock)), lock)


def main(seed, out):
    warnings.simplefilter("ignore")  # of escapes that Python does not know
    rng = random.Random(int(seed))
    lines = (json.dumps(v, separators=(",", ":")) + "\n" for v in vectors(rng))
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write("".join(lines).encode())


main(*sys.argv[1:])
