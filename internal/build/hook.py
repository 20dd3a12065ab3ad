"""Calls one hook of a build backend (PEP 517 and PEP 660), Python 3.6 and later.

The only argument is a folder. Its call.json says what to call:
{"backend": "module:object", "path": [folders], "hook": name, "args": [...],
"offline": whether it runs in a network of its own, whose loopback is down}.
answer.json is written when the hook has returned: {"value": ...},
{"missing": true} where the backend has no such hook, or {"import": message}
where there is no such backend. An exception of the hook ends the process.
"""

import importlib
import json
import os
import sys
import traceback


def load(backend, path):
    module, _, attributes = backend.partition(":")
    sys.path[:0] = path
    found = importlib.import_module(module)
    origin = os.path.realpath(getattr(found, "__file__", None) or os.devnull)
    if path and not any(origin.startswith(os.path.join(os.path.realpath(p), "")) for p in path):
        raise ImportError("it was found outside of backend-path: " + origin)
    for name in filter(None, attributes.split(".")):
        found = getattr(found, name)
    return found


def raise_loopback():
    import fcntl
    import socket
    import struct
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
    except OSError as error:
        print("the build has no loopback:", error)


def answer(call):
    try:
        backend = load(call["backend"], call["path"])
    except Exception as error:
        where = error.__traceback__
        while where.tb_next and "importlib" in where.tb_next.tb_frame.f_code.co_filename:
            where = where.tb_next
        traceback.print_exception(type(error), error, where.tb_next)
        return {"import": "%s: %s" % (type(error).__name__, error)}
    hook = getattr(backend, call["hook"], None)
    if hook is None:
        return {"missing": True}
    return {"value": hook(*call["args"])}


def main(folder):
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    with open(os.path.join(folder, "call.json"), encoding="utf-8") as file:
        call = json.load(file)
    if call.get("offline"):
        raise_loopback()
    text = json.dumps(answer(call))
    with open(os.path.join(folder, "answer.json"), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
