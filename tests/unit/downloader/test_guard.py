"""The guard, in an interpreter of its own: an audit hook can't be taken off again."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from shared.child import ROOT

_PRELUDE = """
import ctypes, os, socket, subprocess, sys
from services.downloader.addresses import parse_networks
from services.downloader.guard import Guard
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
unix, six = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET6)
guard = Guard(allow=parse_networks({allow}), programs=frozenset({programs}))
guard.install()
try:
    {attempt}
except BaseException as exc:
    print(type(exc).__name__, repr(guard.refused))
else:
    print("done", guard.refused)
"""


def attempt(code: str, *, allow: tuple[str, ...] = (), programs: tuple[str, ...] = ()) -> str:
    """What came of running ``code`` behind the guard."""
    script = dedent(_PRELUDE).format(attempt=code, allow=allow, programs=programs)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("tcp.connect(('127.0.0.1', port))", "127.0.0.1"),
        ("tcp.connect_ex(('127.0.0.1', port))", "127.0.0.1"),
        ("tcp.connect(('localhost', port))", "localhost"),
        ("tcp.connect(('', port))", ""),
        ("socket.create_connection(('127.0.0.1', port))", "127.0.0.1"),
        ("six.connect(('::ffff:127.0.0.1', port))", "::ffff:127.0.0.1"),
        ("udp.sendto(b'x', ('10.0.0.1', 53))", "10.0.0.1"),
        ("udp.sendmsg([b'x'], [], 0, ('169.254.169.254', 80))", "169.254.169.254"),
        ("unix.connect('/run/docker.sock')", "/run/docker.sock"),
        ("unix.connect(chr(0) + 'abstract')", "\x00abstract"),
    ],
)
def test_connections_inwards_are_refused(code: str, refused: str) -> None:
    assert attempt(code) == f"TerminalError {refused!r}"


@pytest.mark.parametrize(
    "code",
    [
        "subprocess.run(['/bin/true'])",
        "subprocess.run('true', shell=True)",
        "os.system('true')",
        "os.posix_spawn('/bin/true', ['true'], {{}})",
        "os.execv('/bin/true', ['true'])",
        "os.fork()",
        "tcp.bind(('127.0.0.1', 0))",
        "ctypes.CDLL('libc.so.6')",
    ],
)
def test_other_ways_out_are_closed(code: str) -> None:
    assert attempt(code.replace("{{}}", "{}")) == "PermissionError None"


@pytest.mark.parametrize("module", ["curl_cffi", "curl_cffi.requests", "pycurl"])
def test_native_network_clients_cannot_be_imported(module: str) -> None:
    assert attempt(f"__import__({module!r})") == "ImportError None"


def test_what_is_listed_is_allowed() -> None:
    said = [
        attempt("tcp.connect(('127.0.0.1', port))", allow=("127.0.0.1/32",)),
        attempt("subprocess.run(['/bin/true'], check=True)", programs=("/bin/true",)),
    ]
    assert said == ["done None", "done None"]


def test_yt_dlp_runs_without_its_native_client() -> None:
    code = (
        "from yt_dlp import networking, YoutubeDL; "
        "print(sorted(YoutubeDL({{'quiet': True}})._request_director.handlers))"
    )
    said = attempt(code.replace("{{", "{").replace("}}", "}"))
    assert "CurlCFFI" not in said
    assert "Urllib" in said
