"""What a batch of a version takes, learnt from its batches: the base of every expected wait."""

_WEIGHT = 0.2
"""Of the newest batch in the running mean."""


class Cost:
    """Seconds by the number of rows, in steps of powers of two. A size not seen yet is scaled from the nearest.

    One thread adds while another asks: what is known is replaced whole, and never changed while somebody reads it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float]] = {}  # step -> seconds, rows

    def add(self, rows: int, seconds: float) -> None:
        """A batch of `rows` took `seconds`."""
        step = rows.bit_length()
        # Scaled to the step's own size, so that 17 and 31 rows, which share a step, do not blur it.
        seconds *= (1 << step) / rows
        known = self._known.get(step)
        if known is None:
            now = (seconds, float(rows))
        else:
            now = (known[0] + _WEIGHT * (seconds - known[0]), known[1] + _WEIGHT * (rows - known[1]))
        self._known = {**self._known, step: now}

    def batch_s(self, rows: int) -> float:
        """Seconds of one batch; 0 while nothing is known."""
        known = self._known
        if not known or rows < 1:
            return 0.0
        step = rows.bit_length()
        near = min(known, key=lambda each: abs(each - step))
        seconds, part = known[near][0], rows / (1 << near)
        # A smaller batch is not sure to be faster than in proportion, and never slower.
        return seconds * (max(part, 0.25) if near > step else part)

    def fixed_s(self) -> float:
        """The part of a batch's time that does not depend on its rows: where the line through the smallest and the
        largest size begins; half of a batch while only one size is known."""
        known = self._known
        if not known:
            return 0.0
        (few, short_s), (many, long_s) = (
            (rows, seconds * rows / (1 << step))
            for step, (seconds, rows) in ((each, known[each]) for each in (min(known), max(known)))
        )
        if many <= few:
            return short_s / 2
        return min(max((short_s * many - long_s * few) / (many - few), 0.0), short_s)

    def wait_s(self, rows: int, max_batch: int) -> float:
        """Seconds until that many waiting rows have run."""
        full, rest = divmod(rows, max_batch)
        return full * self.batch_s(max_batch) + self.batch_s(rest)
