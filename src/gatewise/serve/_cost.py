"""What a batch of a version takes, learnt from its batches: the base of every expected wait."""

_WEIGHT = 0.2
"""Of the newest batch in the running mean."""


class Cost:
    """Seconds by the number of rows, in steps of powers of two. A size not seen yet is scaled from the nearest."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._rows: dict[int, float] = {}

    def add(self, rows: int, seconds: float) -> None:
        """A batch of `rows` took `seconds`."""
        step = rows.bit_length()
        # Scaled to the step's own size, so that 17 and 31 rows, which share a step, do not blur it.
        seconds *= (1 << step) / rows
        known = self._seconds.get(step)
        self._seconds[step] = seconds if known is None else known + _WEIGHT * (seconds - known)
        self._rows[step] = rows if known is None else self._rows[step] + _WEIGHT * (rows - self._rows[step])

    def batch_s(self, rows: int) -> float:
        """Seconds of one batch; 0 while nothing is known."""
        if not self._seconds or rows < 1:
            return 0.0
        step = rows.bit_length()
        near = min(self._seconds, key=lambda each: abs(each - step))
        if near == step:
            return self._seconds[near] * rows / (1 << step)
        if near > step:  # a smaller batch is not sure to be faster than in proportion, and never slower
            return self._seconds[near] * max(rows / (1 << near), 0.25)
        return self._seconds[near] * rows / (1 << near)

    def fixed_s(self) -> float:
        """The part of a batch's time that does not depend on its rows: where the line through the smallest and the
        largest size begins; half of a batch while only one size is known."""
        if not self._seconds:
            return 0.0
        (few, short_s), (many, long_s) = (
            (self._rows[step], self._seconds[step] * self._rows[step] / (1 << step))
            for step in (min(self._seconds), max(self._seconds))
        )
        if many <= few:
            return short_s / 2
        return min(max((short_s * many - long_s * few) / (many - few), 0.0), short_s)

    def wait_s(self, rows: int, max_batch: int) -> float:
        """Seconds until that many waiting rows have run."""
        full, rest = divmod(rows, max_batch)
        return full * self.batch_s(max_batch) + self.batch_s(rest)
