#!/bin/sh
# Starts Redis with one user. The password comes from the environment and goes to the config by stdin: a command line
# could be read by others.
set -eu
: "${REDIS_PASSWORD:?run deploy/compose/secrets.sh}"
{
  cat "$(dirname "$0")/redis.conf"
  # the default user is off; kgate's may do what its commands need: its own keys, no administration
  echo "user default off"
  echo "user kgate on >$REDIS_PASSWORD resetchannels ~kgate:* &kgate:* +@all -@admin -@dangerous +info +config|get"
  [ -z "${REDIS_MORE:-}" ] || printf '%s\n' "$REDIS_MORE"
} | exec redis-server -
