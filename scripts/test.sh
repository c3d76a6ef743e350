#!/usr/bin/env bash
# npm test [-- <vitest arguments>]: runs the tests; without arguments also those of the images and the Compose file, last.
# npm run test:compose: those alone. The last line is always "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/system-packages.sh
export PATH="$PWD/node_modules/.bin:$PATH"

# What broke before the tests, such as `npm run check` in .ci/run, is counted as failed here.
failed_before=${RECOGNIZE_FAILED_BEFORE:-0}

close_with() {
  local passed=$1 failed=$(($2 + failed_before)) skipped=$3
  printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
  exit
}

has_chromium() { have chromium || have chromium-browser || have google-chrome; }

# Only the browser tests need it: unit and integration tests run without.
ensure_chromium() {
  [ $# -eq 0 ] || [[ "$*" == *e2e* ]] || return 0
  has_chromium && return 0
  if [ "$(uname -s)" = Linux ] && may_install; then
    say 'Installing chromium for the browser tests'
    apt_install chromium && has_chromium && return 0
  fi
  warn "Chromium is missing, so the browser tests will fail. Install it: $(install_command chromium)"
}

# Only the test of the alert rules needs promtool.
ensure_promtool() {
  [ $# -eq 0 ] || [[ "$*" == *integration* || "$*" == *monitoring* ]] || return 0
  have promtool && return 0
  if [ "$(uname -s)" = Linux ] && may_install; then
    say 'Installing prometheus for the test of its alert rules'
    apt_install prometheus && have promtool && return 0
  fi
  warn "promtool is missing, so the test of the alert rules will fail. Install it: $(install_command prometheus)"
}

# Only the test of Redis behind TLS needs openssl.
ensure_openssl() {
  [ $# -eq 0 ] || [[ "$*" == *integration* || "$*" == *redis* ]] || return 0
  have openssl && return 0
  if [ "$(uname -s)" = Linux ] && may_install; then
    say 'Installing openssl for the test of Redis behind TLS'
    apt_install openssl && have openssl && return 0
  fi
  warn "openssl is missing, so the test of Redis behind TLS will fail. Install it: $(install_command openssl)"
}

if ! command -v vitest >/dev/null; then
  warn 'The npm packages are missing. Run: npm run setup'
  close_with 0 1 0
fi
if [ "${1:-}" != --compose ]; then
  ensure_chromium "$@"
  ensure_promtool "$@"
  ensure_openssl "$@"
fi

counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
# A signal ends the tests; this script still has to close.
interrupted=''
trap 'interrupted=yes' INT TERM HUP
total_passed=0 total_failed=0 total_skipped=0

# run_tests <vitest arguments>: adds what came out to the totals. Words in `limited`, such as timeout, stand before vitest.
limited=()
run_tests() {
  local status=0 passed failed skipped
  : >"$counts"
  RECOGNIZE_TEST_COUNTS=$counts ${limited[@]+"${limited[@]}"} vitest run "$@" </dev/null || status=$?
  read -r passed failed skipped <"$counts" || { passed=0 failed=1 skipped=0; }
  # Errors after the last test, such as a process that was left behind, only show in the status.
  [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed)) total_skipped=$((total_skipped + skipped))
  return "$status"
}

BASE_IMAGES=(node:24-trixie-slim redis:7-alpine nginx:1-alpine)
ENGINE_TOOL=../shared/tools/docker-up

# They took 14 minutes on two cores with others at work; this ends what hangs.
COMPOSE_MINUTES=30

engine_answers() { timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_compose() { docker compose version >/dev/null 2>&1 || docker-compose --version >/dev/null 2>&1; }
has_engine_tool() { [ -x "$ENGINE_TOOL" ] && [ "$(id -u)" -eq 0 ] && [ "$(uname -s)" = Linux ]; }

# remove_left_behind <prefix of projects> <tag of images>: what tests that were cut short could not take down themselves.
remove_left_behind() {
  {
    docker ps -aq --filter "name=$1" | xargs -r docker rm -f -v
    docker network ls -q --filter "name=$1" | xargs -r docker network rm
    docker volume ls -q --filter "name=$1" | xargs -r docker volume rm
    docker image ls --filter "reference=recognize-*:$2" --format '{{.Repository}}:{{.Tag}}' | xargs -r docker image rm -f
  } >/dev/null 2>&1
}

# Needs an engine: one that answers, else the one that the tool brings, which is stopped again.
run_compose_tests() {
  local started=''
  if ! engine_answers; then
    if ! has_engine_tool; then
      say 'The tests of the images and the Compose file are skipped: no Docker engine answers.'
      return 0
    fi
    started=yes
  fi
  if has_engine_tool && ! "$ENGINE_TOOL" "${BASE_IMAGES[@]}"; then
    warn 'The Docker engine could not be made ready.'
    total_failed=$((total_failed + 1))
  elif ! has_compose; then
    say 'The tests of the images and the Compose file are skipped: there is no Compose beside the Docker engine.'
  else
    limited=(timeout --foreground --kill-after=30 "${COMPOSE_MINUTES}m")
    export RECOGNIZE_TEST_TAG=test$$
    run_tests --config vitest.compose.config.ts "$@"
    case $? in
      124 | 137) warn "The tests of the images and the Compose file took longer than $COMPOSE_MINUTES minutes." ;;
    esac
    limited=()
    remove_left_behind "r$RECOGNIZE_TEST_TAG" "$RECOGNIZE_TEST_TAG"
  fi
  [ -z "$started" ] || "$ENGINE_TOOL" --stop
}

if [ "${1:-}" = --compose ]; then
  shift
  run_compose_tests "$@"
else
  run_tests "$@"
  [ $# -gt 0 ] || [ -n "$interrupted" ] || run_compose_tests
fi
close_with "$total_passed" "$total_failed" "$total_skipped"
