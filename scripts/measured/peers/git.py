"""What the git peers share: a committer, repositories, and the bytes that a change costs on the wire."""
import os, sqlite3, time
from measured import data
from measured.process import Cost, measure, run

os.environ.update({"GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@example.org", "GIT_COMMITTER_NAME": "bench",
                   "GIT_COMMITTER_EMAIL": "bench@example.org", "GIT_CONFIG_GLOBAL": "/dev/null",
                   "GIT_CONFIG_NOSYSTEM": "1"})


def git(at, *args, **options):
    return measure(["git", "-C", at, "-c", "gc.auto=0", "-c", "core.fsync=none", *args], **options)


def quiet(at, *args):
    return run(["git", "-C", at, "-c", "gc.auto=0", *args]).decode().strip()


def wire(at, old, new):
    """Returns the size of the pack that brings a copy from `old` to `new`, as a fetch would send it."""
    pack = run(["bash", "-c", f"printf '%s\\n^%s\\n' {new} {old} | git -C '{at}' pack-objects --revs --thin --stdout -q"])
    return len(pack)


def timed(work):
    """Measures work done in this process: making and reading the files that git takes."""
    begin, cpu = time.monotonic(), time.process_time()
    work()
    return Cost(time.monotonic() - begin, time.process_time() - cpu)


def load(records, path, schema_of):
    """Fills a new database, with the tables and indexes of another, from (table, values)."""
    database = sqlite3.connect(path)
    schema = sqlite3.connect(schema_of)
    for (sql,) in schema.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '%wbsync%'"):
        database.execute(sql)
    for table, values in records:
        marks = ", ".join("?" * len(values))
        database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))
    database.commit()
    database.close()
