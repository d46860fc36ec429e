"""The report for people: Markdown, a chart, and the table of the README."""

import html
import pathlib

from machine import Failed

NAMES = {
    "svc-edge": "svc-edge",
    "nginx": "nginx",
    "nginx_no_nopush": "nginx, tcp_nopush off",
    "nginx_proxy_cache": "nginx proxy_cache",
    "varnish": "Varnish",
    "h2o": "h2o",
    "martin": "martin",
    "floor": "floor",
    "origin": "the origin itself",
}
TITLES = {
    "asset_4k": "4 KiB",
    "asset_64k": "64 KiB",
    "asset_1m": "1 MiB",
    "asset_8m": "8 MiB",
    "range_64k": "Range of 64 KiB",
    "not_modified": "304",
    "head_4k": "HEAD",
    "tile_png": "raster tile, 23 KB",
    "tile_mvt": "vector tile, 42 KB",
    "gwsmoke": "gwsmoke, the mix",
}
BEGIN, END = "<!-- perf:begin -->", "<!-- perf:end -->"


def number(value):
    """A figure with three digits that count, or as many as it has before its point."""
    if value is None:
        return "–"
    size = abs(value)
    if size == 0 or size == int(size) and size < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3g}"


def table(head, rows):
    """A table in Markdown."""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def servers_of(perf, profiles):
    """The servers that took part, in the order of NAMES."""
    seen = {name for profile in profiles for name in perf["profiles"].get(profile, {}).get("servers", {})}
    return [name for name in NAMES if name in seen]


def cpu_table(perf):
    """CPU microseconds a request of every server, a profile a row."""
    names = servers_of(perf, TITLES)
    rows = []
    for profile, title in TITLES.items():
        if profile in perf["profiles"]:
            found = perf["profiles"][profile]["servers"]
            rows.append([title, *(number(found.get(name, {}).get("cpu_us")) for name in names)])
    return table(["CPU µs a request", *(NAMES[name] for name in names)], rows)


def ratio_table(perf):
    """svc-edge divided by each other, of CPU a request: below 1 svc-edge takes less."""
    names = [name for name in servers_of(perf, TITLES) if name != "svc-edge"]
    rows = []
    for profile, title in TITLES.items():
        if profile in perf["profiles"]:
            found = perf["profiles"][profile]["ratios"]
            rows.append([title, *(number(found.get(name, {}).get("cpu_us")) for name in names)])
    return table(["svc-edge's CPU, by that of", *(NAMES[name] for name in names)], rows)


def slo_table(perf):
    """Every SLO with its figure."""
    mark = {True: "held", False: "**missed**", None: "–"}
    rows = []
    for each in perf["slos"]:
        value = "not measured" if each["value"] is None else f"{number(each['value'])} {each['unit']}".strip()
        rows.append([each["name"], value, each["asked"] or "–", mark[each["held"]], each["goal"] or "–", mark[each["goal_held"]], each["how"]])
    return table(["SLO", "figure", "asked", "", "goal", "", "how"], rows)


def profile_part(name, profile):
    """All figures of one profile."""
    how = [f"{key} {profile[key]}" for key in ("connections", "seconds", "rounds") if key in profile]
    columns = {"cpu_us": "CPU µs a request", "cpu_us_min": "least", "cpu_us_max": "most", "rps": "req/s", "first_byte_p50_ms": "first byte p50 ms", "first_byte_p95_ms": "first byte p95 ms", "p50_ms": "p50 ms"}
    columns |= {"p95_ms": "p95 ms", "p99_ms": "p99 ms", "p999_ms": "p99.9 ms", "cpu_core": "cores busy", "rss_mib": "RSS MiB", "fds": "descriptors", "ready_ms": "ready ms"}
    columns |= {"requests": "requests", "errors": "errors", "shed_rate": "refused, of 1"}
    shown = [key for key in columns if any(key in figures for figures in profile["servers"].values())]
    rows = []
    for server in [each for each in NAMES if each in profile["servers"]]:
        figures = profile["servers"][server]
        rows.append([NAMES[server], *(number(figures.get(key)) for key in shown)])
    text = f"### {name}\n\n{profile['what']} ({profile['tool']}; {', '.join(how)})\n\n{table(['', *(columns[key] for key in shown)], rows)}"
    for server, why in profile.get("failed", {}).items():
        text += f"\n{NAMES[server]} did not take part: {why.splitlines()[0]}\n"
    return text


def markdown(perf):
    """The whole report."""
    machine = perf["machine"]
    parts = [
        "# Performance",
        f"{perf['date']}, commit {perf['commit']}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB, Linux {machine['kernel']}. "
        f"Servers on core {machine['server_core']}, one worker each; loads on core {machine['load_core']}. {perf['note']}",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in perf["versions"].items()) + ".",
    ]
    if perf["skipped"]:
        parts.append("Not measured:\n\n" + "\n".join(f"- {name}: {why}" for name, why in perf["skipped"].items()))
    parts += ["## SLOs", slo_table(perf)]
    if servers_of(perf, TITLES):
        parts += ["## CPU", "![CPU a request, beside other servers](chart.svg)", cpu_table(perf), ratio_table(perf)]
    parts += ["## Profiles", *(profile_part(name, profile) for name, profile in perf["profiles"].items())]
    parts += ["## The conf of svc-edge", f"```yaml\n{perf['conf']}```"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def chart(perf):
    """Bars of CPU a request, each profile in a panel of its own: 1 is svc-edge, as 4 KiB and 8 MiB have no scale in common. Readable on white and on black."""
    profiles = [name for name in TITLES if "svc-edge" in perf["profiles"].get(name, {}).get("servers", {})]
    names = servers_of(perf, profiles)
    # Left of the bars their names, right of them their figures; two panels a row.
    left, bar, width, row = 150, 210, 430, 17
    panel = 34 + row * len(names)
    height = 60 + panel * ((len(profiles) + 1) // 2)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {height}" width="{2 * width}" height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>CPU microseconds a request: svc-edge beside other servers</title>",
        "<style>text{fill:#24292f}.n{fill:#57606a}.b{fill:#8c959f}.u{fill:#0969da}.f{fill:#d0d7de}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9198a1}.b{fill:#6e7681}.u{fill:#4493f8}.f{fill:#3d444d}}</style>",
        '<text x="12" y="24" font-size="16" font-weight="600">CPU µs a request, one core (shorter is better)</text>',
    ]
    for at, profile in enumerate(profiles):
        x, y = width * (at % 2) + 12, 44 + panel * (at // 2)
        found = perf["profiles"][profile]["servers"]
        most = max(figures["cpu_us"] for figures in found.values() if "cpu_us" in figures) or 1
        out.append(f'<text x="{x}" y="{y + 14}" font-weight="600">{html.escape(TITLES[profile])}</text>')
        for line, name in enumerate([name for name in names if "cpu_us" in found.get(name, {})]):
            top, value = y + 22 + row * line, found[name]["cpu_us"]
            kind = {"svc-edge": "u", "floor": "f"}.get(name, "b")
            out.append(f'<text class="n" x="{x + left - 8}" y="{top + 11}" text-anchor="end">{html.escape(NAMES[name])}</text>')
            out.append(f'<rect class="{kind}" x="{x + left}" y="{top + 2}" width="{max(1, bar * value / most):.1f}" height="{row - 5}" rx="2"/>')
            out.append(f'<text x="{x + left + bar * value / most + 5:.1f}" y="{top + 11}">{number(value)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def readme(perf, path):
    """Put the table between the two markers of a README; what stands outside of them stays. A README without them is an error."""
    path = pathlib.Path(path)
    text = path.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise Failed(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    machine = perf["machine"]
    said = f"{perf['date'][:10]}, commit {perf['commit'][:12]}, {machine['cpu']} with {machine['cores']} cores: servers on one core, one worker each, the load on another; "
    said += "medians of interleaved rounds. " + ", ".join(f"{name} {version}" for name, version in perf["versions"].items()) + "."
    middle = f"\n{cpu_table(perf)}\n![CPU a request, beside other servers](testing/performance/report/chart.svg)\n\n{said}\n"
    path.write_text(text[: text.index(BEGIN) + len(BEGIN)] + middle + text[text.index(END) :])
