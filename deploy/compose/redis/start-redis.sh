#!/bin/sh
# Runs Redis for docker-compose.scalable.yml. The password is handed over in a file: command lines are there for all to see.
set -eu

default=recognize-on-its-internal-network
password=${REDIS_PASSWORD:-$default}
if [ "$password" = "$default" ]; then
  echo 'Warning: REDIS_PASSWORD is not set, or is the one that everybody knows; only the internal network protects Redis. Make one: npm run secrets'
fi

common='(pass(word|wd)?|admin(istrator)?|secret|change[-_]?me|recognize|redis|default|letmein|qwert[yz][a-z]*)[-_0-9]*'
is_common() {
  printf '%s\n' "$password" | grep -Eiqx "($common)+|0?12345[0-9]*" ||
    printf '%s\n' "$password" | grep -qx '\(.\)\1*'
}

case $password in
  *[!A-Za-z0-9_-]*) problem='has other characters than letters, digits, - and _' ;;
  ????????????*) if is_common; then problem='is one of those that are tried first'; else problem=; fi ;;
  *) problem='is shorter than 12 characters' ;;
esac
if [ -n "$problem" ]; then
  echo "Wrong setting: REDIS_PASSWORD $problem. Remove it from .env, run \`npm run secrets\`, and start again." >&2
  exit 78
fi

umask 077
cat >/tmp/redis.conf <<CONFIG
bind * -::*
requirepass $password
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
CONFIG
exec redis-server /tmp/redis.conf
