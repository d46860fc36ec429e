"""The SLOs: each line of the project's document and of its goals, held against the figures of a run.

A line is {"name", "asked", "goal", "value", "unit", "held", "goal_held", "how"}. `asked` is the floor that the document sets, `goal` what the project wants;
either may be null. A figure that was not measured is null, and neither held nor missed: `how` says why.
"""

import json

BODIES = {
    "asset_4k": "4 KiB",
    "asset_64k": "64 KiB",
    "asset_1m": "1 MiB",
    "asset_8m": "8 MiB",
    "range_64k": "Range of 64 KiB",
    "not_modified": "304",
}
MINUTES = 15


def bound(words):
    """`< 40`, `≥ 400`, `≤ 1` as a test of a value; words behind the number are its unit."""
    sign, number = words.split()[:2]
    number = float(number)
    return {"<": lambda v: v < number, "≤": lambda v: v <= number, "≥": lambda v: v >= number}[sign]


def line(name, asked, goal, value, unit, how):
    """One line of the report."""
    held = [None if words is None or value is None else bool(bound(words)(value)) for words in (asked, goal)]
    return {"name": name, "asked": asked, "goal": goal, "value": value, "unit": unit, "held": held[0], "goal_held": held[1], "how": how}


class Report:
    """Looks figures up, and remembers why one is missing."""

    def __init__(self, profiles, skipped):
        self.profiles, self.skipped = profiles, skipped

    def figure(self, profile, key, times=1.0):
        """svc-edge's figure, and how it came about; None where it was not measured."""
        found = self.profiles.get(profile, {}).get("servers", {}).get("svc-edge", {}).get(key)
        if found is None:
            return None, f"not measured: {self.skipped.get(profile, f'the profile {profile} was not run')}"
        how = self.profiles[profile]
        return found * times, f"profile {profile} ({how['tool']}{', ' + str(how['seconds']) + ' s' if 'seconds' in how else ''})"

    def line(self, name, asked, goal, unit, profile, key, times=1.0):
        """A line whose value is one figure."""
        value, how = self.figure(profile, key, times)
        return line(name, asked, goal, value, unit, how)


def slos(profiles, skipped, allocations):
    """Every line. `profiles` are the report's, `skipped` says by profile why it has none, `allocations` is the path of what the count of allocations wrote."""
    report = Report(profiles, skipped)
    return [*at_rate(report), *shares(report), *memory_and_cpu(report), *allocations_of(allocations), *starts(report), *rivals(report)]


def at_rate(report):
    """What an answer takes, and how many there are."""
    of = report.line
    return [
        of("warm hit p95", "< 40 ms", None, "ms", "fixed_400", "p95_ms"),
        of("warm hit p99 at 400 req/s", "< 80 ms", "< 1 ms", "ms", "fixed_400", "p99_ms"),
        of("warm hit p95, saturated, 4 KiB", "< 40 ms", None, "ms", "asset_4k", "p95_ms"),
        of("warm hit p99, saturated, 4 KiB", "< 80 ms", None, "ms", "asset_4k", "p99_ms"),
        of("live fill p95, 4 KiB", "< 250 ms", None, "ms", "live_fill", "p95_ms"),
        of("live fill p95, 1 MiB", "< 250 ms", None, "ms", "live_fill_1m", "p95_ms"),
        sustained(report),
    ]


def sustained(report):
    """Requests a second that were answered: all that were asked for, if the last of them came within a hundredth of its time."""
    value, how = report.figure("fixed_400", "rps")
    errors = report.figure("fixed_400", "errors")[0]
    if value is not None and errors == 0 and value > 396:
        asked = report.profiles["fixed_400"]["rate"]
        return line("sustained requests a second", "≥ 400 req/s", None, float(asked), "req/s", f"{how}: all were answered, {value:.2f} a second")
    return line("sustained requests a second", "≥ 400 req/s", None, value, "req/s", how)


def shares(report):
    """What is refused, fails or is lost."""
    seconds = report.profiles.get("cap", {}).get("seconds", 0)
    note = "" if seconds >= 60 * MINUTES else f"; {MINUTES} min are asked for: --cap-seconds {60 * MINUTES}"
    capped = report.line("429 at the cap of 500 req/s", "< 1 %", None, "%", "cap", "shed_rate", 100)
    if capped["value"] is not None:
        capped["how"] += note
    lines = [capped]
    for profile, when in (("fixed_400", "at 400 req/s"), ("cap", "at the cap"), ("burst", "at ten times the cap")):
        lines.append(report.line(f"5xx {when}", "< 0.1 %", None, "%", profile, "server_errors", 100))
    for profile, when in (("fixed_400", "at 400 req/s"), ("cap", "at the cap"), ("burst", "at ten times the cap")):
        lost, how = report.figure(profile, "lost_lines")
        total = report.figure(profile, "lines")[0]
        share = None if lost is None else 100 * lost / max(total, 1)
        lines.append(line(f"bus overflow {when}", "< 0.01 %", None, share, "%", how if share is None else f"{how}: {lost:.0f} of {total:.0f} events and log lines"))
    return lines


def memory_and_cpu(report):
    """What the server takes at 400 requests a second, and with many connections."""
    of = report.line
    connections = report.profiles.get("idle", {}).get("connections", 10_000)
    return [
        of("CPU at 400 req/s, of 4 cores", "< 60 %", None, "%", "fixed_400", "cpu_core", 100 / 4),
        of("CPU at 400 req/s, of one core", None, None, "%", "fixed_400", "cpu_core", 100),
        of("RSS at 400 req/s", "< 512 MiB", "< 64 MiB", "MiB", "fixed_400", "rss_mib"),
        of("descriptors at 400 req/s, of the limit", "< 40 %", None, "%", "fixed_400", "fds_of_limit", 100),
        of(f"RSS with {connections:,} idle connections", None, "< 256 MiB", "MiB", "idle", "rss_mib"),
    ]


def allocations_of(path):
    """Allocations of ours a hit, beyond Pingora's own, by kind of hit, as the test that counts them wrote it."""
    if not path.exists():
        how = f"not measured: no {path.name}; ALLOCATIONS_JSON=testing/performance/{path.name} cargo test --test allocations writes it"
        return [line("allocations of ours a hit", "< 1", "≤ 0", None, "", how)]
    kinds = json.loads(path.read_text())["per_hit"]
    how = f"{path.name}, by tests/allocations.rs"
    return [line(f"allocations of ours a hit, {name}", "< 1", "≤ 0", round(kind["ours"], 1), "", f"{how}, to a tenth, as the log writes a line for one hit in a hundred; Pingora's own: {kind['pingora']:g}") for name, kind in kinds.items()]


def starts(report):
    """From the command to ready."""
    return [
        report.line("start to ready, nothing verified", "< 300 ms", "< 50 ms", "ms", "start", "ready_ms"),
        report.line("start to ready, 10,000 entries verified", "< 2 s", "< 0.5 s", "s", "start_10k_verified", "ready_ms", 1 / 1000),
    ]


def rivals(report):
    """CPU a request, divided by that of the best of nginx (with and without tcp_nopush), proxy_cache, Varnish and h2o in the same rounds; tiles by martin's."""
    lines = []
    for profile, what in BODIES.items():
        best = report.profiles.get(profile, {}).get("best_peer_cpu")
        value = best["ratio"] if best else None
        how = f"profile {profile}, beside {best['server']}" if best else f"not measured: {report.skipped.get(profile, 'no peer ran')}"
        lines.append(line(f"CPU a request, {what}, by the best peer's", None, "≤ 1", value, "×", how))
    for profile, what in (("tile_png", "raster tile"), ("tile_mvt", "vector tile")):
        value = report.profiles.get(profile, {}).get("ratios", {}).get("martin", {}).get("cpu_us")
        how = f"profile {profile}" if value is not None else "not measured: martin is not installed, or the profile was not run"
        lines.append(line(f"CPU a request, {what}, by martin's", None, "≤ 0.8", value, "×", how))
    return lines
