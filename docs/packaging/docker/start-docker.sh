#!/bin/bash
# Builds and starts chatd in Docker, at http://localhost:8080; `start-docker.sh cluster`: three of them, and NATS. One that
# runs is ended before. Then shows its log lines; Ctrl-C ends only that.
set -euo pipefail

case ${1:-} in
"") file=docker-compose.yml ;;
cluster) file=docker-compose.cluster.yml ;;
*)
    echo "usage: start-docker.sh [cluster]" >&2
    exit 2
    ;;
esac
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose -f "$file")
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose -f "$file")
else
    echo "start-docker.sh: there is no docker compose here; install Docker with its compose plugin" >&2
    exit 1
fi
"${compose[@]}" down
"${compose[@]}" up --build -d
"${compose[@]}" logs -f
