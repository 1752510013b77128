"""git's fastest way in: a stream for `git fast-import` into a bare repository, one blob a record; read back by `cat-file`."""
import json, os, sqlite3, subprocess
from measured import data
from measured.process import bytes_in, has, measure as cost_of, shell
from measured.peers.git import git, load, quiet, timed, wire
from measured.peers.git_files import name


def missing():
    return None if has("git") else "git"


def stream(path, records, message, onto=None, branch="main"):
    """Writes a stream of one commit that holds, or with `onto` changes, the records."""
    with open(path, "wb") as out:
        out.write(f"commit refs/heads/{branch}\ncommitter bench <bench@example.org> 1700000000 +0000\n"
                  f"data {len(message)}\n{message}\n".encode())
        if onto:
            out.write(f"from {onto}\n".encode())
        for table, key, line in records:
            blob = (line + "\n").encode()
            out.write(f"M 100644 inline {name(table, key)}\ndata {len(blob)}\n".encode() + blob + b"\n")


def known(database, keys):
    open_ = sqlite3.connect(database)
    made = [(table, key, json.dumps(data.record(open_, table, key), ensure_ascii=False)) for table, key in keys]
    open_.close()
    return made


def read(repository):
    """Yields every record of a bare repository: names from `ls-tree`, contents from `cat-file`, both in one process each."""
    listed = subprocess.run(["git", "-C", repository, "ls-tree", "-r", "main"], stdout=subprocess.PIPE, check=True).stdout
    entries = [line.split(None, 3) for line in listed.decode().splitlines()]
    order = {table: index for index, table in enumerate(data.TABLES)}
    entries.sort(key=lambda entry: order[entry[3].split("/")[0]])
    blobs = subprocess.Popen(["git", "-C", repository, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for start in range(0, len(entries), 200):
        part = entries[start:start + 200]
        blobs.stdin.write("".join(entry[2] + "\n" for entry in part).encode())
        blobs.stdin.flush()
        for entry in part:
            size = int(blobs.stdout.readline().split()[2])
            yield entry[3].split("/")[0], json.loads(blobs.stdout.read(size + 1))
    blobs.stdin.close()
    blobs.wait()


def measure(database, place):
    costs = {}
    hub, everything = os.path.join(place, "hub.git"), os.path.join(place, "stream")
    quiet(place, "init", "-q", "--bare", "-b", "main", "hub.git")
    costs["making the stream (Python)"] = timed(lambda: stream(everything, data.records(database), "first"))
    costs["first commit and push"] = shell('git -C "$1" fast-import --quiet < "$2"', hub, everything,
                                           size=lambda: bytes_in(hub))
    clone = cost_of(["git", "clone", "-q", "--bare", "--no-local", hub, os.path.join(place, "copy.git")])
    clone += timed(lambda: load(read(os.path.join(place, "copy.git")), os.path.join(place, "loaded.db"), database))
    costs["clone"] = clone
    costs["clone"].wire = bytes_in(os.path.join(place, "copy.git", "objects"))
    old = quiet(hub, "rev-parse", "main")
    edits = os.path.join(place, "edits")
    stream(edits, known(database, data.edit(database, 100, 1)), "edits", onto=old)
    costs["commit of 100 edits"] = shell('git -C "$1" fast-import --quiet < "$2"', hub, edits)
    base = quiet(hub, "rev-parse", "main")
    costs["commit of 100 edits"].wire = wire(hub, old, base)
    stream(edits, known(database, data.edit(database, 1000, 2, side=1)), "theirs", onto=base, branch="theirs")
    run_quietly(hub, edits)
    stream(edits, known(database, data.edit(database, 1000, 2, side=0)), "ours", onto=base)
    run_quietly(hub, edits)
    costs["merge of 1,000 and 1,000"] = git(hub, "merge-tree", "--write-tree", "main", "theirs", allowed=(0, 1))
    return costs


def run_quietly(hub, edits):
    shell('git -C "$1" fast-import --quiet < "$2"', hub, edits)
