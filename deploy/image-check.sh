#!/bin/sh
# Build the image without a container engine and run it as deploy/compose.yaml does: uid 10001, no capability, read-only
# root. It needs root on Debian with buildah, debootstrap and util-linux, a Debian mirror and a package index.
#
#   IMAGE_CHECK_DIR   where base and layers are kept (default /var/tmp/live-memory-image); remove it to start afresh
#   PYTHON_IMAGE      a base that buildah can have; by default one is made by debootstrap
#   BUILD_ARGS        more arguments for buildah, such as --volume for a certificate or a pip.conf
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "image-check changes roots and mounts: run it as root." >&2; exit 1; }
for tool in buildah debootstrap unshare setpriv; do
  command -v "$tool" >/dev/null || { echo "image-check needs $tool: apt-get install buildah debootstrap util-linux" >&2; exit 1; }
done

work=${IMAGE_CHECK_DIR:-/var/tmp/live-memory-image}
image=localhost/live-memory:check
mkdir -p "$work"
bud() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
fail() { echo "image-check: $*" >&2; [ ! -s "$work/log" ] || tail -n 30 "$work/log" >&2; exit 1; }
now() { date +%s%N; }

container='' server='' data=''
tidy() {
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  [ -z "$container" ] || bud rm "$container" >/dev/null 2>&1 || true
  [ -z "$data" ] || rm -rf "$data"
}
trap tidy EXIT

if [ -z "${PYTHON_IMAGE:-}" ]; then
  PYTHON_IMAGE=localhost/python-base:bookworm
  if ! bud inspect --type image "$PYTHON_IMAGE" >/dev/null 2>&1; then
    echo "Making a base with debootstrap ..."
    rm -rf "$work/base"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$work/base" >"$work/log" 2>&1 \
      || fail "debootstrap failed"
    container=$(bud from scratch)
    bud add "$container" "$work/base" / >/dev/null
    bud commit -q "$container" "$PYTHON_IMAGE" >/dev/null
    bud rm "$container" >/dev/null
    container=''
    rm -rf "$work/base"
  fi
fi

echo "Building ..."
# The docker format, because the other one has no place for a health check.
# shellcheck disable=SC2086 # BUILD_ARGS is several words
bud bud --format docker --isolation chroot --pull-never ${BUILD_ARGS:-} \
  --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --tag "$image" . >"$work/log" 2>&1 || fail "the build failed"

echo "Looking at it ..."
is() {
  found=$(bud inspect --type image --format "{{$1}}" "$image")
  [ "$found" = "$2" ] || fail "$1 is '$found', not '$2'"
}
is .Docker.Config.User 10001:10001
is .Docker.Config.Entrypoint '[live-memory]'
is .Docker.Config.Cmd '[serve]'
is .Docker.Config.StopSignal SIGTERM
is .Docker.Config.Healthcheck.Test '[CMD live-memory healthcheck]'
is .Docker.Config.ExposedPorts 'map[8002/tcp:{}]'
is .Docker.Config.Volumes 'map[/data:{}]'

container=$(bud from --pull-never "$image")
root=$(bud mount "$container")
for name in pip pip3 gcc cc make uv; do
  ! chroot "$root" /bin/sh -c "PATH=/opt/live-memory/bin:\$PATH command -v $name" >/dev/null || fail "the image holds $name"
done
[ ! -e "$root/root/.cache" ] && [ ! -e "$root/build" ] && [ ! -e "$root/src" ] || fail "the image holds what built it"
owned=$(find "$root" -xdev \( -uid 10001 -o -gid 10001 \) ! -path "$root/data" | head -n 3)
[ -z "$owned" ] || fail "the service owns $owned"
loose=$(find "$root/opt" -xdev ! -type l -perm /022 | head -n 3)
[ -z "$loose" ] || fail "others may write $loose"

# One command of the image, in a mount namespace of its own: read-only root, /tmp that cannot execute, /data.
data=$(mktemp -d "$work/data.XXXXXX")
chown 10001:10001 "$data"
chmod 0700 "$data"
port=$((20000 + $$ % 20000))
inside() {
  # shellcheck disable=SC2016 # the inner shell expands it
  exec unshare --mount --propagation private /bin/sh -eu -c '
    root=$1 data=$2 port=$3; shift 3
    mount --bind "$root" "$root"
    mount -t tmpfs -o size=64m,noexec,nosuid,nodev,mode=1777 tmpfs "$root/tmp"
    mount --bind "$data" "$root/data"
    mount --rbind /dev "$root/dev"
    mount -o remount,bind,ro "$root"
    cd /
    exec env -i PATH=/opt/live-memory/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json \
      LIVE_MEMORY_DATA_DIR=/data MCP_SERVER_HOST=0.0.0.0 MCP_SERVER_PORT="$port" \
      chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs \
      --inh-caps=-all --bounding-set=-all "$@"
  ' inside "$root" "$data" "$port" "$@"
}

! (inside touch /opt/live-memory/planted) 2>/dev/null || fail "the root file system can be written"
! (inside touch /planted) 2>/dev/null || fail "the root file system can be written"
(inside touch /tmp/planted /data/planted) || fail "/tmp and /data cannot be written"

start() {
  begun=$(now)
  inside live-memory serve >"$work/log" 2>&1 &
  server=$!
  tries=0
  until grep -q 'is serving' "$work/log"; do
    kill -0 "$server" 2>/dev/null || fail "the service ended by itself"
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the service does not start"
    sleep 0.1
  done
  (inside live-memory healthcheck) || fail "the service is not healthy"
  seconds=$(awk "BEGIN {printf \"%.1f\", ($(now) - $begun) / 1e9}")
}
stop() {
  kill -TERM "$server"
  status=0
  wait "$server" || status=$?
  server=''
  [ "$status" = 0 ] || fail "SIGTERM ended it with status $status"
}
call() {
  (inside python3 -c '
import sys
from pathlib import Path
from urllib.request import Request, urlopen
method, url, body = sys.argv[1:]
key = Path("/data/bootstrap.key").read_text().strip()
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
with urlopen(Request(url, body.encode() or None, headers, method=method), timeout=10) as answer:
    print(answer.read().decode())
' "$1" "http://127.0.0.1:$port$2" "${3:-}")
}

echo "Running it as uid 10001 ..."
start
first=$seconds
for line in 'Uid:.10001.10001' 'NoNewPrivs:.1' 'CapEff:.0000000000000000' 'CapBnd:.0000000000000000'; do
  grep -q "^$line" "/proc/$server/status" || fail "the process is not as it should be: $line"
done
memory=$(awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$server/status")
call POST /api/v1/spaces '{"space_id": "image", "description": "Checked", "rules": "# Rules\n\n## notes.md\nAll.\n"}' >/dev/null
call POST /api/v1/spaces/image/notes '{"category": "decision", "content": "The image keeps what it is told."}' >/dev/null
stop
start
call GET /api/v1/spaces/image/notes | grep -q 'The image keeps what it is told' || fail "the note is lost after a restart"
stop

size=$(bud images --format '{{.Size}}' "$image")
base=$(bud images --format '{{.Size}}' "$PYTHON_IMAGE")
added=$(du -sm "$root/opt/live-memory" | cut -f1)
echo "image-check: passed."
echo "  size     $size, of which the base is $base and the service $added MB"
echo "  healthy  $first s after the first start, $seconds s after the second; $memory MB resident"
