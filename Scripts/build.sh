#!/bin/bash
# build.sh PRODUCT… - builds the products in release and leaves stripped copies in bin/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
for product in "$@"; do
  swift build -c release --product "$product" --enable-index-store
done
for product in "$@"; do
  if [ .build/release/"$product" -nt bin/"$product" ] || [ ! -e bin/"$product" ]; then
    strip -o bin/."$product".new .build/release/"$product"
    mv -f bin/."$product".new bin/"$product"
  fi
done
ls -l bin | awk 'NR>1 {printf "bin/%-16s %5.1f MB\n", $9, $5/1e6}'
