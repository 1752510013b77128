"""The least that anybody does: dump the tables, compress them, seal them with age; and back."""
import os
from measured import data
from measured.process import bytes_in, has, run, shell


def missing():
    return None if has("sqlite3", "zstd") else "sqlite3 or zstd"


def measure(database, place):
    costs = {}
    dump = os.path.join(place, "dump.zst")
    tables = " ".join(data.TABLES)
    export = f'sqlite3 "$1" ".dump {tables}" | zstd -q -3 -T1 -f -o "$2"'
    costs["first commit and push"] = shell(export, database, dump, size=lambda: bytes_in(dump))
    load = 'zstd -q -dc "$1" | sqlite3 "$2"'
    costs["clone"] = shell(load, dump, os.path.join(place, "loaded.db"))
    if has("age", "age-keygen"):
        key = os.path.join(place, "key.txt")
        run(["age-keygen", "-o", key])
        recipient = run(["age-keygen", "-y", key]).decode().strip()
        sealed = dump + ".age"
        costs["first commit and push, with age"] = shell(
            f'sqlite3 "$1" ".dump {tables}" | zstd -q -3 -T1 | age -r "$3" > "$2"', database, sealed, recipient,
            size=lambda: bytes_in(sealed))
        costs["clone, with age"] = shell('age -d -i "$3" "$1" | zstd -q -dc | sqlite3 "$2"', sealed,
                                         os.path.join(place, "opened.db"), key)
    # Whoever knows which rows changed reads only these.
    script, out = os.path.join(place, "select.sql"), os.path.join(place, "edits.zst")
    with open(script, "w") as file:
        file.write(".mode json\n")
        for table, key in data.edit(database, 100, 1):
            file.write(f"SELECT * FROM {table} WHERE {data.KEYS[table]} = {int(key)};\n")
    costs["commit of 100 edits, keys known"] = shell('sqlite3 "$1" < "$3" | zstd -q -3 -f -o "$2"', database, out, script)
    costs["commit of 100 edits, keys known"].wire = os.path.getsize(out)
    return costs
