"""PouchDB, a document database that replicates: documents in LevelDB, one process of node a step.

Its packages are looked for below target/tools/pouchdb: `npm install --prefix target/tools/pouchdb pouchdb-node`.
"""
import json, os
from measured import data
from measured.process import bytes_in, has, measure as cost_of, run
from measured.peers.git import load, timed
from measured.peers.git_fast_import import known

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
MODULES = os.path.join(ROOT, "target", "tools", "pouchdb")
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pouchdb.mjs")


def missing():
    if not has("node"):
        return "node"
    if not os.path.isdir(os.path.join(MODULES, "node_modules", "pouchdb-node")):
        return "npm install --prefix target/tools/pouchdb pouchdb-node"
    return None


def documents(records, path):
    with open(path, "w") as file:
        for table, key, line in records:
            file.write(json.dumps({"_id": f"{table}/{key:09}", **json.loads(line)}, ensure_ascii=False) + "\n")


def rows(path):
    order = {table: index for index, table in enumerate(data.TABLES)}
    with open(path) as file:
        found = [json.loads(line) for line in file]
    found.sort(key=lambda one: order[one["_id"].split("/")[0]])
    for one in found:
        yield one["_id"].split("/")[0], {name: value for name, value in one.items() if not name.startswith("_")}


def measure(database, place):
    def step(name, *args, **options):
        return cost_of(["node", SCRIPT, MODULES, name, *args], **options)

    costs = {}
    everything, here, there = (os.path.join(place, name) for name in ("documents", "here", "there"))
    documents(data.records(database), everything)
    first = step("write", here, everything, size=lambda: bytes_in(here))
    costs["first commit and push"] = first
    clone = step("replicate", here, there)
    dumped = os.path.join(place, "dumped")
    clone += step("dump", there, dumped)
    costs["clone"] = clone + timed(lambda: load(rows(dumped), os.path.join(place, "loaded.db"), database))
    edits = os.path.join(place, "edits")
    documents(known(database, data.edit(database, 100, 1)), edits)
    costs["commit of 100 edits"] = step("write", here, edits)
    costs["pull of 100 edits"] = step("replicate", here, there)
    documents(known(database, data.edit(database, 1000, 2, side=1)), edits)
    run(["node", SCRIPT, MODULES, "write", there, edits])
    documents(known(database, data.edit(database, 1000, 2, side=0)), edits)
    run(["node", SCRIPT, MODULES, "write", here, edits])
    costs["merge of 1,000 and 1,000"] = step("replicate", there, here)
    return costs
