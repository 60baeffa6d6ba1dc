#!/bin/sh
# Gets one version of Node from the npm registry (package "node", which brings the binary) into a directory.
#
#   fetch-node.sh DIR VERSION     prints the folder that holds the binary, to be put first on PATH
#
# VERSION is a major (24) or a whole version (24.21.0). What is there already is used again. Needs npm.
set -eu

dir=${1:?usage: fetch-node.sh DIR VERSION}/$2
bin=$dir/node_modules/node/bin
if [ ! -x "$bin/node" ]; then
  mkdir -p "$dir"
  # A package.json of its own, or npm would install into a project further up.
  echo '{"private":true}' >"$dir/package.json"
  npm install --prefix "$dir" --no-audit --no-fund --no-save "node@$2" >&2
fi
found=$("$bin/node" --version)
case $found in
"v$2" | "v$2".*) echo "$bin" ;;
*)
  echo "fetch-node.sh: wanted Node $2, found $found in $bin" >&2
  exit 1
  ;;
esac
