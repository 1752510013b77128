"""The database that everything is measured on, its edits, and what it is as lines of JSON."""
import json, os, shutil, sqlite3, subprocess
from measured.process import run

# Parents first. These are what the preset shares without more; the made-up database has others as well.
TABLES = ["users", "help_requests", "request_comments", "vouches"]
KEYS = {"users": "id", "help_requests": "id", "request_comments": "id", "vouches": "id"}


def make(seed, records, path):
    """Makes a database of `records` rows, of which those in `TABLES` (about 92 %) are for everybody."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    run([seed, "--records", str(records), path])
    database = sqlite3.connect(path)
    for table in ("users", "help_requests", "request_comments", "invite_tokens"):
        database.execute(f"UPDATE {table} SET sync_scope = 'public'")
    database.execute("UPDATE help_requests SET status = 'open' WHERE status NOT IN ('open', 'completed')")
    database.execute("UPDATE request_comments SET deleted_at = NULL")
    database.commit()
    database.execute("VACUUM")
    database.close()


def rows(path):
    database = sqlite3.connect(path)
    count = sum(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    database.close()
    return count


def edit(path, count, round, side=0):
    """Changes `count` rows, evenly spread: of ten, six comments, two requests, and two comments are new.

    Two sides never change the same row. Returns the changed rows' (table, key).
    """
    database = sqlite3.connect(path)
    changed = []
    comments, requests = count - count // 5 - count // 5, count // 5
    for table, column, many in (("request_comments", "body", comments), ("help_requests", "description", requests)):
        total = database.execute(f"SELECT max(id) FROM {table}").fetchone()[0] if many else 0
        for index in range(many):
            key = 1 + (index * total // many + 2 * round + side) % total
            database.execute(f"UPDATE {table} SET {column} = {column} || ? WHERE id = ?",
                             (f" (as of round {round}.{side}, number {index * 7919 % 10007})", key))
            changed.append((table, key))
    for index in range(count // 5):
        key = database.execute(
            "INSERT INTO request_comments (help_request_id, user_id, body, created_at, sync_scope) SELECT id, "
            "(SELECT min(id) FROM users), ?, '2026-03-01 09:00:00.000000', 'public' FROM help_requests ORDER BY id "
            "LIMIT 1 OFFSET ?", (f"I can come on day {index * 31 % 365} and bring what is asked for ({round}.{side}).",
                                 index % 1000)).lastrowid
        changed.append(("request_comments", key))
    database.commit()
    database.close()
    return changed


def record(database, table, key):
    cursor = database.execute(f"SELECT * FROM {table} WHERE {KEYS[table]} = ?", (key,))
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone()))


def records(path):
    """Yields every shared row as (table, key, line of JSON)."""
    database = sqlite3.connect(path)
    for table in TABLES:
        cursor = database.execute(f"SELECT * FROM {table} ORDER BY {KEYS[table]}")
        names = [column[0] for column in cursor.description]
        for row in cursor:
            values = dict(zip(names, row))
            yield table, values[KEYS[table]], json.dumps(values, ensure_ascii=False)
    database.close()


def least(path, changed):
    """Returns how many bytes `zstd -3` makes of the changed rows, as lines of JSON."""
    database = sqlite3.connect(path)
    text = "\n".join(json.dumps(record(database, *one), ensure_ascii=False) for one in changed).encode()
    database.close()
    return len(subprocess.run(["zstd", "-3", "-T1", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout)


def copy(path, to):
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copyfile(path, to)
    return to
