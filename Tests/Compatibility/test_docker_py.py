"""docker-py against our socket."""
import io
import tarfile
import unittest

from engine import Case, engine

try:
    import docker
    from docker import errors
except ImportError:
    docker = None

IMAGE = "busybox:test"


@unittest.skipIf(docker is None, "python's docker package is missing")
class DockerPyTests(Case):
    def setUp(self):
        super().setUp()
        self.client = docker.DockerClient(base_url="unix://" + engine().socket, version="auto", timeout=30)

    def tearDown(self):
        self.client.close()
        super().tearDown()

    def test_versions(self):
        self.assertTrue(self.client.ping())
        self.assertEqual(self.client.version()["Os"], "linux")
        self.assertIn("ID", self.client.info())

    def test_run(self):
        self.assertEqual(self.client.containers.run(IMAGE, ["echo", "hi"], remove=True), b"hi\n")
        with self.assertRaises(errors.ContainerError) as caught:
            self.client.containers.run(IMAGE, ["sh", "-c", "exit 3"], remove=True)
        self.assertEqual(caught.exception.exit_status, 3)
        with self.assertRaises(errors.APIError):
            self.client.containers.run(IMAGE, ["no-such-command"], remove=True)

    def test_missing_things(self):
        with self.assertRaises(errors.NotFound):
            self.client.containers.get("nope")
        with self.assertRaises(errors.ImageNotFound):
            self.client.images.get("nope")
        with self.assertRaises(errors.ImageNotFound):
            self.client.api.create_container("nope", "true")

    def test_life(self):
        container = self.client.containers.run(IMAGE, ["sh", "-c", "echo up; exec sleep 60"], detach=True, name="py", labels={"a": "b"})
        container.reload()
        self.assertEqual(container.status, "running")
        self.assertTrue(container.image.id.startswith("sha256:"))
        self.assertEqual([c.name for c in self.client.containers.list(filters={"label": "a=b"})], ["py"])
        self.assertEqual(len(self.client.containers.list(all=True, limit=-1)), 1)
        code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 2"], demux=True)
        self.assertEqual((code, output), (2, (b"out\n", b"err\n")))
        self.assertIn(["PID"][0], container.top()["Titles"])
        self.assertGreater(container.stats(stream=False)["memory_stats"]["usage"], 0)
        container.rename("py2")
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        container.restart(timeout=0)
        container.stop(timeout=0)
        self.assertEqual(container.wait()["StatusCode"], 137)
        self.assertIn(b"up\n", container.logs())
        container.remove()

    def test_attach_socket(self):
        container = self.client.containers.create(IMAGE, ["cat"], stdin_open=True)
        socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        raw = socket._sock
        raw.sendall(b"ping\n")
        header = raw.recv(8)
        self.assertEqual(header, b"\x01\x00\x00\x00\x00\x00\x00\x05")
        self.assertEqual(raw.recv(5), b"ping\n")
        socket.close()
        container.remove(force=True)

    def test_logs_stream(self):
        container = self.client.containers.run(IMAGE, ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True)
        self.assertEqual(b"".join(container.logs(stream=True, follow=True)), b"1\n2\n3\n")

    def test_wait_for_removal(self):
        container = self.client.containers.run(IMAGE, ["sh", "-c", "sleep 0.2; exit 4"], detach=True, auto_remove=True)
        self.assertEqual(container.wait(condition="removed")["StatusCode"], 4)

    def test_images(self):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            info = tarfile.TarInfo("file")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        self.client.api.import_image_from_data(data.getvalue(), repository="frompy", tag="1")
        image = self.client.images.get("frompy:1")
        self.assertEqual(image.tags, ["frompy:1"])
        self.assertTrue(image.tag("frompy", "2"))
        self.assertEqual(sorted(self.client.images.get("frompy:1").tags), ["frompy:1", "frompy:2"])
        saved = b"".join(image.save(named=True))
        self.client.images.remove("frompy:1")
        self.client.images.remove("frompy:2")
        self.assertTrue(self.client.images.load(saved))
        self.client.images.remove("frompy:1")

    def test_networks_and_volumes(self):
        names = [network.name for network in self.client.networks.list()]
        self.assertEqual(sorted(names), ["bridge", "host", "none"])
        self.assertEqual(self.client.networks.get("bridge").attrs["Driver"], "bridge")
        volume = self.client.volumes.create("pyvolume", labels={"x": "y"})
        self.assertEqual(self.client.volumes.get("pyvolume").attrs["Labels"], {"x": "y"})
        volume.remove()

    def remove_networks(self):
        for network in self.client.networks.list(filters={"type": "custom"}):
            network.remove()

    def test_networks(self):
        self.addCleanup(self.remove_networks)
        pool = docker.types.IPAMPool(subnet="10.215.1.0/24", gateway="10.215.1.5", iprange="10.215.1.128/25", aux_addresses={"a": "10.215.1.200"})
        network = self.client.networks.create("pynet", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={"k": "v"},
                                              options={"com.docker.network.driver.mtu": "1400"}, check_duplicate=True)
        self.assertEqual(network.attrs["IPAM"]["Config"][0]["Gateway"], "10.215.1.5")
        self.assertEqual([n.id for n in self.client.networks.list(names=["pynet"], filters={"label": "k=v"})], [network.id])
        self.assertEqual(self.client.networks.get(network.short_id).name, "pynet")
        with self.assertRaises(errors.APIError) as caught:
            self.client.networks.create("pynet")
        self.assertEqual(caught.exception.status_code, 409)
        with self.assertRaises(errors.NotFound):
            self.client.networks.get("nope")
        container = self.client.containers.run(IMAGE, ["sleep", "600"], detach=True, name="py", network="pynet", stop_signal="KILL")
        container.reload()
        self.assertEqual(list(container.attrs["NetworkSettings"]["Networks"]), ["pynet"])
        network.reload()
        self.assertEqual([box.name for box in network.containers], ["py"])
        other = self.client.networks.create("pyother", internal=True)
        other.connect(container, aliases=["one", "two"])
        container.reload()
        self.assertEqual(container.attrs["NetworkSettings"]["Networks"]["pyother"]["Aliases"], ["one", "two"])
        with self.assertRaises(errors.APIError) as caught:
            other.connect(container)
        self.assertEqual(caught.exception.status_code, 403)
        other.disconnect(container)
        with self.assertRaises(errors.APIError) as caught:
            network.remove()
        self.assertEqual(caught.exception.status_code, 403)
        network.disconnect(container, force=True)
        network.remove()
        self.assertEqual(self.client.networks.prune()["NetworksDeleted"], ["pyother"])

    def test_low_level_networking_configuration(self):
        self.addCleanup(self.remove_networks)
        api = self.client.api
        for name, subnet in (("pyone", "10.215.2.0/24"), ("pytwo", "10.215.3.0/24")):
            api.create_network(name, ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)]))
        config = api.create_networking_config({
            "pyone": api.create_endpoint_config(ipv4_address="10.215.2.9", aliases=["first"], mac_address="02:42:0a:d7:02:09"),
            "pytwo": api.create_endpoint_config(aliases=["second"])})
        made = api.create_container(IMAGE, ["sleep", "600"], name="low", networking_config=config, stop_signal="KILL",
                                    host_config=api.create_host_config(network_mode="pyone"))
        api.start(made)
        networks = api.inspect_container(made)["NetworkSettings"]["Networks"]
        self.assertEqual((networks["pyone"]["IPAddress"], networks["pyone"]["MacAddress"]), ("10.215.2.9", "02:42:0a:d7:02:09"))
        self.assertTrue(networks["pytwo"]["IPAddress"].startswith("10.215.3."))
        self.assertEqual(len(api.containers(filters={"network": "pytwo"})), 1)
        api.disconnect_container_from_network("low", "pytwo")
        api.connect_container_to_network("low", "pytwo", ipv4_address="10.215.3.40")
        self.assertEqual(api.inspect_container(made)["NetworkSettings"]["Networks"]["pytwo"]["IPAddress"], "10.215.3.40")
        self.assertEqual(set(api.inspect_network("pytwo")["Containers"]), {made["Id"]})

    def test_events(self):
        events = self.client.events(decode=True, filters={"event": "create"})
        self.client.containers.create(IMAGE, ["true"], name="seen")
        self.assertEqual(next(events)["Actor"]["Attributes"]["name"], "seen")
        events.close()

    def test_archives_before_and_after_the_start(self):
        container = self.client.containers.create(IMAGE, ["sh", "-c", "cat /etc/put; exec sleep 60"], name="py")
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            info = tarfile.TarInfo("put")
            info.size, info.uid, info.gid, info.mode = 3, 1234, 5678, 0o640
            archive.addfile(info, io.BytesIO(b"in\n"))
        self.assertTrue(container.put_archive("/etc", tar.getvalue()))
        container.start()
        self.eventually(lambda: container.logs() == b"in\n")
        chunks, stat = container.get_archive("/etc/put")
        self.assertEqual((stat["name"], stat["size"], stat["mode"], stat["linkTarget"]), ("put", 3, 0o640, ""))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            member = archive.getmember("put")
            self.assertEqual((member.uid, member.gid, archive.extractfile(member).read()), (1234, 5678, b"in\n"))
        with self.assertRaises(errors.NotFound):
            container.get_archive("/nope")
        with self.assertRaises(errors.NotFound):
            container.put_archive("/nope", tar.getvalue())
        with self.assertRaises(errors.APIError) as caught:
            container.put_archive("/etc/put", tar.getvalue())
        self.assertEqual(caught.exception.status_code, 400)
        self.assertIn({"Path": "/etc/put", "Kind": 1}, container.diff())

    def test_commit(self):
        container = self.client.containers.run(IMAGE, ["touch", "/root/made"], detach=True, name="py")
        container.wait()
        image = container.commit("py/committed", "1", message="why", author="who", changes=["ENV A=b"], conf={"Labels": {"k": "v"}})
        self.assertEqual(image.labels["k"], "v")
        self.assertIn("A=b", image.attrs["Config"]["Env"])
        self.assertEqual((image.attrs["Comment"], image.attrs["Author"], image.tags), ("why", "who", ["py/committed:1"]))
        self.assertEqual(image.history()[0]["Comment"], "why")
        self.client.containers.get("py").remove()
        self.client.images.remove("py/committed:1")


@unittest.skipIf(docker is None, "python's docker package is missing")
class DockerPyRegistryTests(Case):
    """Its exceptions are chosen by status and text."""

    @classmethod
    def setUpClass(cls):
        import test_registries
        if test_registries.REGISTRY is None:
            raise unittest.SkipTest("docker-registry is missing")
        engine()
        cls.registry = test_registries.Registry("py-registry", protected=True)
        cls.addClassCleanup(cls.registry.close)

    def setUp(self):
        super().setUp()
        self.client = docker.DockerClient(base_url="unix://" + engine().socket, version="auto", timeout=30)
        self.addCleanup(self.client.close)

    def test_login_push_and_pull(self):
        name = self.registry.host + "/py"
        self.client.images.get(IMAGE).tag(name, "1")
        with self.assertRaises(errors.APIError) as caught:
            self.client.login("me", "wrong", registry=self.registry.host, reauth=True)
        self.assertEqual(caught.exception.status_code, 401)
        self.assertEqual(self.client.login("me", "secret", registry=self.registry.host, reauth=True)["Status"], "Login Succeeded")
        lines = list(self.client.images.push(name, "1", stream=True, decode=True))
        self.assertFalse([line for line in lines if "error" in line], lines)
        self.assertTrue([line for line in lines if "Digest" in line.get("aux", {})], lines)
        self.client.images.remove(name + ":1")
        self.assertIn(name + ":1", self.client.images.pull(name, "1").tags)
        with self.assertRaises(errors.NotFound):
            self.client.images.pull(name, "nope")
        self.client.images.remove(name + ":1")
