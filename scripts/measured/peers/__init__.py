"""What people would use instead, each in a file: `missing()` names the program it lacks, `measure()` returns its costs.

Every peer gets the same rows as wbsync and the same edits. A step is named as in wbsync's table, where there is one like it:
`first commit and push` (everything into the place that others read), `clone` (from there into a database that the
application can use), `commit of 100 edits`, `merge of 1,000 and 1,000`. `wire` of an edit is what a second copy has to take.
"""
from measured.peers import borg, git_fast_import, git_files, git_lines, pouchdb, raw, restic

ALL = {"raw": raw, "git, a file per record": git_files, "git fast-import": git_fast_import, "git, sorted lines": git_lines,
       "restic": restic, "borg": borg, "PouchDB": pouchdb}
# These take minutes at 100,000 records; they sit out at a million.
SLOW = {"git, a file per record", "PouchDB"}
