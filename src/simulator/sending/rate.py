"""How fast a stream can be sent to, learned from its answers."""

from collections import deque
from collections.abc import Callable

# What a shard takes in a second: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
# The number of shards, how evenly the keys fall on them and who else writes: only the stream's answers show it.
SHARD_RECORDS_PER_S = 1_000
SHARD_BYTES_PER_S = 1024**2


class Rate:
    """A rate limit that starts when the stream first throttles, and then follows what the stream accepts.

    It works by additive increase and multiplicative decrease, as TCP does. Load is counted in shards: what one shard
    takes in a second, in records or bytes, is 1. After throttling, the limit becomes KEPT_SHARE of what was accepted
    in the last second. It grows by GROWTH_PER_S each second until the stream throttles again. Kinesis limits are per
    second, so all refusals within one second count as one.
    """

    KEPT_SHARE = 0.9
    GROWTH_PER_S = 0.02
    WINDOW_S = 1.0
    # A stream that refuses at any rate must not bring sending to a stop. Half a shard: two senders can share the
    # smallest stream.
    LOWEST = 0.5
    # A request holds no more than the limit allows in this time: what comes at once must fit into a shard's second.
    REQUEST_S = 0.15

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._limit: float | None = None
        self._accepted: deque[tuple[float, float]] = deque()
        self._sent_at = self._grown_at = self._throttled_at = float("-inf")
        self._free_at = 0.0

    def load(self, records: int, size: int) -> float:
        """Return the load of so many records, of so many bytes together."""
        return max(records / SHARD_RECORDS_PER_S, size / SHARD_BYTES_PER_S)

    def request_load(self) -> float:
        """Return the highest load of the next request. A single record may exceed it."""
        return float("inf") if self._limit is None else self._limit * self.REQUEST_S

    def wait(self, pause_s: float, sleep: Callable[[float], None]) -> None:
        """Wait until the next request may be sent, and at least for the pause."""
        if self._limit is not None:
            pause_s = max(pause_s, self._free_at - self._monotonic())
        if pause_s > 0:
            sleep(pause_s)
        self._sent_at = self._monotonic()

    def answered(self, sent_load: float, accepted_load: float, is_throttled: bool) -> None:
        """Adjust the limit to the answer to a request."""
        now = self._monotonic()
        self._accepted.append((now, accepted_load))
        while self._accepted[0][0] <= now - self.WINDOW_S:
            self._accepted.popleft()
        if is_throttled and now - self._throttled_at >= self.WINDOW_S:
            kept = self.KEPT_SHARE * sum(load for _, load in self._accepted)
            self._limit = max(self.LOWEST, kept if self._limit is None else min(self._limit, kept))
            self._throttled_at = self._grown_at = now
        if self._limit is not None:
            if not is_throttled:
                self._limit *= 1 + self.GROWTH_PER_S * (now - self._grown_at)
            self._grown_at = now
            # A request made before the limit was known blocks no longer than one made now.
            self._free_at = self._sent_at + min(sent_load / self._limit, self.REQUEST_S)
