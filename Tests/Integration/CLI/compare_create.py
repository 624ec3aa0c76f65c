#!/usr/bin/env python3
"""Compares what `skiff create` sends with what the docker CLI sends for the same flags.

    compare_create.py SKIFF [DOCKER]        exits 1 when a body or a refusal differs
    compare_create.py --record DOCKER FILE  writes docker's bodies and refusals as fixtures for CLITests

Members that are empty, zero, false or null are the same as absent ones.
"""
import json, os, subprocess, sys, tempfile
sys.dont_write_bytecode = True
from recorder import Recorder

CASES = [line for line in """
img
img sh -c 'echo hi'
-it img
-i img cat
-t img
-a stdin -a stdout img
-a STDERR img
--name web --rm img
-p 80 img
-p 8080:80 img
-p8080:80 img
-p=8080:80 img
-p 127.0.0.1:53:53/udp img
-p 3000-3002:4000-4002 img
-p 8000-8010:80 img
-p [::1]:80:80 img
-p 127.0.0.1::80 img
-p 80:80 -p 81:80 img
-p published=8080,target=80,protocol=udp img
-p abc img
-p 80:abc img
-p 70000:80 img
-p 80/foo img
-p 1-3:5-9 img
-p a:b:80:80 img
-P --expose 80 --expose 90-92/udp img
--expose 80:90 img
-v /a:/b img
-v /a:/b:ro img
-v vol:/c img
-v /anon img
-v ./rel:/x img
-v ~/x:/y img
-v :/x img
-v a:b:c:d img
-v '' img
--volumes-from a:ro --volumes-from b img
--tmpfs /run --tmpfs /tmp:size=1m,mode=1777 img
--mount type=bind,src=/a,dst=/b img
--mount type=bind,source=/a,target=/b,readonly img
--mount type=bind,source=/a,target=/b,readonly,bind-propagation=rslave img
--mount type=bind,source=/a,target=/b,ro,bind-recursive=writable img
--mount type=bind,source=/a,target=/b,ro,bind-recursive=readonly,bind-propagation=rprivate img
--mount type=bind,source=/a,target=/b,bind-recursive=readonly img
--mount type=bind,source=/a,target=/b,bind-recursive=x img
--mount type=volume,source=v,target=/b,volume-nocopy,volume-label=a=b,volume-driver=local,volume-opt=o=x img
--mount source=v,target=/b,volume-subpath=x img
--mount type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1777 img
--mount type=image,source=x,target=/b,image-subpath=y img
--mount type=bind,target=/b,volume-nocopy img
--mount type=bind,src=/a img
--mount target=/a,bogus=1 img
--mount bogus img
--mount type=tmpfs,target=/b,tmpfs-size=zz img
--mount '"type=bind","src=/a,b",dst=/c' img
-e A=b -e HOME -e NOSUCHVARIABLE img
-e =x img
--env-file ENVFILE img
--env-file BADENV img
--env-file /nonexistent img
-l a=b -l c --label d= img
--label-file LABELFILE -l a=z img
-h host --domainname dom img
-u 1:2 -w /work img
--entrypoint /bin/x img y
--entrypoint= img
--restart always img
--restart on-failure:3 img
--restart on-failure:x img
--restart unless-stopped --rm img
--restart :3 img
--read-only --privileged --init img
--init=false img
--cap-add NET_ADMIN --cap-drop ALL img
--security-opt no-new-privileges --security-opt seccomp=unconfined img
--security-opt no-new-privileges:true --security-opt label:disable img
--security-opt apparmor=x --security-opt systempaths=unconfined img
--security-opt seccomp=SECCOMP img
--security-opt seccomp=/nonexistent img
--security-opt bogus img
--device /dev/null img
--device /dev/null:/dev/x:r img
--device /dev/null:rw img
--device /dev/null:/dev/x:zz img
--device-cgroup-rule 'c 1:3 rwm' img
--device-cgroup-rule bogus img
--ulimit nofile=10:20 --ulimit core=0 img
--ulimit nofile=20:10 img
--ulimit bogus=1 img
--ulimit nofile img
--sysctl net.core.somaxconn=10 --sysctl a=b img
-m 1g --memory-reservation 512m --memory-swap -1 --memory-swappiness 10 img
-m 1.5g img
-m 1gib img
-m 12kk img
-m '' img
--memory-swappiness 101 img
--cpus 1.5 --cpu-shares 10 -c 20 img
--cpus .5 img
--cpus 1/3 img
--cpu-period 1000 --cpu-quota 500 --cpuset-cpus 0-1 --cpuset-mems 0 img
--cpu-rt-period 5 --cpu-rt-runtime 6 img
--pids-limit 10 img
--pids-limit -1 img
--blkio-weight 100 --blkio-weight-device /dev/sda:200 img
--blkio-weight 70000 img
--blkio-weight-device /dev/sda:5 img
--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2m img
--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 img
--device-read-bps sda:1 img
--oom-kill-disable --oom-score-adj 100 img
--shm-size 1g --group-add wheel --group-add 5 img
--stop-signal SIGINT --stop-timeout 5 img
--stop-timeout 0 img
--health-cmd 'a b' --health-interval 3s --health-timeout 1m --health-retries 2 --health-start-period 5s --health-start-interval 1s img
--no-healthcheck img
--no-healthcheck --health-cmd x img
--health-interval=-1s --health-cmd x img
--log-driver json-file --log-opt max-size=10m --log-opt max-file=3 img
--log-driver none --log-opt a=b img
--pid host --ipc host --uts host --userns host --cgroupns host img
--pid container:x --ipc container:y img
--pid bogus img
--uts bogus img
--userns bogus img
--cgroupns bogus img
--cgroup-parent /x --runtime runc --storage-opt size=1G img
--storage-opt bogus img
--annotation a=b img
--dns 1.1.1.1 --dns ::1 --dns-search example.com --dns-option ndots:2 --dns-opt rotate img
--dns bogus img
--add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway img
--add-host a:bogus img
--add-host bogus img
--link a:b --link c img
--network none img
--network host img
--network net1 --ip 1.2.3.4 --ip6 ::5 --network-alias z --link-local-ip 169.254.1.1 img
--network name=net1,alias=a,alias=b,ip=1.2.3.4,driver-opt=x=y img
--network net1 --network net2 img
--network net1 --network net1 img
--network name=net1,bogus=1 img
--network name=net1,alias=a --network-alias b img
--network net1 --link a:b img
--network-alias z img
--net net1 --net-alias q img
--mac-address 92:d0:c6:0a:29:33 img
--mac-address bogus img
--platform linux/amd64 img
--pull bogus img
--network bridge img
--network container:x img
--label= img
-m=abc img
--nosuch img
-z img
--name
--rm=maybe img
--detach-keys ctrl-x img
--isolation default img
""".strip().split("\n")]

FILES = {
    "ENVFILE": "# comment\nA=b\nB=c d\n\nHOME\nNOSUCHVARIABLE\nC=x=y\n  D=e\n",
    "BADENV": "A B=c\n",
    "LABELFILE": "a=b\n# no\nc\n",
    "SECCOMP": '{\n "defaultAction": "SCMP_ACT_ALLOW"\n}\n',
}
ROOT_TOOL = "docker"


def normal(value):
    if isinstance(value, dict):
        members = {key: normal(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, "", 0, False, [], {}, "no")}
    if isinstance(value, list):
        return [normal(element) for element in value]
    return value


def body_of(requests):
    for method, target, body in requests:
        if method == "POST" and "/containers/create" in target:
            value = json.loads(body)
            host = value.get("HostConfig", {})
            if host.get("MemorySwappiness") == -1: host.pop("MemorySwappiness")
            if host.get("ConsoleSize") == [0, 0]: host.pop("ConsoleSize")
            result = normal(value)
            query = target.split("?", 1)[1] if "?" in target else ""
            # Docker sends an endpoint without settings for the network; so do we.
            endpoints = value.get("NetworkingConfig", {}).get("EndpointsConfig", {})
            result.setdefault("NetworkingConfig", {})["EndpointsConfig"] = {k: normal(v) for k, v in endpoints.items()}
            if value.get("Env"): result["Env"] = sorted(value["Env"])  # docker's order changes from run to run
            for path in ("ExposedPorts", "Volumes"):
                if value.get(path): result[path] = value[path]
            if host.get("Tmpfs"): result.setdefault("HostConfig", {})["Tmpfs"] = host["Tmpfs"]
            if value.get("Labels"): result["Labels"] = value["Labels"]
            if "Init" in host: result.setdefault("HostConfig", {})["Init"] = host["Init"]
            if "StopTimeout" in value: result["StopTimeout"] = value["StopTimeout"]
            return {"query": query, "body": result}
    return None


def run(tool, host_flag, case, folder, recorder):
    import shlex
    words = [os.path.join(folder, word) if word in FILES else word for word in shlex.split(case.replace("=SECCOMP", "=" + os.path.join(folder, "SECCOMP")))]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}
    done = subprocess.run([tool, host_flag, "unix://" + recorder.path, "create"] + words, capture_output=True, text=True, env=environment, cwd=folder, timeout=20)
    result = body_of(recorder.take())
    name = os.path.basename(tool)
    error = done.stderr.replace(folder, "FOLDER").replace(name + " create", "TOOL create").replace(name + ": ", "TOOL: ")
    error = "\n".join(line for line in error.split("\n") if not line.startswith("WARNING"))
    return {"sent": json.loads(json.dumps(result).replace(folder, "FOLDER")), "status": done.returncode, "error": error.strip()}


def main():
    with tempfile.TemporaryDirectory(prefix="skiff-compare-") as folder:
        for name, text in FILES.items():
            with open(os.path.join(folder, name), "w") as file: file.write(text)
        recorder = Recorder(os.path.join(folder, "engine.sock"))
        if sys.argv[1] == "--record":
            fixtures = [dict(case=case, **run(sys.argv[2], "-H", case, folder, recorder)) for case in CASES]
            with open(sys.argv[3], "w") as file: file.write("[\n" + ",\n".join(json.dumps(f, sort_keys=True) for f in fixtures) + "\n]\n")
            return 0
        skiff, docker = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "docker"
        bad = 0
        for case in CASES:
            theirs, ours = run(docker, "-H", case, folder, recorder), run(os.path.abspath(skiff), "-H", case, folder, recorder)
            if theirs != ours:
                bad += 1
                print(f"--- create {case}\n  docker {json.dumps(theirs)}\n  skiff  {json.dumps(ours)}")
        print(f"{len(CASES) - bad} of {len(CASES)} alike")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
