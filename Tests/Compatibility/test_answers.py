"""The same command lines of docker's CLI to dockerd (of the peers) and to us: exit code, both outputs and what inspect then says are compared."""
import json
import os
import re
import shlex
import subprocess
import unittest

from engine import Case, busybox_tar, engine
from test_network_answers import PEERS, Peer, UnixConnection

IMAGE = "busybox:test"

# Of each a container is made, inspected and removed.
CREATE = r"""
IMAGE
-it --name web --hostname box --domainname example.org IMAGE sh
-e A=1 -e B= -e PATH=/bin -l a=b -l c -w /tmp -u u:nogroup IMAGE env
--entrypoint sh IMAGE -c 'exit 3'
--entrypoint '' IMAGE true
-m 64m --memory-reservation 32m --memory-swap 128m --memory-swappiness 10 --oom-kill-disable --kernel-memory 0 IMAGE
-m 64m IMAGE
-m 64m --memory-swap -1 IMAGE
--cpus 1.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0 IMAGE
--cpu-period 50000 --cpu-quota 25000 --cpu-rt-period 0 IMAGE
--pids-limit 100 --blkio-weight 300 --oom-score-adj 500 --shm-size 128m IMAGE
--pids-limit -1 IMAGE
--ulimit nofile=100:200 --ulimit core=0 --sysctl net.ipv4.ip_forward=1 --sysctl kernel.shm_rmid_forced=1 IMAGE
--cap-add NET_ADMIN --cap-add sys_time --cap-drop CAP_MKNOD --cap-drop all IMAGE
--cap-add ALL IMAGE
--privileged IMAGE
--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label=disable IMAGE
--security-opt no-new-privileges:true --security-opt apparmor=unconfined IMAGE
--security-opt systempaths=unconfined IMAGE
--device /dev/null:/dev/xnull:rw --device /dev/zero --device-cgroup-rule 'c 1:* rwm' IMAGE
--read-only --tmpfs /run:size=1m,mode=700 --tmpfs /tmp IMAGE
-v /tmp:/x -v /tmp:/y:ro -v data:/data -v /anon IMAGE
-v /tmp:/x:z,rshared -v data:/data:nocopy IMAGE
--mount type=bind,src=/tmp,dst=/x,readonly --mount type=volume,src=v,dst=/v,volume-label=a=b --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700 IMAGE
--mount type=bind,src=/tmp,dst=/x,bind-propagation=rslave,bind-nonrecursive=true IMAGE
--mount type=volume,dst=/v,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs IMAGE
--restart always IMAGE
--restart on-failure:3 IMAGE
--restart unless-stopped --stop-signal USR1 --stop-timeout 3 IMAGE
--rm IMAGE
--init IMAGE
--network none IMAGE
--network host --pid host --ipc host --uts host --userns host --cgroupns host IMAGE
--ipc shareable IMAGE
--ipc private --cgroupns private IMAGE
--ipc none IMAGE
--dns 1.1.1.1 --dns-search x.org --dns-option ndots:2 --add-host a:1.2.3.4 --add-host b=::1 --add-host gw:host-gateway IMAGE
-p 8080:80 -p 127.0.0.1:53:53/udp -p 9000-9002:9000-9002 -p 70 --expose 90 --expose 100-101/udp IMAGE
-p '[::1]:8080:80' -p 0.0.0.0::81 IMAGE
-P --expose 80 IMAGE
--health-cmd 'true' --health-interval 5s --health-timeout 2s --health-retries 4 --health-start-period 1s --health-start-interval 500ms IMAGE
--no-healthcheck IMAGE
--log-driver none IMAGE
--log-driver json-file --log-opt max-size=1m --log-opt max-file=3 IMAGE
--log-driver local IMAGE
--log-opt max-size=1m IMAGE
--group-add 5 --group-add nogroup --cgroup-parent /x-parent IMAGE
--annotation a=b --label-file /dev/null --env-file /dev/null IMAGE
--mac-address 02:42:ac:11:00:99 IMAGE
--network-alias x --network bridge IMAGE
--network-alias x --network net1 IMAGE
--network net1 --ip 10.99.1.7 --mac-address 02:42:ac:11:00:99 IMAGE
--network name=net1,alias=a,alias=b,ip=10.99.1.9 IMAGE
--network name=net1 --network bridge IMAGE
--link other:alias IMAGE
--volumes-from other IMAGE
--volumes-from other:ro IMAGE
--network container:other IMAGE
--pid container:other --ipc container:other IMAGE
--runtime runc IMAGE
--isolation default IMAGE
--gpus all IMAGE
--platform linux/amd64 IMAGE
--volume-driver local -v vv:/data IMAGE
--storage-opt size=1g IMAGE
--device-read-bps /dev/null:1mb IMAGE
-i IMAGE cat
-a stdout IMAGE
-a stdin -a stderr IMAGE
--detach-keys ctrl-a IMAGE
--hostname '' IMAGE
--cidfile /tmp/answers.cid IMAGE
--pull never IMAGE
--use-api-socket IMAGE
--restart sometimes IMAGE
--restart always:3 IMAGE
--restart on-failure --rm IMAGE
-m 1m IMAGE
-m 64m --memory-swap 32m IMAGE
--memory-swap 64m IMAGE
--memory-reservation 128m -m 64m IMAGE
--memory-swappiness 200 IMAGE
--cpus 1000 IMAGE
--cpus 0.0001 IMAGE
--cpus 1 --cpu-quota 1000 IMAGE
--cpu-period 5 IMAGE
--cpu-quota 5 IMAGE
--cpuset-cpus 999 IMAGE
--cpuset-cpus nonsense IMAGE
--cpuset-mems 99 IMAGE
--blkio-weight 5 IMAGE
--oom-score-adj 5000 IMAGE
--shm-size -1 IMAGE
--ulimit nonsense=1 IMAGE
--ulimit nofile=5:3 IMAGE
--sysctl nonsense=1 IMAGE
--sysctl net.ipv4.ip_forward=1 --network host IMAGE
--sysctl kernel.msgmax=1 --ipc host IMAGE
--cap-add NONSENSE IMAGE
--security-opt nonsense IMAGE
--security-opt nonsense=1 IMAGE
--security-opt seccomp=/nonexistent IMAGE
--device /dev/nonexistent IMAGE
--device /dev/null:/dev/x:q IMAGE
--device-cgroup-rule nonsense IMAGE
-v /nonexistent/deep:/x IMAGE
-v relative:/x IMAGE
-v ./relative:relative IMAGE
-v /tmp:relative IMAGE
-v /tmp:/x:nonsense IMAGE
-v /tmp:/x -v /var:/x IMAGE
-v x/y:/x IMAGE
-v /:/ IMAGE
-v /tmp:/ IMAGE
--tmpfs relative IMAGE
--tmpfs /x:nonsense=1 IMAGE
--mount type=bind,src=/nonexistent,dst=/x IMAGE
--mount type=bind,src=relative,dst=/x IMAGE
--mount type=nonsense,dst=/x IMAGE
--mount type=bind,src=/tmp IMAGE
--mount type=tmpfs,src=/x,dst=/y IMAGE
--mount type=volume,src=/x,dst=/y IMAGE
--mount type=volume,src=data,dst=/y,volume-driver=nonsense IMAGE
--mount type=image,src=busybox:test,dst=/y IMAGE
--volumes-from nobody IMAGE
--volumes-from other:nonsense IMAGE
--stop-signal NONSENSE IMAGE
--stop-timeout -5 IMAGE
-u '' -w relative IMAGE
-w / IMAGE
--network nobody IMAGE
--network container:nobody IMAGE
--network container:other -p 80:80 IMAGE
--network container:other --hostname x IMAGE
--network container:other --dns 1.1.1.1 IMAGE
--network container:other --add-host a:1.1.1.1 IMAGE
--network host -p 80:80 IMAGE
--network host --mac-address 02:42:ac:11:00:99 IMAGE
--network none --ip 1.2.3.4 IMAGE
--network bridge --ip 172.17.0.9 IMAGE
--pid nonsense IMAGE
--pid container:nobody IMAGE
--ipc nonsense IMAGE
--ipc container:nobody IMAGE
--uts nonsense IMAGE
--userns nonsense IMAGE
--cgroupns nonsense IMAGE
--dns nonsense IMAGE
--add-host nonsense IMAGE
--add-host a:nonsense IMAGE
-p nonsense IMAGE
-p 80:99999 IMAGE
-p 80-90:80 IMAGE
-p 80-82:80-81 IMAGE
-p 1.2.3:80:80 IMAGE
-p 80:80/nonsense IMAGE
--expose nonsense IMAGE
--health-interval 1us --health-cmd x IMAGE
--health-retries -1 --health-cmd x IMAGE
--log-driver nonsense IMAGE
--log-opt nonsense=1 IMAGE
--log-opt max-size=nonsense IMAGE
--log-opt max-file=0 IMAGE
--log-driver none --log-opt max-size=1m IMAGE
--mac-address nonsense IMAGE
--hostname 'a b' IMAGE
--hostname aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa IMAGE
--name 'a b' IMAGE
--name a IMAGE
--name other IMAGE
--name /other IMAGE
--link nobody IMAGE
--link nobody:x IMAGE
--link other:x --network net1 IMAGE
--link other:x --network host IMAGE
--runtime nonsense IMAGE
--isolation hyperv IMAGE
--platform linux/arm64 IMAGE
--platform nonsense/x/y/z IMAGE
--cgroup-parent relative IMAGE
--group-add nobodyhere IMAGE
--label =x IMAGE
-e =x IMAGE
-e '' IMAGE
--annotation =x IMAGE
--gpus nonsense IMAGE
--init --privileged --security-opt seccomp=unconfined IMAGE
--rm --restart always IMAGE
--read-only --storage-opt x=1 IMAGE
nobody:here
NOBODY
sha256:0000000000000000000000000000000000000000000000000000000000000000
"""
# The image has no command of its own.
CREATE = [line + (" sleep" if line.split()[-1] == "IMAGE" else "") for line in CREATE.strip().splitlines()]

# Run one after another; containers `other` (sleeps, volume /shared) and network `net1` are there.
LINES = r"""
run --rm IMAGE true
run --rm IMAGE sh -c 'exit 7'
run --rm IMAGE nonexistent
run --rm IMAGE /etc
run --rm IMAGE /etc/notexecutable
run --rm IMAGE ''
run --rm -u nobodyhere IMAGE true
run --rm -u 5000:6000 IMAGE id
run --rm -u u IMAGE id
run --rm -u u:nobodyhere IMAGE id
run --rm -u nobody:u --group-add 7 IMAGE id
run --rm -u -1 IMAGE id
run --rm -u 99999999999 IMAGE id
run --rm -w /new/dir IMAGE pwd
run --rm -w /etc/passwd IMAGE pwd
run --rm -e A=1 -h box IMAGE env
run --rm -t IMAGE tty
run --rm IMAGE cat /proc/1/cgroup
run --rm IMAGE sh -c 'kill -9 $$'
run --rm --init IMAGE sh -c 'kill -15 $$'
run --rm --stop-signal 9 IMAGE true
run --rm --network none IMAGE ip -o link
run --rm --read-only IMAGE touch /x
run --rm --tmpfs /t:size=1m IMAGE sh -c 'df -k /t | tail -1'
run --rm --tmpfs /t IMAGE sh -c 'grep " /t " /proc/mounts'
run --rm IMAGE cat /etc/hostname /etc/hosts --
run --rm --hostname box --domainname d.org --add-host x:1.2.3.4 --network none IMAGE cat /etc/hosts
run --rm --hostname box --domainname d.org IMAGE sh -c 'hostname; cat /proc/sys/kernel/domainname'
run --rm --dns 1.2.3.4 --dns-search a.b --dns-option ndots:3 IMAGE cat /etc/resolv.conf
run --rm --dns 1.2.3.4 --network net1 IMAGE cat /etc/resolv.conf
run --rm --ulimit nofile=100:200 IMAGE sh -c 'ulimit -n; ulimit -Hn'
run --rm IMAGE sh -c 'ulimit -a'
run --rm IMAGE sh -c 'grep Cap /proc/self/status'
run --rm --privileged IMAGE sh -c 'grep -E "Cap|Seccomp:|NoNewPrivs" /proc/self/status'
run --rm --cap-drop all --cap-add chown IMAGE sh -c 'grep Cap /proc/self/status'
run --rm -u 5 --cap-add net_admin IMAGE sh -c 'grep Cap /proc/self/status'
run --rm --security-opt no-new-privileges IMAGE sh -c 'grep -E "Seccomp:|NoNewPrivs" /proc/self/status'
run --rm IMAGE sh -c 'ls -l /dev | cut -c1-40; ls /dev/shm /dev/pts'
run --rm IMAGE sh -c 'cut -d" " -f2,3,4 /proc/mounts | sed "s/,lowerdir.*//" | grep -vE "overlay|resolv.conf|hosts|vfs|^/ " | sort'
run --rm IMAGE ls -la /
run --rm IMAGE mount -t tmpfs x /tmp
run --rm IMAGE umask
run --rm IMAGE sh -c 'cat /proc/self/oom_score_adj; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range'
run --rm --oom-score-adj 300 IMAGE cat /proc/self/oom_score_adj
run --rm -m 32m IMAGE cat /sys/fs/cgroup/memory/memory.limit_in_bytes
run --rm --cpus 0.5 IMAGE cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
run --rm --shm-size 1m IMAGE sh -c 'df -k /dev/shm | tail -1'
run --rm -v fresh:/tmp IMAGE ls -ld /tmp
run --rm -v /etc IMAGE ls /etc
run --rm --mount type=volume,dst=/etc,volume-nocopy IMAGE ls /etc
run --rm -v /tmp:/etc/passwd IMAGE true
run --rm -v /etc/hostname:/x IMAGE true
run --rm --volumes-from other IMAGE ls /shared
run --rm --network container:other IMAGE hostname
run --rm --network container:other --name joins IMAGE cat /etc/hosts
run --rm --pid container:other IMAGE sh -c 'ps | grep -c "sleep 600"'
run --rm --ipc container:other IMAGE true
run --rm --sysctl net.core.somaxconn=77 IMAGE cat /proc/sys/net/core/somaxconn
run --rm --device /dev/null:/dev/xnull:r IMAGE ls -l /dev/xnull
run --rm --device /dev/null:/dev/xnull:r IMAGE sh -c 'echo >/dev/xnull'
run --rm --link other:alias IMAGE sh -c 'env | grep ALIAS | sort; grep alias /etc/hosts'
run --rm -p 8080:80 -p 8080:81 IMAGE true
run -d --name one IMAGE sleep 600
run -d --name one IMAGE sleep 600
run --name two IMAGE sh -c 'echo out; echo err >&2; exit 4'
ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.Status}} {{.Ports}}'
ps -a --format '{{.Names}}' --filter status=exited
ps -a --format '{{.Names}}' --filter exited=4
ps -a --format '{{.Names}}' --filter name=^/on
ps -a --format '{{.Names}}' --filter ancestor=busybox:test
ps -a --format '{{.Names}}' --filter ancestor=nobody
ps -a --format '{{.Names}}' --filter label=x
ps -a --format '{{.Names}}' --filter before=two
ps -a --format '{{.Names}}' --filter since=one
ps -a --format '{{.Names}}' --filter since=nobody
ps -a --format '{{.Names}}' --filter volume=/shared
ps -a --format '{{.Names}}' --filter network=bridge
ps -a --format '{{.Names}}' --filter publish=80
ps -a --format '{{.Names}}' --filter health=none
ps -a --format '{{.Names}}' --filter is-task=false
ps --filter nonsense=1
ps --filter status=nonsense
ps --filter exited=x
ps -n 1 --format '{{.Names}}'
ps -l --format '{{.Names}}'
ps -as --format '{{.Names}}'
ps --no-trunc --format '{{.Command}}'
logs two
logs -t --tail 0 two
logs --tail 1 two
logs --tail x two
logs --since 10h two
logs --since nonsense two
logs --until 10h two
logs nobody
start nobody
start one
start two
wait two
stop nobody
stop two
stop -t 0 one
kill one
kill nobody
kill -s NONSENSE one
start one
kill -s 0 one
kill -s 100 one
kill -s USR1 one
pause two
pause nobody
pause one
pause one
exec one true
stop -t 0 one
start one
unpause one
exec nobody true
exec two true
exec one nonexistent
exec one /etc
exec one sh -c 'exit 9'
exec -e A=1 -w /tmp -u u one sh -c 'echo $A $PWD; id'
exec -u nobodyhere one true
exec -w /nonexistent one pwd
exec --privileged one sh -c 'grep CapEff /proc/self/status'
exec -u u one sh -c 'grep CapEff /proc/self/status'
exec -d one true
exec -t one tty
rename one two
rename one one
rename one 'a b'
rename nobody x
rename one uno
rename uno one
port one
port one 80
port nobody
top one
top one -o pid
top two
top nobody
diff two
diff nobody
update -m 64m one
update -m 64m --memory-swap 128m one
update --restart always one
update --restart nonsense one
update --cpus 0.5 one
update --pids-limit 50 one
update nobody
update one
inspect nobody
inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' one
inspect -f '{{.Nonsense}}' one
inspect -s -f '{{.SizeRw}}' two
inspect --type image one
attach two
attach nobody
cp two:/etc/passwd -
cp two:/nonexistent -
cp nobody:/x -
cp /nonexistent two:/x
cp /etc/hostname two:/nonexistent/x
export -o /dev/null nobody
commit nobody
commit -c 'NONSENSE x' two
commit -c 'CMD sh' -c 'ENV A=1 B="2 3"' -c 'LABEL x=y' -c 'EXPOSE 80 81/udp' -c 'VOLUME /a /b' -c 'USER u' -c 'WORKDIR /w' -c 'ENTRYPOINT ["e"]' -c 'STOPSIGNAL 9' -c 'HEALTHCHECK --interval=5s CMD x y' -c 'ONBUILD RUN x' -a me -m why two made:1
inspect --type image -f '{{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.User}} {{.Config.WorkingDir}} {{json .Config.Entrypoint}} {{json .Config.StopSignal}} {{json .Config.Healthcheck}} {{json .Config.OnBuild}} {{.Author}} {{.Comment}}' made:1
history --format '{{.CreatedBy}} {{.Comment}}' made:1
history nobody
tag nobody x
tag made:1 'BAD'
tag made:1 made:2
images --format '{{.Repository}}:{{.Tag}}'
images --format '{{.Repository}}:{{.Tag}}' made
images --format '{{.Repository}}:{{.Tag}}' 'm*'
images --format '{{.Repository}}:{{.Tag}}' --filter reference='made:*'
images --format '{{.Repository}}:{{.Tag}}' --filter dangling=true
images --format '{{.Repository}}:{{.Tag}}' --filter before=made:1
images --format '{{.Repository}}:{{.Tag}}' --filter label=x=y
images --filter nonsense=1
images --filter dangling=nonsense
rmi nobody
rmi made:2
rmi made:1
rmi busybox:test
save nobody
save -o /dev/null busybox:test nobody
load -i /dev/null
load -i /etc/passwd
import /nonexistent x
import /etc/passwd x
image inspect nobody
image prune -f
volume create v1
volume create v1
volume create --driver nonsense v2
volume create 'a b'
volume create -o nonsense=1 v3
volume create -o type=tmpfs -o device=tmpfs -o o=size=1m v4
volume ls -q --filter name=v
volume ls -q --filter driver=local
volume ls -q --filter nonsense=1
volume inspect nobody
volume inspect -f '{{.Name}} {{.Driver}} {{.Options}} {{.Scope}} {{.Labels}}' v1 v4
volume rm nobody
volume rm v1 v4
volume rm -f nobody
run -d --name holder -v held:/x IMAGE sleep 600
volume rm held
rm holder
rm nobody
rm -f nobody
rm -f holder
rm -v two
rm -f one
container prune -f
volume prune -f
network rm net1
system prune -f
login -u a -p b 127.0.0.1:1
pull 127.0.0.1:1/x
push busybox:nope
push 127.0.0.1:1/x
build -q - 
swarm init
service ls
node ls
plugin ls
checkpoint ls other
stats --no-stream nobody
stats --no-stream --format '{{.Name}}' other
events --since 0s --until 0s --filter nonsense=1
info --format '{{.Swarm.LocalNodeState}} {{.OSType}}'
rm -f other
""".strip().splitlines()

IDS = re.compile(r"\b(sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")
# What runc and containerd put around the same reason, and what is different at each run.
AROUND = [
    (re.compile(r"failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
                r"unable to start container process: "), ""),
    (re.compile(r"OCI runtime exec failed: exec failed: unable to start container process: "), ""),
    (re.compile(r": unknown(?=: permission denied|\n|$)"), ""), (re.compile(r"(?<=[ef]f00|fe00)::0(?=\t)"), "::"),
    (re.compile(r"\b172\.\d+\.\d+\.\d+\b"), "ADDRESS"), (re.compile(r"(?<=ALIAS_NAME=/)\w+(?=/)"), "NAME"),
    (re.compile(r"\b[A-Z][a-z][a-z] +\d+ \d\d:\d\d\b"), "TIME"), (re.compile(r"(?<=time=\")[^\"]+"), "TIME"), (re.compile(r"(Up|\)) (\d+|Less).*"), r"\1 SPAN"),
    (re.compile(r"failed to set up container networking: "), ""), (re.compile(r"(?<=on endpoint )\w+"), "NAME"),
]

# Members of inspect that tell what this engine does, or where.
OWN = re.compile(r"\.(Created|Driver|GraphDriver.*|Name|LogPath|HostnamePath|HostsPath|ResolvConfPath|NetworkSettings\..*NetworkID"
                 r"|NetworkSettings\..*DNSNames|Config\.MacAddress|Mounts\[\d+\]\.(Source|Propagation)"
                 r"|HostConfig\.(MaskedPaths|CgroupnsMode|Runtime|SecurityOpt))$")

# Lines whose answer is otherwise, and why; only the exit code is compared, or nothing where that differs too.
OTHERWISE = {
    "blkio-weight": ("codes differ", "dockerd discards a weight, with a warning, where the kernel has none"),
    "apparmor=unconfined": ("texts differ", "dockerd shows a profile where the kernel has no AppArmor"),
    "^--network (host|container:)": ("texts differ", "dockerd shows a host name that the container does not have as its own"),
    "^--gpus all|volume-driver=nonsense|^--platform|^nobody:here|^--use-api-socket": ("codes differ", "no graphics, no plugins, no network here"),
    "storage-opt|type=image|type=npipe": ("texts differ", "not in this engine, and named"),
    "volume-opt|^volume (create -o type|ls|inspect -f|rm v1)": ("codes differ", "options of local volumes are not in this engine"),
    "^--sysctl .*--network host|^--tmpfs /x:nonsense|^--log-opt max|^--hostname a{60}": ("codes differ", "refused at creation, not at the start"),
    "^run .*(resolv.conf|/proc/1/cgroup|/proc/mounts| ls -la /| ls -ld /tmp| -v /etc )": ("texts differ", "a cgroup namespace of its own; no remarks in resolv.conf"),
    "^run .* -u (u|nobody:u|5) |^exec .* -u u one": ("codes differ", "dockerd's vfs keeps the mode of this image's root folder; /etc/passwd is the container's"),
    "^run .*(/etc/passwd | -p 8080:80 -p 8080:81|pid container:other)": ("texts differ", "the same refusal in other words"),
    "^exec one (nonexistent|/etc)|^exec -[uw] no": ("codes differ", "said on stderr, with the exit code of later versions"),
    "^exec -w /nonexistent|^(top|pause|unpause|exec) one": ("texts differ", "process ids; later versions' words"),
    "^update -m 64m one$": ("codes differ", "a limit may be raised without naming the swap's"),
    "^kill -s 100|^rename one 'a b'|dangling=nonsense|^save nobody|^(load|import) |^rmi made:1|^images --filter": ("texts differ", "the same refusal in other words"),
    "^inspect --type image -f|^history": ("texts differ", "an image says where it comes from"),
    "^(login|pull|push) |^build|^swarm init|^run --rm -w /etc/passwd": ("texts differ", "the same refusal in other words"),
    "^events .*nonsense": ("codes differ", "an unknown filter is refused"),
}


class Side:
    """One of both engines, by the same docker CLI."""

    def __init__(self, socket, scratch):
        self.env = dict(os.environ, DOCKER_HOST="unix://" + socket, DOCKER_CONFIG=scratch + "/answers", TERM="xterm", DOCKER_API_VERSION="1.45")
        os.makedirs(self.env["DOCKER_CONFIG"], exist_ok=True)

    def docker(self, *words):
        if os.path.exists("/tmp/answers.cid"):
            os.remove("/tmp/answers.cid")
        try:
            done = subprocess.run(["docker", *words], env=self.env, capture_output=True, text=True, errors="replace", timeout=90, stdin=subprocess.DEVNULL)
            return done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            return -1, "", "does not end"

    def prepare(self):
        for words in ("network create --subnet 10.99.1.0/24 net1", f"run -d --name other --ipc shareable -v shared:/shared --stop-signal KILL {IMAGE} sleep 600"):
            code, out, err = self.docker(*words.split())
            if code:
                raise RuntimeError(f"docker {words}: {err}")

    def create(self, line):
        code, out, err = self.docker("create", *shlex.split(line.replace("IMAGE", IMAGE)))
        told = None
        if code == 0:
            identity = out.strip().splitlines()[-1]
            told = json.loads(self.docker("inspect", identity)[1] or "[null]")[0]
            self.docker("rm", "-vf", identity)
        return code, out, err, told

    def run(self, line):
        return self.docker(*shlex.split(line.replace("IMAGE", IMAGE)))


def plain(text):
    for pattern, other in AROUND:
        text = pattern.sub(other, text)
    return IDS.sub("ID", text).rstrip()


def ordered(told):
    """Docker's CLI sends binds in any order."""
    if told:
        told["Mounts"] = sorted(told.get("Mounts") or [], key=lambda mount: mount["Destination"])
        told["HostConfig"]["Binds"] = sorted(told["HostConfig"].get("Binds") or [])
        told["Config"]["Env"] = sorted(told["Config"].get("Env") or [])
    return told


def differences(ours, theirs, path=""):
    """Where inspect's answers differ, of what dockerd 26.1 has."""
    if OWN.search(path):
        return
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(theirs):
            yield from differences(ours.get(name), theirs[name], f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{path}[{index}]")
    # nothing, zero and an empty collection say the same
    elif (ours or theirs) and re.sub(r"/\w+(?=/alias)", "/NAME", plain(str(ours))) != re.sub(r"/\w+(?=/alias)", "/NAME", plain(str(theirs))):
        yield f"{path}: {ours!r}, dockerd {theirs!r}"


@unittest.skipUnless((PEERS / "root/usr/sbin/dockerd").exists() or (PEERS / "root/usr/bin/dockerd").exists(), "the peers' root is missing: Scripts/peers.sh makes it")
class AnswerTests(Case):
    """One dockerd for all lines; its answers are asked for first."""

    @classmethod
    def setUpClass(cls):
        engine()
        tar = engine().scratch + "/busybox.tar"
        if not os.path.exists(tar):
            busybox_tar(tar)
        peer = Peer()
        try:
            connection = UnixConnection(peer.socket)
            with open(tar, "rb") as body:
                connection.request("POST", "/images/create?fromSrc=-&repo=busybox&tag=test", body, {"Content-Type": "application/x-tar"})
                connection.getresponse().read()
            cls.theirs = cls.answers(Side(peer.socket, engine().scratch))
        finally:
            peer.stop()
        cls.ours = cls.answers(Side(engine().socket, engine().scratch))

    @staticmethod
    def answers(side):
        side.prepare()
        return [side.create(line) for line in CREATE], [side.run(line) for line in LINES]

    def compare(self, line, our, their):
        liberty = next((liberty for pattern, (liberty, why) in OTHERWISE.items() if re.search(pattern, line)), None)
        if liberty == "codes differ":
            return
        self.assertEqual(our[0], their[0], f"exit code\n{our}\ndockerd: {their}")
        if liberty:
            return
        self.assertEqual(plain(our[2]), plain(their[2]), "stderr, ours first")
        return True

    def test_containers_are_made_as_dockerd_makes_them(self):
        for line, our, their in zip(CREATE, self.ours[0], self.theirs[0]):
            with self.subTest(line):
                if self.compare(line, our, their):
                    self.assertEqual(list(differences(ordered(our[3]), ordered(their[3]))), [])

    def test_commands_answer_as_dockerds_do(self):
        for line, our, their in zip(LINES, self.ours[1], self.theirs[1]):
            with self.subTest(line):
                if self.compare(line, our, their):
                    self.assertEqual(plain(our[1]), plain(their[1]), "stdout, ours first")


if __name__ == "__main__":
    unittest.main()
