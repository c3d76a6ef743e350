#!/bin/sh
# Succeeds where Redis answers with its data loaded.
export REDISCLI_AUTH="${REDIS_PASSWORD:-recognize-on-its-internal-network}"
[ "$(redis-cli ping)" = PONG ]
