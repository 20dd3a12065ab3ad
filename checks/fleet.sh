#!/usr/bin/env bash
# fleet.sh: runs compose.fleet.yaml as it stands, by Docker Compose over podman: two servers, an S3 server and nginx; then
# replaces both servers under load, as the file's first lines say.
#
# As no registry is asked, the images are made here: curd-server by the Dockerfile, with this machine's Go; nginx of Debian's
# unstable; versitygw of .tools with the entry point of its own image; a static busybox. It needs root, podman with crun, netavark
# and aardvark-dns, python3, and the port 8000; Docker Compose 2 is taken from Debian's unstable, where COMPOSE does not name one.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${FLEET_TMP:-}" ]; then # podman knows cgroups of version 1 or 2, and not a machine that has both
	export FLEET_TMP; FLEET_TMP=$(mktemp -d)
	exec unshare --mount --propagation private bash -c 'umount /sys/fs/cgroup/unified 2>/dev/null || true; exec "$0" "$@"' "checks/${0##*/}" "$@"
fi
go=${GO:-go}
tmp=$FLEET_TMP
export BUILDAH_ISOLATION=chroot CONTAINERS_CONF=$tmp/containers.conf DOCKER_HOST=unix://$tmp/podman.sock
export S3_ACCESS_KEY=curd S3_SECRET_KEY=secret-of-this-check
hard=$(ulimit -Hn) && printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=4096:4096"]\n' "$hard" "$hard" >"$CONTAINERS_CONF"
podman=(podman --root "$tmp/storage" --runroot "$tmp/run" --tmpdir "$tmp/libpod" --network-config-dir "$tmp/networks" --storage-driver "${STORAGE_DRIVER:-vfs}" --cgroup-manager cgroupfs)
compose=() jobs=()
finish() {
	[ ${#compose[@]} = 0 ] || "${compose[@]}" down -v -t 10 >/dev/null 2>&1 || true
	for job in "${jobs[@]}"; do kill "$job" 2>/dev/null || true; done
	"${podman[@]}" rm -fa >/dev/null 2>&1 || true
	"${podman[@]}" network prune -f >/dev/null 2>&1 || true
	rm -rf "$tmp"
}
trap finish EXIT
fail() {
	echo "FAILED: $*" >&2
	"${compose[@]}" logs --tail 1000 balancer 2>/dev/null | grep -F '[error]' | tail -n 10 >&2 || true
	"${compose[@]}" logs --tail 10 curd-1 curd-2 >&2 2>/dev/null || true
	exit 1
}
step() { echo "--- $*"; }

# image NAME FOLDER CHANGE...: what lies in a folder as an image.
image() {
	local name=$1 folder=$2 changes=() c
	shift 2
	for c in "$@"; do changes+=(--change "$c"); done
	tar -C "$folder" -c . | "${podman[@]}" import -q "${changes[@]}" - "$name" >/dev/null
}
# unstable PACKAGE...: packages of Debian's unstable with what they need, unpacked into the folder of the first one's name.
unstable() {
	local apt=$tmp/apt name=$1
	if [ ! -d "$apt" ]; then
		mkdir -p "$apt"/etc/apt/{preferences.d,apt.conf.d,trusted.gpg.d} "$apt"/var/lib/apt/lists/partial "$apt"/var/cache/apt/archives/partial "$apt"/var/lib/dpkg
		: >"$apt/var/lib/dpkg/status"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" >"$apt/etc/apt/sources.list"
		printf 'Dir "%s"; Dir::State::status "%s"; Dir::Bin::methods "/usr/lib/apt/methods"; APT::Sandbox::User "root"; Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false"; Acquire::Languages "none"; Acquire::Check-Valid-Until "false";\n' \
			"$apt" "$apt/var/lib/dpkg/status" >"$tmp/apt.conf"
		APT_CONFIG=$tmp/apt.conf apt-get update -qq
	fi
	rm -f "$apt"/var/cache/apt/archives/*.deb
	APT_CONFIG=$tmp/apt.conf apt-get install --download-only -y -qq --no-install-recommends "$@" >/dev/null
	mkdir "$tmp/$name"
	for link in bin sbin lib lib64; do mkdir -p "$tmp/$name/usr/$link" && ln -s "usr/$link" "$tmp/$name/$link"; done
	for deb in "$apt"/var/cache/apt/archives/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$tmp/$name" -x --keep-directory-symlink; done
}

step "images"
busybox=$(command -v busybox || true)
if [ -z "$busybox" ]; then
	(cd "$tmp" && apt-get download -qq busybox-static 2>/dev/null && dpkg-deb -x busybox-static_*.deb busybox-static)
	busybox=$tmp/busybox-static/bin/busybox
fi
mkdir -p "$tmp"/{busybox,gateway,builder}/{bin,tmp}
for root in busybox gateway builder; do
	cp "$busybox" "$tmp/$root/bin/busybox"
	for applet in sh mkdir; do ln -s busybox "$tmp/$root/bin/$applet"; done
done
image localhost/busybox "$tmp/busybox"

mkdir -p "$tmp"/gateway/usr/local/bin
install -m 755 .tools/versitygw "$("$go" env GOMODCACHE)/github.com/versity/versitygw@v1.8.0/docker-entrypoint.sh" "$tmp/gateway/usr/local/bin/"
for library in $(ldd .tools/versitygw | grep -o '/[^ ]*'); do cp -L --parents "$library" "$tmp/gateway"; done
image localhost/versity/versitygw:v1.8.0 "$tmp/gateway" 'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]'

unstable nginx
cat >"$tmp/nginx/etc/nginx/nginx.conf" <<'NGINX'
user www-data;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	include /etc/nginx/conf.d/*.conf;
}
NGINX
mkdir -p "$tmp"/nginx/{run,tmp,dev,proc,etc/nginx/conf.d,var/lib/nginx,var/log/nginx}
echo 'root:x:0:0::/:/bin/sh
www-data:x:33:33::/:/bin/sh' >"$tmp/nginx/etc/passwd"
echo 'root:x:0:
www-data:x:33:' >"$tmp/nginx/etc/group"
image localhost/nginx:1.28 "$tmp/nginx" 'CMD ["/usr/sbin/nginx", "-g", "daemon off;"]' 'STOPSIGNAL SIGQUIT'

mkdir -p "$tmp"/builder/{root,etc/ssl/certs}
cp -L /etc/ssl/certs/ca-certificates.crt "$tmp/builder/etc/ssl/certs/"
image localhost/builder "$tmp/builder" 'ENV PATH=/usr/local/go/bin:/bin' 'ENV HOME=/root' 'ENV GOTOOLCHAIN=local'
# build VERSION: the image of the servers.
build() {
	"${podman[@]}" build -q --format docker --build-arg BUILDER=localhost/builder --build-arg VERSION="$1" \
		--volume "$("$go" env GOROOT):/usr/local/go:ro" --volume "$("$go" env GOMODCACHE):/root/go/pkg/mod" --volume "$("$go" env GOCACHE):/root/.cache/go-build" \
		--env GOFLAGS=-buildvcs=false -t localhost/curd-server . >/dev/null
}
build 1.2.3

step "the file is a compose file, and asks for what it lacks"
program=${COMPOSE:-}
if [ -z "$program" ]; then
	unstable docker-compose
	program=$tmp/docker-compose/usr/libexec/docker/cli-plugins/docker-compose
fi
compose=("$program" -p curd-fleet -f compose.fleet.yaml)
"${compose[@]}" version
"${compose[@]}" config -q
! S3_SECRET_KEY= "${compose[@]}" config -q 2>"$tmp/said" || fail "it takes no key for one"
grep -q 'S3_SECRET_KEY is missing a value: set it in .env' "$tmp/said"

step "it runs"
"${podman[@]}" system service --time 0 "$DOCKER_HOST" >"$tmp/podman.log" 2>&1 &
jobs+=($!)
until [ -S "$tmp/podman.sock" ]; do sleep 0.1; done
"${compose[@]}" up -d --no-build
container() { "${podman[@]}" inspect -f "$2" "curd-fleet-$1-1"; }
pid() { container "$1" '{{.State.Pid}}'; }
(while sleep 1; do for i in 1 2; do "${podman[@]}" healthcheck run "curd-fleet-curd-$i-1" >/dev/null 2>&1 || true; done; done) & # what a service manager does for podman
health=$!
jobs+=($health)
url=http://127.0.0.1:8000
for _ in $(seq 60); do
	[ "$(container curd-1 '{{.State.Healthcheck.Status}}') $(container curd-2 '{{.State.Healthcheck.Status}}')" = "healthy healthy" ] && curl -fsS "$url/readyz" 2>/dev/null && echo && break
	sleep 1
done
"${compose[@]}" ps -a
for i in 1 2; do
	status=/proc/$(pid "curd-$i")/status mounts=/proc/$(pid "curd-$i")/mounts
	grep -qE '^Uid:\s+65532\s+65532' "$status" || fail "curd-$i is not the user 65532"
	grep -qE '^CapEff:\s+0+$' "$status" || fail "curd-$i has capabilities"
	grep -qE '^NoNewPrivs:\s+1$' "$status" || fail "curd-$i may get privileges"
	awk '$2 == "/" && $4 !~ /(^|,)ro(,|$)/ || $2 == "/data" && $4 !~ /(^|,)rw(,|$)/ { exit 1 }' "$mounts" || fail "curd-$i can write its root, or not its cache"
	[ "$(container "curd-$i" '{{.Config.StopTimeout}} {{.HostConfig.RestartPolicy.Name}}')" = "40 unless-stopped" ] || fail "curd-$i is stopped or started otherwise"
done
awk '$2 == "/etc/nginx/conf.d/default.conf" && $4 ~ /(^|,)ro(,|$)/ { found = 1 } END { exit !found }' "/proc/$(pid balancer)/mounts" || fail "nginx can write its file"

step "a server that is killed comes back"
kill -KILL "$(pid curd-2)"
for _ in $(seq 60); do [ "$(container curd-2 '{{.RestartCount}} {{.State.Healthcheck.Status}}')" = "1 healthy" ] && break; sleep 1; done
[ "$(container curd-2 '{{.RestartCount}}')" = 1 ] || fail "curd-2 was not started again"

step "a new version, under load"
cat >"$tmp/load.py" <<'PY'
"""Uploads wheels, and reads pages and files, until a file is there; ends with 1 where anything failed."""
import base64, hashlib, io, os, sys, threading, time, urllib.request, zipfile
url, stop = sys.argv[1:]
done, failed = [], []

def wheel(name, version):
    info = f"{name}-{version}.dist-info"
    texts = {f"{name}.py": "x = 1\n", f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: check\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    hashed = {n: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b"=").decode() for n, t in texts.items()}
    texts[f"{info}/RECORD"] = "".join(f"{n},sha256={h},{len(texts[n])}\n" for n, h in hashed.items()) + f"{info}/RECORD,,\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as z:
        for n, text in texts.items():
            z.writestr(n, text)
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()

def ask(path, body=None):
    with urllib.request.urlopen(urllib.request.Request(url + path, body, method="PUT" if body else "GET"), timeout=60) as r:
        return r.read()

def work(project):
    n = 0
    while not os.path.exists(stop):
        name, content = wheel(project, f"1.{n}")
        n += 1
        for what, right in [("upload", lambda: ask("/p/" + name, content) is not None), ("file", lambda: ask("/p/" + name) == content),
                            ("page", lambda: name.encode() in ask(f"/simple/{project}/") or time.sleep(1) or name.encode() in ask(f"/simple/{project}/"))]:
            try:
                (done if right() else failed).append(f"{what} {name}")
            except Exception as e:
                failed.append(f"{what} {name}: {e}")
        time.sleep(0.05)

threads = [threading.Thread(target=work, args=[f"load{i}"]) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{len(done)} uploads, files and pages; {len(failed)} failed")
print(*failed[:10], sep="\n", end="")
sys.exit(bool(failed))
PY
build 1.2.4
python3 "$tmp/load.py" "$url" "$tmp/stop" >"$tmp/load" &
load=$!
sleep 2
for i in 1 2; do
	"${compose[@]}" up -d --no-build --no-deps --wait "curd-$i"
	[ "$("${podman[@]}" exec "curd-fleet-curd-$i-1" /usr/bin/curd-server --version)" = 'curd-server 1.2.4' ] || fail "curd-$i is not the new version"
done
sleep 2
touch "$tmp/stop"
wait "$load" || fail "$(cat "$tmp/load")"
cat "$tmp/load"

step "it stops when told"
kill "$health" && wait "$health" 2>/dev/null || true
"${compose[@]}" stop 2>/dev/null
for i in 1 2; do [ "$(container "curd-$i" '{{.State.ExitCode}}')" = 0 ] || fail "curd-$i ended with $(container "curd-$i" '{{.State.ExitCode}}')"; done
objects=$("${podman[@]}" volume inspect -f '{{.Mountpoint}}' curd-fleet_objects)/curdling/wheels
lines=$(cat "$objects"/audit/*/*.jsonl | grep '"action":"upload"')
echo "$(find "$objects/wheels" -name '*.whl' -path '*/load*/load*' -not -path '*/*/*/load*/*/*' | wc -l) claims, $(echo "$lines" | grep -c '"status":201') lines of the audit log"
! echo "$lines" | grep -v '"remote":"10.99.0.1"' || fail "the log takes nginx for the client"
echo "ok"
