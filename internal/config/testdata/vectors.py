"""Writes what pip makes of its configuration.

    python3 vectors.py SEED OUTFILE

needs `pip` (26.3 or newer) importable. Each line of the gzip'ed OUTFILE is one of

    {"text": T, "want": [[SECTION, NAME, VALUE], ...]}   a file, as pip's parser reads it
    {"files": {PATH: TEXT}, "env": {NAME: VALUE}, "command": C, "want": {OPTION: VALUE}}

with null for want where pip refuses it, and for what is not set. Paths are relative to a folder that is
$ROOT in texts and values: etc is the system's, home the user's, venv the virtualenv.
"""

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import sys
import tempfile

from pip._internal import configuration
from pip._internal.commands import create_command
from pip._internal.configuration import _RawConfigParser
from pip._internal.models.index import PyPI
from pip._internal.utils import appdirs

TOKENS = [
    "[global]", "[install]", "[DEFAULT]", "[a]", "[", "]", "[]", "[x]y]", "index-url", "Index_URL", "--pre", "no-index",
    "extra-index-url", "k", "=", "=", ":", " ", " ", "\t", "\n", "\n", "\n", "\n  ", "\n\t", "\n ", "#", ";", " # c", " ; c",
    "%", "%(k)s", "é", "\u3000", "\x0b", "\x1c", "\x85", "\r\n", "\r", "https://u:p@h/x", "v", "'q'", "\\", "=x", ": y",
]


def parse(path):
    parser = _RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except configuration.configparser.Error:
        return None
    return [[s, n, v] for s in parser.sections() for n, v in parser.items(s)]


def texts(rng):
    yield from ["", "\n\n", "k=v\n", "[a]\nk\n", "[a]\n=v\n", "[a]\nk=1\nK=2\n", "[a]\n[a]\n", "[DEFAULT]\nk=1\n[DEFAULT]\nj=2\n[a]\nk=3\n",
                "[a]\nk = 1\n  2\n\n  3\n\n[b]\n", "[a]\n  k = 1\n   2\n j = 3\n", "[a]\nk=1\n# c\n  2\n ; c\n\n  3\n", "\ufeff[a]\nk=1\n"]
    for _ in range(2500):
        start = rng.choice(["", "[global]\n", "[global]\n", "[install]\nk = "])
        yield start + "".join(rng.choice(TOKENS) for _ in range(rng.randrange(1, 25)))


PLACES = ["etc/xdg/pip/pip.conf", "etc/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "venv/pip.conf", "own.conf"]
URLS = ["https://a.example.org/simple", "http://u:p%40@b.example.org/s/", "https://c.example.org:8443/", "http://localhost:3141/root/+simple/"]
BOOLEANS = ["1", "0", "true", "False", "YES", "no", "on", "off", "y", "n", "t", "f"]


def value(rng, option):
    if rng.random() < 0.1:
        return ""
    some = lambda of, sep: sep.join(rng.sample(of, rng.randrange(1, 3)))
    if option in ("index-url", "proxy"):
        return rng.choice(URLS)
    if option == "extra-index-url":
        return some(URLS, rng.choice([" ", "\n    ", "\t"]))
    if option in ("find-links", "constraint", "build-constraint"):
        return some(["wheels", "/srv/wheels", "https://links.example.org/", "c.txt"], " ")
    if option == "trusted-host":
        return some(["a.example.org", "b.example.org:8080"], "\n\t")
    if option in ("cert", "client-cert"):
        return rng.choice(["/etc/ca.pem", "~/ca.pem", "ca.pem"])
    if option in ("no-binary", "only-binary", "all-releases", "only-final"):
        return some(["numpy", "Foo_Bar", ":all:", ":none:", "zope.interface", "scipy"], ",")
    if option == "timeout":
        return rng.choice(["30.5", "0.25", "180.5", "soon"])
    if option == "retries":
        return rng.choice(["0", "9", "many"])
    if option == "keyring-provider":
        return rng.choice(["auto", "disabled", "import", "subprocess"])
    return rng.choice(BOOLEANS if rng.random() < 0.95 else ["maybe", "2", "tru"])


ALIASES = {"timeout": "default-timeout", "index-url": "pypi-url", "no-deps": "no-dependencies"}
DEFAULTS = {"timeout": 15, "retries": 5, "index-url": PyPI.simple_url}
OPTIONS = {
    "index-url": "index_url", "extra-index-url": "extra_index_urls", "find-links": "find_links", "no-index": "no_index",
    "trusted-host": "trusted_hosts", "cert": "cert", "client-cert": "client_cert", "proxy": "proxy", "pre": "pre",
    "no-binary": None, "only-binary": None, "constraint": "constraints", "require-hashes": "require_hashes",
    "keyring-provider": "keyring_provider", "no-build-isolation": "build_isolation", "no-deps": "ignore_dependencies",
    "break-system-packages": "override_externally_managed", "build-constraint": "build_constraints", "all-releases": None,
    "only-final": None, "retries": "retries", "timeout": "timeout",
}


def situation(rng):
    files, env = {}, {}
    for path in rng.sample(PLACES, rng.randrange(0, 4)):
        text = ""
        for section in rng.sample(["global", "install", "wheel", "freeze"], rng.randrange(1, 4)):
            text += f"[{section}]\n"
            for option in rng.sample(sorted(OPTIONS), rng.randrange(1, 7)):
                alias = ALIASES.get(option, option)
                name = rng.choice([option, alias, option.replace("-", "_"), option.upper(), "--" + option])
                text += f"{name}{rng.choice([' = ', '=', ': '])}{value(rng, option)}\n"
        files[path] = text
    for option in rng.sample(sorted(OPTIONS), rng.choice([0, 0, 1, 2, 5])):
        env["PIP_" + option.upper().replace("-", "_")] = value(rng, option)
    if rng.random() < 0.3:
        env["PIP_CONFIG_FILE"] = rng.choice(["$ROOT/own.conf", "$ROOT/none.conf", "/dev/null", "$ROOT/etc/pip.conf"])
    if rng.random() < 0.1:
        env["XDG_CONFIG_HOME"] = "$ROOT/home/.config"
    if rng.random() < 0.1:
        env["XDG_CONFIG_DIRS"] = "relative:$ROOT/none:$ROOT/etc/xdg"
    # Where both name projects, the order of the variables counts for pip: the exception goes last.
    for a, b in (("PIP_NO_BINARY", "PIP_ONLY_BINARY"), ("PIP_ALL_RELEASES", "PIP_ONLY_FINAL")):
        first = b if ":all:" in env.get(b, "") else a
        if first in env:
            env = {first: env.pop(first), **env}
    return files, env, rng.choice(["install", "install", "wheel"])


def ask(root, files, env, command):
    here = lambda text: text.replace("$ROOT", root)
    for path, text in files.items():
        os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as f:
            f.write(text)
    os.environ.clear()
    os.environ.update({"HOME": root + "/home", **{k: here(v) for k, v in env.items()}})
    sys.prefix = root + "/venv"
    # /etc is compiled in, as is /etc/xdg where no variable names others.
    real = appdirs._appdirs.site_config_dir
    appdirs.site_config_dirs = lambda name: [
        d.replace("/etc", root + "/etc", 1) if d.startswith("/etc") else d for d in real(name, appauthor=False, multipath=True).split(":")
    ] + [root + "/etc"]
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            options = create_command(command).parser.get_default_values()
    except SystemExit:
        return None
    got = {}
    for option, dest in OPTIONS.items():
        if dest is None:
            control = options.format_control if "binary" in option else options.release_control
            got[option] = sorted(getattr(control, option.replace("-", "_")))
        elif hasattr(options, dest):
            v = getattr(options, dest)
            if option == "no-build-isolation":
                v = not v
            if v == DEFAULTS.get(option):
                v = None
            boolean = v is not None and option not in DEFAULTS and not isinstance(v, (str, list))
            got[option] = bool(v) if boolean else v
    return json.loads(json.dumps(got).replace(root, "$ROOT"))


def main(seed, out):
    rng = random.Random(seed)
    logging_off()
    with gzip.GzipFile(out, "wb", mtime=0) as z, tempfile.TemporaryDirectory() as tmp:
        write = lambda vector: z.write(json.dumps(vector, ensure_ascii=False).encode() + b"\n")
        for text in texts(rng):
            path = os.path.join(tmp, "file")
            with open(path, "wb") as f:
                f.write(text.encode())
            write({"text": text, "want": parse(path)})
        for _ in range(1500):
            files, env, command = situation(rng)
            root = os.path.join(tmp, "root")
            os.mkdir(root)
            want = ask(root, files, env, command)
            shutil.rmtree(root)
            write({"files": files, "env": env, "command": command, "want": want})


def logging_off():
    import logging

    logging.disable(logging.CRITICAL)


main(int(sys.argv[1]), sys.argv[2])
