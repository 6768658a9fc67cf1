"""Joins predictions with their labels: late, twice, in any order, before their record, or never. Bounded in memory."""

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from ._record import Label


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """What became of the labels and of the predictions that waited for them.

    Attributes:
        used: labels that met a prediction. `waiting`: predictions without a label so far.
        repeated: labels that said the same again. `contradicted`: labels that said something else.
        early: labels that wait for their record. `unmatched`: early ones given up for want of room.
        evicted: requests given up without all of their labels, for want of room or because their time was over.
        late: labels of requests that were given up before: they count for nothing.
        unneeded: labels that can change nothing: both versions said the same, or the request is settled.
    """

    used: int = 0
    waiting: int = 0
    repeated: int = 0
    contradicted: int = 0
    early: int = 0
    unmatched: int = 0
    evicted: int = 0
    late: int = 0
    unneeded: int = 0


@dataclass(slots=True)
class Item:
    """A request that waits: how many labels it needs before it can be settled, and those that came (row -> label)."""

    key: Hashable
    at_ns: int
    payload: object
    needed: frozenset[int]
    labels: dict[int, Label] = field(default_factory=dict[int, Label])
    given_up: bool = False

    @property
    def complete(self) -> bool:
        """Whether every label that it needs has come."""
        return self.needed <= self.labels.keys()


class LabelJoin:
    """Settles requests in the order in which they arrived at the server, whatever the order of their labels.

    A request whose labels have not all come holds back those behind it. Otherwise what is labelled quickly (complaints)
    would be judged first: the order would depend on the outcome, and no test that may be looked at survives that. It is
    given up when the clock (the newest record) is `within_s` past it, or when more than `most` wait; then it is settled
    with what it has. Of several labels of a row the one that became known first counts, while its request waits.

    Args:
        most: requests that wait at a time; also how many early labels and how many old ones are remembered.
        within_s: how far the clock may go past a request that waits; None: only `most` limits it.
    """

    def __init__(self, *, most: int, within_s: float | None = None) -> None:
        self._most = most
        self._within_ns = None if within_s is None else int(within_s * 1e9)
        self._items: dict[str, list[Item]] = {}
        self._order: list[tuple[int, str, int, Item]] = []
        self._early: OrderedDict[tuple[str, int], Label] = OrderedDict()
        self._old: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._passed: OrderedDict[str, bool] = OrderedDict()
        self._now_ns = 0
        self._number = 0
        self._used = self._repeated = self._contradicted = self._unmatched = self._evicted = self._late = (
            self._unneeded
        ) = 0

    def tick(self, at_ns: int) -> list[Item]:
        """Move the clock to a record's time, and settle what it is over for."""
        self._now_ns = max(self._now_ns, at_ns)
        return self._settle()

    def expect(self, key: Hashable, request: str, at_ns: int, payload: object, needed: Iterable[int]) -> list[Item]:
        """Wait for the labels of these rows of a request; several parties (`key`) may wait for the same request."""
        item = Item(key=key, at_ns=at_ns, payload=payload, needed=frozenset(needed))
        for row in item.needed:
            known = self._early.get((request, row))
            if known is None and (request, row) in self._old:
                known = Label(request=request, row=row, value=self._old[request, row], at_ns=at_ns)
            if known is not None:
                item.labels[row] = known
                self._used += 1
                self._remember(known)
                self._early.pop((request, row), None)
        self._items.setdefault(request, []).append(item)
        self._number += 1
        heapq.heappush(self._order, (at_ns, request, self._number, item))
        return self._settle()

    def pass_over(self, request: str) -> None:
        """No label of this request is needed (any more): it is not kept for a record that may come."""
        self._pass(request, given_up=False)

    def _pass(self, request: str, *, given_up: bool) -> None:
        self._passed[request] = given_up
        if len(self._passed) > 2 * self._most:
            self._passed.popitem(last=False)

    def label(self, label: Label) -> list[Item]:
        """Take a label, and return the requests that are settled by it, in order."""
        place = (label.request, label.row)
        waiting = [item for item in self._items.get(label.request, ()) if label.row in item.needed]
        if waiting:
            self._meet(label, waiting)
            return self._settle()
        known = self._old.get(place)
        early = self._early.get(place)
        if known is not None or early is not None:
            self._again(label, known if known is not None else early.value if early is not None else 0.0)
            if early is not None and label.at_ns < early.at_ns:
                self._early[place] = label
            return []
        if label.request in self._passed or label.request in self._items:
            late = self._passed.get(label.request, False)
            self._late += late
            self._unneeded += not late
            return []
        self._early[place] = label
        if len(self._early) > self._most:
            self._early.popitem(last=False)
            self._unmatched += 1
        return []

    def _meet(self, label: Label, waiting: list[Item]) -> None:
        first = next((item.labels[label.row] for item in waiting if label.row in item.labels), None)
        if first is not None:
            self._again(label, first.value)
        if first is None or label.at_ns < first.at_ns:
            for item in waiting:
                self._used += label.row not in item.labels
                item.labels[label.row] = label
            self._remember(label)

    def _again(self, label: Label, known: float) -> None:
        if label.value == known:
            self._repeated += 1
        else:
            self._contradicted += 1

    def _remember(self, label: Label) -> None:
        self._old[label.request, label.row] = label.value
        if len(self._old) > 2 * self._most:
            self._old.popitem(last=False)

    def _settle(self) -> list[Item]:
        settled: list[Item] = []
        while self._order:
            at_ns, request, _, item = self._order[0]
            over = self._within_ns is not None and self._now_ns - at_ns > self._within_ns
            if not (item.complete or over or len(self._order) > self._most):
                break
            settled.append(self._take(request))
        return settled

    def _take(self, request: str) -> Item:
        item = heapq.heappop(self._order)[-1]
        rest = [other for other in self._items[request] if other is not item]
        if rest:
            self._items[request] = rest
        else:
            del self._items[request]
            self._pass(request, given_up=not item.complete)
        item.given_up = not item.complete
        self._evicted += item.given_up
        return item

    def finish(self) -> list[Item]:
        """Settle everything that waits, in order, with the labels that came."""
        settled: list[Item] = []
        while self._order:
            settled.append(self._take(self._order[0][1]))
        return settled

    def counts(self) -> LabelCounts:
        """What became of the labels so far."""
        return LabelCounts(
            used=self._used,
            waiting=len(self._order),
            repeated=self._repeated,
            contradicted=self._contradicted,
            early=len(self._early),
            unmatched=self._unmatched,
            evicted=self._evicted,
            late=self._late,
            unneeded=self._unneeded,
        )
