"""A plot of processor time against size, both on logarithmic scales, as SVG; with the slopes of O(n) and O(log n)."""
import math

COLOURS = ["#1b6ca8", "#c0392b", "#27874a", "#8e5ea2", "#b7791f", "#16808c", "#7f5539", "#555555"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 520, 70, 260, 40, 50


def draw(title, lines):
    """Returns the SVG; `lines` are (name, [(records, seconds)])."""
    lines = [(name, [(x, max(y, 0.001)) for x, y in points]) for name, points in lines if points]
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    low_x, high_x = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    high_x, high_y = max(high_x, low_x + 1), max(high_y, low_y + 1)

    def at(x, y):
        across = LEFT + (math.log10(x) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (math.log10(y) - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        return across, down

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', f'<text x="{LEFT}" y="24" font-size="16">{title}</text>']
    for power in range(low_x, high_x + 1):
        x, bottom = at(10 ** power, 10 ** low_y)
        out.append(f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{bottom:.0f}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.0f}" y="{bottom + 20:.0f}" text-anchor="middle">{10 ** power:,}</text>')
    for power in range(low_y, high_y + 1):
        left, y = at(10 ** low_x, 10 ** power)
        out.append(f'<line x1="{left:.0f}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{10 ** power:g} s</text>')
    # Ten times the records cost ten times as much along this line.
    for start in (low_y, low_y + 1):
        end = min(high_x, low_x + high_y - start)
        (x1, y1), (x2, y2) = at(10 ** low_x, 10 ** start), at(10 ** end, 10 ** (start + end - low_x))
        out.append(f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#bbb" stroke-dasharray="4 4"/>')
    out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 8}" fill="#888">- - -  in proportion</text>')
    for index, (name, points) in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        dash = "" if index < len(COLOURS) else ' stroke-dasharray="7 3"'
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in (at(*point) for point in points)]
        y = TOP + 32 + 20 * index
        out.append(f'<line x1="{WIDTH - RIGHT + 12}" y1="{y - 4}" x2="{WIDTH - RIGHT + 34}" y2="{y - 4}" stroke="{colour}" '
                   f'stroke-width="2"{dash}/><text x="{WIDTH - RIGHT + 40}" y="{y}">{name}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">records</text>')
    return "\n".join(out + ["</svg>\n"])
