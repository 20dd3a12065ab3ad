"""Write test vectors for package version, as Python's packaging judges them.

usage: python3 vectors.py SEED OUTFILE

OUTFILE is gzip'ed JSON lines; the same seed gives the same bytes. Lines:
  ["parse", INPUT, NORMALISED, PUBLIC, LOCAL, PRERELEASE, POSTRELEASE, RELEASE]
  ["invalid", INPUT]
  ["compare", A, B, -1 | 0 | 1]
  ["badspec", INPUT]
  ["spec", INPUT, PRINTED, NAMES_PRERELEASE]
  ["contains", INPUT, [VERSION, ...], "0110..."]
  ["relate", INPUT, INPUT, EMPTY_TOGETHER, SUBSET, SUPERSET, DISJOINT]
"""

import gzip
import json
import random
import sys

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

COMMON = ["0", "0", "0", "1", "1", "1", "2", "3", "9", "10"]
RARE = ["00", "01", "007", "11", "99", "223", "224", "255", "256", "2024", "20240131", "65535", "65536", "4294967296",
        "9223372036854775807", "9223372036854775808", "9999999999999999999", "10000000000000000000",
        "18446744073709551616", "123456789012345678901234567890"]
ALPHABET = list("0123456789.-_+!*abcdevrlphtosnwiw=<>~ ,;)\t\n\x1c\x85\xa0\u2009\u200b\u0131\u017f\u0130\u212a\u0663\uff11/")
SPACES = ["", "", "", "", " ", "  ", "\t", "\n", "\xa0", "\x1c", "\u3000"]
OPERATORS = [">=", "<=", "==", "!=", ">", "<", "~=", "==", "!=", ">", "<", "==="]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def number(self):
        return self.r.choice(COMMON if self.maybe(0.85) else RARE)

    def maybe(self, p):
        return self.r.random() < p

    def parts(self):
        r = self.r
        return {
            "epoch": self.number() if self.maybe(0.1) else None,
            "release": [self.number() for _ in range(r.choice([1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6]))],
            "pre": (r.choice(["a", "b", "rc"]), self.number()) if self.maybe(0.3) else None,
            "post": self.number() if self.maybe(0.25) else None,
            "dev": self.number() if self.maybe(0.25) else None,
            "local": [self.label() for _ in range(r.choice([1, 1, 2, 3]))] if self.maybe(0.2) else None,
        }

    def label(self):
        return self.r.choice(["0", "1", "2", "10", "01", "a", "b", "ab", "abc", "ubuntu", "1a", "a1", "0a", "00a", "z",
                              "123456789012345678901234567890", self.number()])

    def near(self, p):
        """A version like p but for one or two segments."""
        p = dict(p, release=list(p["release"]))
        for _ in range(self.r.choice([0, 1, 1, 2])):
            self.change(p)
        return p

    def change(self, p):
        r, step = self.r, lambda n: str(max(0, int(n) + r.choice([-1, 1, 1])))
        what = r.choice(["release", "grow", "shrink", "zero", "pre", "post", "dev", "local", "drop", "drop", "epoch"])
        i = r.randrange(len(p["release"]))
        if what == "release":
            p["release"][i] = step(p["release"][i])
        elif what == "grow":
            p["release"].append(self.number())
        elif what == "zero":
            p["release"].append("0")
        elif what == "shrink" and len(p["release"]) > 1:
            p["release"].pop()
        elif what == "pre":
            p["pre"] = (p["pre"][0], step(p["pre"][1])) if p["pre"] and self.maybe(0.6) else (r.choice("ab"), r.choice("012"))
        elif what in ("post", "dev"):
            p[what] = step(p[what]) if p[what] and self.maybe(0.6) else r.choice("012")
        elif what == "local":
            p["local"] = (p["local"] or []) + [self.label()] if self.maybe(0.7) else [self.label()]
        elif what == "drop":
            p[r.choice(["pre", "post", "dev", "local"])] = None
        elif self.maybe(0.2):
            p["epoch"] = r.choice([None, "0", "1"])

    def spell(self, p, plain=0.5):
        """Any of the spellings that PEP 440 permits."""
        r, wild = self.r, not self.maybe(plain)
        sep = (lambda: r.choice(["", "", ".", "-", "_"])) if wild else (lambda: "")
        s = r.choice(["", "", "", "v", "V"]) if wild else ""
        if p["epoch"] is not None:
            s += p["epoch"] + "!"
        s += ".".join(p["release"])
        if p["pre"]:
            names = {"a": ["a", "alpha"], "b": ["b", "beta"], "rc": ["rc", "c", "pre", "preview"]}[p["pre"][0]]
            s += sep() + (r.choice(names) if wild else p["pre"][0]) + sep()
            s += "" if wild and self.maybe(0.1) else p["pre"][1]
        if p["post"] is not None:
            if wild and self.maybe(0.3):
                s += "-" + p["post"]
            else:
                s += (sep() if wild else ".") + (r.choice(["post", "rev", "r"]) if wild else "post") + sep()
                s += "" if wild and self.maybe(0.1) else p["post"]
        if p["dev"] is not None:
            s += (sep() if wild else ".") + "dev" + sep()
            s += "" if wild and self.maybe(0.1) else p["dev"]
        if p["local"]:
            s += "+" + p["local"][0] + "".join((r.choice(".-_") if wild else ".") + x for x in p["local"][1:])
        if wild and self.maybe(0.3):
            s = "".join(c.upper() if self.maybe(0.5) else c for c in s)
        return s

    def damage(self, s):
        for _ in range(self.r.choice([1, 1, 2])):
            i = self.r.randrange(len(s) + 1)
            s = s[:i] + self.r.choice(["", self.r.choice(ALPHABET)]) + s[i + self.r.choice([0, 1]):]
        return s

    def clause(self, p):
        """One specifier near the version p."""
        r, op = self.r, self.r.choice(OPERATORS)
        p = self.near(p)
        if op not in ("==", "!=", "===") and not self.maybe(0.02):
            p["local"] = None
        if op == "~=" and len(p["release"]) < 2:
            p["release"].append(self.number())
        if op in ("==", "!=") and self.maybe(0.4):
            p = dict(p, pre=None, post=None, dev=None, local=None, release=p["release"][:3])
            text = self.spell(p) + ".*"
        elif op == "===" and self.maybe(0.3):
            text = r.choice(["", "foobar", "1.0.*", "lolwat", "1.0-custom", self.damage(self.spell(p))])
        else:
            text = self.spell(p, plain=0.7)
        return r.choice(SPACES) + op + r.choice(SPACES) + text + r.choice(SPACES)

    def clauses(self, p):
        n = self.r.choice([1, 1, 1, 2, 2, 3, 4])
        list = [self.clause(p) for _ in range(n)]
        if self.maybe(0.1):
            list.append(self.r.choice(list))
        if self.maybe(0.05):
            list.append(self.r.choice(SPACES))
        return ",".join(list)


def version_lines(m, count):
    for _ in range(count):
        s = m.r.choice(SPACES) + m.spell(m.parts(), plain=0.2) + m.r.choice(SPACES)
        if m.maybe(0.35):
            s = m.damage(s)
        try:
            v = Version(s)
        except InvalidVersion:
            yield ["invalid", s]
            continue
        yield ["parse", s, str(v), v.public, v.local or "", int(v.is_prerelease), int(v.is_postrelease),
               [str(n) for n in v.release]]


def compare_lines(m, count):
    for _ in range(count):
        p = m.parts()
        a, b = m.spell(p), m.spell(m.near(p) if m.maybe(0.9) else m.parts())
        x, y = Version(a), Version(b)
        yield ["compare", a, b, (x > y) - (x < y)]


def specifiers(s):
    """The set, or None where packaging refuses the string (some only when it is used)."""
    try:
        spec = SpecifierSet(s)
        for clause in spec:
            clause.contains(Version("1"), prereleases=True)
        str(spec)
    except (InvalidSpecifier, InvalidVersion, AssertionError):
        return None
    return spec


def specifier_lines(m, count):
    for _ in range(count):
        p = m.parts()
        s = m.clauses(p)
        if m.maybe(0.15):
            s = m.damage(s)
        spec = specifiers(s)
        if spec is None:
            yield ["badspec", s]
            continue
        yield ["spec", s, str(spec), int(bool(spec.prereleases))]
        versions = [m.spell(m.near(p), plain=1) for _ in range(8)]
        holds = "".join("01"[spec.contains(Version(v), prereleases=True)] for v in versions)
        yield ["contains", s, versions, holds]


def relation_lines(m, count):
    for _ in range(count):
        p = m.parts()
        a, b = m.clauses(p), m.clauses(p)
        x, y = specifiers(a), specifiers(b)
        if x is None or y is None or "===" in a or "===" in b:
            continue
        yield ["relate", a, b, *(int(t) for t in ((x & y).is_unsatisfiable(), x.is_subset(y), x.is_superset(y),
                                                  x.is_disjoint(y)))]


def main(seed, outfile):
    m = Maker(int(seed))
    with open(outfile, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        for lines in (version_lines(m, 5000), compare_lines(m, 5000), specifier_lines(m, 3000), relation_lines(m, 3000)):
            for line in lines:
                out.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
