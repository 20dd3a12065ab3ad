#!/bin/sh
# Shows the main job: flask into a new virtualenv from the index, through a cache
# server that is warmed by it; then into a second one, on a "machine" with an
# empty home and no index, from the cache alone.
set -eu
tmp=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT INT TERM
here=$(cd "$(dirname "$0")" && pwd)

# htpasswd without Apache's tools: {SHA} is base64 of SHA-1.
printf 'ci:{SHA}%s\n' "$(python3 -c 'import base64, hashlib; print(base64.b64encode(hashlib.sha1(b"secret").digest()).decode())')" >"$tmp/users"
"$here/bin/curd-server" -H 127.0.0.1 -p 0 -u "$tmp/users" "$tmp/wheels" >"$tmp/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do
	url=$(sed -n 's/.*\(http:\/\/[^ ,]*\).*/\1/p' "$tmp/server.log" | head -n 1)
	[ -z "$url" ] || break
	sleep 0.1
done
[ -n "$url" ] || { cat "$tmp/server.log"; exit 1; }
CURD_CACHES="http://ci:secret@${url#http://}"
export CURD_CACHES

for n in first second; do
	python3 -m venv --without-pip "$tmp/$n"
done
now() { python3 -c 'import time; print(time.time())'; }

echo "== first machine: from the index, and up to the cache at $url"
t0=$(now)
CURD_CACHE="$tmp/home1" "$here/bin/curd" install --python "$tmp/first" -u flask
t1=$(now)
echo "== second machine: from the cache alone (no index can be reached)"
CURD_CACHE="$tmp/home2" "$here/bin/curd" install --python "$tmp/second" -i http://127.0.0.1:9/simple flask
t2=$(now)

for n in first second; do
	"$tmp/$n/bin/python" -c 'import flask; print("import flask: ok, from", flask.__file__.split("/")[-5])'
done
python3 -c "print('first machine: %.2f s, second machine: %.2f s' % ($t1 - $t0, $t2 - $t1))"
