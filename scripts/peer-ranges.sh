#!/usr/bin/env bash
# Runs the packed tarball with the lowest versions that the peer ranges allow, and with the highest ones tested:
# scripts/peer-ranges.sh [lowest|highest] [name@version…]. The versions given replace those of the ends. Each end is installed into
# an empty folder, where the programs in scripts/peers use each entry point with real servers.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:$PWD/node_modules/.cache/topicgate/bin"
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false

ends=(lowest highest)
if [[ "${1:-}" == lowest || "${1:-}" == highest ]]; then
  ends=("$1")
  shift
fi

folder="$(mktemp -d)"
servers=()
finish() {
  [[ "${#servers[@]}" == 0 ]] || kill "${servers[@]}" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap finish EXIT

# Prints name@version of each peer, but not of vitest, which only test suites load, and of better-sqlite3: see find_sqlite.
list_peers() {
  node -e '
    const { peerDependencies, devDependencies } = require("./package.json")
    // Development stays on ioredis 5, which takes less CPU time than 6.
    const highest = { ...devDependencies, ioredis: "6.0.0" }
    for (const [name, range] of Object.entries(peerDependencies)) {
      if (name === "vitest" || name === "better-sqlite3") continue
      const [, lowest] = /^>=(\d+\.\d+\.\d+) </.exec(range) ?? []
      if (lowest === undefined) throw new Error(`peerDependencies: ${name} ${range} does not begin with its lowest version in full`)
      console.log(`${name}@${process.argv[1] === "lowest" ? lowest : highest[name]}`)
    }' "$1"
}

# Prints the folder of better-sqlite3 for an end: as ensure-servers.sh has installed it, or the lowest version if a binary for
# this Node can be downloaded. Building one takes minutes.
find_sqlite() { # end
  local lowest home="$folder/better-sqlite3"
  if [[ "$1" == lowest ]]; then
    lowest="$(node -p 'require("./package.json").peerDependencies["better-sqlite3"].match(/^>=(\S+)/)[1]')"
    mkdir -p "$home"
    printf '{ "private": true }\n' >"$home/package.json"
    if (cd "$home" && npm install --silent --no-package-lock --ignore-scripts "better-sqlite3@$lowest" </dev/null &&
      cd node_modules/better-sqlite3 && timeout 60 ../.bin/prebuild-install) >"$folder/better-sqlite3.log" 2>&1; then
      printf 'better-sqlite3@%s\n' "$lowest" >&2
      printf '%s\n' "$home/node_modules/better-sqlite3"
      return
    fi
    printf 'better-sqlite3@%s: no binary for this Node can be downloaded\n' "$lowest" >&2
  fi
  printf '%s\n' "$sqlite"
}

free_ports() {
  node -e '
    const servers = [1, 2, 3].map(() => require("node:net").createServer().listen(0, "127.0.0.1"))
    setTimeout(() => { console.log(...servers.map(server => server.address().port)); for (const server of servers) server.close() }, 50)'
}

wait_for() { # port
  for _ in {1..200}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    sleep 0.1
  done
  echo "peer-ranges: no server answers on port $1" >&2
  return 1
}

sqlite="$PWD/node_modules/.cache/topicgate/better-sqlite3/node_modules/better-sqlite3"
node scripts/build.js
npm pack --silent --pack-destination "$folder" >/dev/null
tarball="$(echo "$folder"/*.tgz)"

for end in "${ends[@]}"; do
  app="$folder/$end"
  mkdir -p "$app"
  printf '{ "name": "app", "private": true, "type": "module" }\n' >"$app/package.json"
  declare -A versions=()
  for peer in $(list_peers "$end") "$@"; do versions["${peer%@*}"]="${peer##*@}"; done
  packages=()
  for name in "${!versions[@]}"; do packages+=("$name@${versions[$name]}"); done
  printf '== %s: %s\n' "$end" "$(printf '%s\n' "${packages[@]}" | sort | paste -sd' ')"
  (cd "$app" && npm install --silent --prefer-offline --no-package-lock "$tarball" "${packages[@]}" </dev/null)
  ln -s "$(find_sqlite "$end")" "$app/node_modules/better-sqlite3"
  cp scripts/peers/*.js "$app/"

  read -r redis nats mqtt <<<"$(free_ports)"
  redis-server --port "$redis" --bind 127.0.0.1 --save '' --dir "$app" >"$app/redis.log" 2>&1 &
  servers+=("$!")
  nats-server -a 127.0.0.1 -p "$nats" -js -sd "$app/nats" >"$app/nats.log" 2>&1 &
  servers+=("$!")
  mosquitto -p "$mqtt" >"$app/mosquitto.log" 2>&1 &
  servers+=("$!")
  for port in "$redis" "$nats" "$mqtt"; do wait_for "$port"; done
  for program in aedes mqtt nats stores command; do
    (cd "$app" && REDIS_URL="redis://127.0.0.1:$redis" NATS_URL="nats://127.0.0.1:$nats" MQTT_URL="mqtt://127.0.0.1:$mqtt" \
      timeout 60 node "$program.js")
    echo "$program passed"
  done
done
