#!/bin/bash
# prepare-volumes.sh FOLDER...: fetches the default models and gives the folders to the user of the services.
# The only thing that runs as root, once before the others; where all is well it changes nothing.
set -euo pipefail
for folder in "$@"; do
  if ! [ -d "$folder" ] || ! probe=$(mktemp "$folder/.probe.XXXXXX"); then
    echo "The folder $folder cannot be written: mount a volume or a folder there." >&2
    exit 1
  fi
  rm -f "$probe"
done
node scripts/models.ts pull
find "$@" ! \( -uid 1000 -gid 1000 \) -exec chown -h 1000:1000 {} +
echo 'The volumes are ready.'
