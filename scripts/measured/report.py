"""Tables of what was measured: costs, ratios to the least that anybody does, and the targets that we hold ourselves to."""


def number(value, digits=2):
    return f"{value:,.{digits}f}" if value >= 10 else f"{value:.{digits + (value < 0.1)}f}"


def size(bytes):
    for unit, factor in (("MB", 1e6), ("KB", 1e3)):
        if bytes >= factor:
            return f"{bytes / factor:,.1f} {unit}"
    return f"{bytes} B"


def costs(title, table):
    """Returns a table of steps."""
    lines = [f"\n### {title}\n", "| step | wall s | CPU s | peak MB | bytes kept | bytes on the wire |", "|---|--:|--:|--:|--:|--:|"]
    for step, cost in table.items():
        if step.startswith("least for"):
            continue
        lines.append(f"| {step} | {number(cost.wall)} | {number(cost.cpu)} | {f'{cost.peak:.0f}' if cost.peak else ''} | "
                     f"{size(cost.disk) if cost.disk > 0 else ''} | {size(cost.wire) if cost.wire else ''} |")
    return "\n".join(lines)


def limits(rows):
    lines = ["\n### What the machine can do, one thread\n", "| | wall s | CPU s | rate |", "|---|--:|--:|--:|"]
    for name, cost, count in rows:
        rate = f"{count / cost.wall / 1e6:,.0f} MB/s" if name in ("blake3", "zstd -3", "age") else (
            f"{cost.wall / count * 1e3:.2f} ms each" if name == "fsync" else f"{count / cost.wall:,.0f} rows/s")
        lines.append(f"| {name} | {number(cost.wall)} | {number(cost.cpu)} | {rate} |")
    return "\n".join(lines)


def targets(size_of, ours, peers, limit):
    """Yields (claim, what was measured, bound, whether it holds) for one size; what wasn't measured is left out."""
    raw = peers.get("raw", {})

    def ratio(claim, a, b, bound, least=False):
        if a is None or b is None or not b:
            return
        value = a / b
        yield claim, f"{value:.2f}", f"{'≥' if least else '≤'} {bound}", value >= bound if least else value <= bound

    def cpu(table, step):
        return table[step].cpu if step in table else None

    first, clone, edits = "first commit and push", "clone", "commit of 100 edits"
    yield from ratio("commit and push: CPU, against raw", cpu(ours, first), cpu(raw, first), 1.5)
    if first in ours and first in raw:
        yield from ratio("commit and push: wall, against raw", ours[first].wall, raw[first].wall, 1.0)
        yield from ratio("stored, against raw", ours[first].disk, raw[first].disk, 1.1)
    for name, bound in (("git fast-import", 8), ("restic", 1.5)):
        yield from ratio(f"{name} takes for the same, times ours (CPU)", cpu(peers.get(name, {}), first), cpu(ours, first),
                         bound, least=True)
    yield from ratio("clone: CPU, against raw's load", cpu(ours, clone), cpu(raw, clone), 1.5)
    git = peers.get("git fast-import", {})
    yield from ratio("git fast-import's clone and load, times ours (CPU)", cpu(git, clone), cpu(ours, clone), 5, least=True)
    if "clone from a hub" in ours and clone in git and git[clone].wire:
        yield from ratio("bytes of a clone, against git's", ours["clone from a hub"].wire, git[clone].wire, 0.55)
    hashing = next((cost for name, cost, _ in limit if name == "read and hash"), None)
    if hashing:
        yield from ratio("commit of 100 edits by scan: CPU, against reading and hashing", cpu(ours, edits), hashing.cpu, 1.2)
    wire, least = ours.get("push of 100 edits to a hub"), ours.get("least for 100 edits over HTTP")
    if wire and least:
        yield from ratio("wire of 100 edits, against zstd of the changed rows", wire.wire, least.disk, 1.5)
    push, stored = ours.get("push of 100 edits"), ours.get("least for 100 edits")
    if push and wire:
        yield from ratio("store's growth by 100 edits, against the wire", push.disk, wire.wire, 2)
    nothing = ours.get("sync of nothing with a hub")
    if nothing:
        yield "wire of a sync of nothing", size(nothing.wire), "≤ 2 KB", nothing.wire <= 2000
    merge = ours.get("merge of 1,000 and 1,000")
    if merge:
        yield "merge of 1,000 and 1,000: CPU", f"{merge.cpu:.2f} s", "≤ 0.15 s", merge.cpu <= 0.15
    if "status" in ours:
        yield "status: wall", f"{ours['status'].wall * 1e3:.0f} ms", "≤ 30 ms", ours["status"].wall <= 0.03
    peak = max(((cost.peak, step) for step, cost in ours.items()), default=None)
    if peak:
        yield f"largest peak ({peak[1]})", f"{peak[0]:.0f} MB", "≤ 150 MB", peak[0] <= 150
    state = ours.get("local state")
    if state:
        yield from ratio("local state on disk, against the application's database", state.disk, size_of, 1.2)


def growth(small, large, times):
    """Yields the targets that compare two sizes, the larger `times` the smaller."""
    for step, bound in (("first commit and push", 1.1 * times), ("commit of 100 edits, triggers", 1.3),
                        ("pull of 100 edits, triggers", 1.3), ("merge of 1,000 and 1,000", 1.5)):
        if step in small and step in large and small[step].cpu:
            value = large[step].cpu / small[step].cpu
            yield f"{step}: CPU of {times} times as many records", f"{value:.2f}", f"≤ {bound:g}", value <= bound


def verdicts(title, found):
    lines = [f"\n### {title}\n", "| | measured | target | |", "|---|--:|--:|---|"]
    lines += [f"| {claim} | {value} | {bound} | {'holds' if holds else '**missed**'} |" for claim, value, bound, holds in found]
    return "\n".join(lines)
