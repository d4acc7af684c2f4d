"""A child that answers each request with a frame that is none, and stays."""

from __future__ import annotations

import os
import sys
import time

import msgspec

from shared.child_wire import DONE, FRAME_BYTES, HEADER, PROBLEM, REPORT
from tests.support.children.obedient import Do


def main() -> None:
    """Lie as the first request says."""
    reports = int(os.environ["STEMBUS_CHILD_REPORT_FD"])
    _, number, length = HEADER.unpack(sys.stdin.buffer.read(HEADER.size))
    request = msgspec.json.decode(sys.stdin.buffer.read(length), type=Do)
    other = {
        "long": HEADER.pack(REPORT, number, FRAME_BYTES + 1),
        "long for nobody": HEADER.pack(REPORT, number + 7, FRAME_BYTES + 1),
        "unknown": HEADER.pack(b"X", number, 0),
        "garbled": HEADER.pack(REPORT, number, 3) + b"{]}",
        "garbled problem": HEADER.pack(PROBLEM, number, 3) + b"{]}",
        "for nobody": HEADER.pack(REPORT, number + 7, 2)
        + b"{}"
        + HEADER.pack(DONE, number + 7, 0)
        + HEADER.pack(DONE, number, 0),
    }
    os.write(reports, other[request.what])
    time.sleep(1000)


if __name__ == "__main__":
    main()
