"""The profiles that need servers of their own: fixed rates, live fills, floods with the real limits, many connections, starts."""

import pathlib
import resource
import statistics
import tempfile
import time

import content as contents
import loads
import machine
from clients import Client, Kept
from loads import Share
from machine import Failed
from profiles import medians, ratios
from servers import Edge, Nginx, NginxProxyCache

CAP = 500
ASSET = "/edge/assets/site/4k"
# svc-edge as it is out of the box.
DEFAULT = "{}"


def entry(what, tool, servers, **more):
    """A profile of the report. `servers` has the figures of each round; ratios are to svc-edge."""
    found = {"what": what, "tool": tool, **more, "servers": {name: medians(rounds) for name, rounds in servers.items() if rounds}}
    ours = servers.get("svc-edge")
    found["ratios"] = {name: ratios(ours, rounds) for name, rounds in servers.items() if ours and rounds and name != "svc-edge"}
    return found


class Told:
    """Counts what becomes of the lines and events that svc-edge has to write from now on."""

    def __init__(self, edge):
        self.edge = edge
        self.lost_before, self.lines_before = self.lost(), self.lines()

    def lost(self):
        return sum(value for key, value in self.edge.metrics().items() if key.startswith("bus_lagged_total"))

    def lines(self):
        return len(self.edge.log.read_bytes().splitlines())

    def figures(self):
        """Those that were lost, and all, once the log has had a moment to be written."""
        time.sleep(0.5)
        lost = self.lost() - self.lost_before
        return {"lost_lines": lost, "lines": lost + self.lines() - self.lines_before}


def fixed(run, servers, rate=400):
    """gwsmoke at a fixed rate, in an open loop: what an answer takes when the server is not saturated, and what the server takes then."""
    figures = {server.name: [] for server in servers}
    for server in servers:
        tag = machine.ask(server.port, server.path(ASSET), "HEAD")[1].get("etag", "*")
        told = Told(server) if server.name == "svc-edge" else None
        one = loads.oha(server, loads.gwsmoke_shares(rate, tag), run.fixed_seconds, run.load_core)
        if told:
            one |= told.figures()
            one["fds_of_limit"] = one["fds"] / machine.descriptor_limit(server.pid)
        one.pop("statuses")
        figures[server.name].append(one)
    what = f"gwsmoke at {rate} requests a second, open loop, coordinated omission corrected; four processes of oha with one method each"
    return entry(what, "oha", figures, connections=16, seconds=run.fixed_seconds, rounds=1, rate=rate)


def live_fill(run):
    """Misses of objects that an nginx on the load's core has, one after the other on one connection: 4 KiB and 1 MiB."""
    with tempfile.TemporaryDirectory(dir=run.directory) as directory:
        pathlib.Path(directory).chmod(0o755)
        # Any first segment names the same files, so that each request is for an object of its own.
        files = f"""location ~ ^/s/[^/]+/(.*)$ {{ alias {run.content.site}/$1; add_header Cache-Control "max-age=3600"; }} location = /up {{ return 200; }}"""
        lines = "  mode: live\n  origins: [{{prefix: \"\", url: \"http://127.0.0.1:{}/s/\", allow_private: true}}]\n"
        running = []
        try:
            running.append(origin := Nginx(directory, core=run.load_core, server=files))
            running.append(edge := Edge(run.binary, directory, core=run.server_core, lines=lines.format(origin.port)))
            running.append(cache := NginxProxyCache(directory, None, run.server_core, origin.port, "/s/"))
            servers = {"svc-edge": (edge, "/edge/assets/f{}/{}"), "nginx_proxy_cache": (cache, "/f{}/{}"), "origin": (origin, "/s/f{}/{}")}
            found = {}
            for name, size, count in (("live_fill", "4k", run.fills), ("live_fill_1m", "1m", max(5, run.fills // 10))):
                what = f"misses of {size} from an origin on loopback, one after the other; p50, p95 and p99 are of the whole answer"
                found[name] = entry(what, "python", fill_samples(servers, size, count), connections=1, rounds=1, requests=count)
            return found
        finally:
            for each in reversed(running):
                each.stop()


def fill_samples(servers, size, count):
    """Interleaved misses, and the figures of each server."""
    clients = {name: Kept(server.port) for name, (server, _) in servers.items()}
    samples, cpu = {name: [] for name in servers}, {name: machine.cpu_seconds(server.pid) for name, (server, _) in servers.items()}
    for number in range(count):
        for name, (_, path) in servers.items():
            samples[name].append(clients[name].fetch(path.format(number, size), contents.SIZES[size]))
    found = {}
    for name, (server, _) in servers.items():
        first, whole = (sorted(column) for column in zip(*samples[name]))
        figures = {f"p{part}_ms": loads.percentile(whole, part / 100) for part in (50, 95, 99)}
        figures |= {f"first_byte_p{part}_ms": loads.percentile(first, part / 100) for part in (50, 95)}
        figures |= {"rss_mib": machine.rss_of_all_mib(server.pid), "fds": machine.descriptors(server.pid), "requests": count, "errors": 0}
        # The origin answers for the others too: its CPU is nobody's.
        figures |= {} if name == "origin" else {"cpu_us": (machine.cpu_seconds(server.pid) - cpu[name]) / count * 1e6}
        found[name] = [figures]
        clients[name].close()
    return found


def flood(run, factor, seconds):
    """The cap of 500 requests a second, met (1) or exceeded tenfold (10), with svc-edge as it is out of the box."""
    with tempfile.TemporaryDirectory(dir=run.directory) as directory:
        edge = Edge(run.binary, directory, run.content, run.server_core, ingress=DEFAULT)
        try:
            told = Told(edge)
            if factor == 1:
                tag = machine.ask(edge.port, ASSET, "HEAD")[1]["etag"]
                shares, what = loads.gwsmoke_shares(CAP, tag), f"gwsmoke at the cap of {CAP} requests a second, with the limits that svc-edge has by default"
            else:
                shares, what = [Share(CAP * factor, [ASSET])], f"GET of 4 KiB at {factor} times the cap of {CAP} requests a second; percentiles are of what was admitted"
            one = loads.oha(edge, shares, seconds, run.load_core, connections=16 if factor > 1 else 4)
            one |= told.figures()
            one.pop("statuses")
        finally:
            edge.stop()
    return entry(what, "oha", {"svc-edge": [one]}, connections=16, seconds=seconds, rounds=1, rate=CAP * factor)


def idle(run, count):
    """Connections that asked once and stay. The server waits as long as it takes."""
    with tempfile.TemporaryDirectory(dir=run.directory) as directory:
        ingress = f"{{rps_limit: 1000000, max_inflight: 1000000, max_connections: {count + 1000}, keepalive: 10m}}"
        edge = Edge(run.binary, directory, run.content, run.server_core, ingress=ingress)
        client = Client(edge.port, ASSET, run.content.body(ASSET))
        try:
            alone = machine.rss_mib(edge.pid)
            client.open(count)
            time.sleep(run.rest)
            one = {"rss_mib": machine.rss_mib(edge.pid), "fds": machine.descriptors(edge.pid), "requests": count, "errors": client.broken, "rss_before_mib": alone}
        finally:
            client.close()
            edge.stop()
    if client.broken:
        raise Failed(f"{client.broken} of {count} idle connections were refused or ended")
    return entry(f"{count:,} connections that asked once and are idle", "python", {"svc-edge": [one]}, connections=count, rounds=1)


def room_for(count):
    """Raise the limit of descriptors, for this process and those that it starts; whether there is room for so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 2000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return True
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def starts(run):
    """Milliseconds from the command to ready, medians: the packs as they are, and an archive of 10,000 entries that is verified in full."""
    with tempfile.TemporaryDirectory(dir=run.directory) as directory:
        many = pathlib.Path(directory) / "many.pmtiles"
        contents.many_entries(many)
        figures = {}
        for name, packs, verify in (("start", (), "none"), ("start_10k_verified", (many,), "full")):
            times = []
            for _ in range(run.starts):
                edge = Edge(run.binary, directory, None if packs else run.content, run.server_core, packs=packs, verify=verify)
                times.append(edge.ready_ms)
                edge.stop()
            figures[name] = statistics.median(times)
        what = {"start": "start to ready, two packs, none verified", "start_10k_verified": f"start to ready, one archive of {contents.ENTRIES:,} entries verified in full"}
        return {name: entry(what[name], "python", {"svc-edge": [{"ready_ms": value}]}, rounds=run.starts) for name, value in figures.items()}
