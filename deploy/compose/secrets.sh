#!/bin/sh
# Makes the passwords of the compose stack, once: files in deploy/compose/secrets/, for each service its own.
# Those that are there stay. Nothing is printed.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
write() { [ -s "secrets/$1" ] || cat > "secrets/$1"; }

if [ ! -s secrets/redis.env ] || [ ! -s secrets/kgate.env ]; then
  password=$(random)
  printf 'REDIS_PASSWORD=%s\n' "$password" > secrets/redis.env
  printf 'REDIS_URL=redis://kgate:%s@redis:6379/0\nKGATE_KEYRING_SECRET=%s\n' "$password" "$(random)" > secrets/kgate.env
fi
password=$(random)
printf 'POSTGRES_PASSWORD=%s\nKONG_PG_PASSWORD=%s\n' "$password" "$password" | write postgres.env
printf 'GF_SECURITY_ADMIN_PASSWORD=%s\n' "$(random)" | write grafana.env
