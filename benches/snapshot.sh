#!/usr/bin/env bash
# Measures the snapshot store at size and writes the table into benches/README.md, between its two marks. Takes a quarter of an
# hour, 15 GB below ${TMPDIR:-/var/tmp}, and quiet cores. Install restic and borgbackup to have them beside ours.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --package listbackup
table="$(mktemp)"
trap 'rm -f "$table"' EXIT
status=0
cargo bench --profile dev --package listbackup-house --bench snapshot | tee "$table" || status=$?

{
  sed '/^<!-- snapshot: begin -->$/q' benches/README.md
  printf '\nCommit %s, %s.\n\n' "$(git rev-parse --short HEAD)" "$(date -u +%F)"
  cat "$table"
  printf '\n'
  sed -n '/^<!-- snapshot: end -->$/,$p' benches/README.md
} >benches/README.md.new
mv benches/README.md.new benches/README.md
exit "$status"
