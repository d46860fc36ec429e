"""The profiles that saturate a server: what is asked, of whom, and how rounds become figures."""

import dataclasses
import statistics

import loads
import machine
from loads import RANGE
from machine import Failed

# What is divided by what a peer has in the same round.
RATIOS = ("cpu_us", "rps", "p95_ms", "p99_ms")
CODED = (("Accept-Encoding", "gzip"),)


@dataclasses.dataclass(frozen=True)
class Profile:
    """A load of wrk, or of oha where wrk can't: one request over and over, or `gwsmoke.lua`."""

    name: str
    what: str
    path: str
    method: str = "GET"
    headers: tuple = ()
    status: int = 200
    conditional: bool = False
    mixed: bool = False

    @property
    def tool(self):
        """wrk waits for a body after the answer to HEAD: oha does not."""
        return "oha" if self.method == "HEAD" else "wrk"

    def fields(self, server):
        """The fields of its request, with this server's own entity tag where it is conditional."""
        return [*self.headers, *([("If-None-Match", server.tags[self.path])] if self.conditional else [])]

    def run(self, server, seconds, core):
        """One round."""
        if self.mixed:
            return loads.wrk(server, "/", seconds, core, script="gwsmoke.lua", arguments=[server.tags["/edge/assets/site/4k"]])
        if self.tool == "oha":
            return loads.oha_closed(server, server.path(self.path), seconds, core, self.method, self.fields(server))
        return loads.wrk(server, server.path(self.path), seconds, core, self.method, self.fields(server))


SITE = "/edge/assets/site"
TILES = [f"/edge/assets/{name}/3/{x}/{y}" for name in ("png", "mvt") for x, y in ((2, 2), (3, 2), (2, 3), (3, 3))]
PROFILES = [
    Profile("asset_4k", "GET of 4 KiB", f"{SITE}/4k"),
    Profile("asset_64k", "GET of 64 KiB", f"{SITE}/64k"),
    Profile("range_64k", "a Range of 64 KiB out of 8 MiB", f"{SITE}/8m", headers=(("Range", RANGE),), status=206),
    Profile("not_modified", "If-None-Match that matches: 304", f"{SITE}/4k", status=304, conditional=True),
    Profile("head_4k", "HEAD of 4 KiB", f"{SITE}/4k", method="HEAD"),
    Profile("tile_png", "a raster tile of 23 KB out of PMTiles", "/edge/assets/png/3/2/2", headers=CODED),
    Profile("tile_mvt", "a vector tile of 42 KB, in gzip, out of PMTiles", "/edge/assets/mvt/3/2/2", headers=CODED),
    Profile("gwsmoke", "the reference mix of GET, HEAD, Range and 304 over assets and tiles", f"{SITE}/4k", mixed=True),
    # Last: what they leave in the kernel's caches is nobody else's.
    Profile("asset_1m", "GET of 1 MiB", f"{SITE}/1m"),
    Profile("asset_8m", "GET of 8 MiB", f"{SITE}/8m"),
]
QUICK = ("asset_4k", "asset_64k", "asset_1m", "range_64k", "not_modified")


def check(server, profile, content):
    """That a server answers a profile with the bytes that it should, byte by byte; and note its entity tag. A fast wrong answer is no figure."""
    paths = [profile.path] if not profile.mixed else [path for path in (f"{SITE}/4k", f"{SITE}/64k", f"{SITE}/1m", f"{SITE}/8m", *TILES) if server.has(path)]
    for path in paths:
        status, head, body = machine.ask(server.port, server.path(path), headers=dict(CODED))
        if status != 200 or body != content.body(path):
            raise Failed(f"{server.name} answers {path} with {status} and {len(body)} bytes that are not the ones it was given")
        if "etag" in head:
            server.tags[path] = head["etag"]
        elif profile.conditional:
            raise Failed(f"{server.name} gives no entity tag")
    if profile.mixed:
        return
    status, head, body = machine.ask(server.port, server.path(profile.path), profile.method, dict(profile.fields(server)))
    expected = content.body(profile.path) if profile.method == "GET" else b""
    if profile.status == 206:
        expected = expected[1048576:1114112]
    elif profile.status == 304:
        expected = b""
    if status != profile.status or body != expected:
        raise Failed(f"{server.name} answers {profile.name} with {status} and {len(body)} bytes, not with {profile.status} and {len(expected)}")


def saturate(profile, servers, content, rounds, seconds, core, say):
    """The entry of a profile in the report: rounds interleaved over the servers, each round beginning with another one."""
    taking, failed = [], {}
    for server in servers:
        if not all(server.has(path) for path in ([profile.path] + (TILES if profile.mixed else []))):
            continue
        try:
            check(server, profile, content)
            taking.append(server)
        except Failed as fault:
            say(f"  {fault}")
            failed[server.name] = str(fault)
            if server.name == "svc-edge":
                raise
    figures = {server.name: [] for server in taking}
    for number in range(rounds):
        first = number % len(taking)
        for server in taking[first:] + taking[:first]:
            if server.name in failed:
                continue
            try:
                before = server.metrics() if server.name == "svc-edge" else None
                figures[server.name].append(profile.run(server, seconds, core))
                if before is not None:
                    figures[server.name][-1]["shed_rate"] = shed_rate(before, server.metrics(), figures[server.name][-1]["requests"])
            except Failed as fault:
                say(f"  {fault}")
                failed[server.name] = str(fault)
                if server.name == "svc-edge":
                    raise
    kept = {name: each for name, each in figures.items() if name not in failed}
    return {
        "what": profile.what,
        "tool": profile.tool,
        "connections": loads.CONNECTIONS,
        "seconds": seconds,
        "rounds": rounds,
        "servers": {name: medians(each) for name, each in kept.items()},
        "ratios": {name: ratios(kept["svc-edge"], each) for name, each in kept.items() if name != "svc-edge"},
        **({"failed": failed} if failed else {}),
        "best_peer_cpu": best_peer(kept),
    }


def shed_rate(before, after, requests):
    """The share of requests that svc-edge's limits refused, by its own counters."""
    keys = [f'rejected_total{{reason="{reason}"}}' for reason in ("rate_limit", "inflight", "connections", "queue_full")]
    return sum(after.get(key, 0) - before.get(key, 0) for key in keys) / requests


def medians(rounds):
    """The median of each figure; requests and errors are summed. Of several rounds the least and the most CPU too: a wide spread is a machine that was not idle."""
    keys = [key for key in rounds[0] if all(key in each for each in rounds)]
    found = {key: (sum if key in ("requests", "errors") else statistics.median)(each[key] for each in rounds) for key in keys}
    if len(rounds) > 1 and "cpu_us" in found:
        found["cpu_us_min"], found["cpu_us_max"] = (pick(each["cpu_us"] for each in rounds) for pick in (min, max))
    return found


def ratios(ours, theirs):
    """Ours divided by theirs of the same round, the median of the rounds; nothing is divided by nothing."""
    found = {}
    for key in RATIOS:
        quotients = [a[key] / b[key] for a, b in zip(ours, theirs) if key in a and b.get(key)]
        if quotients:
            found[key] = statistics.median(quotients)
    return found


# What the goals of the project compare with: servers that its users would pick. The floor is none.
RIVALS = ("nginx", "nginx_no_nopush", "nginx_proxy_cache", "varnish", "h2o")


def best_peer(rounds):
    """The rival with the least CPU a request, by its median, and ours divided by its, of the same rounds; None without a rival."""
    costs = {name: statistics.median(each["cpu_us"] for each in rounds[name]) for name in RIVALS if name in rounds}
    if not costs:
        return None
    name = min(costs, key=costs.get)
    return {"server": name, "ratio": ratios(rounds["svc-edge"], rounds[name]).get("cpu_us")}
