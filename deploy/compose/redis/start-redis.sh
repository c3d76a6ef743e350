#!/bin/sh
# Runs Redis for docker-compose.scalable.yml. The password is handed over in a file: command lines are there for all to see.
set -eu

password=${REDIS_PASSWORD:-}
if [ -z "$password" ]; then
  echo 'Warning: REDIS_PASSWORD is not set, so the one that everybody knows is used; only the internal network protects Redis. Make one: npm run secrets'
  password=recognize-on-its-internal-network
fi
case $password in
  *[!A-Za-z0-9_-]*) problem='has other characters than letters, digits, - and _' ;;
  ????????????*) problem= ;;
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
