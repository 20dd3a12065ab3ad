"""Writes what Python's packaging makes of requirements, pip of arguments and
of requirements files, and dependency-groups of dependency groups.

    python3 vectors.py SEED OUTFILE

needs `packaging`, `pip` (26.3 or newer) and `dependency-groups` importable.
Each line of the gzip'ed OUTFILE is a JSON array [what, input, output], where
output is null for what is refused:

    ["parse", text, [name, [extras], specifiers, url, marker, printed]]
    ["argument", [text, editable], SOURCE]
    ["file", {file: text}, [[LINE], [constraint LINE], {option: value}]]
    ["group", [pyproject.toml, group], [printed]]

    SOURCE  [name, [extras], specifiers, marker, kind, place, vcs, revision, subdirectory, hash]
    LINE    [SOURCE, editable, [hashes], {config settings}, where]

Names and extras are normalised; printed has passwords hidden as pip hides them;
place is a path or a URL. The text of a file has a character for each byte. The
file that is read is "a.txt", beside the folders of PROJECTS; the variable
VECTOR of the environment is "1.0".
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import re
import sys
import tempfile
import types
import urllib.parse

import dependency_groups
from packaging.dependency_groups import DependencyGroupResolver
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name
from pip._internal.cli import cmdoptions
from pip._internal.exceptions import PipError
from pip._internal.models.format_control import FormatControl
from pip._internal.models.release_control import ReleaseControl
from pip._internal.req import req_file
from pip._internal.req.constructors import install_req_from_editable, install_req_from_line
from pip._internal.utils.filetypes import is_archive_file
from pip._internal.utils.misc import redact_auth_from_url
from pip._internal.vcs import vcs

NAMES = """flask Flask ruamel.yaml zope.interface Jinja2 a B 0x foo foo-bar foo_bar Foo.Bar foo--bar pip numpy python-dateutil
foo_ _foo -foo foo- .foo foo. 3to2 é fooé foo+bar foo/bar""".split() + ["", "foo bar", "foo\n"]
EXTRAS = "test dev Foo_Bar foo-bar foo.bar a B2 all docs -x x_ é a+b".split() + [""]
OPERATORS = ["==", ">=", "<=", "<", ">", "!=", "~=", "===", "=", "=>", "=<", "><", "!", "====", "~", ">>="]
VERSIONS = """1 1.0 2.0.1 1.0a1 1.0.b2 1.0rc1 1.0.post1 1.0-1 1.0.dev3 1!2.0 2020.1.2 1.0+local 1.0+Ubuntu_1 v1.0 1.0-alpha
1.* 1.0.* 2.* 1.0a1.* 1.0+x.* * 1.0.x latest 1..0 1.0. -1 ,""".split() + ["", "1 0", "1.0;", "1.0)"]
URLS = """https://example.com/foo-1.0.tar.gz https://example.com/foo-1.0-py3-none-any.whl#sha256=00 git+https://example.com/foo.git@main
git+ssh://git@example.com/foo.git@v1#subdirectory=a&egg=b file:///tmp/foo ../foo foo https://u:p@example.com/x
https://user:pa:ss@example.com/x@y https://token@example.com/x https://u:@example.com http://[::1]:8000/foo https://e.com/a;b
https://e.com/$%7B foo;bar https://é.com/ C:\\foo ftp://u:p@e.com?x=a@b""".split() + [""]
MARKERS = """python_version<'3.8'|extra == "Foo_Bar"|os_name=='nt' and sys_platform != "win32"|(extra=='a' or extra=='b')|
"linux" in sys_platform|python_version not in '2.7 3.0'|platform.machine == 'x86_64'|python_version|extra = 'a'|os_name == nt|
os_name == "a" or|os_name == "a" "b"|foo == "bar"|(os_name == "a"|os_name == "a")|os_name == ';'|python_version >= "3.8" ;|
'a' == 'b'|os_name == "\\x41"|implementation_name === "x"|dependency_groups == 'x'|'x' in extras""".replace("\n", "").split("|") + [""]


def pick(rng, values, good):
    """One of values, mostly one of the first `good`."""
    return rng.choice(values[:good] if rng.random() < 0.93 else values)


def space(rng):
    return rng.choice(["", "", "", " ", " ", "  ", "\t"] + ["\n", "\x0b"] * (rng.random() < 0.02))


def extras(rng):
    inner = ("," if rng.random() < 0.97 else rng.choice([" ", ",,", ";"])).join(
        space(rng) + pick(rng, EXTRAS, 9) + space(rng) for _ in range(rng.randrange(4))
    )
    return "[" + inner + ("]" if rng.random() < 0.97 else "")


def specifiers(rng):
    text = ""
    for i in range(rng.randrange(1, 4)):
        operator = pick(rng, OPERATORS, 8)
        version = pick(rng, VERSIONS, 18 if operator in ("==", "!=") else 15)
        text += (space(rng) + ("," if rng.random() < 0.97 else rng.choice([" ", ",,"])) + space(rng) if i else "")
        text += operator + space(rng) + version
    if rng.random() < 0.03:
        text += ","
    if rng.random() < 0.25:
        text = "(" + space(rng) + text + space(rng) + (")" if rng.random() < 0.95 else "")
    return text


def requirement(rng):
    text = space(rng) + pick(rng, NAMES, 16) + space(rng)
    if rng.random() < 0.35:
        text += extras(rng) + space(rng)
    r = rng.random()
    if r < 0.25:
        text += "@" + space(rng) + rng.choice(URLS) + rng.choice(["", " ", "  ", "\t"])
    elif r < 0.85:
        text += specifiers(rng) + space(rng)
    if rng.random() < 0.45:
        text += ";" + space(rng) + pick(rng, MARKERS, 7)
    text += space(rng)
    if rng.random() < 0.08 and text and not re.search("//[^/ ]*@", text):  # pip hides nothing in broken URLs
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(list(";,()[] \t.*#'\"=") + ["\0", "é", "x"]) + text[at + rng.randrange(2):]
    return text


def redacted(url):
    return redact_auth_from_url(url) if re.search("//[^/]*@", url) else url


def parse(text):
    try:
        r = Requirement(text)
        marker = str(r.marker or "")
        name = str(canonicalize_name(r.name, validate=True))
        extras = sorted({str(canonicalize_name(e, validate=True)) for e in r.extras})
    except (InvalidRequirement, InvalidName, ValueError):
        return None
    url = r.url or ""
    if re.search("[\0-\x1f\x7f-\x9f]", url):  # refused here, not by packaging
        return None
    printed = Requirement(text)
    printed.name, printed.extras, printed.url = name, set(extras), redacted(url) or None
    return [name, extras, str(r.specifier), url, marker, str(printed)]


DIGEST = "0123456789abcdef" * 4
PROJECTS = ["dir", "sub/pkg.x", "dir-1.0", "a b"]
PATHS = """./dir dir/ sub/pkg.x ./sub/../dir . ./dir-1.0 ./x.whl x-1.0-py3-none-any.whl ./Foo_Bar-1.0+l-py2.py3-none-any.whl
/nonexistent/foo-1.0-1-cp39-cp39-linux_x86_64.whl a.zip A.TAR.GZ ../outside/a-1.tgz sub/a@b.tar.bz2
foo-1.0.tar.xz dir/.whl file:dir file:./dir/ file:///nonexistent/dir file://localhost/nonexistent/a%20b.zip file:../outside/x.zip
file:///nonexistent/foo-1.0-py3-none-any.whl file://other.example.com/x.zip dir""".split() + ["./a b", "file:a%20b"]
ARCHIVES = """https://e.com/a.zip http://e.com:8080/x/foo-1.0-py3-none-any.whl https://u:p@e.com/a/b.tar.gz?x=y&z HTTPS://e.com/
https://e.com/a;b/c.zip https://e.com/foo_bar-2.0%2Bl-py3-none-any.whl https://e.com/foo.whl ftp://e.com/x.zip https://e.com/x@1""".split()
REPOSITORIES = """git+https://e.com/a.git@main git+ssh://git@e.com/a/b.git@v1.0 git+https://e.com/a@b/c.git git+file:///nonexistent/r@x%2Fy
hg+http://e.com/r@tip hg+static-http://e.com/r svn+svn://e.com/r/trunk@42 svn+ssh://e.com/r@7 bzr+lp:project@3 bzr+ssh://e.com/b
GIT+HTTPS://E.com/a.git git+http://u:p@e.com/a.git@deadbeef?x=y git+https://e.com/a.git@ cvs+https://e.com/x git://e.com/a.git""".split()
FRAGMENTS = ["", "#egg=foo", "#egg=Foo_Bar&subdirectory=a/b", "#subdirectory=pkg&egg=foo", "#sha256=" + DIGEST, "#egg=foo&sha512=" + DIGEST * 2,
             "#egg=-x", "#egg=", "#other", "#md5=" + DIGEST[:32] + "&egg=x.y"]


def extras_list(rng):
    return rng.choice(["", "", "[a]", "[b, Foo_Bar]", " [x]", "[a b]", "[-]"][: 5 if rng.random() < 0.8 else 7])


def source(rng):
    """An argument, and whether it is editable."""
    r, editable, separators = rng.random(), rng.random() < 0.2, [";", " ; ", "; "]
    if r < 0.35:
        text = rng.choice(PATHS)
        if editable or "file:" not in text:
            text += extras_list(rng)
    elif r < 0.55:
        text = rng.choice(ARCHIVES) + rng.choice(FRAGMENTS)
    elif r < 0.8:
        text = rng.choice(REPOSITORIES) + rng.choice(FRAGMENTS)
    else:
        text, editable = requirement(rng).replace("C:\\foo", "foo").replace("../foo", "foo"), False
        if re.match(r"\s*(\.|[^@;]*/)", text):  # a path for us, and for pip if it were there
            return source(rng)
    if r < 0.8 and ":" in text and rng.random() < 0.3:
        text = pick(rng, NAMES[:16], 16) + rng.choice(["", "[b,a]", " [x] "]) + rng.choice(["@", " @ "]) + text
    if editable:  # a marker is refused or overlooked by pip elsewhere
        separators = [" ; "] if re.match(r"\w[\w.-]*( *\[.*\])? *@", text) else [""]
    if rng.random() < 0.25 and separators != [""]:
        text += rng.choice(separators) + (rng.choice(MARKERS[:-1]) if editable else pick(rng, MARKERS, 7))
    return [text, editable]


def argument(text, editable):
    """SOURCE of what pip makes of an argument, or an exception."""
    r = install_req_from_editable(text) if editable else install_req_from_line(text)
    name = str(canonicalize_name(r.name, validate=True)) if r.req else ""
    extras = sorted({str(canonicalize_name(e, validate=True)) for e in r.extras})
    head = [name, extras, "", str(r.markers or "")]
    if not r.link:
        if parse(str(r.req)) is None:
            raise ValueError("refused here, not by pip")
        return head[:2] + [str(r.req.specifier), head[3], "named", "", "", "", "", ""]
    link = r.link
    fragment = [urllib.parse.unquote(link.subdirectory_fragment or ""), f"{link.hash_name}:{link.hash}" if link.hash else ""]
    if link.hash and not re.fullmatch("[0-9a-fA-F]{%d}" % (hashlib.new(link.hash_name).digest_size * 2), link.hash):
        raise ValueError("refused here, not by pip")
    if re.search("[\0-\x1f\x7f-\x9f]|^(?!file:).* |#.* |%(?![0-9a-fA-F]{2})", link.url) or not link.scheme and ":" in link.url:
        raise ValueError("refused here, not by pip")
    if link.is_vcs:
        url, revision, _ = vcs.get_backend_for_scheme(link.scheme).get_url_rev_and_auth(link.url)
        if not link.netloc and not re.match(".*[+](file|lp):", link.url):
            raise ValueError("refused here, not by pip")
        return head + ["repository", url, link.scheme.split("+")[0], revision or ""] + fragment
    if link.scheme in ("", "file"):
        path = os.path.normpath(link.file_path if link.scheme else link.url)
        if path.startswith(os.path.dirname(os.getcwd()) + "/"):
            path = os.path.relpath(path)
        if editable and is_archive_file(path):
            raise ValueError("refused here, by pip later")
        return head + ["file" if is_archive_file(path) else "folder", path, "", ""] + fragment
    if link.scheme not in ("http", "https") or not link.netloc or re.search("[^@]\\[", link.netloc) or urllib.parse.urlsplit(link.url).port == -1:  # which raises if it is wrong
        raise ValueError("refused here, not by pip")
    return head + ["archive", link.url.split("#")[0], "", ""] + fragment


REFUSED = (PipError, InvalidRequirement, InvalidName, ValueError, LookupError, AssertionError)


@contextlib.contextmanager
def folder():
    """A folder with PROJECTS to be in."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stderr(io.StringIO()):
        os.mkdir(os.path.join(root, "work"))
        os.chdir(os.path.join(root, "work"))
        for project in [".", *PROJECTS]:
            os.makedirs(project, exist_ok=True)
            with open(os.path.join(project, "pyproject.toml"), "w"):
                pass
        try:
            yield
        finally:
            os.chdir(here)


HASH = "sha256:" + DIGEST
LINES = [
    "flask", "flask==1.0", "  Foo_Bar [a, b] >= 1.0 ; python_version < '3'", "a @ https://u:p@example.com/a.zip#sha256=" + DIGEST, "",
    "# only a comment", "flask # with a comment", "flask#none", "\t# tab", "flask>=1.0,\\\n<2",
    "foo==1.0 --hash=" + HASH, "foo==1.0 --hash " + HASH + " --hash=sha512:" + "aB" * 64, "foo==1.0 \\\n    --hash=" + HASH + " \\\n  --hash=" + HASH,
    "foo==${VECTOR}", "foo; os_name == '${VECTOR}'", "-i https://e.com/simple",
    "--index-url=https://u:p@e.com/s", "--extra-index-url https://x.com/?a=b#c", "--pre", "-r b.txt", "-rb.txt", "-c b.txt",
    "--requirement 'b.txt'", '--constraint="sub/c.txt"', "-r sub/../b.txt", "-e dir", "-e ./dir[x,Y]", "--editable=sub/pkg.x -C a=b",
    "-e 'foo @ git+https://e.com/r@v1 ; os_name == \"nt\"'", "./dir ; python_version > '3'", "x-1.0-py3-none-any.whl", "https://e.com/a.zip#egg=a",
    "git+https://e.com/a.git@main#egg=foo&subdirectory=b", "foo @ https://e.com/a.zip;python_version<'3'", "flask --config-settings 'a b=c=d' -C a=1 -Ca=2",
    "--no-index", "-f links", "--find-links=https://e.com/l", "--no-binary a,B_c", "--only-binary :all:", "--no-binary=:none:,a", "--only-binary a,:all:,b",
    "lxml --no-binary lxml", "--all-releases a.b", "--only-final=:all:", "--only-final a --all-releases :all:", "foo --only-final foo",
    "--prefer-binary", "--require-hashes", "--trusted-host e.com:8080", "--use-feature=fast-deps", "--req b.txt", "--find x", "--extra https://z.com",
    "flask\x0cjinja2", "flask\u2028jinja2", "\u00a0flask\u3000# \u00e9", "flask;  ", "--no-require-hashes",
    "--config-settings a=b", "-e dir --hash=" + HASH, "-e https://e.com/x.zip", "-r", "--unknown", "<2.0", "flask \\\n", "--hash=" + HASH, "-i", "foo==",
    "foo==${UNSET_VECTOR}", "foo==$VECTOR", "foo; os_name == '${UNSET_VECTOR}'", "-r 'b.txt", "# \\", "\\", "foo -C a", "--no-binary",
    "--pre --extra-index-url https://y.com", "-r missing.txt", "-r sub/d.txt", "foo\\\n", "# comment \\", "-i 'https://e.com/a b'",
    "foo @ https://example.com/a\\ b", "--extra-index-url https://e.com/\\ z", "--prefer-binary=x", "--no-binary=-x", "--ex",
]
GOOD = LINES.index("--no-require-hashes")
FILES = {"b.txt": b"b==1.0\n", "sub/c.txt": b"\xef\xbb\xbf# c\r\nc<2\r\n", "sub/d.txt": b"--pre\n-c ../b.txt\n-r c.txt\nd"}
ENCODINGS = ["utf-8"] * 8 + ["utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "koi8-r", "gbk", "shift_jis", "iso8859-15", "unknown"]


def encode(rng, text):
    """The bytes of a file, mostly in UTF-8."""
    encoding = rng.choice(ENCODINGS)
    if encoding not in ("utf-8", "utf-8-sig", "utf-16", "utf-32") and rng.random() < 0.9:
        text = rng.choice(["# coding: ", "#!x\n# -*- coding=", "# vim: set fileencoding="]) + encoding + " -*-\n" + text
    if rng.random() < 0.3:
        text += "\n# " + rng.choice(["\u00e9\u00fc", "\u0436", "\u4e2d", "\u20ac"])
    b = text.encode("latin-1" if encoding == "unknown" else encoding, "replace")
    if rng.random() < 0.03 and b[:1] != b"\xff":
        b += b"\n# \xe9"
    return b


def file(rng):
    lines = []
    for _ in range(rng.randrange(1, 7)):
        if rng.random() < 0.75:
            lines.append(rng.choice(LINES[:GOOD] if rng.random() < 0.96 else LINES))
        elif not (text := source(rng))[1] and not re.search("(^| )\\s*-|\\n|#", text[0]):
            lines.append(text[0])
    text = rng.choice(["\n", "\n", "\r\n", "\r"]).join(lines) + rng.choice(["", "\n"])
    files = dict(FILES, **{"a.txt": encode(rng, text)})
    for name, b in files.items():
        with open(name, "wb") as f:
            f.write(b)
    try:
        result = read_files()
    except REFUSED:
        result = None
    return ["file", {name: b.decode("latin-1") for name, b in files.items()}, result]


def read_files():
    requirements, constraints, o = [], [], {}
    finder = types.SimpleNamespace(format_control=FormatControl(), release_control=ReleaseControl())
    index, extra, links, hosts, flags, ignored = "", [], [], [], set(), 0
    features = cmdoptions.use_new_feature.keywords["default"]  # the list that pip adds to, all the time
    features.clear()
    for line in req_file.RequirementsFileParser(None, req_file.get_line_parser(finder)).parse("a.txt", False):
        o = line.opts
        hashes = [a + ":" + h.lower() for a, all in (o.hashes or {}).items() for h in all]
        if any(len(h.split(":")[1]) * 4 != int(h[3:6]) for h in hashes):
            raise PipError("refused here, not by pip")
        set_flags = {f for f in ("no_index", "pre", "require_hashes", "no_require_hashes", "prefer_binary") if getattr(o, f)}
        if line.requirement is None:
            if hashes or o.config_settings:
                raise PipError("refused here, where pip warns or is silent")
            index, flags = o.index_url or index, flags | set_flags
            extra, links, hosts = extra + o.extra_index_urls, links + o.find_links, hosts + o.trusted_hosts
            ignored += o.prefer_binary
            continue
        if set_flags or o.index_url or o.extra_index_urls or o.requirements or o.constraints or o.find_links or o.trusted_hosts:
            raise PipError("refused here, where pip ignores it")
        if line.is_editable and hashes:
            raise PipError("refused here, where pip ignores it")
        s = argument(line.requirement, line.is_editable)
        if line.constraint and (line.is_editable or not s[0] or s[1]):
            raise PipError("no constraint, which pip finds later")
        settings = {k: v if isinstance(v, list) else [v] for k, v in (o.config_settings or {}).items()}
        where = os.path.relpath(line.filename) + ":" + str(line.lineno)
        (constraints if line.constraint else requirements).append([s, line.is_editable, hashes, settings, where])
    if {"require_hashes", "no_require_hashes"} <= flags:
        raise PipError("both, which pip finds later")
    if "no_index" in flags:
        index, extra = "", []
    formats, releases = finder.format_control, finder.release_control
    options = {
        "index": index, "extra": extra, "links": links, "hosts": hosts, "flags": sorted(flags - {"prefer_binary"}), "ignored": ignored + len(features),
        "no-binary": sorted(formats.no_binary), "only-binary": sorted(formats.only_binary),
        "all-releases": sorted(releases.all_releases), "only-final": sorted(releases.only_final),
    }
    return [requirements, constraints, options]


GROUPS = "test Test docs dev-x Dev_X dev.x a b c d".split()


def without_url(rng):
    text = requirement(rng)
    return without_url(rng) if "@" in text else text


def group(rng):
    """A table of dependency groups, and what one of them gives."""
    names = rng.sample(GROUPS[:1] + GROUPS[2:4] + GROUPS[6:], rng.randrange(1, 6))
    if rng.random() < 0.05:
        names = rng.sample(GROUPS, 4)
    text = "[dependency-groups]\n"
    for i, name in enumerate(names):
        items = []
        for _ in range(rng.randrange(4)):
            r = rng.random()
            if r < 0.5 or r < 0.85 and i + 1 == len(names):
                items.append(json.dumps(without_url(rng) if r < 0.1 else rng.choice(["a", "b>=1", "c[x]==2.0", "d ; python_version>'3'"]), ensure_ascii=False))
            elif r < 0.97:
                include = rng.choice(names[i + 1:] if i + 1 < len(names) and rng.random() < 0.93 else GROUPS)
                items.append('{ "include-group" = "%s" }' % (include.upper() if rng.random() < 0.2 else include))
            else:
                items.append(rng.choice(["1", "{}", '{ include-group = 1 }', '{ include-group = "a", x = "y" }', '{ include = "a" }', "[]"]))
        value = "[" + ", ".join(items) + "]" if rng.random() < 0.97 else rng.choice(['"a"', "3", "{}"])
        text += '"%s" = %s\n' % (name, value)
    name = rng.choice(names if rng.random() < 0.9 else GROUPS)
    try:
        import tomllib

        table = tomllib.loads(text)["dependency-groups"]
    except (ValueError, KeyError):
        return group(rng)
    try:
        requirements = dependency_groups.DependencyGroupResolver(table).resolve(name)
    except (ValueError, TypeError, LookupError, InvalidRequirement):
        requirements = None
    try:
        assert requirements is not None and [str(r) for r in DependencyGroupResolver(table).resolve(name)] == [str(r) for r in requirements]
    except Exception:
        assert requirements is None
        return ["group", [text, name], None]
    printed = [parse(str(r)) for r in requirements]
    return ["group", [text, name], None if None in printed else [p[-1] for p in printed]]


def argument_vector(rng):
    text, editable = source(rng)
    try:
        return ["argument", [text, editable], argument(text, editable)]
    except REFUSED:
        return ["argument", [text, editable], None]


def parse_vector(rng):
    text = requirement(rng)
    return ["parse", text, parse(text)]


def main(seed, out):
    os.environ["VECTOR"] = "1.0"
    os.environ.pop("UNSET_VECTOR", None)
    req_file.get_locale_encoding = lambda: "latin-1"  # wherever this runs
    rng = random.Random(int(seed))
    out = os.path.abspath(out)
    with folder():
        os.makedirs("sub", exist_ok=True)
        vectors = [make(rng) for make, n in [(parse_vector, 3000), (argument_vector, 2500), (file, 1500), (group, 600)] for _ in range(n)]
    lines = (json.dumps(v, separators=(",", ":")) + "\n" for v in vectors)
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write("".join(lines).encode())


main(*sys.argv[1:])
