#!/usr/bin/env bash
# image.sh: builds the image from the Dockerfile with buildah, and runs it as it is
# meant to be run: no root, no capabilities, nothing writable but the volume.
#
# As no registry is asked, the builder image is made of this machine's Go, a static
# busybox and the CA certificates; the Dockerfile is the very same. It needs root,
# buildah, python3 with pip, and for busybox Debian's packages. The last part
# installs flask through the server; it asks pip's own index for the wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
tmp=$(mktemp -d)
export BUILDAH_ISOLATION=chroot
buildah=(buildah --storage-driver "${STORAGE_DRIVER:-vfs}" --root "$tmp/storage" --runroot "$tmp/run")
running="" container="" builder=""
finish() {
	[ -z "$running" ] || kill -KILL "$running" 2>/dev/null || true
	for c in $container $builder; do "${buildah[@]}" umount "$c" >/dev/null 2>&1 || true; done
	"${buildah[@]}" rm --all >/dev/null 2>&1 || true
	rm -rf "$tmp"
}
trap finish EXIT
fail() { echo "FAILED: $*" >&2; [ ! -f "$tmp/log" ] || tail -n 20 "$tmp/log" >&2; exit 1; }
step() { echo "--- $*"; }

step "a builder image: Go, a shell, certificates"
busybox=$(command -v busybox || true)
if [ -z "$busybox" ]; then
	(cd "$tmp" && apt-get download -qq busybox-static 2>/dev/null && dpkg-deb -x busybox-static_*.deb busybox)
	busybox=$tmp/busybox/bin/busybox
fi
builder=$("${buildah[@]}" from scratch)
root=$("${buildah[@]}" mount "$builder")
mkdir -p "$root"/{bin,tmp,root,etc/ssl/certs,usr/local}
cp "$busybox" "$root/bin/busybox"
for applet in sh mkdir; do ln -s busybox "$root/bin/$applet"; done
cp -r "$("$go" env GOROOT)" "$root/usr/local/go"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
"${buildah[@]}" config --env PATH=/usr/local/go/bin:/bin --env HOME=/root --env GOTOOLCHAIN=local "$builder"
"${buildah[@]}" umount "$builder" >/dev/null
"${buildah[@]}" commit -q --rm "$builder" localhost/builder >/dev/null
builder=""

step "the image"
"${buildah[@]}" build -q --format docker --build-arg BUILDER=localhost/builder --build-arg VERSION=1.2.3 \
	--volume "$("$go" env GOMODCACHE):/root/go/pkg/mod" --volume "$("$go" env GOCACHE):/root/.cache/go-build" \
	--env GOFLAGS=-buildvcs=false -t localhost/curd-server . >/dev/null
container=$("${buildah[@]}" from localhost/curd-server)
rootfs=$("${buildah[@]}" mount "$container")
find "$rootfs" -xdev -type f -printf '%s\t/%P\n'
"${buildah[@]}" inspect --type image localhost/curd-server >"$tmp/image.json"
python3 - "$tmp" <<'PY'
import json, sys
tmp = sys.argv[1]
image = json.load(open(tmp + "/image.json"))["Docker"]["config"]
assert image["User"] == "65532:65532", image["User"]
assert list(image["ExposedPorts"]) == ["8000/tcp"] and list(image["Volumes"]) == ["/data"], image
assert image["Healthcheck"]["Test"] == ["CMD", "/usr/bin/curd-server", "health"], image["Healthcheck"]
assert image["Entrypoint"] == ["/usr/bin/curd-server"] and not image.get("Cmd"), image
open(tmp + "/env", "w").write("\n".join(image["Env"]))
PY

step "it runs"
url=http://127.0.0.1:18473
# What docker run --read-only --cap-drop ALL --user of the image --network host -v data:/data does, by hand: no
# container runtime runs everywhere that this is to run.
mapfile -t environment <"$tmp/env"
mkdir "$tmp/data" && chown 65532:65532 "$tmp/data"
env -i "${environment[@]}" CURD_SERVER_HOST=127.0.0.1 CURD_SERVER_PORT=18473 CURD_SERVER_MAX_UPLOAD=50MB PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	unshare --mount sh -euc '
	mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && mount --bind "$2" "$1/data"
	exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec=65532:65532 --groups= "$1" /usr/bin/curd-server
' sh "$rootfs" "$tmp/data" >"$tmp/log" 2>&1 &
running=$!
# inside ARGS...: the program again, where the first one runs.
inside() {
	env -i "${environment[@]}" CURD_SERVER_PORT=18473 CURD_SERVER_MAX_UPLOAD=50MB nsenter -t $running --mount --root --wd --setgid 65532 --setuid 65532 /usr/bin/curd-server "$@"
}
for _ in $(seq 150); do
	inside health >"$tmp/health" 2>/dev/null && break
	kill -0 $running 2>/dev/null || fail "it ended"
	sleep 0.2
done
grep -q '"uploads":"can be kept"' "$tmp/health" || fail "health check: $(cat "$tmp/health")"
cat "$tmp/health"
grep -E '^(Uid|CapEff|NoNewPrivs)' "/proc/$running/status"
grep -qE '^Uid:\s+65532\s+65532' "/proc/$running/status" || fail "it is not the user 65532"
grep -qE '^CapEff:\s+0+$' "/proc/$running/status" || fail "it has capabilities"
awk '$2 == "/" && $4 !~ /(^|,)ro(,|$)/ { exit 1 }' "/proc/$running/mounts" || fail "its root can be written"
[ "$(inside --version)" = 'curd-server 1.2.3' ] || fail "version"
inside config | grep -E '^(directory|max-upload|port) '
! inside health http://127.0.0.1:1 2>/dev/null || fail "a health check of nothing succeeds"

step "flask through it"
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" download -q --disable-pip-version-check -d "$tmp/wheels" flask
for wheel in "$tmp"/wheels/*.whl; do
	python3 - "$wheel" "$url/p/$(basename "$wheel")" <<'PY'
import sys, urllib.request
r = urllib.request.Request(sys.argv[2], open(sys.argv[1], "rb").read(), method="PUT")
assert urllib.request.urlopen(r).status == 201
PY
done
"$tmp/venv/bin/pip" install -q --disable-pip-version-check --no-cache-dir --index-url "$url/simple/" flask
"$tmp/venv/bin/python" -c 'import flask; print("flask is installed from", flask.__file__.split("/")[-3])'
[ "$(find "$tmp/data" -maxdepth 1 -name '*.whl' -user 65532 | wc -l)" = "$(ls "$tmp/wheels" | wc -l)" ] || fail "the volume does not hold the wheels"

step "it stops when told"
kill -TERM $running
wait $running || fail "exit code $?"
running=""
grep -q '"hits":' "$tmp/data/.curdling/counters.json" || fail "no counters"
echo "ok: $(du -sh "$rootfs" | cut -f1) image"
