"""Certificates are overwritten with garbage, removed, and replaced, while clients shake hands: the old one serves until a good new one is there."""

import hashlib
import http.client
import os
import shutil
import ssl
import subprocess
import threading
import time

from faults import HITS, fault
from harness import known
from harness.edge import free_port
from harness.stage import Skip

NAME = "hit/small0-4096"


def certificate(stage, number):
    """A key and a certificate signed by it; the paths of both, and the certificate's digest."""
    key, cert = (stage.directory / f"{part}{number}.pem" for part in ("key", "cert"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90"]
    command += ["-subj", "/CN=chaos.test", "-addext", "subjectAltName=DNS:chaos.test", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return key, cert, digest(ssl.PEM_cert_to_DER_cert(cert.read_text()))


def digest(der):
    return hashlib.sha256(der).hexdigest()


def with_tls(stage):
    """A second listener, with the first certificate."""
    if "edge.bind[].tls[].cert" not in stage.keys:
        raise Skip("this build has no TLS")
    if not shutil.which("openssl"):
        raise Skip("needs openssl, to make certificates")
    key, cert, stage.first = certificate(stage, 1)
    os.rename(key, stage.directory / "key.pem")
    os.rename(cert, stage.directory / "cert.pem")
    stage.edge.tls = free_port()
    listener = f"{{addr: 127.0.0.1:{stage.edge.tls}, tls: {{cert: {stage.directory}/cert.pem, key: {stage.directory}/key.pem}}}}"
    stage.edge.conf = stage.edge.conf.replace("bind: 127.0.0.1:$port", f"bind: [127.0.0.1:$port, {listener}]")
    stage.edge.write_conf()


class Hands(threading.Thread):
    """A client that shakes hands anew for each request, twenty times a second at most."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over = port, threading.Event()
        self.seen, self.failures = [], []
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def run(self):
        while not self.over.wait(0.05):
            try:
                self.seen.append((time.monotonic(), self.ask()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def ask(self):
        """The digest of the certificate that was shown."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)
        try:
            connection.request("GET", f"/edge/assets/{NAME}")
            shown = digest(connection.sock.getpeercert(binary_form=True))
            answer = connection.getresponse()
            if (answer.status, answer.read()) != (200, known.body(NAME)):
                raise ValueError(f"{answer.status} over TLS")
            return shown
        finally:
            connection.close()


@fault(
    "certificates",
    "the files of a certificate are overwritten with garbage, removed, and replaced by another pair",
    holds=HITS + ("miss", "brief"),
    claims=["certificate"],
    prepare=with_tls,
)
def certificates(stage):
    places = [stage.directory / "key.pem", stage.directory / "cert.pem"]
    hands = Hands(stage.edge.tls)
    hands.start()
    for place in places:
        place.write_bytes(os.urandom(700))
    stage.during(2, 10)
    for place in places:
        place.unlink()
    stage.during(2, 10)
    lost = time.monotonic()
    key, cert, second = certificate(stage, 2)
    for fresh, place in zip((key, cert), places):
        os.rename(fresh, place)
    until = time.monotonic() + 60
    while not any(shown == second for _, shown in list(hands.seen)) and time.monotonic() < until:
        time.sleep(0.05)
    yield
    hands.over.set()
    hands.join(60)
    stage.check(not hands.failures, f"{len(hands.failures)} handshakes failed: {hands.failures[:2]}")
    before = {shown for moment, shown in hands.seen if moment < lost}
    stage.check(before == {stage.first}, "the old certificate served until there was a new one")
    taken = [moment for moment, shown in hands.seen if shown == second]
    stage.check(bool(taken), "the new certificate is not served after 60 s")
    if taken:
        stage.note(f"{len(hands.seen):,} handshakes; the new certificate served after {taken[0] - lost:.1f} s")
