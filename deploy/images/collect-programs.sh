#!/bin/bash
# collect-programs.sh FOLDER LIST PROGRAM...
# Copies programs and the shared libraries that they need into FOLDER/usr/local, but for libraries named in LIST, which
# are in the base image anyway. The packages' own dependencies are several times as large.
set -euo pipefail
folder=$1 base=$2
shift 2
mkdir -p "$folder/usr/local/bin" "$folder/usr/local/lib"
cp -L "$@" "$folder/usr/local/bin/"
ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
  grep -qxF "${library##*/}" "$base" || cp -L "$library" "$folder/usr/local/lib/"
done
