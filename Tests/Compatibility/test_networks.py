"""docker's own command line on networks: made, listed, joined, left and removed."""
import json
import re
import socket
import subprocess
import time
import unittest

from engine import BIN, Case, docker, engine
from test_network_answers import ask

IMAGE = "busybox:test"


def has_ipv6():
    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6") as file:
            return file.read().strip() == "0"
    except OSError:
        return False


class NetworkCase(Case):
    def tearDown(self):
        super().tearDown()
        names = docker("network", "ls", "-q", "--filter", "type=custom").out.split()
        if names:
            docker("network", "rm", *names)

    def box(self, name, *words):
        """A container that waits, and dies at once when it is told to."""
        return self.ok("run", "-d", "--name", name, "--stop-signal", "KILL", *words, IMAGE, "sleep", "600").out.strip()

    def network(self, name):
        return self.inspect(name, "network")

    def endpoint(self, box, network):
        return self.inspect(box)["NetworkSettings"]["Networks"][network]

    def api(self, target):
        """What the engine itself answers, members in its order."""
        status, value = ask(engine().socket, "GET", target, None)
        self.assertEqual(status, 200, value)
        return value

    def runs(self, box, *words, code=0):
        result = docker("exec", box, *words)
        self.assertEqual(result.code, code, f"{box}: {words}: {result}")
        return result.out


class NetworkTests(NetworkCase):
    def test_create_and_inspect(self):
        id = self.ok("network", "create", "--subnet", "10.213.1.0/24", "--ip-range", "10.213.1.128/25", "--gateway", "10.213.1.5",
                     "--aux-address", "router=10.213.1.200", "--label", "k=v", "--attachable",
                     "-o", "com.docker.network.driver.mtu=1400", "one").out.strip()
        self.assertRegex(id, "^[0-9a-f]{64}$")
        found = self.network("one")
        self.assertEqual((found["Id"], found["Name"], found["Driver"], found["Scope"]), (id, "one", "bridge", "local"))
        self.assertEqual(found["IPAM"]["Config"][0], {"Subnet": "10.213.1.0/24", "IPRange": "10.213.1.128/25", "Gateway": "10.213.1.5",
                                                     "AuxiliaryAddresses": {"router": "10.213.1.200"}})
        self.assertEqual((found["Labels"], found["Options"]), ({"k": "v"}, {"com.docker.network.driver.mtu": "1400"}))
        self.assertTrue(found["Attachable"] and found["EnableIPv4"] and not found["Internal"] and not found["ConfigOnly"])
        self.assertEqual((found["Containers"], found["ConfigFrom"]), ({}, {"Network": ""}))
        self.assertEqual(self.ok("network", "inspect", "-f", "{{.Name}} {{(index .IPAM.Config 0).Gateway}}", id[:12]).out, "one 10.213.1.5\n")

    def test_list(self):
        for name in ("two10", "two9"):
            self.ok("network", "create", "--label", "n=" + name, name)
        out = self.ok("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").out
        self.assertEqual(re.findall("two.*", out), ["two9 bridge local", "two10 bridge local"])
        for words, names in ((["name=two1"], {"two10"}), (["label=n=two9"], {"two9"}), (["driver=host"], {"host"}), (["type=builtin"], {"bridge", "host", "none"}),
                             (["type=custom"], {"two9", "two10"}), (["scope=local", "name=^two"], {"two9", "two10"}), (["dangling=true"], {"two9", "two10"})):
            flags = [part for word in words for part in ("--filter", word)]
            self.assertEqual(set(self.ok("network", "ls", *flags, "--format", "{{.Name}}").out.split()), names, words)
        rows = [json.loads(line) for line in self.ok("network", "ls", "--format", "json", "--no-trunc").out.splitlines()]
        self.assertEqual({row["Name"] for row in rows}, {"bridge", "host", "none", "two9", "two10"})
        self.fails(1, "invalid filter 'nope'", "network", "ls", "--filter", "nope=x")

    def test_names_and_addresses_that_are_taken(self):
        self.ok("network", "create", "--subnet", "10.213.2.0/24", "one")
        self.fails(1, "network with name one already exists", "network", "create", "one")
        self.fails(1, "Pool overlaps with other one on this address space", "network", "create", "--subnet", "10.213.0.0/16", "two")
        self.fails(1, "operation is not permitted on predefined bridge network", "network", "create", "bridge")
        self.fails(1, "bridge is a pre-defined network and cannot be removed", "network", "rm", "bridge")
        self.fails(1, "network nope not found", "network", "rm", "nope")
        self.assertEqual(self.ok("network", "rm", "-f", "nope").out, "")

    def test_subnets_are_chosen_without_overlap(self):
        for number in range(12):
            self.ok("network", "create", f"auto{number}")
        subnets = self.ok("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", *[f"auto{n}" for n in range(12)]).out.split()
        self.assertEqual(len(subnets), len(set(subnets)))
        self.ok("network", "rm", *[f"auto{n}" for n in range(12)])

    def test_run_on_a_network(self):
        self.ok("network", "create", "--subnet", "10.213.3.0/24", "one")
        self.box("web", "--network", "name=one,ip=10.213.3.77,mac-address=02:42:0a:d5:03:4d,alias=www")
        found = self.endpoint("web", "one")
        self.assertEqual((found["IPAddress"], found["IPPrefixLen"], found["MacAddress"], found["Gateway"]), ("10.213.3.77", 24, "02:42:0a:d5:03:4d", "10.213.3.1"))
        self.assertEqual(found["IPAMConfig"], {"IPv4Address": "10.213.3.77"})
        self.assertEqual(found["Aliases"], ["www"])
        self.assertEqual(found["DNSNames"][:2], ["web", "www"])
        self.assertEqual(found["NetworkID"], self.network("one")["Id"])
        self.assertIn("10.213.3.77/24", self.runs("web", "ip", "-4", "addr", "show", "eth0"))
        self.assertIn("02:42:0a:d5:03:4d", self.runs("web", "ip", "link", "show", "eth0"))
        box = list(self.network("one")["Containers"].values())[0]
        self.assertEqual((box["Name"], box["IPv4Address"], box["MacAddress"]), ("web", "10.213.3.77/24", "02:42:0a:d5:03:4d"))
        self.assertEqual(self.ok("ps", "--filter", "network=one", "--format", "{{.Names}} {{.Networks}}").out, "web one\n")
        self.assertEqual(self.ok("ps", "-q", "--filter", "network=bridge").out, "")
        self.fails(1, r'network one has active endpoints \(name:"web" id:"[0-9a-f]{12}"\)', "network", "rm", "one")
        self.assertEqual(self.inspect("web")["HostConfig"]["NetworkMode"], "one")

    def test_neighbours_reach_one_another_and_other_networks_do_not(self):
        self.ok("network", "create", "one")
        self.ok("network", "create", "two")
        self.box("aa", "--network", "one")
        self.box("bb", "--network", "one")
        self.box("cc", "--network", "two")
        address = self.endpoint("bb", "one")["IPAddress"]
        self.runs("aa", "ping", "-c1", "-W2", address)
        self.runs("cc", "ping", "-c1", "-W1", address, code=1)

    def test_several_networks(self):
        for number, name in enumerate(("one", "two", "three")):
            self.ok("network", "create", "--subnet", f"10.213.{20 + number}.0/24", name)
        self.box("web", "--network", "two", "--network", "name=one,gw-priority=10", "--network", "three")
        networks = self.inspect("web")["NetworkSettings"]["Networks"]
        self.assertEqual(set(networks), {"one", "two", "three"})
        for name in networks:
            self.assertTrue(networks[name]["IPAddress"].startswith({"one": "10.213.20.", "two": "10.213.21.", "three": "10.213.22."}[name]))
        self.assertIn("default via 10.213.20.1", self.runs("web", "ip", "route"))
        self.assertEqual(networks["one"]["GwPriority"], 10)

    def test_connect_and_disconnect_while_it_runs(self):
        self.ok("network", "create", "--subnet", "10.213.4.0/24", "one")
        self.ok("network", "create", "--subnet", "10.213.5.0/24", "two")
        self.box("web", "--network", "one")
        self.ok("network", "connect", "--ip", "10.213.5.9", "--alias", "second", "two", "web")
        self.assertEqual(self.endpoint("web", "two")["IPAddress"], "10.213.5.9")
        self.assertEqual(self.endpoint("web", "two")["Aliases"], ["second"])
        self.assertIn("10.213.5.9/24", self.runs("web", "ip", "-4", "addr"))
        self.fails(1, "endpoint with name web already exists in network two", "network", "connect", "two", "web")
        self.box("other", "--network", "two")
        self.fails(1, "Address already in use", "network", "connect", "--ip", "10.213.5.9", "two", self.box("third"))
        self.runs("other", "ping", "-c1", "-W2", "10.213.5.9")
        self.ok("network", "disconnect", "one", "web")
        self.assertEqual(set(self.inspect("web")["NetworkSettings"]["Networks"]), {"two"})
        self.assertNotIn("10.213.4.", self.runs("web", "ip", "-4", "addr"))
        self.runs("other", "ping", "-c1", "-W2", "10.213.5.9")
        self.fails(1, "is not connected to network one", "network", "disconnect", "one", "web")
        self.ok("network", "rm", "one")

    def test_connect_and_disconnect_while_it_stands(self):
        self.ok("network", "create", "one")
        self.ok("network", "create", "two")
        self.ok("create", "--name", "web", "--network", "one", IMAGE, "ip", "-4", "addr")
        self.ok("network", "connect", "two", "web")
        self.ok("network", "connect", "two", "web")
        self.assertEqual(set(self.inspect("web")["NetworkSettings"]["Networks"]), {"one", "two"})
        self.ok("network", "disconnect", "one", "web")
        self.fails(1, "is not connected to the network one", "network", "disconnect", "one", "web")
        out = self.ok("start", "-a", "web").out
        self.assertEqual(len(re.findall(r"inet (?!127)", out)), 1, out)

    def test_a_stop_and_a_start_keep_the_networks(self):
        self.ok("network", "create", "--subnet", "10.213.6.0/24", "one")
        self.ok("network", "create", "--subnet", "10.213.7.0/24", "two")
        self.box("web", "--network", "name=one,ip=10.213.6.40")
        self.ok("network", "connect", "--ip", "10.213.7.40", "two", "web")
        self.ok("restart", "-t", "0", "web")
        networks = self.inspect("web")["NetworkSettings"]["Networks"]
        self.assertEqual({name: networks[name]["IPAddress"] for name in networks}, {"one": "10.213.6.40", "two": "10.213.7.40"})
        self.ok("stop", "-t", "0", "web")
        self.assertEqual(self.endpoint("web", "one")["IPAddress"], "")
        self.ok("network", "rm", "two")
        self.fails(1, "network two not found", "start", "web")

    def test_networks_that_do_not_go_together(self):
        self.ok("network", "create", "one")
        self.box("hosted", "--network", "host")
        self.fails(1, "container sharing network namespace with another container or host", "network", "connect", "one", "hosted")
        self.fails(1, "container cannot be disconnected from host network", "network", "disconnect", "host", "hosted")
        self.box("alone", "--network", "none")
        self.fails(1, r"one of the networks in private \(none\) mode", "network", "connect", "one", "alone")
        self.box("web", "--network", "one")
        self.fails(1, "cannot connect container to host network|connected to host network", "network", "connect", "host", "web")
        self.box("joined", "--network", "container:web")
        self.fails(1, "container sharing network namespace", "network", "connect", "one", "joined")
        self.assertEqual(self.inspect("joined")["NetworkSettings"]["Networks"], {})
        self.assertEqual([box["Name"] for box in self.network("host")["Containers"].values()], ["hosted"])

    def test_internal(self):
        self.ok("network", "create", "--internal", "--subnet", "10.213.8.0/24", "inside")
        self.box("web", "--network", "inside")
        self.assertNotIn("default", self.runs("web", "ip", "route"))
        self.assertTrue(self.network("inside")["Internal"])

    def test_ipv6(self):
        self.ok("network", "create", "--ipv6", "--subnet", "fd12:3456::/64", "--subnet", "10.213.9.0/24", "dual")
        self.box("web", "--network", "name=dual,ip6=fd12:3456::99")
        found = self.endpoint("web", "dual")
        self.assertEqual((found["GlobalIPv6Address"], found["GlobalIPv6PrefixLen"]), ("fd12:3456::99", 64))
        self.assertIn("fd12:3456::99/64", self.runs("web", "ip", "-6", "addr", "show", "eth0"))
        self.assertTrue(self.network("dual")["EnableIPv6"])

    def test_configuration_networks(self):
        self.ok("network", "create", "--config-only", "--subnet", "10.213.10.0/24", "--label", "k=v", "conf")
        self.ok("network", "create", "--config-from", "conf", "one")
        found = self.network("one")
        self.assertEqual((found["ConfigFrom"], found["Labels"], found["IPAM"]["Config"][0]["Subnet"]), ({"Network": "conf"}, {"k": "v"}, "10.213.10.0/24"))
        self.assertTrue(self.network("conf")["ConfigOnly"])
        self.fails(1, 'configuration network "conf" is in use', "network", "rm", "conf")
        self.ok("network", "rm", "one")
        self.ok("network", "rm", "conf")

    def test_prune(self):
        for name in ("used", "kept", "gone"):
            self.ok("network", "create", *(["--label", "keep"] if name == "kept" else []), name)
        self.box("web", "--network", "used")
        self.assertEqual(self.ok("network", "prune", "-f", "--filter", "label!=keep").out, "Deleted Networks:\ngone\n\n")
        self.assertEqual(self.ok("network", "prune", "-f", "--filter", "until=24h").out, "")
        self.assertIn("Deleted Networks:\nkept\n", self.ok("system", "prune", "-f").out)
        self.assertEqual(self.ok("network", "ls", "-q", "--filter", "type=custom", "--format", "{{.Name}}").out, "used\n")

    def test_events(self):
        since = str(time.time())
        self.ok("network", "create", "one")
        self.ok("run", "--rm", "--network", "one", "--name", "web", IMAGE, "true")
        self.ok("network", "rm", "one")
        out = self.ok("events", "--since", since, "--until", str(time.time() + 0.3), "--filter", "type=network", "--format",
                      "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}").out
        self.assertEqual(out.split("\n")[:-1], [word + " one bridge" for word in ("create", "connect", "disconnect", "destroy")])

    def test_published_ports_of_a_network(self):
        self.ok("network", "create", "one")
        self.ok("run", "-d", "--name", "web", "--stop-signal", "KILL", "--network", "one", "-p", "18099:80", "--expose", "81", IMAGE,
                "nc", "-ll", "-p", "80", "-e", "echo", "hello")
        ports = self.inspect("web")["NetworkSettings"]["Ports"]
        self.assertEqual(ports["80/tcp"][0]["HostPort"], "18099")
        self.assertIsNone(ports["81/tcp"])
        self.assertIn("80/tcp -> 0.0.0.0:18099", self.ok("port", "web").out)
        with self.eventually(lambda: socket.create_connection(("127.0.0.1", 18099), timeout=5)) as connection:
            self.assertEqual(connection.makefile().readline(), "hello\n")

    def test_the_default_bridge_shows_where_older_clients_look(self):
        self.box("web")
        found = self.inspect("web")["NetworkSettings"]
        self.assertEqual(self.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web").out.strip(), found["Networks"]["bridge"]["IPAddress"])
        self.assertRegex(found["SandboxKey"], "^/proc/[0-9]+/ns/net$")

    @unittest.skipUnless(has_ipv6(), "this kernel has no IPv6")
    def test_the_default_bridge_has_ipv6(self):
        """Unlike dockerd's, which has it with `--ipv6` only: skiffd --ipv6=false is that."""
        self.box("web")
        found = self.inspect("web")["NetworkSettings"]["Networks"]["bridge"]
        network = self.network("bridge")
        self.assertTrue(network["EnableIPv6"])
        six = next(each for each in network["IPAM"]["Config"] if ":" in each["Subnet"])
        self.assertRegex(six["Subnet"], "^fd[0-9a-f:]+::/64$")
        self.assertEqual((found["IPv6Gateway"], found["GlobalIPv6PrefixLen"]), (six["Gateway"], 64))
        self.assertIn(found["GlobalIPv6Address"] + "/64", self.runs("web", "ip", "-6", "addr", "show", "eth0"))
        self.assertIn("default via " + six["Gateway"], self.runs("web", "ip", "-6", "route"))
        self.assertEqual(next(iter(network["Containers"].values()))["IPv6Address"], found["GlobalIPv6Address"] + "/64")

    def test_a_container_may_switch_ipv6_off(self):
        self.box("web", "--sysctl", "net.ipv6.conf.all.disable_ipv6=1", "-p", "18098:80")
        found = self.inspect("web")["NetworkSettings"]
        self.assertEqual(found["Networks"]["bridge"]["GlobalIPv6Address"], "")
        self.assertEqual(found["Ports"]["80/tcp"], [{"HostIp": "0.0.0.0", "HostPort": "18098"}])

    def test_every_interface_is_counted(self):
        self.ok("network", "create", "one")
        self.box("web", "--network", "one")
        self.box("mate", "--network", "container:web")
        self.box("alone", "--network", "none")
        self.ok("network", "connect", "bridge", "web")
        for name, interfaces in (("web", {"eth0", "eth1"}), ("mate", {"eth0", "eth1"}), ("alone", set())):
            told = self.api(f"/containers/{name}/stats?stream=false&one-shot=true")
            self.assertEqual(set(told.get("networks") or {}), interfaces)
        self.runs("web", "ping", "-c", "3", "-I", "eth1", self.endpoint("web", "bridge")["Gateway"])
        told = self.api("/containers/web/stats?stream=false&one-shot=true")["networks"]
        self.assertGreaterEqual(told["eth1"]["tx_packets"], 3)
        self.assertGreaterEqual(told["eth1"]["rx_bytes"], 3 * 84)

    def test_members_come_in_gos_order(self):
        self.ok("network", "create", "--subnet", "10.213.12.0/24", "one")
        self.assertEqual(list(self.api("/networks/one")["IPAM"]), ["Driver", "Options", "Config"])

    def test_a_wrong_address_is_refused_at_creation(self):
        self.ok("network", "create", "--subnet", "10.213.11.0/24", "one")
        self.fails(125, "no configured subnet or ip-range contain the IP address 10.9.9.9", "run", "--rm", "--network", "one", "--ip", "10.9.9.9", IMAGE, "true")
        self.fails(125, "network nope not found", "run", "--rm", "--network", "nope", IMAGE, "true")
        self.assertEqual(self.ok("ps", "-aq").out, "")

    def test_an_engine_that_was_killed_knows_its_networks(self):
        self.ok("network", "create", "--subnet", "10.213.12.0/24", "--label", "k=v", "one")
        self.box("web", "--network", "name=one,ip=10.213.12.9")
        before = self.network("one")
        engine().kill()
        engine().start()
        self.assertEqual(self.network("one"), before)
        self.assertEqual(self.endpoint("web", "one")["IPAddress"], "10.213.12.9")
        self.box("other", "--network", "one")
        self.runs("other", "ping", "-c1", "-W2", "10.213.12.9")
        self.ok("network", "disconnect", "one", "web")
        self.assertEqual(self.inspect("web")["NetworkSettings"]["Networks"], {})


class NameTests(NetworkCase):
    """Names that containers find one another by."""

    def test_names_aliases_and_short_ids(self):
        self.ok("network", "create", "one")
        id = self.box("db", "--network", "one", "--network-alias", "sql")
        self.box("web", "--network", "one")
        address = self.endpoint("db", "one")["IPAddress"]
        for name in ("db", "sql", id[:12]):
            self.assertIn(address, self.runs("web", "nslookup", "-type=a", name))
        self.ok("rename", "db", "newdb")
        self.assertIn(address, self.runs("web", "nslookup", "-type=a", "newdb"))

    def test_links(self):
        self.ok("network", "create", "one")
        self.box("db", "--network", "one")
        self.box("web", "--network", "one", "--link", "db:sql")
        self.runs("web", "ping", "-c1", "-W2", "sql")


class OurCommandLineTests(NetworkCase):
    """`skiff network`, against docker's own: same answers."""

    def skiff(self, *words):
        done = subprocess.run([BIN + "/skiff", "-H", "unix://" + engine().socket, *words], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_the_same_lists_and_texts(self):
        self.ok("network", "create", "--label", "a=b", "one")
        self.ok("network", "create", "--internal", "two")
        for words in (["ls"], ["ls", "-q"], ["ls", "--no-trunc"], ["ls", "--format", "json"], ["ls", "--format", "{{.Name}}: {{.CreatedAt}} {{.Labels}} {{.Internal}}"],
                      ["ls", "--filter", "type=custom", "--format", "table {{.ID}}\t{{.Name}}\t{{.IPv6}}"], ["inspect", "-f", "{{.Name}} {{json .Labels}} {{(index .IPAM.Config 0).Subnet}}", "one"],
                      ["inspect", "one", "nope"], ["rm", "nope"], ["rm", "-f", "nope"], ["rm", "bridge"], ["connect", "one", "nope"], ["disconnect", "one", "nope"],
                      ["create", "one"], ["create", "--subnet", "x", "z"], ["create", "--gateway", "1.2.3.4", "z"], ["create", "--subnet", "10.9.0.0/16", "--gateway", "1.2.3.4", "z"],
                      ["create", "--subnet", "10.9.0.0/16,10.9.1.0/24", "z"], ["create", "--subnet", "10.9.0.0/16", "--aux-address", "a=1.2.3.4", "z"], ["prune", "--filter", "nope=x", "-f"]):
            with self.subTest(words):
                theirs = docker("network", *words)
                code, out, err = self.skiff("network", *words)
                self.assertEqual((code, out, self.plain(err)), (theirs.code, theirs.out, self.plain(theirs.err)))

    @staticmethod
    def plain(text):
        # docker's CLI shows its own status as a text
        return re.sub(r"(?m)^(Error: |skiff: |docker: )|^exit status 1$", "", text).replace("skiff", "docker").strip()

    def test_a_whole_life(self):
        code, out, _ = self.skiff("network", "create", "--subnet", "10.213.30.0/24", "mine")
        self.assertEqual((code, len(out)), (0, 65))
        self.assertEqual(self.skiff("run", "-d", "--name", "web", "--stop-signal", "KILL", "--network", "name=mine,ip=10.213.30.7,alias=w", IMAGE, "sleep", "600")[0], 0)
        self.assertEqual(self.endpoint("web", "mine")["IPAddress"], "10.213.30.7")
        self.assertEqual(self.skiff("network", "disconnect", "mine", "web"), (0, "", ""))
        self.assertEqual(self.skiff("network", "connect", "--ip", "10.213.30.8", "mine", "web"), (0, "", ""))
        self.assertEqual(self.endpoint("web", "mine")["IPAddress"], "10.213.30.8")
        self.assertEqual(self.skiff("rm", "-f", "web")[0], 0)
        self.assertEqual(self.skiff("network", "prune", "-f"), (0, "Deleted Networks:\nmine\n\n", ""))


if __name__ == "__main__":
    unittest.main()
