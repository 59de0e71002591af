#!/usr/bin/env bash
# Makes sure that what the tests start is there: Redis, NATS, Mosquitto with its clients, tcpdump, tshark, Prometheus,
# promtool, Chromium, better-sqlite3, and paho-mqtt for Python.
# Each is looked for in this order: an environment variable that names the binary, the PATH with /usr/sbin,
# apt-get (as root or with sudo that asks nothing), a Docker engine. Silent when all are there already.
# Says in one line what it installs and how before it does. TOPICGATE_NO_INSTALL=1: installs nothing.
# Exits 69 (service unavailable) with a hint when one cannot be had.
set -euo pipefail

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
cd "${BASH_SOURCE[0]%/*}/.."

# Where wrappers around container images go; test/support/server.ts looks there too.
readonly shims="$PWD/node_modules/.cache/topicgate/bin"

# program | environment variable | Debian package | image; without an image it has to be installed
servers='
redis-server|TOPICGATE_REDIS_SERVER|redis-server|redis:7-alpine
nats-server|TOPICGATE_NATS_SERVER|nats-server|nats:2-alpine
mosquitto|TOPICGATE_MOSQUITTO|mosquitto|eclipse-mosquitto:2
mosquitto_pub|TOPICGATE_MOSQUITTO_PUB|mosquitto-clients|eclipse-mosquitto:2
mosquitto_sub|TOPICGATE_MOSQUITTO_SUB|mosquitto-clients|eclipse-mosquitto:2
tcpdump|TOPICGATE_TCPDUMP|tcpdump|
tshark|TOPICGATE_TSHARK|tshark|
prometheus|TOPICGATE_PROMETHEUS|prometheus|prom/prometheus
promtool|TOPICGATE_PROMTOOL|prometheus|prom/prometheus
chromium|TOPICGATE_CHROMIUM|chromium|
'
# Large, and for npm run test:long only.
[[ "${TOPICGATE_LONG:-}" != 1 ]] || servers+='rabbitmq-server|TOPICGATE_RABBITMQ|rabbitmq-server|
'
readonly servers

say() { printf 'ensure-servers: %s\n' "$*" >&2; }

present() { # program, environment variable
  local named="${!2:-}"
  if [[ -n "$named" ]]; then
    [[ -x "$named" ]] && return 0
    say "$2 names $named, which cannot be run; correct it or unset it"
    exit 69
  fi
  [[ -x "$shims/$1" ]] || command -v "$1" >/dev/null
}

# Lines of the table above whose program is missing.
list_missing() {
  local program variable package image
  while IFS='|' read -r program variable package image; do
    [[ -z "$program" ]] || present "$program" "$variable" || printf '%s|%s|%s|%s\n' "$program" "$variable" "$package" "$image"
  done <<<"$servers"
}

become_root() {
  if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() { [[ "${TOPICGATE_NO_INSTALL:-}" != 1 ]]; }

# Installs Debian packages without starting their services: a server of the system on a well-known port would
# only stand in the way of those that tests start for themselves.
install_with_apt() {
  may_install || return 1
  command -v apt-get >/dev/null || return 1
  become_root true 2>/dev/null </dev/null || return 1
  say "installing packages of the system: apt-get install -y --no-install-recommends $* (TOPICGATE_NO_INSTALL=1 prevents it)"
  local policy=/usr/sbin/policy-rc.d log wrote_policy=0 status=0
  log="$(mktemp)"
  if [[ ! -e "$policy" ]]; then
    printf '#!/bin/sh\nexit 101\n' | become_root tee "$policy" >/dev/null
    become_root chmod 755 "$policy"
    wrote_policy=1
  fi
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  { become_root "${apt[@]}" update && become_root "${apt[@]}" install -y --no-install-recommends "$@"; } \
    >"$log" 2>&1 </dev/null || status=$?
  [[ "$wrote_policy" == 0 ]] || become_root rm -f "$policy"
  if [[ "$status" != 0 ]]; then
    say "apt-get failed ($status):"
    tail -n 15 "$log" >&2
  fi
  rm -f "$log"
  hash -r
  return "$status"
}

# Writes a program that runs the same one inside a container on the host's network.
wrap_containers() {
  may_install || return 1
  command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1 </dev/null || return 1
  mkdir -p "$shims"
  local program image
  while IFS='|' read -r program _ _ image; do
    [[ -n "$image" ]] || continue
    say "wrapping $program of the image $image"
    docker pull -q "$image" >/dev/null </dev/null || return 1
    printf '#!/bin/sh\nexec docker run --rm -i --init --network host -v /tmp:/tmp --entrypoint %s %s "$@"\n' \
      "$program" "$image" >"$shims/$program"
    chmod 755 "$shims/$program"
  done <<<"$1"
}

# better-sqlite3 is no dependency: where no binary can be downloaded it is built from source, which takes a compiler
# and more than a minute. So it is installed once, beside the dependencies.
readonly sqlite_version=12.11.1
readonly sqlite="$PWD/node_modules/.cache/topicgate/better-sqlite3"

# Also asks whether it fits this version of Node.
sqlite_works() {
  node -e "
    const home = process.argv[1] + '/node_modules/better-sqlite3'
    if (require(home + '/package.json').version !== '$sqlite_version') process.exit(1)
    new (require(home))(':memory:').close()" "$sqlite" >/dev/null 2>&1
}

ensure_sqlite() {
  sqlite_works && return 0
  if ! may_install; then
    say "better-sqlite3 $sqlite_version is missing, and TOPICGATE_NO_INSTALL is set. Unset it, or run: npm run test:unit"
    exit 69
  fi
  local program wanted=() build log
  for program in g++ make python3; do command -v "$program" >/dev/null || wanted+=("$program"); done
  [[ "${#wanted[@]}" == 0 ]] || install_with_apt "${wanted[@]}" || true
  say "installing into node_modules/.cache: npm install better-sqlite3@$sqlite_version (a minute or two if it has to be built)"
  # Made aside and moved in whole: an interrupted build leaves nothing half done behind.
  build="$sqlite.$$"
  log="$(mktemp)"
  rm -rf "$build" && mkdir -p "$build"
  printf '{ "private": true, "allowScripts": { "better-sqlite3": true } }\n' >"$build/package.json"
  if (cd "$build" && npm install --no-package-lock "better-sqlite3@$sqlite_version") >"$log" 2>&1 </dev/null; then
    rm -rf "$sqlite" && mv "$build" "$sqlite"
  fi
  if sqlite_works; then
    rm -f "$log"
    return 0
  fi
  say 'npm install better-sqlite3 failed:'
  tail -n 15 "$log" >&2
  rm -rf "$build" "$log"
  say 'The tests of the SQLite store run on it. It needs g++, make, python3 and the headers of Node:'
  say '  Debian, Ubuntu:  sudo apt-get install g++ make python3'
  exit 69
}

# A client of another kind than those of Node. It is a module, so it is looked for in one Python.
readonly python="${TOPICGATE_PYTHON:-/usr/bin/python3}"
paho_works() { "$python" -c 'import paho.mqtt.client' >/dev/null 2>&1; }

ensure_paho() {
  paho_works && return 0
  install_with_apt python3-paho-mqtt || true
  paho_works && return 0
  say "$python has no module paho.mqtt. Install python3-paho-mqtt (Debian, Ubuntu), or run: pip install paho-mqtt"
  say '  and name the Python that has it in TOPICGATE_PYTHON'
  exit 69
}

ensure_sqlite
ensure_paho
missing="$(list_missing)"
[[ -n "$missing" ]] || exit 0

# shellcheck disable=SC2046  # package names are words
install_with_apt $(cut -d'|' -f3 <<<"$missing" | sort -u) || true
missing="$(list_missing)"
[[ -n "$missing" ]] || exit 0

wrap_containers "$missing" || true
missing="$(list_missing)"
[[ -n "$missing" ]] || exit 0

say "cannot find or install: $(cut -d'|' -f1 <<<"$missing" | paste -sd' ')"
may_install || say 'TOPICGATE_NO_INSTALL is set: nothing was installed.'
say 'The tests talk to real servers (npm run test:unit needs none). Do one of these and run again:'
say "  Debian, Ubuntu:  sudo apt-get install redis-server nats-server mosquitto mosquitto-clients tcpdump tshark prometheus chromium"
say "  macOS:           brew install redis nats-server mosquitto prometheus wireshark; brew install --cask chromium"
say "  elsewhere:       name the binaries in $(cut -d'|' -f2 <<<"$missing" | paste -sd' ')"
say '  or start a Docker engine'
exit 69
