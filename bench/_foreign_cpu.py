"""CPU of the Azure SDKs' calls, and of others that are not the app's, apart from that of the code around them."""

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from unittest.mock import patch

from azure.core.pipeline import Pipeline
from azure.data.tables import TableClient
from azure.keyvault.certificates import CertificateClient
from azure.storage.queue import QueueClient

# Where a call begins; a list is read in the pipeline, page by page, after its method has returned.
SDKS = (CertificateClient, TableClient, QueueClient, Pipeline)


class ForeignCpu:
    """Counts in one thread. `sdk`: CPU (s) within the SDKs' calls; `seconds`: of all that is not the app's."""

    def __init__(self) -> None:
        self.sdk = self.seconds = 0.0
        self._depth = 0

    @contextmanager
    def counted(self, *methods: tuple[object, str]) -> Iterator[Self]:
        """Count meanwhile. `methods`: what is not the app's besides the SDKs, each an object and its method's name."""
        with ExitStack() as stack:
            for sdk in SDKS:
                for name, method in inspect.getmembers(sdk, inspect.isfunction):
                    if not name.startswith("_"):
                        stack.enter_context(patch.object(sdk, name, self._timed(method, sdk=True)))
            for owner, name in methods:
                stack.enter_context(patch.object(owner, name, self._timed(getattr(owner, name), sdk=False)))
            yield self

    def _timed(self, method: Callable[..., Any], *, sdk: bool) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any, **options: Any) -> Any:
            begun, self._depth = time.thread_time(), self._depth + 1
            try:
                return method(*args, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    taken = time.thread_time() - begun
                    self.seconds += taken
                    self.sdk += taken if sdk else 0.0

        return timed
