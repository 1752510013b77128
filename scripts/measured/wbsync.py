"""What wbsync costs, step by step: two instances that meet in a directory, two that meet at a hub."""
import contextlib, json, os, sqlite3, subprocess, time
from measured import data
from measured.process import Cost, bytes_in, measure, run
from measured.proxy import Proxy, free_port


class Bench:
    def __init__(self, program, seed, records, place):
        self.program, self.records, self.place = program, records, place
        self.seed = seed
        self.costs = {}
        self.round = 0

    def path(self, *parts):
        return os.path.join(self.place, *parts)

    def app(self, site):
        return self.path(site, "data", "app.db")

    def quiet(self, site, *args):
        return run([self.program, "-q", "-C", self.path(site), *args])

    def step(self, name, site, *args, count=None, allowed=(0,)):
        """Measures one command; `count` are the files whose growth is reported."""
        size = (lambda: bytes_in(*count)) if count else None
        self.costs[name] = measure([self.program, "-q", "-C", self.path(site), *args], size=size, allowed=allowed)
        return self.costs[name]

    def edit(self, site, count, side=0):
        self.round += 1
        return data.edit(self.app(site), count, self.round, side)

    def site(self, name):
        """An application whose first account, the administrator's, has been made."""
        run([self.seed, "--records", "1", self.made(self.app(name))])

    def made(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    # The steps, in their order: each goes on from what the one before left.

    def first(self, database):
        data.copy(database, self.app("alpha"))
        self.quiet("alpha", "init", "--preset", "whiteballoon", "--name", "alpha")
        store = self.path("store")
        self.quiet("alpha", "remote", "add", "store", store)
        state = [self.path("alpha", ".wbsync"), self.app("alpha"), self.app("alpha") + "-wal"]
        commit = self.step("first commit", "alpha", "commit", count=state)
        push = self.step("first push", "alpha", "push", count=[store])
        self.costs["first commit and push"] = commit + push
        self.costs["first commit and push"].disk = push.disk
        self.costs["local state"] = Cost(0, 0, 0, bytes_in(self.path("alpha", ".wbsync")))
        self.site("beta")
        begin = bytes_in(self.path("beta"))
        self.costs["clone"] = measure([self.program, "-q", "clone", store, self.path("beta"), "--preset", "whiteballoon",
                                       "--name", "beta"], size=lambda: bytes_in(self.path("beta")) - begin)
        expected, come = data.rows(self.app("alpha")), data.rows(self.app("beta"))
        if come < expected:
            raise SystemExit(f"bench: {come} of {expected} rows came with the clone")

    def edits(self, counts, how):
        for count in counts:
            name = f"{count:,} edits" + (", triggers" if how == "triggers" else "")
            changed = self.edit("alpha", count)
            self.costs[f"least for {name}"] = Cost(0, 0, 0, data.least(self.app("alpha"), changed))
            self.step(f"commit of {name}", "alpha", "commit")
            self.step(f"push of {name}", "alpha", "push", count=[self.path("store")])
            self.step(f"pull of {name}", "beta", "pull")
        self.step("sync of nothing" + (", triggers" if how == "triggers" else ""), "alpha", "sync")

    def triggers(self):
        for site in ("alpha", "beta"):
            self.quiet(site, "db", "install")
            with open(self.path(site, "wbsync.toml"), "a") as file:
                file.write('\n[capture]\nmode = "triggers"\n')
            self.quiet(site, "sync")

    def merge(self):
        """A thousand edits on each of two copies; measured is the side that joins them."""
        card = self.path("beta.card")
        with open(card, "wb") as file:
            file.write(self.quiet("beta", "id"))
        self.quiet("alpha", "peer", "add", card)
        self.quiet("alpha", "peer", "trust", "beta", "--write")
        self.quiet("alpha", "follow", "beta")
        for site in ("alpha", "beta", "alpha", "beta"):
            self.quiet(site, "sync")
        self.edit("alpha", 1000, side=0)
        data.edit(self.app("beta"), 1000, self.round, side=1)
        self.quiet("alpha", "commit")
        self.quiet("beta", "sync")
        self.step("fetch of 1,000 edits", "alpha", "fetch")
        self.step("merge of 1,000 and 1,000", "alpha", "merge", allowed=(0, 3))
        self.quiet("alpha", "sync")

    def looks(self):
        self.step("status", "alpha", "status")
        self.step("fsck", "alpha", "fsck")
        self.step("fsck of the store", "alpha", "fsck", self.path("store"))
        self.step("gc", "alpha", "gc")

    def bundles(self):
        bundle = self.path("all.tar")
        self.step("bundle create", "alpha", "bundle", "create", "--all", "--full", "-o", bundle, count=[bundle])
        self.step("bundle verify", "alpha", "bundle", "verify", bundle)
        self.site("delta")
        self.quiet("delta", "init", "--preset", "whiteballoon", "--name", "delta")
        card = self.path("alpha.card")
        with open(card, "wb") as file:
            file.write(self.quiet("alpha", "id"))
        self.quiet("delta", "peer", "add", card)
        self.quiet("delta", "follow", "alpha")
        self.step("bundle apply", "delta", "bundle", "apply", bundle)

    @contextlib.contextmanager
    def hub(self):
        """A hub behind a relay that counts; yields (relay, process)."""
        port = free_port()
        proxy = Proxy(port)
        hub = subprocess.Popen([self.program, "-q", "serve", "--store", self.path("hub"), "--public", "--listen",
                                f"127.0.0.1:{port}", "--url", f"http://127.0.0.1:{proxy.port}/"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    import socket
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
            yield proxy, hub
        finally:
            hub.terminate()
            hub.wait()
            proxy.close()

    def network(self, clients=4):
        with self.hub() as (proxy, hub):
            url = f"http://127.0.0.1:{proxy.port}/"
            invitation = self.path("invitation")
            with open(invitation, "wb") as file:
                file.write(run([self.program, "-q", "hub", "invite", "--store", self.path("hub")]))
            self.quiet("alpha", "remote", "remove", "store")
            self.quiet("alpha", "remote", "add", "hub", url)
            self.quiet("alpha", "hub", "join", "hub", "--token-file", invitation)

            def counted(name, site, *args):
                before = proxy.bytes
                cost = self.step(name, site, *args)
                cost.wire = proxy.bytes - before

            counted("first push to a hub", "alpha", "push")
            before = proxy.bytes
            self.site("gamma")
            self.costs["clone from a hub"] = measure(
                [self.program, "-q", "clone", url, self.path("gamma"), "--preset", "whiteballoon", "--name", "gamma"])
            self.costs["clone from a hub"].wire = proxy.bytes - before
            changed = self.edit("alpha", 100)
            self.costs["least for 100 edits over HTTP"] = Cost(0, 0, 0, data.least(self.app("alpha"), changed))
            self.quiet("alpha", "commit")
            counted("push of 100 edits to a hub", "alpha", "push")
            counted("pull of 100 edits from a hub", "gamma", "pull")
            self.quiet("alpha", "sync")
            counted("sync of nothing with a hub", "alpha", "sync")
            self.throughput(url, proxy, hub, clients)

    def throughput(self, url, proxy, hub, clients):
        """Some clients clone at once; the cost is the hub's own."""
        sites = [f"client{number}" for number in range(clients)]
        for site in sites:
            self.site(site)
        cpu, wire, begin = process_cpu(hub.pid), proxy.bytes, time.monotonic()
        running = [subprocess.Popen([self.program, "-q", "clone", url, self.path(site), "--preset", "whiteballoon", "--name",
                                     site], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for site in sites]
        if any(client.wait() for client in running):
            raise SystemExit("bench: a clone from the hub failed")
        self.costs[f"hub: {clients} clones at once"] = Cost(time.monotonic() - begin, process_cpu(hub.pid) - cpu,
                                                            peak_of(hub.pid), 0, proxy.bytes - wire)

    def everything(self, database, counts):
        self.first(database)
        self.edits(counts, "scan")
        self.looks()
        self.triggers()
        self.edits(counts, "triggers")
        self.merge()
        self.bundles()
        self.network()
        return self.costs


def process_cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6
