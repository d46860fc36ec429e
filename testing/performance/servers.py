"""The servers that are measured: svc-edge, and what its users would pick instead, each with its best common configuration and one worker.

A server listens on a free port of loopback, pinned to a core, and answers the paths of `content.py`. All send the same Cache-Control; nothing else is added
to what a server sends by itself. Connections are kept without a bound on requests.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import time

import machine
from machine import Failed, free_port

CACHE_CONTROL = "public, max-age=300"
# Limits that are there, so that what they cost is in the figures, and that no load reaches.
HIGH = "{rps_limit: 1000000, max_inflight: 1000000, max_connections: 20000, keepalive_requests: null}"


class Server:
    """What runs on a port. A class of each server below makes its conf and its command in `__init__` and calls `launch`."""

    name = ""
    # The program that must be on PATH, and what of the paths of `content.py` the server has.
    program = None
    paths = ("/edge/assets/",)

    @classmethod
    def installed(cls):
        """Whether it can be started here."""
        return cls.program is None or machine.which(cls.program) is not None

    @classmethod
    def version(cls):
        """What the program calls itself, as short as it says it."""
        words = {"varnishd": "-V", "nginx": "-v", "h2o": "-v"}.get(cls.program, "--version")
        out = subprocess.run([machine.which(cls.program), words], capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)+\S*", out.stdout + out.stderr)
        return found.group().rstrip(")") if found else "unknown"

    def launch(self, argv, ready, core, directory, seconds=20.0):
        """Start it, and wait until `ready()`, in milliseconds since the start: `ready_ms`."""
        self.log = pathlib.Path(directory) / f"{self.name}.log"
        started = time.monotonic()
        self.process = machine.start(argv, core, self.log, directory)
        self.pid = self.process.pid

        def check():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended at once:\n{self.log.read_text(errors='replace')[-2000:]}")
            return ready()

        try:
            machine.wait_for(check, seconds)
        except TimeoutError:
            self.stop()
            raise Failed(f"{self.name} was not ready after {seconds} s:\n{self.log.read_text(errors='replace')[-2000:]}") from None
        self.ready_ms = (time.monotonic() - started) * 1000

    def answers(self, path="/edge/assets/site/4k"):
        """Whether it answers a path."""
        return lambda: machine.get(self.port, self.path(path))[0] == 200

    def path(self, path):
        """What a path of svc-edge's is called here."""
        return path

    def has(self, path):
        """Whether it serves a path."""
        return path.startswith(self.paths)

    def stop(self):
        """End it, with all its processes."""
        machine.stop(self.process)


class Edge(Server):
    """svc-edge with its defaults: metrics, validators, limits and the sampled access log, into a file."""

    name = "svc-edge"

    def __init__(self, binary, directory, content=None, core=None, packs=(), verify="header", ingress=HIGH, lines="", http="", threads=1, cas="", files=None, bind=None):
        """`lines` are more of `edge:`, as YAML; `cas` and `http` more keys of their sections; `files` a directory that is imported as `site/`
        instead; `bind` what stands there, with PORT for the port."""
        directory = pathlib.Path(tempfile.mkdtemp(prefix="edge-", dir=directory))
        self.port, self.admin = free_port(), free_port()
        bind = (bind or "127.0.0.1:PORT").replace("PORT", str(self.port))
        text = f"threads: {threads}\nedge:\n  bind: {bind}\n  metrics: 127.0.0.1:{self.admin}\n"
        text += f"  ingress: {ingress}\n  cas: {{dir: {directory}/cas{cas}}}\n"
        if http:
            text += f"  http: {{{http}}}\n"
        packs = list(packs) or ([content.packs / "png.pmtiles", content.packs / "mvt.pmtiles"] if content else [])
        text += "".join(["  packs:\n"] * bool(packs) + [f"    - {{path: {pack}, verify: {verify}}}\n" for pack in packs]) + lines
        conf = directory / "svc-edge.yaml"
        conf.write_text(text)
        # As it goes into the report: the same for every run.
        self.conf = text.replace(str(directory), "…").replace(str(directory.parent), "…").replace(str(self.port), "PORT").replace(str(self.admin), "ADMIN")
        site = files or (content and content.site)
        if site:
            machine.run([binary, "cas", "import", site, "--prefix", "site", "--conf", conf])
        self.launch([binary, "--conf", conf], lambda: machine.get(self.admin, "/readyz")[0] == 200, core, directory, 60.0)

    def metrics(self):
        """Every sample of /metrics, by its name with its labels as they stand there."""
        samples = {}
        for line in machine.get(self.admin, "/metrics")[1].decode().splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                samples[key] = float(value)
        return samples


class Nginx(Server):
    """An nginx with one server block. It serves the files of a directory with sendfile and open_file_cache, without a log."""

    name = "nginx"
    program = "nginx"
    nopush = "on"

    def __init__(self, directory, content=None, core=None, server=None, http="", workers=1, listen="", ready=None, nopush=None):
        """`server` is what stands in the server block instead of the files, `http` more of the http block, `listen` more of that line; `ready(self)` says
        that it answers, where it has no `/up`."""
        base = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=directory))
        base.chmod(0o777)
        self.port = free_port()
        if server is None:
            # Vector tiles are kept in gzip, and say so.
            server = f"root {content.root}; location /edge/assets/mvt/ {{ add_header Content-Encoding gzip; add_header Cache-Control '{CACHE_CONTROL}'; }}"
            server += f" location /edge/assets/png/ {{ default_type image/png; add_header Cache-Control '{CACHE_CONTROL}'; }}"
            server += f" location /up {{ return 200; }} add_header Cache-Control '{CACHE_CONTROL}';"
        temporary = " ".join(f"{kind}_temp_path {base}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = base / "nginx.conf"
        conf.write_text(
            f"""daemon off; worker_processes {workers}; pid {base}/pid; error_log {base}/error.log;
events {{ worker_connections 16384; }}
worker_rlimit_nofile 40000;
http {{
  access_log off; sendfile on; tcp_nopush {nopush or self.nopush}; keepalive_requests 1000000000; keepalive_timeout 600s;
  open_file_cache max=10000 inactive=600s; open_file_cache_valid 60s; default_type application/octet-stream; server_tokens off;
  {temporary} {http}
  server {{ listen 127.0.0.1:{self.port} backlog=4096{listen}; {server} }}
}}
"""
        )
        up = (lambda: ready(self)) if ready else self.answers() if content else self.answers("/up")
        self.launch([machine.which("nginx"), "-p", base, "-c", conf, "-e", f"{base}/error.log"], up, core, base)


class NginxNoNopush(Nginx):
    """The same with `tcp_nopush off`: better or worse, by the length of the body."""

    name = "nginx_no_nopush"
    nopush = "off"


class NginxProxyCache(Nginx):
    """An nginx that keeps what another has: a warm `proxy_cache`."""

    name = "nginx_proxy_cache"

    def __init__(self, directory, content, core, origin, prefix="/"):
        """`origin` is a port; `prefix` what it has before each path."""
        cache = pathlib.Path(tempfile.mkdtemp(prefix="cache-", dir=directory))
        cache.chmod(0o777)
        http = f"proxy_cache_path {cache} keys_zone=z:10m max_size=40g inactive=1h use_temp_path=off;"
        http += f" upstream o {{ server 127.0.0.1:{origin}; keepalive 16; }}"
        server = f"""location = /up {{ return 200; }} location / {{ proxy_pass http://o{prefix}; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Accept-Encoding gzip; proxy_cache z; proxy_cache_lock on; proxy_cache_valid 1h; proxy_max_temp_file_size 0; }}"""
        super().__init__(directory, None, core, server, http)


class Varnish(Server):
    """Varnish with everything in memory (malloc), before an nginx. Its shared log is where it has it on a real machine: in memory."""

    name = "varnish"
    program = "varnishd"

    def __init__(self, directory, content, core, origin):
        self.port = free_port()
        memory = pathlib.Path("/dev/shm")
        self.base = (memory if os.access(memory, os.W_OK) else pathlib.Path(directory)) / f"svc-edge-perf-varnish-{os.getpid()}-{self.port}"
        vcl = pathlib.Path(directory) / f"varnish-{self.port}.vcl"
        vcl.write_text(
            f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_backend_response {{ set beresp.ttl = 1h; }}
"""
        )
        argv = [machine.which("varnishd"), "-F", "-n", self.base, "-f", vcl, "-a", f"127.0.0.1:{self.port}", "-s", "malloc,256m", "-j", "none"]
        argv += ["-T", "none", "-p", "thread_pools=1", "-p", "thread_pool_min=50", "-p", "timeout_idle=600", "-p", "vsl_space=80M"]
        try:
            self.launch(argv, self.answers(), core, directory, 60.0)
        except Failed:
            self.tidy()
            raise

    def stop(self):
        super().stop()
        self.tidy()

    def tidy(self):
        """Its directory is not inside of the one that goes away by itself."""
        machine.run(["rm", "-rf", "--", self.base])


class H2o(Server):
    """h2o with `file.dir` and one thread."""

    name = "h2o"
    program = "h2o"

    def __init__(self, directory, content, core):
        self.port = free_port()
        conf = pathlib.Path(directory) / f"h2o-{self.port}.conf"
        # As root it wants to become somebody; the files can be read by everybody.
        user = "user: nobody\n" if os.geteuid() == 0 else ""
        conf.write_text(
            f"""{user}num-threads: 1
max-connections: 16384
http1-request-timeout: 600
listen: {{host: 127.0.0.1, port: {self.port}}}
file.etag: ON
header.set: "Cache-Control: {CACHE_CONTROL}"
hosts:
  default:
    paths:
      /edge/assets/mvt/: {{file.dir: {content.root}/edge/assets/mvt/, header.set: "Content-Encoding: gzip"}}
      /: {{file.dir: {content.root}}}
"""
        )
        self.launch([machine.which("h2o"), "-m", "worker", "-c", conf], self.answers(), core, directory)


class Martin(Server):
    """martin with one worker: tiles alone, from the same archives."""

    name = "martin"
    program = "martin"
    paths = ("/edge/assets/png/", "/edge/assets/mvt/")

    def __init__(self, directory, content, core):
        self.port = free_port()
        argv = [machine.which("martin"), "--listen-addresses", f"127.0.0.1:{self.port}", "--workers", "1"]
        argv += [content.packs / "png.pmtiles", content.packs / "mvt.pmtiles"]
        self.launch(argv, self.answers("/edge/assets/png/3/2/2"), core, directory, 60.0)

    def path(self, path):
        return path.removeprefix("/edge/assets")


class Floor(Server):
    """No server: the system calls that none can do without. See `floor/`."""

    name = "floor"

    def __init__(self, binary, directory, content, core):
        self.port = free_port()
        self.launch([binary, f"127.0.0.1:{self.port}", content.root], self.answers(), core, directory)


PEERS = [Nginx, NginxNoNopush, NginxProxyCache, Varnish, H2o, Martin]
