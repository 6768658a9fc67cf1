"""The other process of a load run: it sends queries by a schedule of its own and times the answers. Run as a script.

It needs the standard library only, so that it starts at once. Its one argument is JSON: rate, queries, seed, spin. On
standard output go records (number, scheduled time on the monotonic clock); on standard input come the numbers that were
answered. A number of END ends the queries, and from the other side the run; then one JSON line says how it went.
"""

import gc
import json
import os
import random
import select
import struct
import sys
import time

QUERY = struct.Struct("<Id")
ANSWER = struct.Struct("<I")
END = 2**32 - 1
SPIN_S = 0.0002
LEAD_S = 0.02


def _numbers(unread: bytearray) -> list[int]:
    """The whole numbers at the start of what was read; they are taken away."""
    size = len(unread) // ANSWER.size * ANSWER.size
    found = [number for (number,) in ANSWER.iter_unpack(bytes(unread[:size]))]
    del unread[:size]
    return found


def _send(arrivals: list[float], *, spin: bool) -> tuple[dict[int, float], list[float]]:
    """Send every query at its time and collect the answers: when each came, and how late each query went out."""
    answered: dict[int, float] = {}
    lateness: list[float] = []
    unread, sent = bytearray(), 0
    while True:
        left = arrivals[sent] - time.monotonic() if sent < len(arrivals) else 3600.0
        if left <= 0:
            os.write(1, QUERY.pack(sent, arrivals[sent]))
            lateness.append(time.monotonic() - arrivals[sent])
            sent += 1
            if sent == len(arrivals):
                os.write(1, QUERY.pack(END, 0.0))
            continue
        if spin:
            left = left - SPIN_S if left > SPIN_S else 0.0
        if not select.select([0], [], [], left)[0]:
            continue
        chunk, now = os.read(0, 65536), time.monotonic()
        unread += chunk
        numbers = _numbers(unread)
        answered.update((number, now) for number in numbers if number != END)
        if END in numbers or not chunk:
            return answered, lateness


def main() -> None:
    """Wait for a byte, send the queries, and report."""
    asked = json.loads(sys.argv[1])
    rng = random.Random(f"another process {asked['seed']}")
    moment, schedule = 0.0, list[float]()
    for _ in range(asked["queries"]):
        moment += rng.expovariate(asked["rate"])
        schedule.append(moment)
    gc.disable()
    os.write(1, QUERY.pack(END, 0.0))  # ready
    os.read(0, 1)
    begin = time.monotonic() + LEAD_S
    answered, lateness = _send([begin + moment for moment in schedule], spin=asked["spin"])
    latencies = [answered[number] - begin - schedule[number] for number in sorted(answered)]
    report = {"scheduled_s": schedule, "latencies_s": latencies, "lateness_s": lateness}
    os.write(1, b"\n")
    with os.fdopen(1, "wb", closefd=False) as stream:
        stream.write(json.dumps(report).encode())


if __name__ == "__main__":
    main()
