"""git with one JSON file per record, 256 directories a table. Making the files is counted apart: it is Python's work."""
import json, os, sqlite3
from measured import data
from measured.process import bytes_in, has
from measured.peers.git import git, load, quiet, timed, wire


def missing():
    return None if has("git") else "git"


def name(table, key):
    return f"{table}/{key % 256:02x}/{key}.json"


def write(database, place, keys=None):
    if keys is None:
        records = data.records(database)
    else:
        open_ = sqlite3.connect(database)
        records = [(table, key, json.dumps(data.record(open_, table, key), ensure_ascii=False)) for table, key in keys]
        open_.close()
    for table, key, line in records:
        path = os.path.join(place, name(table, key))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(line + "\n")


def read(place):
    for table in data.TABLES:
        for directory, _, files in os.walk(os.path.join(place, table)):
            for file in files:
                with open(os.path.join(directory, file)) as opened:
                    yield table, json.load(opened)


def measure(database, place):
    costs = {}
    work, hub = os.path.join(place, "work"), os.path.join(place, "hub.git")
    os.makedirs(work)
    quiet(place, "init", "-q", "--bare", "-b", "main", "hub.git")
    quiet(work, "init", "-q", "-b", "main")
    quiet(work, "remote", "add", "origin", hub)
    costs["making the files (Python)"] = timed(lambda: write(database, work))
    everything = git(work, "add", "-A") + git(work, "commit", "-q", "-m", "first")
    everything += git(work, "push", "-q", "origin", "main", size=lambda: bytes_in(hub))
    costs["first commit and push"] = everything
    clone = git(place, "clone", "-q", hub, "copy")
    clone += timed(lambda: load(read(os.path.join(place, "copy")), os.path.join(place, "loaded.db"), database))
    costs["clone"] = clone
    old = quiet(work, "rev-parse", "HEAD")
    write(database, work, data.edit(database, 100, 1))
    costs["commit of 100 edits"] = git(work, "add", "-A") + git(work, "commit", "-q", "-m", "edits")
    costs["commit of 100 edits"].wire = wire(work, old, quiet(work, "rev-parse", "HEAD"))
    merge(database, work, costs)
    return costs


def merge(database, work, costs):
    """Two branches that each change a thousand other records."""
    quiet(work, "checkout", "-q", "-b", "theirs")
    write(database, work, data.edit(database, 1000, 2, side=1))
    quiet(work, "add", "-A")
    quiet(work, "commit", "-q", "-m", "theirs")
    quiet(work, "checkout", "-q", "main")
    write(database, work, data.edit(database, 1000, 2, side=0))
    quiet(work, "add", "-A")
    quiet(work, "commit", "-q", "-m", "ours")
    costs["merge of 1,000 and 1,000"] = git(work, "merge", "-q", "-m", "merged", "theirs", allowed=(0, 1))
