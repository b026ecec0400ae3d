"""Many requests at a time, of which none holds up the end of the program."""

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

THREADS = 8


def each[Given, Found](work: Callable[[Given], Found], items: Iterable[Given]) -> list[Found]:
    """What `work` answers for each item, in their order; up to THREADS run at a time.

    Raises what the first one raises that fails. Then, as after Ctrl-C, no other item is begun, and those that run are
    not waited for: not even by the end of the program, unlike those of concurrent.futures."""
    todo: SimpleQueue[tuple[int, Given]] = SimpleQueue()
    ended: SimpleQueue[tuple[int, Found | BaseException]] = SimpleQueue()
    stopped = threading.Event()
    for task in enumerate(items):
        todo.put(task)
    count = todo.qsize()

    def run() -> None:
        while not stopped.is_set():
            try:
                number, item = todo.get_nowait()
            except Empty:
                return
            try:
                ended.put((number, work(item)))
            except BaseException as error:  # it is raised where it is waited for
                ended.put((number, error))

    try:
        for _ in range(min(THREADS, count)):
            threading.Thread(target=run, daemon=True).start()
        found = dict(_next(ended) for _ in range(count))
    finally:
        stopped.set()
    return [found[number] for number in range(count)]


def _next[Found](ended: SimpleQueue[tuple[int, Found | BaseException]]) -> tuple[int, Found]:
    number, found = ended.get()
    if isinstance(found, BaseException):
        raise found
    return number, found
