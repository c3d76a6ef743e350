#!/bin/bash
# start.sh ROLE: becomes a part of the service. Where there is not even memory for Node.js, the kernel would kill it before
# it could say so; what a part needs beyond that it says itself.
least=$((96 * 1024 * 1024))
cgroups=${CGROUPS:-/sys/fs/cgroup}
for file in "$cgroups/memory.max" "$cgroups/memory/memory.limit_in_bytes"; do
  if [ -r "$file" ] && read -r limit <"$file" && [[ $limit =~ ^[0-9]+$ ]] && [ "$limit" -lt "$least" ]; then
    echo "The container has $((limit >> 20)) MiB of memory, too little to start: raise its memory limit to 600 MiB or more." >&2
    exit 78
  fi
done
# As in package.json: garbage is collected before a quarter more has piled up, so that memory is flat after 200 tasks rather
# than after 2,000.
exec node --max-semi-space-size=4 --heap-growing-percent=25 src/main.ts "$@"
