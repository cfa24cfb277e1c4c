"""Batches that threads make ahead of the one that trains, in order.

Decoding releases the interpreter lock, so threads are enough, and a pipe stays in one process.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Interruption:
    """Whether reading must end before its data do: the job stops, or nobody reads on.

    Args:
        is_stopping: Whether the job was asked to stop.

    Attributes:
        is_closed: Whether nobody reads on.
    """

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self.is_closed = False
        self._is_stopping = is_stopping

    def __call__(self) -> bool:
        """Return whether reading must end."""
        return self.is_closed or self._is_stopping()


class BatchFeed(Generic[Item, Result]):
    """Reads items in a thread, works on them in others, and gives the results in order.

    As a context it lets go of everything when it is left, however that happens: the source is
    closed and all threads have ended then.

    Args:
        source: What is read. It must look at ``interruption`` while it waits.
        work: What is done with an item.
        num_threads: How many items are worked on at once, ``>= 1``; one more waits finished.
        interruption: Told to end the reading.

    Example:
        >>> with BatchFeed(
        ...     (number for number in range(4)), str, num_threads=2,
        ...     interruption=Interruption(lambda: False),
        ... ) as feed:
        ...     list(feed)
        ['0', '1', '2', '3']
    """

    def __init__(
        self,
        source: Generator[Item, None, None],
        work: Callable[[Item], Result],
        *,
        num_threads: int,
        interruption: Interruption,
    ) -> None:
        self._source = source
        self._work = work
        self._interruption = interruption
        self._slots = threading.Semaphore(num_threads + 1)
        self._results: queue.SimpleQueue[Future[Result] | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
        self._reader = threading.Thread(target=self._read, name="read-ahead", daemon=True)

    def __enter__(self) -> BatchFeed[Item, Result]:
        self._interruption.is_closed = False
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._interruption.is_closed = True
        self._slots.release()
        self._reader.join()
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Result]:
        """Yield the results; raises what reading or working has raised, in its place."""
        while (future := self._results.get()) is not None:
            result = future.result()
            self._slots.release()
            yield result

    def _read(self) -> None:
        try:
            with contextlib.closing(self._source) as items:
                for item in items:
                    self._slots.acquire()
                    if self._interruption.is_closed:
                        return
                    self._results.put(self._pool.submit(self._work, item))
            self._results.put(None)
        except Exception as error:  # noqa: BLE001  # raised again where the results are read
            failed: Future[Result] = Future()
            failed.set_exception(error)
            self._results.put(failed)
