"""restic, on the database file as it is: a backup, not a synchronisation; rows it doesn't know."""
import os
from measured import data
from measured.process import bytes_in, has, measure as cost_of, run


def missing():
    return None if has("restic") else "restic"


def measure(database, place):
    os.environ.update({"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": os.path.join(place, "cache")})
    store = os.path.join(place, "store")
    run(["restic", "-q", "-r", store, "init"])
    backup = ["restic", "-q", "-r", store, "backup", database]
    costs = {"first commit and push": cost_of(backup, size=lambda: bytes_in(store))}
    costs["clone"] = cost_of(["restic", "-q", "-r", store, "restore", "latest", "--target", os.path.join(place, "copy")])
    data.edit(database, 100, 1)
    edits = cost_of(backup, size=lambda: bytes_in(store))
    edits.wire = edits.disk
    costs["commit of 100 edits"] = edits
    return costs
