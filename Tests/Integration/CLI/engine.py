"""An engine for the scripts beside this file: own mount and network namespaces, started by `skiff` itself at the default place.

The scripts take the folder with skiff, skiffd and skiff-runtime; they need root and busybox.
"""
import os, shutil, signal, subprocess, sys, tarfile, tempfile, time


def enter():
    """Starts the script anew in namespaces of its own, with empty folders where the engine keeps things."""
    if not os.environ.get("SKIFF_IN_NAMESPACE"):
        os.environ["SKIFF_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable] + sys.argv)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.makedirs("/run/skiff-test")


class Engine:
    """Client and engine in a folder, as they are installed."""

    def __init__(self, binaries):
        self.folder = "/run/skiff-test/bin"
        self.scratch = tempfile.mkdtemp(prefix="skiff-cli-", dir=os.environ.get("SKIFF_TEST_SCRATCH", "/tmp"))
        os.makedirs(self.folder)
        shutil.copy(os.path.join(binaries, "skiff"), self.folder)
        self.skiff = os.path.join(self.folder, "skiff")
        parent = os.environ.get("SKIFF_TEST_CGROUP", f"/skiff-cli-{os.getpid()}") + "/cli"
        with open(os.path.join(self.folder, "skiffd"), "w") as file:
            file.write(f'#!/bin/sh\nexec "{os.path.abspath(binaries)}/skiffd" --data-root "{self.scratch}/data" --cgroup-parent "{parent}" "$@"\n')
        os.chmod(os.path.join(self.folder, "skiffd"), 0o755)

    def run(self, *words, **options):
        return subprocess.run([self.skiff, *words], capture_output=True, timeout=120, **options)

    @property
    def pid(self):
        with open("/run/skiff/skiffd.pid") as file:
            return int(file.read())

    def kill(self, number=signal.SIGKILL):
        pid = self.pid
        os.kill(pid, number)
        for _ in range(500):
            try:
                if open(f"/proc/{pid}/stat").read().split()[2] == "Z": return
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.01)

    def import_busybox(self, name):
        archive = os.path.join(self.scratch, "busybox.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(shutil.which("busybox"), "bin/busybox")
            for applet in "sh cat ls echo true false sleep id stty env head od wc seq date yes tty kill ps".split():
                link = tarfile.TarInfo("bin/" + applet)
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for folder in ("etc", "tmp", "proc", "sys", "dev", "root"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
        done = self.run("import", "-c", 'CMD ["sh"]', archive, name)
        if done.returncode: raise SystemExit(f"cannot import busybox: {done.stderr}")

    def end(self):
        """Removes the containers, ends the engine and takes the scratch folder away."""
        names = self.run("ps", "-aq").stdout.decode().split()
        if names: self.run("rm", "-f", *names)
        self.kill(signal.SIGTERM)
        shutil.rmtree(self.scratch, ignore_errors=True)
