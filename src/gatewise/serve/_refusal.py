"""Why a request was not answered: an HTTP status and one line, as the protocol's `{"error": ...}`."""

from typing import Literal

Cause = Literal["input", "unknown", "method", "size", "type", "quota", "full", "expired", "model", "stopping"]

STATUS: dict[Cause, int] = {
    "input": 400,
    "unknown": 404,
    "method": 405,
    "size": 413,
    "type": 415,
    "quota": 429,
    "model": 500,
    "full": 503,
    "stopping": 503,
    "expired": 504,
}


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """Ends a request with the status of its cause. `retry_s`: when it is worth trying again, for `Retry-After`."""

    def __init__(self, cause: Cause, message: str, *, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.retry_s = retry_s

    @property
    def status(self) -> int:
        return STATUS[self.cause]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """`Retry-After` is in whole seconds, rounded up; none where trying again would bring the same."""
        return [] if self.retry_s is None else [(b"retry-after", b"%d" % max(1, -int(-self.retry_s // 1)))]


def bad(message: str) -> Refusal:
    """Bad input: 400."""
    return Refusal("input", message)
