"""Merkle proofs as format/proof.md describes them: made from a store that reader.py has opened, and checked with nothing but the page.

Written from the pages alone, for reader.py, which says how to use it.
"""

import formats as f
from formats import must


def read(data):
    must(len(data) <= 24 * f.MIB, "the proof is too long")
    return f.whole(f.shape(
        key=f.blob(16), head=f.blob(0, 4 * f.MIB), nodes=f.many(0, 65, f.blob(0, NODE_BYTES_MAX)), commit=f.blob(0, 4 * f.MIB),
        format=f.FORMAT, id_key=f.ID, dataset=f.TREE, manifest=f.blob(0, 4 * f.MIB)), data)


def verify(data, origin):
    """What a proof shows about the records of this origin, an id: a dict, `cells` being None if there is no such record."""
    proof = read(data)
    manifest, head = f.manifest(proof["manifest"], origin), f.head(proof["head"])
    if manifest["public"]:
        must(f.details(manifest["details"], True)["id_key"] == proof["id_key"], "the id key isn't the public scope's")
    signer = head["signer"]
    must(head["scope"] == manifest["scope"], "the head is of another scope")
    must(signer == origin or signer in manifest["writers"], "the head's signer may not write")
    must((head["base"] is None) == (signer == origin), "the origin's head, and no other, stands without a base")
    must(head["manifest_seq"] <= manifest["seq"], "the head speaks of a newer manifest")
    must(f.commit_id(proof["id_key"], proof["commit"]) == head["commit"], "the commit isn't the head's")
    commit = f.commit(proof["commit"])
    must(commit["scope"] == head["scope"], "the commit is of another scope")
    must(commit["clock"].get((signer, head["incarnation"]), 0) == head["writes"], "the commit has other writes by the signer")
    value, leaf = walk(proof, commit["datasets"].get(proof["dataset"]))
    cells = None
    if value is not None:
        cells = f.record(value, origin)
        for elements in cells.values():
            for stamp, *_ in elements:
                must(stamp[2] <= commit["clock"].get(stamp[:2], 0), "a write that the commit hasn't seen")
    return {"scope": head["scope"].hex(), "signer": signer.hex(), "seq": head["seq"], "commit": head["commit"].hex(),
            "dataset": proof["dataset"], "key": proof["key"].hex(), "cells": cells, "others": len(leaf) - (value is not None)}


def walk(proof, root):
    """Follows the nodes down to the leaf; the value that is there, or None, and the leaf's entries."""
    nodes, key = proof["nodes"], proof["key"]
    if root is None:
        must(not nodes, "nodes of a dataset without records")
        return None, {}
    wanted, level, greatest, before = root[0], None, None, None
    count = root[1]
    for at, data in enumerate(nodes):
        must(f.keyed(proof["id_key"], data) == wanted, f"node {at} isn't the one that is wanted")
        found_level, entries = node(data)
        must(level is None or found_level == level, f"node {at} is of another level")
        must(level is not None or found_level == 0 or len(entries) > 1, "the root has a single child")
        must(greatest is None or entries[-1][0] == greatest, f"node {at} ends with another key")
        must(before is None or before < entries[0][0], f"node {at} doesn't come after what is before it")
        must(sum(entry[2] for entry in entries) == count, f"node {at} counts otherwise")
        if found_level == 0:
            must(at == len(nodes) - 1, "nodes follow the leaf")
            return dict(entry[:2] for entry in entries).get(key), entries
        place = next((place for place, entry in enumerate(entries) if entry[0] >= key), len(entries) - 1)
        before = entries[place - 1][0] if place else before
        greatest, wanted, count = entries[place]
        level = found_level - 1
    must(False, "the way ends before a leaf")


def node(data):
    """A node's level, and its entries as (key, value or child, count)."""
    must(len(data) <= NODE_BYTES_MAX, "a node is too long")
    r = f.Cbor(data)
    r.count(4, 2, 2)
    level = r.uint(0, 64)
    width = 3 if level else 2
    items = r.count(4, width, 16384)
    must(items % width == 0, "a node has a part of an entry")
    entries = []
    for _ in range(items // width):
        key = r.bytes(0, 1024)
        must(not entries or entries[-1][0] < key, "a node's keys don't ascend")
        entries.append((key, r.bytes(32, 32), r.uint(1)) if level else (key, r.bytes(0, 8 * f.MIB), 1))
    r.end()
    must(len(entries) == 1 or len(data) <= 16384, "a node is too long")
    must(sum(entry[2] for entry in entries) <= f.U64, "the counts exceed 64 bits")
    return level, entries


def make(scope, signer, dataset, key):
    """The proof that the head of `signer` holds a record, or doesn't, from a scope that was folded."""
    must(signer in scope.tips, "no such head was rebuilt")
    manifest, head = scope.signed["manifest"], scope.signed[signer.hex()]
    commit_id, id_key = scope.tips[signer], scope.details["id_key"]
    records, kept = scope.states[commit_id].get(dataset, {}), {}
    nodes = []
    if records:
        wanted, _ = f.root_of(id_key, records, kept)
        while True:
            nodes.append(kept[wanted])
            level, entries = node(kept[wanted])
            if level == 0:
                break
            wanted = next((entry for entry in entries if entry[0] >= key), entries[-1])[1]
    return f.encoded({"key": key, "head": head, "nodes": nodes, "commit": scope.commit_bytes[commit_id], "format": 1,
                      "id_key": id_key, "dataset": dataset, "manifest": manifest})


NODE_BYTES_MAX = 8389648
