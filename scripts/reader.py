#!/usr/bin/env python3
"""Reads a wbsync store without wbsync: a second implementation, written from the pages in format/ alone.

    reader.py verify  STORE [STORE...] [--key FILE]      every check there is; exit code 1 if one fails
    reader.py records STORE [--scope S] [--key FILE]     the records of every head, one JSON object a line
    reader.py tree    STORE [--scope S] [--key FILE]     commits, and the roots rebuilt from the records
    reader.py bundle  FILE [FILE...] [--key FILE]        all parts of a bundle: every byte checked, its files listed
    reader.py prove   STORE --scope S --record DATASET/KEY [--head ID] [--key FILE] > PROOF
    reader.py verify-proof FILE --origin ID              what a proof shows; exit code 1 if nothing
    reader.py vectors format                             reads and refuses what it should

FILE is an instance's age.key (format/identity.md); without it only public scopes are opened. S is a scope's id or its
name. Of several stores each is verified, and their documents are compared, so that two histories show; with `--apart`
they are not. `--joined` adds the view of who has merged all heads, as `head` `joined`.

It shows that the pages suffice to get at one's data without us, and finds where they and the program part. It is slow
where that is simpler, and holds all records in memory. Needs Python 3.9 or later and, here, in
formats.py and in proofs.py,

    pip install blake3 cryptography zstandard
"""

import argparse
import base64
import json
import os
import re
import stat
import sys

try:
    import formats as f
    import proofs
    from formats import Refused, must
except ImportError as error:
    sys.exit(f"{error}: pip install blake3 cryptography zstandard")


class Store:
    """A directory, and what is said of it: `problems` fail a verification, `notes` don't."""

    def __init__(self, path, key=None):
        self.path, self.problems, self.notes = path, [], []
        self.secrets, self.me = key_file(key) if key else ([], None)
        self.cards, self.scopes = {}, {}
        line = self.read("format", 64)
        must(line == b"wbsync store 1\n", "this is no store, or a later one")
        for name in self.names("instances", "[0-9a-f]{64}"):
            with self.watched(f"instances/{name}") as path:
                self.cards[name] = f.card(self.read(path, 4 * f.MIB), bytes.fromhex(name))
        for name in self.names("scopes", "[0-9a-f]{32}"):
            self.scopes[name] = Scope(self, name)

    def read(self, path, bound):
        full = os.path.join(self.path, path)
        must(stat.S_ISREG(os.lstat(full).st_mode), "not a plain file")
        must(os.path.getsize(full) <= bound, f"longer than {bound} bytes")
        with open(full, "rb") as file:
            return file.read()

    def names(self, directory, pattern):
        """The names in a directory that belong to a store; others are ignored."""
        full = os.path.join(self.path, directory)
        if not os.path.lexists(full):
            return []
        must(stat.S_ISDIR(os.lstat(full).st_mode), f"{directory} is no plain directory")
        return sorted(name for name in os.listdir(full) if re.fullmatch(pattern, name))

    def watched(self, what):
        return Watched(self, what)

    def objects(self):
        for digits in self.names("objects", "[0-9a-f]{2}"):
            for name in self.names(f"objects/{digits}", digits + r"[0-9a-f]{62}\.age"):
                yield name[:64]

    def object(self, name):
        return self.read(f"objects/{name[:2]}/{name}.age", 128 * f.MIB)


class Watched:
    """A block whose refusals become problems of the store."""

    def __init__(self, store, what):
        self.store, self.what = store, what

    def __enter__(self):
        return self.what

    def __exit__(self, kind, error, _):
        if kind and issubclass(kind, (Refused, OSError)):
            self.store.problems.append(f"{self.what}: {error}")
            return True


def key_file(path):
    """The secrets in an age identity file, and whose they are if the public key lies beside it."""
    with open(path, encoding="ascii") as file:
        lines = [line.strip() for line in file]
    secrets = [f.Secret(line) for line in lines if line and not line.startswith("#")]
    beside = os.path.join(os.path.dirname(path), "id_ed25519.pub")
    if not os.path.exists(beside):
        return secrets, None
    with open(beside, encoding="ascii") as file:
        return secrets, base64.b64decode(file.read().split()[1])[-32:]


class Scope:
    """One scope of a store: its rules, and the states that its heads lead to, as far as our keys open them."""

    def __init__(self, store, name):
        self.store, self.id, self.place = store, name, f"scopes/{name}"
        self.manifest = self.keys = self.details = self.schema = None
        # What everybody signed here, by place: documents of the store first, then those that receipts hand on.
        self.heads, self.documents = {}, {}
        self.receipts = {}
        self.commits, self.states, self.tips = {}, {}, {}
        # The bytes of the store's own documents by place, and of commits by id, for proofs.
        self.signed, self.commit_bytes = {}, {}
        self.writes, self.words = {}, {}
        with store.watched(f"{self.place}/manifest") as path:
            data = store.read(path, 4 * f.MIB)
            manifest = f.manifest(data)
            must(manifest["scope"].hex() == name, "it is another scope's")
            self.manifest, self.origin = manifest, manifest["origin"]
            self.documents["manifest"] = [(data, manifest)]
            self.signed["manifest"] = data
        for signer in store.names(f"{self.place}/heads", "[0-9a-f]{64}"):
            with store.watched(f"{self.place}/heads/{signer}") as path:
                self.read_head(path, bytes.fromhex(signer))
        if self.manifest:
            with store.watched(f"{self.place}/manifest"):
                try:
                    self.keys, self.details = f.unlocked(self.manifest, store.me, store.secrets)
                    self.schema = f.schema(self.details["schema"])
                except f.NoKey as error:
                    store.notes.append(f"{self.place}: not opened: {error}")
        for signer in store.names(f"{self.place}/receipts", "[0-9a-f]{64}"):
            with store.watched(f"{self.place}/receipts/{signer}") as path:
                self.read_receipt(path, bytes.fromhex(signer))
        for place, signed in sorted(self.documents.items()):
            pairs = ((one, two) for number, one in enumerate(signed) for two in signed[number + 1:])
            if any(forked(one, two) for one, two in pairs):
                store.problems.append(f"{self.place} {place}: its signer signed two histories")

    @property
    def name(self):
        return self.details["name"] if self.details else None

    def read_head(self, path, signer):
        """Checks what needs no key."""
        data = self.store.read(path, 4 * f.MIB)
        head = f.head(data, signer)
        must(head["scope"].hex() == self.id, "it is another scope's")
        must(self.manifest, "the scope has no manifest that can be read")
        self.documents[signer.hex()] = [(data, head)]
        self.signed[signer.hex()] = data
        for segment in head["segments"]:
            for name, size in segment["objects"]:
                must(len(self.store.object(name.hex())) == size, f"object {name.hex()} isn't {size} bytes long")
        self.shows(head)
        if signer in self.manifest["former"]:
            self.store.notes.append(f"{path}: only shows what was written: {signer.hex()} may not write any more")
            return
        must(signer == self.origin or signer in self.manifest["writers"], f"{signer.hex()} may not write")
        must((head["base"] is None) == (signer == self.origin), "the origin's head, and no other, stands without a base")
        must(head["manifest_seq"] <= self.manifest["seq"], "it speaks of a newer manifest than there is")
        newest = self.manifest["epochs"][-1]["number"]
        must(head["epoch"] == newest or (head["epoch"] < newest and head["manifest_seq"] < self.manifest["seq"]),
             f"it speaks of epoch {head['epoch']}, where the manifest's newest is {newest}")
        self.heads[signer] = head

    def shows(self, head):
        """Takes a head as what its signer says about its own newest write."""
        shown = (head["incarnation"], head["writes"])
        self.writes[head["signer"]] = max(shown, self.writes.get(head["signer"], (0, 0)))

    def read_receipt(self, path, signer):
        """Checks a receipt, and takes what it hands on as far as our keys open it."""
        receipt = f.receipt(self.store.read(path, 4 * f.MIB), signer)
        must(receipt["scope"].hex() == self.id, "it is another scope's")
        must(self.manifest, "the scope has no manifest that can be read")
        public, newest = self.manifest["public"], self.manifest["epochs"][-1]
        must((receipt["epoch"] is None) == public, "it is in clear if and only if the scope is public")
        if not public and signer not in {grant[0] for grant in newest["grants"]}:
            self.store.notes.append(f"{path}: doesn't count: {signer.hex()} may not read the scope")
            return
        if not public and receipt["epoch"] > newest["number"]:
            self.store.notes.append(f"{path}: waits for the manifest with epoch {receipt['epoch']}")
            return
        if not public and receipt["epoch"] not in (self.keys or {}):
            self.store.notes.append(f"{path}: not opened: no grant in epoch {receipt['epoch']} is ours")
            return
        body = receipt["body"]
        if not public:
            body, padded = f.opened(f.name_of(body), body, [self.keys[receipt["epoch"]]])
            must(padded, "its size isn't padded")
        statement = f.statement(body)
        self.receipts[signer] = statement
        for data in statement["heads"]:
            self.take_handed_on(path, signer, data)
        for pair in statement["forks"]:
            self.take_proof(path, pair)
        for author, incarnation, number, name in statement["applied"]:
            must(author != signer, "it lists a head of its own signer")
            for data, head in self.documents.get(author.hex(), []):
                same = (head["incarnation"], head["seq"]) == (incarnation, number)
                must(not same or f.name_of(data) == name, f"it names another head {number} of {author.hex()} than is here")
        shown = ", ".join(f"{author.hex()} {number}" for author, _, number, _ in statement["applied"])
        self.store.notes.append(f"{path}: its application shows the heads {shown or 'of nobody else'}")

    def take_handed_on(self, path, carrier, data):
        head = f.head(data)
        signer, origin = head["signer"], self.origin
        must(head["scope"].hex() == self.id, "it hands on a head of another scope")
        must(signer != carrier, "it hands on a head of its own signer")
        if signer != origin and signer not in self.manifest["writers"] + self.manifest["former"]:
            self.store.notes.append(f"{path}: hands on a head of {signer.hex()}, who may not write")
            return
        must((head["base"] is None) == (signer == origin), "it hands on a head with a base of the origin's, or without")
        self.shows(head)
        known = self.documents.setdefault(signer.hex(), [])
        if all(data != other for other, _ in known):
            known.append((data, head))

    def take_proof(self, path, pair):
        """Believes a proof of two histories only if it is one."""
        for read, signer in ((f.head, "signer"), (f.manifest, "origin")):
            try:
                one, two = sides = [(data, read(data)) for data in pair]
            except Refused:
                continue
            same = one[1][signer] == two[1][signer] and one[1]["scope"] == two[1]["scope"] == bytes.fromhex(self.id)
            if same and forked(*sides):
                who = one[1][signer].hex()
                self.store.problems.append(f"{path}: it proves that {who} signed two histories")
                return
        self.store.notes.append(f"{path}: hands on a pair of documents that proves nothing")

    def fold(self):
        """Opens every object and rebuilds the state of every head, the origin's first."""
        if not self.keys:
            return
        for signer in sorted(self.heads, key=lambda signer: signer != self.origin):
            with self.store.watched(f"{self.place}/heads/{signer.hex()}"):
                self.fold_head(signer, self.heads[signer])

    def fold_head(self, signer, head):
        carried = set()
        segments = [(segment, self.entries(segment, carried)) for segment in head["segments"]]
        state, reached = {}, 0
        if signer != self.origin:
            base = head["base"]["commit"]
            if base not in self.states:
                self.store.notes.append(f"{self.place}/heads/{signer.hex()}: waits for its base {base.hex()}")
                return
            state = copied(self.states[base])
            carried |= set() if segments else {base}
        for segment, entries in segments:
            # A delta that ends before the snapshot is for followers who stand before it.
            if segment["to"] <= reached:
                continue
            reached = segment["to"]
            apply(state, entries)
            self.remember(state)
        must(head["commit"] in carried, "the commit that it signs isn't among what it carries")
        tip = self.commits[head["commit"]]
        must(tip["datasets"] == f.roots_of(self.details["id_key"], state), "the roots aren't those of the signed commit")
        writes = tip["clock"].get((signer, head["incarnation"]), 0)
        must(head["writes"] == writes, f"it has {head['writes']} writes by its signer, and its commit {writes}")
        for author, incarnation, sequence in ((*key, sequence) for key, sequence in tip["clock"].items()):
            shown_by = self.writes.get(author, (0, 0))
            must(incarnation < shown_by[0] or (incarnation, sequence) <= shown_by,
                 f"it claims write {sequence} of {author.hex()}, whose own head does not show it")
        for dataset, records in state.items():
            for key, data in records.items():
                self.check_record(dataset, key, data, tip)
        self.states[head["commit"]] = state
        self.tips[signer] = head["commit"]

    def entries(self, segment, carried):
        """Opens the objects of a segment; takes their commits and returns their entries."""
        found, last = [], None
        for part, (name, _) in enumerate(segment["objects"]):
            path, secrets = name.hex(), list(self.keys.values())
            try:
                plain, padded = f.opened(name, self.store.object(path), secrets)
                header, entries, final = f.changeset(plain)
            except Refused as error:
                raise Refused(f"object {path}: {error}") from None
            must(self.manifest["public"] or padded, f"object {path}: its size isn't padded")
            wanted = (bytes.fromhex(self.id), segment["from"], part, part == len(segment["objects"]) - 1)
            must((header["scope"], header["from"], header["part"], final) == wanted, f"object {path}: not in its place")
            for dataset, key, body in entries:
                if isinstance(body, bytes):
                    f.record(body, self.origin)
                order = (len(dataset), dataset, key)
                must(last is None or last < order, f"object {path}: entries don't ascend from part to part")
                last = order
            for data in header["commits"]:
                commit = f.commit(data)
                must(commit["scope"].hex() == self.id, f"object {path}: a commit of another scope")
                commit_id = f.commit_id(self.details["id_key"], data)
                self.commits[commit_id], self.commit_bytes[commit_id] = commit, data
                carried.add(commit_id)
            found += entries
        return found

    def remember(self, state):
        """Keeps a state on the way under the commits that it has the roots of: a writer may build on it."""
        waited = {head["base"]["commit"] for head in self.heads.values() if head["base"]}
        for commit in waited & set(self.commits) - set(self.states):
            if self.commits[commit]["datasets"] == f.roots_of(self.details["id_key"], state):
                self.states[commit] = copied(state)

    def check_record(self, dataset, key, data, commit):
        for field, elements in f.record(data, self.origin).items():
            for element in elements:
                stamp, where = element[0], f"{dataset}/{key.hex()}.{field}"
                must(stamp[2] <= commit["clock"].get(stamp[:2], 0), f"{where} has a write that its commit hasn't seen")
                said = self.words.setdefault((where, stamp), word(element))
                must(said == word(element), f"{where} has two values under one stamp")

    def views(self, joined):
        """The heads that we could rebuild: a name, the commit's id, and the state."""
        for signer, commit in self.tips.items():
            yield signer.hex(), commit, self.states[commit]
        if joined and self.tips:
            yield ("joined", *self.join())

    def join(self):
        """All heads merged; the id is that of the merge commit that everybody makes of them."""
        sides = [(commit, self.commits[commit], self.states[commit]) for commit in sorted(set(self.tips.values()))]
        result = sides[0]
        for side in sides[1:]:
            result = self.join_two(result, side)
        return result[0], result[2]

    def join_two(self, one, two):
        (one_id, left, left_state), (two_id, right, right_state) = one, two
        clock = {key: max(left["clock"].get(key, 0), right["clock"].get(key, 0)) for key in {**left["clock"], **right["clock"]}}
        if clock == left["clock"] or clock == right["clock"]:
            must(left["clock"] != right["clock"] or one_id == two_id, "an author signed two histories")
            return one if clock == left["clock"] else two
        fronts = [frontier(one_id, left), frontier(two_id, right)]
        both = {*fronts[0], *fronts[1]}
        must(len({entry[:3] for entry in both}) == len(both), "an author signed two histories")
        stay = {entry for mine, other, seen in ((*fronts, right["clock"]), (*fronts[::-1], left["clock"]))
                for entry in mine if entry in other or seen.get(entry[:2], 0) < entry[2]}
        must(len(stay) >= 2, "an author signed two histories")
        state = {}
        for dataset in sorted({**left_state, **right_state}):
            ours, theirs = left_state.get(dataset, {}), right_state.get(dataset, {})
            for key in {**ours, **theirs}:
                data = self.join_records(ours.get(key), theirs.get(key), left["clock"], right["clock"])
                if data is not None:
                    state.setdefault(dataset, {})[key] = data
        commit = {"clock": [[*key, clock[key]] for key in sorted(clock)], "scope": bytes.fromhex(self.id), "format": 1,
                  "making": [sorted(stay)], "datasets": f.roots_of(self.details["id_key"], state)}
        data = f.encoded(commit)
        return f.commit_id(self.details["id_key"], data), f.commit(data), state

    def join_records(self, ours, theirs, our_clock, their_clock):
        """A write stays that both have, or that one has and the other hasn't seen."""
        if ours == theirs:
            return ours
        left, right = ({} if data is None else f.record(data, self.origin) for data in (ours, theirs))
        cells = {}
        for field in {**left, **right}:
            mine, other = ({element[0]: element for element in side.get(field, [])} for side in (left, right))
            for stamp in sorted({**mine, **other}):
                if stamp in mine and stamp in other:
                    must(word(mine[stamp]) == word(other[stamp]), "two values under one stamp")
                elif (their_clock if stamp in mine else our_clock).get(stamp[:2], 0) >= stamp[2]:
                    continue
                cells.setdefault(field, []).append(mine.get(stamp) or other[stamp])
        return f.encoded_record(cells, self.origin) if cells else None


def word(element):
    """An element as bytes, which are equal only if kind and value are."""
    return f.encoded_record({"word": [element]}, b"")


def copied(state):
    return {dataset: dict(records) for dataset, records in state.items()}


def apply(state, entries):
    for dataset, key, body in entries:
        if isinstance(body, bytes):
            state.setdefault(dataset, {})[key] = body
        else:
            state.get(dataset, {}).pop(key, None)


def frontier(commit_id, commit):
    made = commit["making"]
    return [tuple(entry) for entry in made["frontier"]] if "frontier" in made else [(*made["author"], commit_id)]


def forked(one, two):
    """Whether two heads of one signer, or two manifests of one scope, can't both come from one history."""
    (old_data, old), (new_data, new) = sorted((one, two), key=rank)
    if old_data == new_data or old.get("incarnation") != new.get("incarnation"):
        return False
    breaks = new["seq"] == old["seq"] + 1 and new["prev"] != f.name_of(old_data)
    return new["seq"] == old["seq"] or breaks or new.get("writes", 0) < old.get("writes", 0)


def rank(signed):
    return signed[1].get("incarnation", 0), signed[1]["seq"]


def compared(stores):
    """Shows where two stores have another document at one place: who is behind, and who signed two histories."""
    for one, two in ((a, b) for number, a in enumerate(stores) for b in stores[number + 1:]):
        for name in sorted(set(one.scopes) & set(two.scopes)):
            for place in sorted(set(one.scopes[name].documents) & set(two.scopes[name].documents)):
                sides = [store.scopes[name].documents[place] for store in (one, two)]
                if any(forked(mine, other) for mine in sides[0] for other in sides[1]):
                    one.problems.append(f"scopes/{name} {place}: its signer signed two histories: {one.path}, {two.path}")
                elif sides[0][0][0] != sides[1][0][0]:
                    behind = one if rank(sides[0][0]) < rank(sides[1][0]) else two
                    one.notes.append(f"scopes/{name} {place}: {behind.path} is behind")


def shown(value):
    """A value as JSON, its kind named where JSON has none of its own."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, dict):
        (kind, inner), = value.items()
        if kind == "list":
            return {kind: [shown(item) for item in inner]}
        return {kind: [item.hex() if isinstance(item, bytes) else item for item in inner]} if kind in ("ref", "blob") else value
    return value


def record_lines(store, wanted, joined):
    for scope in chosen(store, wanted):
        for head, commit, state in scope.views(joined):
            for dataset, records in sorted(state.items()):
                for key, data in sorted(records.items()):
                    cells = shown_cells(f.record(data, scope.origin))
                    yield {"scope": scope.id, "name": scope.name, "head": head, "commit": commit.hex(),
                           "dataset": dataset, "key": key.hex(), "cells": cells}


def prove(store, wanted, record, signer):
    """The proof about a record, `DATASET/KEY`, by the head of this signer, or the origin."""
    (scope,) = chosen(store, wanted)
    scope.fold()
    dataset, key = record.split("/")
    return proofs.make(scope, bytes.fromhex(signer) if signer else scope.origin, dataset, bytes.fromhex(key))


def proven(path, origin):
    """What a proof shows, as the lines of records are."""
    with open(path, "rb") as file:
        found = proofs.verify(file.read(), bytes.fromhex(origin))
    return {**found, "cells": found["cells"] and shown_cells(found["cells"])}


def shown_cells(cells):
    return {field: [{"author": stamp[0].hex(), "incarnation": stamp[1], "sequence": stamp[2], "time": time,
                     "value": shown(value), **({"over": shown(over[0])} if over else {})}
                    for stamp, time, value, over in elements]
            for field, elements in cells.items()}


def tree_lines(store, wanted, joined):
    for scope in chosen(store, wanted):
        for head, commit, state in scope.views(joined):
            roots = {}
            for dataset, records in sorted(state.items()):
                if records:
                    root, nodes = f.root_of(scope.details["id_key"], records)
                    roots[dataset] = {"root": root.hex(), "records": len(records), "nodes": nodes}
            yield {"scope": scope.id, "name": scope.name, "head": head, "commit": commit.hex(), "datasets": roots}


def chosen(store, wanted):
    found = [scope for scope in store.scopes.values() if wanted in (None, scope.id, scope.name)]
    must(found or wanted is None, f"no scope {wanted} here, or it isn't ours to open")
    return found


def vectors(root):
    """Reads every vector as its page says; returns what went wrong and how many there are of each kind."""
    signer = bytes.fromhex("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
    fixed = f.Secret("AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ9K4CN")
    folder = os.path.join(root, "vectors")
    epoch_key = os.path.join(folder, "changeset/sealed/epoch.key")
    readers = {
        "cbor": lambda data: f.whole(lambda r: r.anything(), data),
        "document": lambda data: f.open_document("head", data, signer),
        "card": f.card,
        "manifest": lambda data: f.manifest(data, signer),
        "manifest-unlock": lambda data: f.unlocked(f.manifest(data, signer), signer, [fixed]),
        "head": lambda data: f.head(data, signer),
        "receipt": lambda data: f.receipt(data, signer),
        "receipt-statement": f.statement,
        "bundle": f.bundle_index,
        "request": f.request,
        "schema": f.schema,
        "record": lambda data: f.record(data, b"\7" * 32),
        "commit": f.commit,
        "proof": lambda data: proofs.verify(data, signer),
        "changeset/plain": f.changeset,
        "changeset/sealed": lambda data: f.opened(f.name_of(data), data, key_file(epoch_key)[0]),
    }
    wrong, counts = [], {}
    kinds = sorted(os.path.relpath(path, folder) for path, below, _ in os.walk(folder) if "accept" in below)
    wrong += [f"{kind}: nobody reads these" for kind in kinds if kind not in readers]
    for kind in [kind for kind in kinds if kind in readers]:
        read = readers[kind]
        for verdict in ("accept", "reject"):
            directory = os.path.join(folder, kind, verdict)
            names = os.listdir(directory) if os.path.exists(directory) else []
            for name in sorted(name for name in names if name.endswith(".hex")):
                with open(os.path.join(directory, name), encoding="ascii") as file:
                    data = bytes.fromhex(file.read())
                try:
                    value = read(data)
                    refused = None
                except Refused as error:
                    refused = str(error)
                if (refused is None) != (verdict == "accept"):
                    wrong.append(f"{kind}/{verdict}/{name}: {refused or 'was read'}{reason(directory, name)}")
                elif kind == "record" and verdict == "accept" and f.encoded_record(value, b"\7" * 32) != data:
                    wrong.append(f"{kind}/{verdict}/{name}: is written another way")
                elif kind == "changeset/sealed" and verdict == "accept":
                    with open(os.path.join(folder, "changeset/plain/accept/every-body.hex"), encoding="ascii") as file:
                        if value[0] != bytes.fromhex(file.read()):
                            wrong.append(f"{kind}/{verdict}/{name}: has another plaintext")
                counts[f"{kind}/{verdict}"] = counts.get(f"{kind}/{verdict}", 0) + 1
    return wrong + (tables(root) if os.path.exists(os.path.join(root, "tree.md")) else []), counts


def reason(directory, name):
    """Why the program refuses a vector, if that is beside it."""
    path = os.path.join(directory, name[:-4] + ".txt")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return ", but: " + file.read().strip()


def tables(root):
    """Compares the numbers that stand on the pages themselves: tree.md, commit.md."""
    wrong, key = [], b"\x11" * 32
    pages = {}
    for page in ("tree", "commit"):
        with open(os.path.join(root, page + ".md"), encoding="utf-8") as file:
            pages[page] = file.read()
    table = [int(word, 16) for word in re.findall(r"\b[0-9a-f]{8}\b", pages["tree"][:pages["tree"].index("What follows")])]
    if table != f.SURVIVAL:
        wrong.append("tree.md: the table of the survival function is another")
    maps = [
        {b"a": b"one", b"b": b"", b"ba": b"\xff"},
        {n.to_bytes(8, "big") + bytes(8): bytes([n % 256]) * 400 for n in range(2000)},
        {n.to_bytes(4, "big"): b"\7" * (20000 if n % 5 == 4 else 300) for n in range(40)},
    ]
    rows = re.findall(r"\| `([0-9a-f]{64})` \| (\d+)", pages["tree"])
    for records, row in zip(maps, rows):
        root_id, nodes = f.root_of(key, records)
        if (root_id.hex(), str(nodes)) != row:
            wrong.append(f"tree.md: root {root_id.hex()} of {nodes} nodes, not {row}")
    for name, wanted in re.findall(r"\| `([a-z-]+)` \| `([0-9a-f]{64})`", pages["commit"]):
        with open(os.path.join(root, f"vectors/commit/accept/{name}.hex"), encoding="ascii") as file:
            if f.commit_id(key, bytes.fromhex(file.read())).hex() != wanted:
                wrong.append(f"commit.md: {name} has another id")
    if len(rows) != len(maps):
        wrong.append("tree.md: other maps")
    return wrong


def bundle_lines(paths, key):
    """Reads all parts of one bundle, in any order, sealed ones too."""
    secrets, parts, first = key_file(key)[0] if key else [], {}, None
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        if data.startswith(b"age-encryption.org/"):
            data = f.age_open(data, secrets)
        index, files = f.bundle(data)
        same = [index[name] for name in ("id", "signer", "parts")]
        must(first in (None, same), f"{path} belongs to another bundle")
        first, parts[index["part"]] = same, (index, files)
    lacking = [number for number in range(1, (first or [0, 0, 1])[2] + 1) if number not in parts]
    must(not lacking, f"parts {lacking} are missing")
    for number in sorted(parts):
        index, files = parts[number]
        told = index["request"] and len(index["request"]["scopes"])
        yield {"id": index["id"].hex(), "part": number, "parts": index["parts"], "signer": index["signer"].hex(),
               "files": {path: len(content) for path, content in files.items()}, "scopes told": told}


def verify(paths, key, apart):
    """Judges stores and prints what is found; with `apart` one after the other, so that many fit into memory."""
    sets = [[path] for path in paths] if apart else [paths]
    return max(verify_together(some, key) for some in sets)


def verify_together(paths, key):
    stores, bad = [], 0
    for path in paths:
        try:
            stores.append(verified(path, key))
        except (Refused, OSError) as error:
            bad = 1
            print(f"BAD  {error}\n{path}: can't be read, 1 problems")
    compared(stores)
    for store in stores:
        for line in store.problems:
            print(f"BAD  {line}")
        for line in store.notes:
            print(f"note {line}")
        scopes = store.scopes.values()
        heads, opened = sum(len(scope.heads) for scope in scopes), sum(len(scope.tips) for scope in scopes)
        print(f"{store.path}: {len(store.cards)} cards, {len(store.scopes)} scopes, {heads} heads of which {opened} rebuilt, "
              f"{sum(len(scope.receipts) for scope in scopes)} receipts opened, {sum(1 for _ in store.objects())} objects, "
              f"{len(store.problems)} problems")
    return 1 if bad or any(store.problems for store in stores) else 0


def verified(path, key):
    store = Store(path, key)
    for name in store.objects():
        with store.watched(f"object {name}"):
            must(f.name_of(store.object(name)).hex() == name, "its bytes have another name")
    for scope in store.scopes.values():
        scope.fold()
        with store.watched(scope.place):
            list(scope.views(True))
    return store


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["verify", "records", "tree", "bundle", "prove", "verify-proof", "vectors"])
    parser.add_argument("stores", nargs="+", metavar="STORE")
    parser.add_argument("--key", metavar="FILE", help="an age.key")
    parser.add_argument("--scope", metavar="S", help="a scope's id or name")
    parser.add_argument("--apart", action="store_true", help="don't compare the stores that are verified")
    parser.add_argument("--joined", action="store_true", help="also what all heads are when merged")
    parser.add_argument("--record", metavar="R", help="a record: DATASET/KEY")
    parser.add_argument("--head", metavar="ID", help="whose head is to prove it; the origin's if left out")
    parser.add_argument("--origin", metavar="ID", help="whose records a proof has to be about")
    options = parser.parse_args()
    if options.command == "vectors":
        wrong, counts = vectors(options.stores[0])
        print("\n".join([*wrong, *(f"{kind}: {count}" for kind, count in counts.items())]))
        return 1 if wrong else 0
    if options.command == "verify-proof":
        for path in options.stores:
            print(json.dumps(proven(path, options.origin), sort_keys=True))
        return 0
    if options.command == "prove":
        store = Store(options.stores[0], options.key)
        sys.stdout.buffer.write(prove(store, options.scope, options.record, options.head))
        return 0
    if options.command == "verify":
        return verify(options.stores, options.key, options.apart)
    if options.command == "bundle":
        for line in bundle_lines(options.stores, options.key):
            print(json.dumps(line, sort_keys=True))
        return 0
    code = 0
    for path in options.stores:
        store = Store(path, options.key)
        for scope in store.scopes.values():
            scope.fold()
        lines = record_lines if options.command == "records" else tree_lines
        for line in lines(store, options.scope, options.joined):
            print(json.dumps(line, sort_keys=True))
        for line in store.problems:
            print(f"BAD  {line}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Refused, OSError) as error:
        sys.exit(f"error: {error}")
