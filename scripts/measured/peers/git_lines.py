"""git with one sorted file of JSON lines a table."""
import json, os, shutil
from measured import data
from measured.process import bytes_in, has
from measured.peers.git import git, load, quiet, timed, wire


def missing():
    return None if has("git") else "git"


def write(database, place):
    files = {table: open(os.path.join(place, table + ".ndjson"), "w") for table in data.TABLES}
    for table, _, line in data.records(database):
        files[table].write(line + "\n")
    for file in files.values():
        file.close()


def read(place):
    for table in data.TABLES:
        with open(os.path.join(place, table + ".ndjson")) as file:
            for line in file:
                yield table, json.loads(line)


def measure(database, place):
    costs = {}
    work, hub = os.path.join(place, "work"), os.path.join(place, "hub.git")
    os.makedirs(work)
    quiet(place, "init", "-q", "--bare", "-b", "main", "hub.git")
    quiet(work, "init", "-q", "-b", "main")
    quiet(work, "remote", "add", "origin", hub)
    costs["making the files (Python)"] = timed(lambda: write(database, work))
    everything = git(work, "add", "-A") + git(work, "commit", "-q", "-m", "first")
    costs["first commit and push"] = everything + git(work, "push", "-q", "origin", "main", size=lambda: bytes_in(hub))
    clone = git(place, "clone", "-q", hub, "copy")
    copy = os.path.join(place, "copy")
    costs["clone"] = clone + timed(lambda: load(read(copy), os.path.join(place, "loaded.db"), database))
    old = quiet(work, "rev-parse", "HEAD")
    data.edit(database, 100, 1)
    write(database, work)
    costs["commit of 100 edits"] = git(work, "add", "-A") + git(work, "commit", "-q", "-m", "edits")
    costs["commit of 100 edits"].wire = wire(work, old, quiet(work, "rev-parse", "HEAD"))
    theirs = shutil.copyfile(database, os.path.join(place, "theirs.db"))
    quiet(work, "checkout", "-q", "-b", "theirs")
    data.edit(theirs, 1000, 2, side=1)
    write(theirs, work)
    quiet(work, "commit", "-q", "-a", "-m", "theirs")
    quiet(work, "checkout", "-q", "main")
    data.edit(database, 1000, 2, side=0)
    write(database, work)
    quiet(work, "commit", "-q", "-a", "-m", "ours")
    costs["merge of 1,000 and 1,000"] = git(work, "merge", "-q", "-m", "merged", "theirs", allowed=(0, 1))
    return costs
