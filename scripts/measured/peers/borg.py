"""borg, on the database file as it is, encrypted: a backup, not a synchronisation."""
import os
from measured import data
from measured.process import bytes_in, has, measure as cost_of, run


def missing():
    return None if has("borg") else "borg"


def measure(database, place):
    os.environ.update({"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": place, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                       "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"})
    store, copy = os.path.join(place, "store"), os.path.join(place, "copy")
    run(["borg", "init", "-e", "repokey", store])
    costs = {"first commit and push": cost_of(["borg", "create", "-C", "zstd,3", store + "::first", database],
                                              size=lambda: bytes_in(store))}
    os.makedirs(copy)
    costs["clone"] = cost_of(["borg", "extract", store + "::first"], cwd=copy)
    data.edit(database, 100, 1)
    edits = cost_of(["borg", "create", "-C", "zstd,3", store + "::second", database], size=lambda: bytes_in(store))
    edits.wire = edits.disk
    costs["commit of 100 edits"] = edits
    return costs
