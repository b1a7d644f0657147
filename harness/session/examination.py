"""A thread in which cases are examined, one after the other, while the thread that runs them goes on with others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import NoReturn

from harness.session.pool import Abandoned

#: Seconds that the thread has to end where it is in the middle of something. It waits for no job then, but computes.
PATIENCE = 5.0

#: Examines a case. Returns what is to be done with the result, in the other thread.
Examine = Callable[[], Callable[[], None]]


class Examination:
    """Examines cases in a thread of its own, which starts with the first. Use it as a context manager.

    Where the context ends, what was not examined by then is not examined any more.

    Args:
        tell: has a function called in the other thread; called with what each case comes to.
    """

    def __init__(self, tell: Callable[[Callable[[], None]], None]) -> None:
        self._tell = tell
        self._cases: SimpleQueue[Examine | None] = SimpleQueue()
        # A daemon: where it computes for longer than anybody waits for it, it ends with the process.
        self._thread = threading.Thread(target=self._work, name="harness-examination", daemon=True)
        self._is_stopped = False

    def __enter__(self) -> Examination:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._cases.put(None)
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be examined, and what waits is to wait no longer."""
        return self._is_stopped

    def add(self, examine: Examine) -> None:
        """Have a case examined after those that wait."""
        if self._thread.ident is None:
            self._thread.start()
        self._cases.put(examine)

    def _work(self) -> None:
        while (examine := self._cases.get()) is not None and not self._is_stopped:
            try:
                event = examine()
            except Abandoned:
                return
            except BaseException as error:  # the other thread waits for this case
                event = partial(_raise, error)
            self._tell(event)


def _raise(error: BaseException) -> NoReturn:
    raise error
