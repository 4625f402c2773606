#!/usr/bin/env bash
# One release, step by step; the pipelines beside this file run these steps, in this order:
#
#     build ▸ pack ▸ scan ▸ sign ▸ smoke ▸ publish
#
# From the project's folder, with packshot-env on the PATH (make venv; PATH=$PWD/.venv/bin:$PATH).
# Settings are environment variables:
#
#     KEY          file of the secret key that signs (packshot-env keygen); only for sign
#     PUBLIC_KEY   file of its public key, as hosts have it
#     DESTINATION  where hosts read: HOST:/FOLDER, s3://BUCKET/PREFIX or a folder
#     DEPOT        a folder that stays on the builder: counters rise in it, layers are not made twice
#     VARIANT      of envpack/spec/worker.toml: gpu or cpu
#     MODEL        folder of the weights; only for pack
#     ACCEPT       vulnerabilities that were decided to be lived with: "--accept ID --accept ID"
#     BUILD        more options of packshot-env build: "--builder micromamba"
#     CONTAINERS   docker or podman
#     IMAGE        has nothing but the oldest Python that hosts may have
set -euo pipefail

VARIANT=${VARIANT:-gpu}
DEPOT=${DEPOT:-/srv/packshot/depot}
CONTAINERS=${CONTAINERS:-docker}
IMAGE=${IMAGE:-docker.io/library/python:3.9-slim-bookworm}
WORK=${WORK:-$PWD/build/release}
# What a step found out for the next ones: one digest a file.
FOUND=$WORK/found

build() {
  remove "$WORK"
  mkdir -p "$FOUND"
  # BUILD is a list of options
  # shellcheck disable=SC2086
  packshot-env build --variant "$VARIANT" --prefix "$WORK/env" ${BUILD:-}
}

# Twice, the application as well: a host takes the smallest archive that it can read.
pack() {
  : "${MODEL:?is not set to the folder of the weights}"
  noted env packshot-env pack "$WORK/env" --depot "$DEPOT" --format tar.gz --json
  noted env packshot-env pack "$WORK/env" --depot "$DEPOT" --format tar.zst --json
  noted app packshot-env app --project . --python "$WORK/env/bin/python" --depot "$DEPOT" --json
  noted model packshot-env model add "$MODEL" --depot "$DEPOT" --json
}

# Ends with 10 where vulnerabilities are known, with 11 where nobody could look.
scan() {
  packshot-env sbom "$WORK/env" --layer "$(found env)" --depot "$DEPOT"
  # ACCEPT is a list of options
  # shellcheck disable=SC2086
  packshot-env scan "$WORK/env" --layer "$(found env)" --depot "$DEPOT" ${ACCEPT:-}
}

# Names the release by the day.
sign() {
  packshot-env provenance "$WORK/env" --layer "$(found env)" --depot "$DEPOT" --key "$KEY" \
    --builder-id "${BUILDER_ID:-https://packshot.invalid/builder}" --invocation "${BUILD_URL:-}"
  noted release packshot-env release --env "$(found env)" --app "$(found app)" \
    --model "$(found model)" --depot "$DEPOT" --key "$KEY" --json
}

# In a container without a network, as an ordinary user: what a bare host does.
smoke() {
  packshot-env verify "$(found release)" --depot "$DEPOT" --key "$PUBLIC_KEY" --archives
  packshot-env node-file "$WORK/packshot-node.pyz"
  trap 'remove "$WORK/smoke"' EXIT
  remove "$WORK/smoke"
  mkdir -p "$WORK/smoke"
  # $1 is the container's
  # shellcheck disable=SC2016
  "$CONTAINERS" run --rm --network none --user "$(id -u):$(id -g)" \
    --volume "$WORK/smoke:/srv/packshot" --volume "$(realpath "$DEPOT"):/depot:ro" \
    --volume "$WORK/packshot-node.pyz:/packshot-node.pyz:ro" \
    --volume "$(realpath "$PUBLIC_KEY"):/packshot.pub:ro" "$IMAGE" sh -euc '
      node() { python3 /packshot-node.pyz "$@" --root /srv/packshot; }
      node unpack "$1" --depot /depot --key /packshot.pub
      node check "$1"
      node activate "$1"
      /srv/packshot/current/bin/packshot-worker --help >/dev/null
    ' smoke "$(found release)"
}

publish() {
  packshot-env ship "$DEPOT" "$DESTINATION" --release "$(found release)"
  python3 -c 'import json, sys; print("published", json.load(open(sys.argv[1]))["name"])' \
    "$FOUND/release.json"
}

# noted NAME COMMAND…: keeps the digest that the command answers with.
noted() {
  local name=$1
  shift
  "$@" >"$FOUND/$name.json"
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["digest"])' \
    "$FOUND/$name.json" >"$FOUND/$name"
}

found() { cat "$FOUND/$1"; }

# What was unpacked is read-only, folders too.
remove() {
  if [ -e "$1" ]; then chmod -R u+w "$1"; fi
  rm -rf "$1"
}

case ${1:-} in
build | pack | scan | sign | smoke | publish) "$1" ;;
*)
  echo "usage: $0 build|pack|scan|sign|smoke|publish" >&2
  exit 64
  ;;
esac
