#!/bin/sh
# wheels-test.sh WHEELS CURD CURD_SERVER: serves the folder of our own wheels and
# installs `curdling[server]` from there with curd, pip and (where it is found)
# uv, as this machine's wheels. Nothing but loopback is dialled.
set -eu
wheels=$1 curd=$(realpath "$2") server=$(realpath "$3")
tmp=$(mktemp -d)
pid=""
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$tmp"' EXIT INT TERM

cp -r "$wheels" "$tmp/served"
"$server" -H 127.0.0.1 -p 0 "$tmp/served" >"$tmp/log" 2>&1 &
pid=$!
for _ in $(seq 100); do
	url=$(sed -n 's/.*\(http:\/\/[^ ,]*\).*/\1/p' "$tmp/log" | head -n 1)
	[ -z "$url" ] || break
	sleep 0.1
done
[ -n "$url" ] || { cat "$tmp/log"; exit 1; }
index=$url/simple/
export CURD_CACHE="$tmp/curds" HOME="$tmp" UV_CACHE_DIR="$tmp/uv" PIP_CONFIG_FILE=/dev/null PIP_NO_CACHE_DIR=1

# try NAME: the programs of an environment start, and know their version.
try() {
	"$tmp/$1/bin/curd" --version
	"$tmp/$1/bin/curd-server" --version
	"$tmp/$1/bin/curd-server" --help >/dev/null
	echo "ok: $1"
}

python3 -m venv --without-pip "$tmp/by-curd"
"$curd" install --python "$tmp/by-curd" -i "$index" 'curdling[server]'
try by-curd
"$tmp/by-curd/bin/curd" uninstall --python "$tmp/by-curd" curdling curdling-server
[ ! -e "$tmp/by-curd/bin/curd" ] && [ ! -e "$tmp/by-curd/bin/curd-server" ]

python3 -m venv "$tmp/by-pip"
"$tmp/by-pip/bin/pip" install --quiet --disable-pip-version-check --pre --index-url "$index" 'curdling[server]'
"$tmp/by-pip/bin/pip" check
try by-pip

if command -v uv >/dev/null; then
	python3 -m venv --without-pip "$tmp/by-uv"
	uv pip install --quiet --python "$tmp/by-uv" --default-index "$index" 'curdling[server]'
	try by-uv
else
	echo "passed over: uv is not installed"
fi
