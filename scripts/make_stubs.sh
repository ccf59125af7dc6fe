#!/usr/bin/env bash
# Regenerates the protobuf stubs from protos/ into the folder given (default: the repository root).
# An old grpcio-tools makes stubs that old and new protobuf runtimes both load (protobuf 4.25 to 7), so it runs in a
# throwaway environment of its own, never in the one that runs rlbridge.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root}
tools=$root/.stubs
if [ ! -e "$tools/ready" ]; then
    python3 -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet "grpcio-tools==1.62.3" "setuptools<81"
    touch "$tools/ready"
fi
mkdir -p "$out"
"$tools/bin/python" -m grpc_tools.protoc -I "$root/protos" \
    --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" "$root"/protos/rlbridge/v1/*.proto
# Files without a service still get an (empty) grpc module: nobody imports those.
rm -f "$out"/rlbridge/v1/{values,spaces}_pb2_grpc.py
