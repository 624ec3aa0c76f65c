"""docker-compose 1.29 (Debian's) drives networks, names and scaling."""
import json
import os
import shutil
import subprocess
import unittest

from engine import docker, engine
from test_networks import NetworkCase

PROJECT = """
version: "2.4"
services:
  db:
    image: busybox:test
    command: nc -ll -p 5432 -e echo from-db
    stop_signal: KILL
    networks:
      back:
        aliases: [database]
        ipv4_address: 10.214.1.77
  web:
    image: busybox:test
    command: sleep 600
    stop_signal: KILL
    depends_on: [db]
    networks: [front, back]
    labels: {role: web}
  cache:
    image: busybox:test
    command: sleep 600
    stop_signal: KILL
    networks: [front]
    ports: ["18077:80"]
networks:
  front:
    labels: {side: front}
  back:
    internal: true
    ipam:
      config:
        - subnet: 10.214.1.0/24
"""


@unittest.skipUnless(shutil.which("docker-compose"), "docker-compose is missing: apt-get install docker-compose")
class ComposeTests(NetworkCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = engine().scratch + "/project"
        os.makedirs(cls.folder, exist_ok=True)
        with open(cls.folder + "/docker-compose.yml", "w") as file:
            file.write(PROJECT)

    def setUp(self):
        super().setUp()
        if "1.29" not in self.compose("version", "--short").stdout:
            self.skipTest("docker-compose is not 1.29")

    def compose(self, *words, code=0):
        done = subprocess.run(["docker-compose", *words], cwd=self.folder, env=dict(engine().env, COMPOSE_PROJECT_NAME="shop"), capture_output=True,
                              text=True, timeout=180, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, f"docker-compose {words}: {done.stdout}{done.stderr}{engine().tail()}")
        return done

    def test_three_services_one_of_them_three_times(self):
        self.compose("up", "-d", "--scale", "web=3")
        names = self.ok("ps", "--format", "{{.Names}}").out.split()
        self.assertEqual(len(names), 5, names)
        self.assertEqual(len(self.compose("ps", "-q", "web").stdout.split()), 3)
        for name in ("shop_front", "shop_back"):
            self.assertEqual(self.network(name)["Labels"]["com.docker.compose.project"], "shop")
        self.assertTrue(self.network("shop_back")["Internal"])
        self.assertEqual(self.network("shop_front")["Labels"]["side"], "front")
        webs = [name for name in names if "web" in name]
        db, cache = [next(name for name in names if word in name) for word in ("db", "cache")]
        self.assertEqual(self.endpoint(db, "shop_back")["IPAddress"], "10.214.1.77")
        self.assertEqual(set(self.inspect(webs[0])["NetworkSettings"]["Networks"]), {"shop_front", "shop_back"})
        self.assertIn("web", self.endpoint(webs[0], "shop_front")["Aliases"])
        # by address, whoever answers names
        self.assertEqual(self.eventually(lambda: self.runs(webs[0], "nc", "-w", "2", "10.214.1.77", "5432")), "from-db\n")
        self.runs(cache, "nc", "-w", "1", "10.214.1.77", "5432", code=1)
        # a second `up` changes nothing
        before = set(self.ok("ps", "-q", "--no-trunc").out.split())
        self.compose("up", "-d", "--scale", "web=3")
        self.assertEqual(set(self.ok("ps", "-q", "--no-trunc").out.split()), before)
        self.compose("up", "-d", "--scale", "web=1")
        self.assertEqual(len(self.ok("ps", "-q").out.split()), 3)
        self.compose("restart", "-t", "0", "db")
        self.assertEqual(self.endpoint(db, "shop_back")["IPAddress"], "10.214.1.77")
        self.compose("down", "-t", "0")
        self.assertEqual(self.ok("ps", "-aq").out, "")
        self.assertEqual(self.ok("network", "ls", "-q", "--filter", "type=custom").out, "")

    def test_names_resolve(self):
        self.compose("up", "-d", "--scale", "web=3")
        self.addCleanup(self.compose, "down", "-t", "0")
        names = self.ok("ps", "--format", "{{.Names}}").out.split()
        web, cache = [next(name for name in names if word in name) for word in ("web", "cache")]
        for name in ("db", "database"):
            self.assertEqual(self.eventually(lambda: self.runs(web, "nc", "-w", "2", name, "5432")), "from-db\n")
        addresses = {self.endpoint(name, "shop_front")["IPAddress"] for name in names if "web" in name}
        self.assertEqual(len(addresses), 3)
        out = self.runs(cache, "nslookup", "-type=a", "web")
        for address in addresses:
            self.assertIn(address, out)
        # another network's names are nobody's business
        docker("exec", cache, "nslookup", "-type=a", "db")
        self.assertNotIn("10.214.1.77", docker("exec", cache, "nslookup", "-type=a", "db").out)
        self.assertIn("shop", json.dumps(self.compose("ps").stdout))

    def test_exec_logs_run_and_stop(self):
        self.compose("up", "-d", "db")
        self.addCleanup(self.compose, "down", "-t", "0")
        self.assertEqual(self.compose("exec", "-T", "db", "echo", "inside").stdout, "inside\n")
        self.assertEqual(self.compose("run", "--rm", "-T", "web", "echo", "once").stdout, "once\n")
        self.compose("stop", "-t", "0")
        self.compose("start", "db")
        self.compose("logs", "--no-color", "db")


if __name__ == "__main__":
    unittest.main()
