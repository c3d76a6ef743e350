#!/bin/bash
# prepare-volumes.sh UID FOLDER... -- [COMMAND...]
# Fetches the default models and gives the folders to the user of the services; the only thing that runs as root, once
# before the others. Where all that is done it does nothing. A COMMAND of `npm run models` runs in place of fetching.
# Files in PUBLIC_PATHS, which others mount from the checkout, are made readable to everybody where a strict umask left them not.
# What goes wrong is told last and keeps nobody from starting: each part says by itself what it cannot do.
set -euo pipefail
export LC_ALL=C
user=$1
shift

folders=() problems=()
# First, as Redis waits for it.
for path in ${PUBLIC_PATHS:-}; do
  closed=$(find "$path" \( ! -perm -444 -o -type d ! -perm -555 \) -print -quit) || closed=$path
  [ -z "$closed" ] || chmod -R a+rX "$path" ||
    problems+=('Redis and nginx cannot read what they mount from this folder: chmod -R a+rX deploy')
done

while [ $# -gt 0 ] && [ "$1" != -- ]; do
  if [ -d "$1" ] && probe=$(mktemp "$1/.probe.XXXXXX"); then
    rm -f "$probe"
    folders+=("$1")
  else
    problems+=("The folder $1 cannot be written: mount a volume or a folder there, and not read-only.")
  fi
  shift
done
[ $# -eq 0 ] || shift

stamp=$MODELS_DIR/.pulled

# The models in a folder: name, size and time.
models_in() { find "$1" -maxdepth 1 -type f \( -name '*.onnx' -o -name '*.xml' \) -printf '%f %s %T@\n' | sort; }

# What decides how a pull ends: which models there are, and the places to look for them with what they hold.
pull_key() {
  {
    cat models/manifest.json scripts/models.ts
    printf '%s\n' "${MODELS_MIRROR:-}"
    tr , '\n' <<<"${MODELS_MIRROR:-}" | while read -r place; do
      [ ! -d "$place" ] || models_in "$place"
    done
  } | sha256sum
}

# The stamp holds the key and the models that were there then; more may have come since.
is_pulled() {
  [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(pull_key)" ] &&
    [ -z "$(comm -23 <(tail -n +2 "$stamp") <(models_in "$MODELS_DIR"))" ]
}

pull() {
  rm -f "$stamp"
  if node scripts/models.ts pull --strict; then
    { pull_key && models_in "$MODELS_DIR"; } >"$stamp.new"
    mv "$stamp.new" "$stamp"
  else
    problems+=("Models that the service starts with could not be had, as told above. Put them into ./models (or MODELS_MIRROR_FOLDER) or name a MODELS_MIRROR, and try again: docker compose -f docker-compose.scalable.yml up models")
  fi
}

status=0
if [ $# -gt 0 ] && [ "$*" != pull ]; then
  node scripts/models.ts "$@" || status=$?
elif [[ " ${folders[*]} " == *" $MODELS_DIR "* ]] && { [ $# -gt 0 ] || ! is_pulled; }; then
  pull
fi

if [ ${#folders[@]} -gt 0 ] && ! find "${folders[@]}" ! \( -uid "$user" -gid "$user" \) -exec chown -h "$user:$user" {} +; then
  problems+=("Some files could not be given to user $user, as told above: use volumes that let root change the owner.")
fi

if [ ${#problems[@]} -gt 0 ]; then
  printf '%s\n' "${problems[@]}" >&2
elif [ $# -eq 0 ]; then
  echo 'The volumes are ready.'
fi
exit "$status"
