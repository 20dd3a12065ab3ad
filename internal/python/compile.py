# Compiles sources to bytecode for package python. Each line of the input is
# JSON: [source, target, name]. Each is answered with a line: "1" where target
# was made, "0" where the source does not compile, else why it cannot be told.
import errno
import json
import py_compile
import sys


def compile(source, target, name):
    try:
        mode = py_compile.PycInvalidationMode.TIMESTAMP
        py_compile.compile(source, target, name, doraise=True, invalidation_mode=mode)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "0"
        return ascii(str(error))
    except Exception:
        return "0"
    return "1"


def main():
    print("ready", flush=True)
    for line in sys.stdin.buffer:
        print(compile(*json.loads(line.decode("utf-8"))), flush=True)


main()
