"""Random changes of networks: run, remove, connect, disconnect, create and remove networks. What is left must be what was told."""
import random, threading, time

import lab


class Changes:
    """`engine.skiff` is asked for one change after another; `strict`: none may fail, else the engine may be dead meanwhile."""

    def __init__(self, engine, seed, name="churn", number=0, strict=True):
        self.engine, self.random, self.name, self.number, self.strict = engine, random.Random(seed), name, number, strict
        self.seed, self.serial, self.done, self.faults = seed, 0, 0, []
        self.containers, self.networks = {}, []

    def ask(self, *words):
        done = self.engine.skiff(*words)
        self.done += 1
        if done.code and self.strict:
            self.faults.append(f"skiff {' '.join(words)}: {done}")
        if done.seconds > 20:
            self.faults.append(f"skiff {' '.join(words)} took {done.seconds:.0f} s")
        return done.code == 0

    def step(self):
        choice = self.random.random()
        if choice < 0.12 or not self.networks:
            self.serial += 1
            name = f"{self.name}-net{self.serial}"
            if len(self.networks) < 4:
                # Fourteen addresses: were one lost with each change, there would soon be none.
                subnet = f"10.{88 + self.number}.{self.serial % 256}.0/28"
                if self.ask("network", "create", "--subnet", subnet, name) or not self.strict:
                    self.networks.append(name)
            else:
                self.remove_network()
        elif len(self.containers) < 10 and choice < 0.5 or not self.containers:
            self.serial += 1
            name = f"{self.name}-{self.serial}"
            network = self.random.choice(self.networks + ["bridge"])
            words = ["run", "-d", "--name", name] + (["--network", network] if network != "bridge" else [])
            if self.random.random() < 0.4:
                words += ["-p", str(20000 + 2000 * self.number + self.serial % 2000) + ":80"]
            if self.ask(*words, "box", "sleep", "100000") or not self.strict:
                self.containers[name] = {network}
        elif choice < 0.65:
            name = self.random.choice(list(self.containers))
            del self.containers[name]
            self.ask("rm", "-f", name)
        elif choice < 0.85:
            name, network = self.random.choice(list(self.containers)), self.random.choice(self.networks)
            joined = self.containers[name]
            if network not in joined:
                if self.ask("network", "connect", network, name):
                    joined.add(network)
            elif self.ask("network", "disconnect", network, name):
                joined.discard(network)
        else:
            self.remove_network()

    def remove_network(self):
        for network in self.networks:
            if not any(network in joined for joined in self.containers.values()):
                self.networks.remove(network)
                self.ask("network", "rm", network)
                return

    def run(self, count):
        for _ in range(count):
            self.step()
        return self

    def end(self):
        """Removes all that bears the name; the engine must be alive."""
        names = [name for name in self.engine.do("ps", "-a", "--format", "{{.Names}}").split() if name.startswith(self.name + "-")]
        if names:
            self.engine.do("rm", "-f", *names)
        networks = [name for name in self.engine.do("network", "ls", "--format", "{{.Name}}").split() if name.startswith(self.name + "-net")]
        if networks:
            self.engine.do("network", "rm", *networks)
        self.containers, self.networks = {}, []


def kills(engine, seed, count, clients=2):
    """SIGKILL of the engine at random moments while clients change networks. Answers (changes, faults)."""
    chance, stopping = random.Random(seed), threading.Event()
    changes = [Changes(engine, seed + number, f"storm{number}", number + 1, strict=False) for number in range(clients)]

    def work(each):
        while not stopping.is_set():
            each.step()
    threads = [threading.Thread(target=work, args=(each,)) for each in changes]
    for thread in threads:
        thread.start()
    for _ in range(count):
        time.sleep(chance.uniform(0.02, 0.5))
        engine.kill()
        time.sleep(chance.choice([0, 0, 0.2]))
        engine.start()
    stopping.set()
    for thread in threads:
        thread.join()
    return changes
