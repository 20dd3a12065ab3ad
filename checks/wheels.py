#!/usr/bin/env python3
"""Makes a folder of wheels to look at: checks/wheels.py FOLDER. They install nothing; names, summaries and descriptions are made up.

Among them are one with many versions, one for many platforms, one whose texts attack whoever shows them, and 120 small ones.
"""
import base64
import hashlib
import os
import pathlib
import sys
import zipfile

START = 1_780_000_000  # when the first file came, in Unix seconds
HOUR = 3600

README = """\
# Tidewater

[![tests](https://img.example.com/tests.svg)](https://ci.example.com/tidewater) ![coverage](https://img.example.com/cov.svg)

Small tools for **tide tables**: read them, join them, ask them when the boat floats. See the
[documentation](https://docs.example.com/tidewater/) or `python -m tidewater --help`.

## Example

```python
from tidewater import Table

table = Table.read("harbour.csv")
for tide in table.between("2026-05-01", "2026-05-08"):
    print(f"{tide.time:%a %H:%M}  {tide.height:5.2f} m  {'high' if tide.high else 'low'}")
```

### What it reads

| Format | Extension | Reads | Writes |
|:-------|:---------:|------:|-------:|
| Plain tables | `.csv` | yes | yes |
| Harmonics | `.hc` | yes | no |
| Archives of the harbour office, as they were sent between 1974 and 1996 | `.tap` | slowly | no |

1. Install it.
2. Point it at a harbour.
3. Wait for the water.

> The sea does not care about your time zone.

- [x] leap seconds
- [ ] leap years
  - nested, and a long word: Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft

---

Licensed under the terms of the MIT licence.
"""

HOSTILE = """\
# <script>alert('title')</script>

<script>alert('script')</script>

<img src=x onerror=alert('image')> <svg onload=alert('svg')></svg> <iframe src="https://evil.example/"></iframe>

<style>body { display: none }</style> <link rel=stylesheet href=https://evil.example/x.css> <base href=https://evil.example/>

[a link](javascript:alert('link')) [tabs](java&#x09;script:alert('tabs')) [data](data:text/html,<script>alert('data')</script>)
[vb](vbscript:msgbox) ![loads](https://evil.example/pixel.png) ![script](javascript:alert('src')) <javascript:alert('auto')>

[reference][r] <a href="javascript:alert('raw')" onclick="alert('click')">raw</a> <form action=https://evil.example/><input name=q></form>

[r]: javascript:alert('reference') "onmouseover=alert('title')"

<div id="main" class="skip" style="position:fixed;inset:0">over everything</div>

| <b onmouseover=alert('cell')>x</b> | y |
|---|---|
| `<script>alert('code')</script>` | \u202egnp.exe\u202c |

</div></main></body></html><script>alert('after')</script>
"""


def wheel(folder, name, version, tag="py3-none-any", summary="", age=0, description="", kind="text/markdown", fields=(), content=b""):
    """Writes a wheel that came so many hours after the first."""
    escaped = name.replace("-", "_").replace(".", "_").lower()
    info = f"{escaped}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Summary: {summary}"] if summary else []
    lines += [f"Description-Content-Type: {kind}"] if description else []
    files = {
        f"{escaped}/__init__.py": content,
        f"{info}/METADATA": ("\n".join([*lines, *fields]) + "\n\n" + description).encode(),
        f"{info}/WHEEL": ("Wheel-Version: 1.0\nGenerator: checks\nRoot-Is-Purelib: true\n" +
                          "".join(f"Tag: {py}-{abi}-{p}\n" for py in tag.split("-")[0].split(".") for abi in tag.split("-")[1].split(".")
                                  for p in tag.split("-")[2].split("."))).encode(),
    }
    record = "".join(f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(b).digest()).rstrip(b'=').decode()},{len(b)}\n"
                     for path, b in files.items())
    path = folder / f"{escaped}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as z:
        for member, b in {**files, f"{info}/RECORD": (record + f"{info}/RECORD,,\n").encode()}.items():
            z.writestr(zipfile.ZipInfo(member), b)
    os.utime(path, (START + age * HOUR,) * 2)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(120):
        wheel(folder, f"pkg-{i:03}", f"1.{i % 7}", summary=f"Number {i} of many small packages", age=i // 10)
    python = "Requires-Python: >=3.10"
    for i in range(40):
        wheel(folder, "tidewater", f"{i // 10}.{i % 10}", summary="Read, join and ask tide tables", age=20 + i * 24, description=README, fields=[
            python, "License-Expression: MIT", "Author-email: The harbour office <tides@example.com>",
            "Project-URL: Documentation, https://docs.example.com/tidewater/", "Project-URL: Source, https://code.example.com/tidewater",
            "Project-URL: Evil, javascript:alert('url')", "Requires-Dist: gridwork>=2.0,<4", "Requires-Dist: pkg-007",
            'Requires-Dist: not-held-here[fast]>=1.2; python_version < "3.12"', 'Requires-Dist: pkg-011; extra == "plots"', "Provides-Extra: plots",
        ])
    wheel(folder, "tidewater", "4.0rc1", summary="Read, join and ask tide tables", age=1000, description=README)
    for python_tag in ("cp310-cp310", "cp311-cp311", "cp312-cp312", "cp313-cp313", "cp313-cp313t", "pp311-pypy311_pp73"):
        for platform in ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64",
                         "macosx_11_0_arm64", "macosx_10_13_x86_64", "win_amd64", "win_arm64"):
            wheel(folder, "gridwork", "3.2.1", f"{python_tag}-{platform}", "Arrays on grids, fast", 990, "Gridwork\n========\n\n* fast\n* on grids\n\n.. image:: https://evil.example/x.png\n",
                  "text/x-rst", [python, "License: BSD"], b"#" * 40_000)
    wheel(folder, "gridwork", "2.9", "cp39-abi3-manylinux_2_28_x86_64", "Arrays on grids", 300)
    wheel(folder, "hostile", "1.0+local.1", summary="<script>alert('summary')</script> \u202edesrever", age=995, description=HOSTILE,
          fields=["License: <img src=x onerror=alert('licence')>", "Author: \"><script>alert('author')</script>",
                  "Home-page: javascript:alert('home')", "Project-URL: <b>x</b>, https://user:password@evil.example/"])
    wheel(folder, "tidewater", "3.95", summary="Read, join and ask tide tables", age=990)
    (folder / "tidewater-3.95-py3-none-any.whl.yanked").write_text("reads the tables of Rouen upside down")
    (folder / "pkg-100.status").write_text("archived: moved to pkg-101")
    wheel(folder, "a-name-that-is-much-longer-than-anybody-would-ever-want-to-type-into-a-terminal", "2026.11.26.post1", age=996,
          summary="A summary that goes on and on, since nobody told its author that a summary is one line of at most a few words, not a page")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
