"""Waiting until a condition holds."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(
    condition: Callable[[], Any],
    what: str,
    timeout_s: float,
    every_s: float = 0.3,
    progress: Callable[[], object] = lambda: None,
) -> Any:
    """Return the condition's first true value. Raise TimeoutError, which names `what`, if there is none in time.

    The time starts again whenever `progress` returns another value than before.
    """
    seen, deadline = progress(), time.monotonic() + timeout_s
    while not (value := condition()):
        if (now := progress()) != seen:
            seen, deadline = now, time.monotonic() + timeout_s
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}, without success")
        time.sleep(every_s)
    return value
