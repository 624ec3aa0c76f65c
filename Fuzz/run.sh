#!/bin/bash
# run.sh [FUZZER…] - builds the fuzzers and runs each for FUZZ_SECONDS (default 600). Findings and the corpus are kept in Fuzz/.build.
set -euo pipefail
cd "$(dirname "$0")"
fuzzers=("$@"); [ $# -gt 0 ] || fuzzers=(TarFuzzer ReferenceFuzzer ManifestFuzzer WireFuzzer RegistryFuzzer NamesFuzzer)
for fuzzer in "${fuzzers[@]}"; do swift build --disable-index-store --product "$fuzzer"; done
failed=0
for fuzzer in "${fuzzers[@]}"; do
  corpus=.build/corpus/$fuzzer; mkdir -p "$corpus" .build/findings
  case $fuzzer in
    TarFuzzer) tar -cf "$corpus/seed.tar" Package.swift run.sh; for c in gzip xz zstd bzip2 lz4; do command -v $c >/dev/null && $c -c <"$corpus/seed.tar" >"$corpus/seed.$c" 2>/dev/null || true; done ;;
    ReferenceFuzzer) printf 'ghcr.io:5000/o/i:t' >"$corpus/seed" ;;
    ManifestFuzzer) printf '{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:%064d","size":1}]}' 0 >"$corpus/seed" ;;
    NamesFuzzer) printf '\x12\x34\x81\x80\0\1\0\2\0\0\0\1\3www\1a\0\0\1\0\1\xc0\x0c\0\5\0\1\0\0\0<\0\4\1b\xc0\x10\1b\xc0\x10\0\1\0\1\0\0\0<\0\4\n\0\0\1\0\0)\4\xd0\0\0\x80\0\0\0' >"$corpus/answer"
      printf '\0\1\1\0\0\1\0\0\0\0\0\1\3web\0\0\1\0\1\0\0)\4\xd0\0\0\0\0\0\0' >"$corpus/query" ;;
    WireFuzzer) printf 'POST /v2/a/blobs/uploads/?x=y HTTP/1.1\r\nHost: h:5000\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n0\r\nT: x\r\n\r\n' >"$corpus/seed"
      printf 'HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello' >"$corpus/answer"; printf 'https://[::1]:5000/v2/?a=b' >"$corpus/url" ;;
    RegistryFuzzer) printf '/v2/team/app/blobs/uploads/?digest=sha256:%064d&mount=a&n=5' 0 >"$corpus/target"; printf '0-99/200' >"$corpus/range"
      printf '{"iss":"i","aud":["s"],"exp":1.5,"access":[{"type":"repository","name":"a/b","actions":["pull","*"]}]}' >"$corpus/claims"
      printf '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}' >"$corpus/jwks"
      printf 'eyJhbGciOiJFUzI1NiJ9.e30.AA' >"$corpus/token" ;;
  esac
  echo "== $fuzzer for ${FUZZ_SECONDS:-600} s"
  SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 ".build/debug/$fuzzer" "$corpus" -max_total_time="${FUZZ_SECONDS:-600}" -rss_limit_mb=2048 \
    -timeout=10 -artifact_prefix=".build/findings/$fuzzer-" -print_final_stats=1 2>&1 | tail -8 || failed=1
done
exit $failed
