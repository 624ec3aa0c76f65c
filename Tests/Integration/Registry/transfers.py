#!/usr/bin/env python3
"""Pulls that run side by side, are cancelled, or lose their engine; credentials; pushes to a registry that misbehaves.

    transfers.py BIN_FOLDER [PATTERN]      as root
"""
import json, os, re, signal, sys, time
sys.dont_write_bytecode = True
import scene
from scene import check, made_images

scene.enter()
PICK = sys.argv[2] if len(sys.argv) > 2 else "."
MIB = 1 << 20
ENGINE = scene.Engine(sys.argv[1], [*scene.INSECURE, "--max-download-attempts", "3"])
plain = scene.faulty_registry.Registry(scene.OURS)
other = scene.faulty_registry.Registry(scene.OTHER, like=plain)
secret = scene.faulty_registry.Registry(scene.OURS, auth="token", users={"u": "secret", "v": "other"}, like=plain)
target = scene.faulty_registry.Registry(scene.OTHER)
guarded = scene.faulty_registry.Registry(scene.OTHER, auth="token", users={"u": "secret"})


def served(name, size=4 * MIB, at=plain):
    """An image with a payload of its own: (its name, the payload's digest)."""
    payload = made_images.random_layer(size, seed=name, name="data/" + name)
    at.add("t/" + name, "latest", made_images.busybox(name, extra=[payload]))
    return f"{at.name}/t/{name}", payload.digest


def blobs(digest, at=plain):
    return [each for each in at.asked("GET .*/blobs/" + digest) if each["status"] in (200, 206)]


def partial(digest):
    return sum(size for name, size in ENGINE.partials().items() if digest[7:] in name)


def side_by_side():
    """Eight pulls of one image, and two images that share a layer: each content is fetched once."""
    name, payload = served("shared")
    again = made_images.busybox("again", extra=[made_images.random_layer(4 * MIB, seed="shared", name="data/shared")])
    plain.add("t/again", "latest", again)
    plain.plan({"on": "GET .*/blobs/" + payload, "wait": 1})
    done = scene.together(8, [lambda: ENGINE.pull(name)] * 7 + [lambda: ENGINE.pull(plain.name + "/t/again")])
    check("eight pulls at once succeed", all(each.code == 0 for each in done), done)
    check("each blob is fetched once", len(blobs(payload)) == 1, len(blobs(payload)))
    check("both images run", [ENGINE.marker(name), ENGINE.marker(plain.name + "/t/again")] == ["shared", "again"])


def one_of_two_goes():
    """Two pulls wait for one blob; whoever began it goes: the other's goes on."""
    name, payload = served("leader")
    plain.plan({"on": "GET .*/blobs/" + payload, "wait": 2})
    first = ENGINE.popen("pull", name)
    scene.eventually(lambda: plain.asked("GET .*/blobs/" + payload), 5)
    second = ENGINE.popen("pull", name)
    time.sleep(0.7)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=40)
    check("a pull outlives the one that began it", second.returncode == 0, err)
    check("and runs", ENGINE.marker(name) == "leader")
    check("without asking twice", len(blobs(payload)) == 1, [(each["status"], each["sent"]) for each in blobs(payload)])


def cancelled():
    """The client goes away: what has come stays and is used."""
    for number in (signal.SIGINT, signal.SIGKILL):
        name, payload = served(f"cancelled-{number}")
        plain.plan({"on": "GET .*/blobs/" + payload, "stall": 3 * MIB, "times": 1})
        client = ENGINE.popen("pull", name)
        got = scene.eventually(lambda: partial(payload) >= 2 * MIB, 10)
        check(f"signal {number}: most has come", got, partial(payload))
        client.send_signal(number)
        client.communicate(timeout=20)
        check(f"signal {number}: the engine lets go", scene.eventually(lambda: not ENGINE.workshops(), 5), ENGINE.workshops())
        rest = partial(payload)
        check(f"signal {number}: the rest is kept", rest >= 2 * MIB, rest)
        resume(name, payload, f"cancelled-{number}", rest, f"signal {number}")


def resume(name, payload, marker, rest, what):
    before = sum(each["sent"] for each in blobs(payload))
    done = ENGINE.pull(name)
    check(f"{what}: a second pull succeeds", done.code == 0, done)
    ranges = [each["fields"].get("range") for each in blobs(payload)]
    check(f"{what}: it resumes with Range", ranges[-1] and int(re.search(r"=(\d+)", ranges[-1])[1]) >= rest > 0, ranges)
    sent = sum(each["sent"] for each in blobs(payload)) - before
    check(f"{what}: only the rest is sent", sent <= len(plain.blobs[payload]) - rest + 1, (sent, rest))
    said = ENGINE.marker(name)
    check(f"{what}: it runs", said == marker, said)
    check(f"{what}: nothing stays behind", not partial(payload), ENGINE.partials())


def engine_killed():
    name, payload = served("killed")
    plain.plan({"on": "GET .*/blobs/" + payload, "stall": 3 * MIB, "times": 1})
    client = ENGINE.popen("pull", name)
    scene.eventually(lambda: partial(payload) >= 2 * MIB, 10)
    ENGINE.kill()
    out, err = client.communicate(timeout=20)
    check("the client of a killed engine is told", client.returncode != 0 and err, (client.returncode, err))
    ENGINE.start()
    rest = partial(payload)
    check("what was received survives SIGKILL", rest >= 2 * MIB, rest)
    resume(name, payload, "killed", rest, "after SIGKILL")


def damaged_rest():
    """A rest that was changed on the disk is noticed, thrown away and fetched anew."""
    name, payload = served("damaged")
    plain.plan({"on": "GET .*/blobs/" + payload, "stall": 3 * MIB, "times": 1})
    client = ENGINE.popen("pull", name)
    scene.eventually(lambda: partial(payload) >= 2 * MIB, 10)
    client.kill()
    client.communicate()
    scene.eventually(lambda: not ENGINE.workshops(), 5)
    for file in ENGINE.partials():
        if payload[7:] in file:
            with open(f"{ENGINE.data}/blobs/partial/{file}", "r+b") as handle:
                handle.seek(MIB)
                handle.write(b"garbage")
    done = ENGINE.pull(name)
    check("a damaged rest does not harm", done.code == 0 and ENGINE.marker(name) == "damaged", done)


def who_may():
    """What is here already is not shown to whom the registry refuses it (CVE-2022-24778's kind)."""
    secret.add("t/private", "latest", made_images.busybox("private"))
    ENGINE.login(secret)
    name = secret.name + "/t/private"
    done = ENGINE.pull(name)
    check("who may, can", done.code == 0, done)
    ENGINE.login(secret, None)
    done = ENGINE.pull(name)
    check("who may not, cannot, though it is here", done.code != 0 and re.search("denied|unauthorized", done.err), done)
    ENGINE.login(secret, "u", "wrong")
    done = ENGINE.pull(name)
    check("a wrong password is told", done.is_one_line and re.search("denied|unauthorized|incorrect", done.err), done)
    ENGINE.login(secret)


def all_tags():
    for number in range(25):
        plain.add("t/tags", f"v{number:02}", made_images.busybox("tags"))
    plain.page = 10
    done = ENGINE.pull(plain.name + "/t/tags", "-a")
    mine = {each for each in ENGINE.images() if "/t/tags:" in each}
    check("all tags, in pages", done.code == 0 and len(mine) == 25, (len(mine), done))
    plain.plan({"on": "/v2/t/tags/tags", "fields": {"Link": '</v2/t/tags/tags/list?n=10&last=v09>; rel="next"'}})
    done = ENGINE.pull(plain.name + "/t/tags", "-a", timeout=40)
    check("pages in circles end", done.code != -9, done)
    plain.plan()
    for number, rule in enumerate([{"endless": "chunked"}, {"body": '{"tags":"x"}'}, {"body": '{"tags":["../../x","a b","' + "y" * 300 + '"]}'},
                                   {"body": '{"tags":null}'}, {"status": 500, "times": 1}]):
        plain.add(f"t/tags{number}", "latest", made_images.busybox("tags"))
        plain.plan(dict(rule, on=f"/v2/t/tags{number}/tags"))
        done = ENGINE.pull(f"{plain.name}/t/tags{number}", "-a")
        check(f"odd list of tags {number}", done.code == 0 or done.is_one_line, done)


def platforms():
    plain.add("t/multi", "latest", made_images.Index([
        made_images.busybox("arm", platform=("linux", "arm64", "v8")), made_images.busybox("windows", platform=("windows", "amd64", "")),
        made_images.busybox("right"), made_images.busybox("old", platform=("linux", "386", ""))]))
    name = plain.name + "/t/multi"
    done = ENGINE.pull(name)
    check("this machine's platform is taken", done.code == 0 and ENGINE.marker(name) == "right", done)
    done = ENGINE.pull(name, "--platform", "linux/riscv64")
    check("a platform that is not there is told", done.is_one_line and "no matching manifest" in done.err, done)
    for kind in ("docker", "oci"):
        for how in ("gzip", "zstd", "none"):
            if (kind, how) != ("docker", "zstd"):
                plain.add(f"t/{kind}-{how}", "latest", made_images.busybox(kind + how, kind, how))
                done = ENGINE.pull(f"{plain.name}/t/{kind}-{how}")
                check(f"{kind} with {how}", done.code == 0 and ENGINE.marker(f"{plain.name}/t/{kind}-{how}") == kind + how, done)


# Push

pushes = []


def push(name, rules, expect=None, bound=25, at=target, after=None):
    if re.search(PICK, name):
        pushes.append((name, rules, expect, bound, at, after))


def one_push(name, rules, expect, bound, at, after):
    source, payload = served("push-" + name, 400_000)
    done = ENGINE.pull(source)
    check(f"push {name}: something to push", done.code == 0, done)
    repository = "pushed/" + name
    full = f"{at.name}/{repository}"
    ENGINE.skiff("tag", source, full)
    at.plan(*[json.loads(json.dumps(rule).replace("{repo}", repository)) for rule in rules]) if rules else None
    done = ENGINE.push(full, timeout=bound)
    check(f"push {name}: ends within {bound} s", done.code != -9, done)
    if os.environ.get("VERBOSE"):
        print(name, done, [(each["method"], each["path"][-50:], each["status"], each["received"]) for each in at.asked(repository)], flush=True)
    if expect is None:
        check(f"push {name}: succeeds", done.code == 0, done)
        held = at.manifests.get(repository, {}).get("latest")
        check(f"push {name}: the manifest is there", held, done)
        if held:
            document = json.loads(held[1])
            wanted = {each["digest"] for each in document["layers"] + [document["config"]]}
            check(f"push {name}: so are its contents", wanted <= at.repository_blobs.get(repository, set()), wanted)
            check(f"push {name}: they are what they say", all(made_images.digest(at.blobs[each]) == each for each in wanted if each in at.blobs))
    elif expect == made_images.EITHER:
        check(f"push {name}: success or one line", done.code == 0 or done.is_one_line, done)
    else:
        check(f"push {name}: fails", done.code != 0, done)
        check(f"push {name}: in one line", done.is_one_line, done)
        check(f"push {name}: says {expect}", re.search(expect, done.err, re.I), done)
        check(f"push {name}: no manifest is there", "latest" not in at.manifests.get(repository, {}))
    if after:
        after(name, at.asked(repository), done)


def heard_nothing(name, seen, done):
    heard = [each for each in plain.asked("/elsewhere") + other.asked("/elsewhere") if "authorization" in each["fields"]]
    check(f"push {name}: the credential stays at home", not heard, heard)


push("plain", [])
push("token", [], at=guarded)
push("cut", [{"on": "(PATCH|PUT) /v2/{repo}/blobs/uploads", "swallow": 100_000, "times": 1}])
push("cut-at-once", [{"on": "(PATCH|PUT|POST) /v2/{repo}/blobs/uploads", "drop": True, "times": 2}])
push("cut-odd-range", [{"on": "(PATCH|PUT) /v2/{repo}/blobs/uploads", "swallow": 100_000, "times": 1},
                       {"on": "GET /v2/{repo}/blobs/uploads", "status": 204, "fields": {"Range": "0-9223372036854775807"}}])
push("cut-always", [{"on": "(PATCH|PUT) /v2/{repo}/blobs/uploads", "swallow": 50_000}], r".", 40)
push("busy", [{"on": "POST /v2/{repo}/blobs", "status": 503, "times": 1}, {"on": "(PATCH|PUT) /v2/{repo}/blobs", "status": 503, "times": 1},
              {"on": "PUT /v2/{repo}/manifests", "status": 503, "times": 1}])
push("limited", [{"on": "POST /v2/{repo}/blobs", "status": 429, "fields": {"Retry-After": "1"}, "times": 1}])
push("busy-always", [{"on": "/v2/{repo}/blobs", "status": 503}], r"busy|503", 40)
push("busy-manifest", [{"on": "PUT /v2/{repo}/manifests", "status": 500}], r"busy|500", 40)
push("no-location", [{"on": "POST /v2/{repo}/blobs", "nolocation": True}], r"location|where|upload")
for number, place in enumerate(["javascript:alert(1)", "file:///etc/passwd", "http://127.0.0.1:22/x", "", "//", "x" * 60_000]):
    push(f"location-{number}", [{"on": "POST /v2/{repo}/blobs", "location": place}], r".", 40)
push("location-elsewhere", [{"on": "POST /v2/{repo}/blobs", "location": other.url + "/elsewhere/x"}], r".", at=guarded, after=heard_nothing)
push("redirected", [{"on": "(PATCH|PUT) /v2/{repo}/blobs", "redirect": other.url + "/elsewhere/y"}], r".", at=guarded, after=heard_nothing)
push("digest-refused", [{"on": "PUT /v2/{repo}/blobs", "status": 400, "body": '{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}'}], r"digest")
push("forbidden", [{"on": "POST /v2/{repo}/blobs", "status": 403, "body": '{"errors":[{"code":"DENIED","message":"quota"}]}'}], r"denied")
push("read-only", [{"on": "(POST|PUT) /v2/{repo}", "status": 405, "body": '{"errors":[{"code":"UNSUPPORTED","message":"read only"}]}'}], r"unsupported|read only|405")
push("too-large", [{"on": "(PATCH|PUT) /v2/{repo}/blobs", "status": 413}], r"413|large")
push("lies-about-having", [{"on": "HEAD /v2/{repo}/blobs", "status": 200, "fields": {"Content-Length": "1"}}], r"blob|unknown|bytes")
push("other-manifest", [{"on": "PUT /v2/{repo}/manifests", "said": "sha256:" + "1" * 64}], made_images.EITHER)
push("manifest-refused", [{"on": "PUT /v2/{repo}/manifests", "status": 400, "body": '{"errors":[{"code":"MANIFEST_INVALID","message":"\\u001b[2J"}]}'}], r"manifest invalid|400")
push("endless-answer", [{"on": "POST /v2/{repo}/blobs", "endless": "chunked"}], made_images.EITHER, 40)
push("endless-refusal", [{"on": "POST /v2/{repo}/blobs", "status": 400, "endless": "length"}], r".", 40)
push("wrong-status", [{"on": "POST /v2/{repo}/blobs", "status": 200}], r".")
push("always-401", [{"on": "POST /v2/{repo}/blobs", "status": 401}], r"denied|unauthorized", at=guarded)
push("expired-token", [{"on": "(PATCH|PUT) /v2/{repo}/blobs", "status": 401, "times": 1,
                        "fields": {"WWW-Authenticate": f'Bearer realm="{guarded.url}/token",service="test"'}}], at=guarded)


def mounts():
    """A second repository of the same registry gets contents without sending them; and by sending them where it refuses."""
    source, payload = served("mounted", MIB)
    ENGINE.pull(source)
    first, second, third = (f"{target.name}/mount/{name}" for name in ("one", "two", "three"))
    for name in (first, second, third):
        ENGINE.skiff("tag", source, name)
    done = ENGINE.push(first)
    check("mount: a first push", done.code == 0, done)
    done = ENGINE.push(first)
    check("mount: what is there is not sent again", done.code == 0 and not target.asked("PATCH /v2/mount/one", status=999), done)
    target.forget()
    done = ENGINE.push(second)
    received = sum(each["received"] for each in target.asked("/v2/mount/two/blobs"))
    check("mount: the second repository mounts", done.code == 0 and received < 100_000, (received, done))
    target.plan({"on": "POST /v2/mount/three.*mount=", "nomount": True})
    done = ENGINE.push(third)
    received = sum(each["received"] for each in target.asked("/v2/mount/three/blobs"))
    check("mount: refused, it is sent", done.code == 0 and received > MIB, (received, done))


def main():
    ENGINE.login(secret)
    ENGINE.login(guarded)
    ENGINE.start()
    plain.add("t/root", "latest", made_images.busybox("root"))
    done = ENGINE.pull(plain.name + "/t/root")
    check("a first pull", done.code == 0, done)
    ENGINE.forget_peak()
    for part in (side_by_side, one_of_two_goes, cancelled, engine_killed, damaged_rest, who_may, all_tags, platforms):
        if re.search(PICK, part.__name__):
            begun = time.monotonic()
            part()
            print(f"{part.__name__} {time.monotonic() - begun:.1f} s", flush=True)
    begun = time.monotonic()
    scene.together(16, [lambda each=each: one_push(*each) for each in pushes])
    print(f"{len(pushes)} pushes {time.monotonic() - begun:.1f} s", flush=True)
    if re.search(PICK, "mounts"):
        mounts()
    check("memory stays below 64 MiB", ENGINE.peak() < 64, ENGINE.peak())
    check("the engine lives", ENGINE.alive, ENGINE.tail())
    check("no workshop is left", scene.eventually(lambda: not ENGINE.workshops(), 5), ENGINE.workshops())
    ENGINE.check_store("after transfers")
    print(f"peak {ENGINE.peak():.1f} MiB", flush=True)
    ENGINE.end()
    scene.finish()


main()
