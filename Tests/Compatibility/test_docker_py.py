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

    def test_events(self):
        events = self.client.events(decode=True, filters={"event": "create"})
        self.client.containers.create(IMAGE, ["true"], name="seen")
        self.assertEqual(next(events)["Actor"]["Attributes"]["name"], "seen")
        events.close()
