"""Everything that was started, and everything that must be undone: ended by its pid, whatever happens to us."""

import atexit
import os
import signal
import subprocess
import sys
import threading

_undo = []
_lock = threading.Lock()


def start(command, **options):
    """Start a process that `undo_all` kills if nobody ended it before. SIGXFSZ and SIGPIPE are as we have them: ignored."""
    process = subprocess.Popen([str(part) for part in command], restore_signals=False, **options)
    later(lambda: kill(process))
    return process


def kill(process):
    """End a process of ours at once, stopped ones too, and take its exit code."""
    if process.poll() is None:
        process.kill()
    process.wait()


def later(action):
    """Have `action` done at the end; the latest first. Returns a function that does it now, and never again."""
    entry = [action]
    with _lock:
        _undo.append(entry)

    def now():
        with _lock:
            if entry not in _undo:
                return
            _undo.remove(entry)
        entry[0]()

    return now


def undo_all():
    """Do what is left to be undone. A step that fails is told, and the next ones are done all the same."""
    while True:
        with _lock:
            if not _undo:
                return
            entry = _undo.pop()
        try:
            entry[0]()
        except OSError as error:
            print(f"chaos: not undone: {error}", file=sys.stderr)


def watchdog(seconds):
    """Bound the whole: after `seconds` everything is undone and this process ends with 3. SIGTERM and SIGINT undo it too."""

    def bite():
        print(f"chaos: not done after {seconds} s: everything is ended", file=sys.stderr, flush=True)
        undo_all()
        os._exit(3)

    timer = threading.Timer(seconds, bite)
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(130))
    atexit.register(undo_all)
