"""The judge on a stream: pairs as they come, a verdict that may be looked at after every one of them."""

from collections.abc import Hashable

from ._errors import GatewiseError
from ._judge import STREAM, Comparison, Rule, check_alpha, conclude_sequence, number
from ._metrics import Direction, Kind
from ._sequence import MedianSequence, middle

ANSWERS = "right and wrong answers (all 0 or 1) are not judged by medians: fix their number and use compare"


class SequentialComparison:
    """An anytime-valid comparison of pairs: look whenever you like, stop whenever you like.

    The unit of evidence is one pair, or one **block** of pairs when blocks are named: pairs of one process (one
    connection, one hour) share its luck and count once, by their median. A block counts when it is closed: when the
    next block begins, or by `close()`.

    Effects are judged by their median, which says nothing of a share. A stream of differences of right and wrong
    answers (all 0 or 1) gets no verdict: fix a number of items beforehand and use `compare`.

    Args:
        kind, direction, margin, alpha: as in `compare`.

    Raises:
        GatewiseError: an impossible rule; a pair that is not finite, too far apart, or not positive for a ratio; a
            block that comes back after it was closed; named and unnamed pairs in one stream.
    """

    def __init__(
        self, *, kind: Kind = "ratio", direction: Direction = "lower", margin: float = 0.02, alpha: float = 0.05
    ) -> None:
        check_alpha(alpha)
        self.rule = Rule(kind=kind, direction=direction, margin=margin)
        self._sequence = MedianSequence(alpha)
        self._answers = kind == "difference"  # whether every value so far is 0 or 1
        self._open: list[float] = []
        self._block: object = None
        self._closed: set[object] = set()

    def update(self, baseline: float, arm: float, block: object = None) -> None:
        """Take one pair. `block` (hashable) names the process or other unit that the pair belongs to."""
        pair = number("baseline", baseline), number("arm", arm)
        self._place(self.rule.effect(*pair), block)
        self._answers = self._answers and all(value in (0, 1) for value in pair)

    def _place(self, effect: float, block: object) -> None:
        if block is None:
            if self._open or self._closed:
                raise GatewiseError("this stream names its blocks; every pair needs one")
            self._sequence.add(effect)
            return
        if not isinstance(block, Hashable):
            raise GatewiseError(f"a block is named by something hashable, not by a {type(block).__name__}")
        if len(self._sequence) > len(self._closed):
            raise GatewiseError("this stream began without blocks; a block cannot be named later")
        if block in self._closed:
            raise GatewiseError(f"block {block!r} is closed: its pairs must come together")
        if self._open and block != self._block:
            self.close()
        self._block = block
        self._open.append(effect)

    def close(self) -> None:
        """Close the open block, so that it counts."""
        if self._open:
            self._sequence.add(middle(sorted(self._open)))
            self._closed.add(self._block)
            self._open = []

    def comparison(self) -> Comparison:
        """The comparison as it stands, in well under a millisecond."""
        n, alpha = len(self._sequence), self._sequence.alpha
        if n > 0 and self._answers:
            return self.rule.refuse(ANSWERS, alpha=alpha, n=n, method=STREAM)
        return conclude_sequence(self._sequence, self.rule)

    @property
    def settled(self) -> bool:
        """Whether there is a verdict other than inconclusive."""
        return self.comparison().verdict != "inconclusive"
