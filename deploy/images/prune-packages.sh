#!/bin/bash
# prune-packages.sh: removes from node_modules what never runs in an image.
set -euo pipefail
cd node_modules

# Node.js for machines without one.
rm -rf node-linux-* .bin/node

# The runtime for other systems and processors.
for build in onnxruntime-node/bin/napi-v6/*/*; do
  [ "$build" = "onnxruntime-node/bin/napi-v6/linux/$(node --print process.arch)" ] || rm -rf "$build"
done
rm -rf @img/*linuxmusl*

# The compiler, which a package names as its peer.
rm -rf typescript @typescript .bin/tsc

# Tests, reports and builds for browsers.
rm -rf fluent-ffmpeg/{coverage,doc} bintrees/test luxon/build/{amd,cjs-browser,es6,global} lodash/fp
find . -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -iname 'readme*' -o -iname 'changelog*' \) -delete
find . -type d -empty -delete
