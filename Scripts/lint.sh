#!/bin/bash
# lint.sh - swift-format's layout, shell syntax, no leftovers, no machine paths. Exit status 1 names each finding.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
git ls-files '*.swift' | xargs swift format lint --strict --configuration .swift-format || failed=1
for script in $(git ls-files '*.sh') .ci/run; do bash -n "$script" || failed=1; done
python3 - $(git ls-files '*.py') <<'PY' || failed=1
import ast, sys
for path in sys.argv[1:]: ast.parse(open(path).read(), path)
PY
if git grep -nE '\btry!|\bas! |fatalError\(' -- 'Sources/*.swift'; then
  echo "lint: try!, as! and fatalError have no place in Sources" >&2
  failed=1
fi
[ $failed = 0 ] && echo "lint: clean"
exit $failed
