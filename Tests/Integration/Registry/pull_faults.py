#!/usr/bin/env python3
"""Pulls from a registry that misbehaves: each ends in time, in success or in one clear line; nothing is left, memory stays bounded.

    pull_faults.py BIN_FOLDER [PATTERN]      as root; PATTERN picks cases by name

Classes of faults that other engines had, and the cases that look for them: credentials that leave (CVE-2020-15157, CVE-2019-10214,
CVE-2021-41092, CVE-2026-33540): realm-*, elsewhere*, to-plain-text, redirect-*; unvalidated digests and ambiguous manifests (CVE-2024-3727,
GHSA-5j5w-g665-5m35, GHSA-xmmx-7jpf-fx42, GHSA-qq97-vm5h-rrhg): hostile digest-*, type-mismatch-*, ambiguous; a manifest that ends the
engine (CVE-2021-21285): hostile *; exhausted memory (CVE-2022-31030, CVE-2023-25153 and others): endless-*, hostile json-*.
"""
import os, re, sys, time
sys.dont_write_bytecode = True
import scene
from scene import check, made_images

scene.enter()
PICK = sys.argv[2] if len(sys.argv) > 2 else "."
PAYLOAD = 300_000
ENGINE = scene.Engine(sys.argv[1], [*scene.INSECURE, "--registry-stall-timeout", "1", "--max-download-attempts", "3"])
plain = scene.faulty_registry.Registry(scene.OURS)
other = scene.faulty_registry.Registry(scene.OTHER, like=plain)
sleepy = scene.faulty_registry.Registry(scene.OURS, like=plain)
secret = scene.faulty_registry.Registry(scene.OURS, auth="token", users={"u": "secret"}, like=plain)
encrypted = scene.faulty_registry.Registry(scene.THIRD, tls=True, auth="token", users={"u": "secret"}, like=plain)
scene.trust(encrypted)
CANARY = "dTpzZWNyZXQ="      # u:secret
cases = []


def case(name, rules, expect, bound=20, at=plain, after=None, image=None, reference=None):
    """A pull of an image of its own. `rules`: texts may have {repo}, {payload}, {manifest}, {config}. `expect`: None for success, else a
    pattern of what is said. `after(image, done)` looks at what was asked."""
    if re.search(PICK, name):
        cases.append((name, rules, expect, bound, at, after, image, reference))


def filled(value, words):
    if isinstance(value, str):
        for key, word in words.items():
            value = value.replace("{" + key + "}", word)
        return value
    return {key: filled(each, words) for key, each in value.items()} if isinstance(value, dict) else value


def run(name, rules, expect, bound, at, after, image, reference):
    repository = "case/" + name
    payload = made_images.random_layer(PAYLOAD, seed=name, name="data/" + name)
    image = image or made_images.busybox(name, extra=[payload])
    at.add(repository, "latest", image)
    words = {"repo": repository, "payload": payload.digest, "manifest": image.digest, "blob": f"GET /v2/{repository}/blobs/{payload.digest}",
             "document": f"GET /v2/{repository}/manifests/", "config": made_images.digest(getattr(image, "config", b"")), "other": other.url,
             "token": f"/token.*%2F{name}(%3A|:)"}
    at.plan(*[filled(rule, words) for rule in rules]) if rules else None
    full = f"{at.name}/{repository}" + (reference or "").replace("{digest}", image.digest)
    done = ENGINE.pull(full, timeout=bound)
    check(f"{name}: ends within {bound} s", done.code != -9 and done.seconds < bound, done)
    if os.environ.get("VERBOSE"):
        print(name, done, [(each["status"], each["fields"].get("range"), each["sent"], round(each["time"] - scene.started, 2)) for each in at.asked(repository)], flush=True)
    if expect is None:
        check(name + ": succeeds", done.code == 0, done)
        said = ENGINE.marker(full)
        check(name + ": runs", said == name, said)
    elif expect != made_images.EITHER:
        check(name + ": fails", done.code != 0, done)
        check(name + ": in one line", done.is_one_line, done)
        check(f"{name}: says {expect}", re.search(expect, done.err, re.I), done)
    if after:
        try:
            after(words, done)
        except Exception as error:
            check(name + ": what was asked", False, repr(error))


def asked(at, words, pattern="{blob}", **wanted):
    return at.asked(filled(pattern, words).replace("{blob}", words["blob"]), **wanted)


def resumed(at=plain, times=1):
    """The rest was asked for, not the whole again."""
    def look(words, done):
        seen = asked(at, words)
        ranges = [each for each in seen if each["status"] == 206 and each["fields"].get("range")]
        check(words["repo"] + ": resumed with Range", len(ranges) == times, [(each["status"], each["fields"].get("range")) for each in seen])
        sent = sum(each["sent"] for each in seen)
        check(words["repo"] + ": nothing is sent twice", sent < PAYLOAD * 1.1 + 70000 * times, sent)
    return look


def tries(pattern, least, most, at=plain):
    def look(words, done):
        count = len(asked(at, words, pattern))
        check(f"{words['repo']}: asked {least} to {most} times", least <= count <= most, count)
    return look


def no_canary(words, done):
    """The password was shown to nobody but the registry that it is for."""
    for registry in (other, plain):
        heard = [each for each in registry.asked(".") if CANARY in str(each) or "secret" in str(each["fields"])]
        check(words["repo"] + ": the password stays at home", not heard, heard)
    heard = [each for each in other.asked(".") if "authorization" in each["fields"] and words["payload"] in each["path"]]
    check(words["repo"] + ": no Authorization at the other host", not heard, heard)


# What passes
case("nothing", [], None, after=tries("{blob}", 1, 1))
case("cut-once", [{"on": "{blob}", "cut": 100_000, "times": 1}], None, after=resumed())
case("cut-three-times", [{"on": "{blob}", "cut": 60_000, "times": 3}], None, after=resumed(times=3))
case("cut-by-reset", [{"on": "{blob}", "cut": 100_000, "reset": True, "times": 1}], None)
case("cut-at-once", [{"on": "{blob}", "cut": 0, "times": 2}], None)
case("cut-before-an-answer", [{"on": "{blob}", "drop": True, "times": 2}], None)
case("cut-without-ranges", [{"on": "{blob}", "cut": 100_000, "times": 1}, {"on": "{blob}", "norange": True}], None)
case("cut-manifest", [{"on": "{document}", "cut": 20, "times": 1}], made_images.EITHER)
case("chunks", [{"on": "{blob}", "chunked": True}, {"on": "{document}", "chunked": True}], None)
case("chunks-cut", [{"on": "{blob}", "chunked": True, "cut": 90_000, "times": 1}], None, after=resumed())
case("busy-once", [{"on": "{blob}", "status": 503, "times": 1}], None, after=tries("{blob}", 2, 2))
case("busy-manifest", [{"on": "{document}", "status": 503, "times": 2}], None)
case("busy-for-a-second", [{"on": "{blob}", "status": 503, "fields": {"Retry-After": "1"}, "times": 1}], None,
     after=lambda words, done: check("busy-for-a-second: waits", gap(words) >= 0.95, gap(words)))
case("limited", [{"on": "{blob}", "status": 429, "fields": {"Retry-After": "2"}, "times": 1}], None,
     after=lambda words, done: check("limited: waits", gap(words) >= 1.95, gap(words)))
case("limited-until", [{"on": "{blob}", "status": 429, "fields": {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 4))}, "times": 1}],
     None)
for number, text in enumerate(["-1", "x", "1e9", "", "Mon, 01 Jan 1990 00:00:00 GMT", "0"]):
    case(f"limited-oddly-{number}", [{"on": "{blob}", "status": 429, "fields": {"Retry-After": text}, "times": 1}], None)
case("elsewhere", [{"on": "{blob}", "redirect": "{other}{path}"}], None, at=secret, after=no_canary)
case("elsewhere-tls", [{"on": "{blob}", "redirect": "https://" + secret.name + "{path}"}], made_images.EITHER, at=encrypted, after=no_canary)
case("stall-once", [{"on": "{blob}", "stall": 100_000, "times": 1}], None, at=sleepy, after=resumed(sleepy))
case("stall-manifest-once", [{"on": "{document}", "stall": 10, "times": 1}], None, at=sleepy)
case("slow-start", [{"on": "{blob}", "wait": 1}, {"on": "{document}", "wait": 1}], None)
case("wrong-type", [{"on": "{blob}", "type": "text/html"}], None)
case("token", [], None, at=secret)
case("token-tls", [], None, at=encrypted)
case("by-digest", [], None, reference="@{digest}")
case("type-is-vague", [{"on": "{document}", "type": "application/json"}], None)


def gap(words):
    times = [each["time"] for each in asked(plain, words)]
    return times[1] - times[0] if len(times) > 1 else 0


# What cannot pass
case("busy-always", [{"on": "{blob}", "status": 503}], r"busy|503", 30, after=tries("{blob}", 2, 12))
case("busy-manifest-always", [{"on": "{document}", "status": 500}, {"on": "HEAD /v2/{repo}/", "status": 500}], r"busy|500", 40)
case("limited-for-ever", [{"on": "{blob}", "status": 429, "fields": {"Retry-After": "99999999"}}], r"toomanyrequests", 5)
case("limited-manifest", [{"on": "/v2/{repo}/manifests", "status": 429, "fields": {"Retry-After": "86400"}}], r"toomanyrequests", 5)
case("cut-always", [{"on": "{blob}", "cut": 0}], r"ended|cut|broke|closed", 30, after=tries("{blob}", 2, 12))
case("dropped-always", [{"on": "{blob}", "drop": True}], r"ended|cut|broke|closed|EOF", 30, after=tries("{blob}", 2, 24))
case("stall-always", [{"on": "{blob}", "stall": 1000}], r"timed out|timeout|stall|nothing", 40, at=sleepy)
case("head-stalls", [{"on": "{blob}", "headstall": True}], r"timed out|timeout|stall|nothing", 40, at=sleepy)
case("manifest-drips", [{"on": "{document}", "drip": 2}], r"slow|timed out|timeout|nothing moved", 40, at=sleepy)
case("config-drips", [{"on": "GET /v2/{repo}/blobs/{config}", "drip": 2}], r"slow|timed out|timeout|nothing moved", 40, at=sleepy)
case("token-drips", [{"on": "{token}", "drip": 2}], r"slow|timed out|timeout|nothing moved", 40, at=secret)
for how in ("length", "chunked", "close"):
    case("endless-manifest-" + how, [{"on": "{document}", "endless": how}], r"larger|MiB|length|too large|limit")
    case("endless-config-" + how, [{"on": "GET /v2/{repo}/blobs/{config}", "endless": how}], r"bytes|longer|length")
    case("endless-blob-" + how, [{"on": "{blob}", "endless": how}], r"bytes|longer|length")
    case("endless-error-" + how, [{"on": "{blob}", "fields": {}, "raw": ""}] if how == "raw" else [{"on": "{blob}", "status": 404, "endless": how}], r"404|unknown|not found|unexpected status")
    case("endless-token-" + how, [{"on": "{token}", "endless": how}], r"token", at=secret)
case("endless-head", [{"on": "{blob}", "headendless": True}], r"bytes|fields|head|long|large")
case("endless-continue", [{"on": "{blob}", "raw": "HTTP/1.1 100 Continue\r\n\r\n" * 200_000}], r".", 30)
case("no-http", [{"on": "{blob}", "raw": "SSH-2.0-OpenSSH_9.2\r\n"}], r"HTTP")
case("no-http-manifest", [{"on": "{document}", "raw": "\x00\x01\x02\xff" * 1000}], r"HTTP")
for number, text in enumerate(["zzz", "-5", "ffffffffffffffffff", "", "5 5", "0x10"]):
    case(f"chunk-{number}", [{"on": "{blob}", "garbage": text}], r"chunk|HTTP|ended", 30)
for number, (text, pattern) in enumerate([("+10", "bytes"), ("-10", "bytes"), ("abc", "length"), ("-1", "length"), ("99999999999999999999", "length"),
                                          ("5, 5", "length"), ("0", "bytes|ended")]):
    case(f"length-{number}", [{"on": "{blob}", "length": text}], pattern, 30)
    case(f"length-manifest-{number}", [{"on": "{document}", "length": text}], r".", 30)
case("range-other", [{"on": "{blob}", "cut": 100_000, "times": 1}, {"on": "{blob}", "range": "bytes 0-5/10"}], r"range", 30)
case("flipped", [{"on": "{blob}", "flip": True}], r"verif|digest", after=lambda words, done: nothing_kept(words))
case("flipped-once", [{"on": "{blob}", "flip": True, "times": 1}], made_images.EITHER)
case("flipped-config", [{"on": "GET /v2/{repo}/blobs/{config}", "flip": True}], r"verif|digest")
case("flipped-manifest", [{"on": "{document}", "flip": True}], r".")
case("flipped-by-digest", [{"on": "{document}", "flip": True}], r"verif|digest", reference="@{digest}")
case("said-other", [{"on": "/v2/{repo}/manifests", "said": "sha256:" + "1" * 64}], r"verif|digest|not found")
case("said-garbage", [{"on": "{document}", "said": "sha256:../../etc"}], made_images.EITHER)
case("blob-missing", [{"on": "{blob}", "status": 404}], r"404|unknown|not found|unexpected")
case("forbidden", [{"on": "/v2/{repo}/manifests", "status": 403}], r"denied")
case("terminal-tricks", [{"on": "/v2/{repo}/manifests", "status": 400, "fields": {"Content-Type": "application/json"},
                          "body": '{"errors":[{"code":"X","message":"\\u001b]0;owned\\u0007\\u001b[2J\\nsecond\\u009b31m line"}]}'}], r".")
case("html-error", [{"on": "/v2/{repo}/manifests", "status": 400, "body": "<html>\n" * 5000}], r"400")
case("not-there", [], r"not found|unknown", reference=":absent")
case("around-in-circles", [{"on": "{blob}", "redirect": "{path}"}], r"redirect|status 307", after=tries("{blob}", 2, 25))
case("around-two-hosts", [{"on": "{blob}", "redirect": "{other}{path}"}], None)
for number, place in enumerate(["file:///etc/passwd", "javascript:alert(1)", "http://", "http://a b/", "//", "gopher://x/", "http://u:p@" + other.name + "/x",
                                "http://127.0.0.1:22/", "http://[::1]:22/", "http://localhost:1/", "http://169.254.169.254/latest", "x" * 60_000]):
    case(f"redirect-{number}", [{"on": "{blob}", "redirect": place}], r".", 40)
case("to-plain-text", [{"on": "{blob}", "redirect": "{other}{path}"}], r"not encrypted|http", at=encrypted, after=no_canary)
case("always-401", [{"on": "/v2/{repo}/", "status": 401, "fields": {"WWW-Authenticate": f'Bearer realm="{secret.url}/token",service="test"'}}],
     r"denied|unauthorized", at=secret, after=tries("/v2/{repo}/", 1, 8, secret))
case("always-401-blob", [{"on": "{blob}", "status": 401, "fields": {"WWW-Authenticate": f'Bearer realm="{secret.url}/token",service="test"'}}],
     r"denied|unauthorized", at=secret, after=tries("{blob}", 1, 8, secret))
case("401-without-a-word", [{"on": "/v2/{repo}/", "status": 401}], r"denied|unauthorized", at=secret)
case("401-unknown-scheme", [{"on": "/v2/{repo}/", "status": 401, "fields": {"WWW-Authenticate": "Negotiate abc"}}], r"denied|unauthorized", at=secret)
case("401-basic-on-plain", [{"on": "/v2/{repo}/", "status": 401, "fields": {"WWW-Authenticate": 'Basic realm="x"'}}], r"denied|unauthorized|credential")
case("401-garbage", [{"on": "/v2/{repo}/", "status": 401, "fields": {"WWW-Authenticate": 'Bearer realm="' + '\\"' * 5000 + ",,=,="}}], r".", at=secret)
for number, realm in enumerate([other.url + "/token", "javascript:alert(1)", "file:///etc/passwd", "", "http://u:p@" + other.name + "/token", "http://127.0.0.1:22/",
                                "ftp://x/", "x" * 50_000, "https://" + other.name + "/token"]):
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="test"'}
    for at, word in ((encrypted, "tls"), (secret, "plain")):
        case(f"realm-{word}-{number}", [{"on": "/v2/{repo}/", "status": 401, "fields": challenge}], r".", 40, at=at, after=no_canary)
for number, body in enumerate(["", "{}", "[]", '{"token":7}', '{"token":"a\\nb: c"}', '{"token":"' + "x" * 200_000 + '"}', "null", '{"token":""}']):
    case(f"token-{number}", [{"on": "{token}", "body": body}], r".", at=secret)
case("token-busy", [{"on": "{token}", "status": 503}], r"busy|503", 40, at=secret)
case("token-refused", [{"on": "{token}", "status": 401}], r"denied|unauthorized|incorrect", at=secret)
case("token-for-ever", [{"on": "{token}", "fields": {"X": "1"}, "body": '{"token":"none","expires_in":1e300}'}], r".", at=secret)


def nothing_kept(words):
    kept = [name for name in ENGINE.partials() if words["payload"][7:] in name]
    check(words["repo"] + ": what is wrong is not kept", not kept, kept)


def hostile():
    """Manifests that lie, and layers that try to leave their root."""
    documents = [each for each in made_images.hostile_manifests(other.url) if re.search(PICK, each[0])]

    def one(name, document, pattern):
        plain.add("hostile/" + name, "latest", document)
        done = ENGINE.pull(f"{plain.name}/hostile/{name}", timeout=30)
        check(f"hostile {name}: ends", done.code != -9, done)
        if pattern is None:
            check(f"hostile {name}: is harmless", done.code == 0 and ENGINE.marker(f"{plain.name}/hostile/{name}") == "hostile", done)
        elif pattern != made_images.EITHER:
            check(f"hostile {name}: is refused in one line", done.is_one_line and re.search(pattern, done.err), done)
    scene.together(6, [lambda each=each: one(*each) for each in documents])
    heard = other.asked("foreign|unasked")
    check("foreign layers over http are not asked for", not heard, heard)

    def layer(name, image):
        plain.add("layer/" + name, "latest", image)
        done = ENGINE.pull(f"{plain.name}/layer/{name}")
        if done.code == 0:
            said = ENGINE.marker(f"{plain.name}/layer/{name}")
            check(f"layer {name}: works when it was taken", said == "hostile", said)
        else:
            check(f"layer {name}: one line", done.is_one_line, done)
    scene.together(4, [lambda each=each: layer(*each) for each in made_images.hostile_layers() if re.search(PICK, each[0])])
    check("nothing escaped", not os.path.exists("/tmp/skiff-escaped"))


def main():
    for registry in (secret, encrypted):
        ENGINE.login(registry)
    ENGINE.start()
    plain.add("case/root", "latest", made_images.busybox("root"))
    first = ENGINE.pull(plain.name + "/case/root")
    check("a first pull", first.code == 0, first)
    if first.code:
        ENGINE.end()
        scene.finish()
    sockets = ENGINE.sockets()
    ENGINE.forget_peak()
    scene.together(24, [lambda each=each: run(*each) for each in cases])
    print(f"{len(cases)} faults in {time.monotonic() - scene.started:.1f} s, peak {ENGINE.peak():.1f} MiB", flush=True)
    hostile()
    peak = ENGINE.peak()
    check("memory stays below 64 MiB", peak < 64, peak)
    check("the engine lives", ENGINE.alive, ENGINE.tail())
    check("connections are closed", scene.eventually(lambda: ENGINE.sockets() <= sockets + 2, 5), (sockets, ENGINE.sockets()))
    check("no workshop is left", scene.eventually(lambda: not ENGINE.workshops(), 5), ENGINE.workshops())
    ENGINE.check_store("after all faults")
    print(f"peak {peak:.1f} MiB", flush=True)
    ENGINE.end()
    scene.finish()


main()
