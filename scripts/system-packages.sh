# Sourced by setup.sh and test.sh: installs system packages with apt-get, without starting their services.

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
fail() {
  warn "$*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Sets `sudo` to what makes a command run as root: nothing or "sudo". Fails where neither is possible without a password.
may_install() {
  have apt-get || return 1
  if [ "$(id -u)" -eq 0 ]; then
    sudo=''
  elif have sudo && sudo -n true 2>/dev/null; then
    sudo='sudo'
  else
    return 1
  fi
}

# One apt-get call; waits up to five minutes for another package manager to finish.
apt() {
  local attempt output
  for attempt in $(seq 60); do
    if output=$($sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1); then
      return 0
    fi
    case $output in
      *'Could not get lock'* | *'Unable to lock'*) ;;
      *) break ;;
    esac
    [ "$attempt" -eq 1 ] && say 'Another package manager is at work; waiting for it.'
    sleep 5
  done
  warn "$output"
  return 1
}

# apt_install <package>...: installs them; their services are neither started nor enabled.
apt_install() {
  local policy=/usr/sbin/policy-rc.d made_policy='' result=0
  apt update || warn 'The package lists could not be refreshed; trying with those that are there.'
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    made_policy=yes
    trap '$sudo rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT TERM HUP
  fi
  apt install -y --no-install-recommends "$@" || result=1
  if [ -n "$made_policy" ]; then
    $sudo rm -f "$policy"
    trap - EXIT INT TERM HUP
  fi
  return $result
}

# install_command <package>...: what a person types to get them.
install_command() {
  if have apt-get; then
    say "sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
  else
    say "your package manager's installation of: $*"
  fi
}
