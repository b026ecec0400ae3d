"""Keys that are made in advance."""

import queue
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.vault.crypto import KeyPool
from tests.sandbox.vault.webhook import eventually

RSA = {"kty": "RSA", "key_size": 2048}


def test_what_one_pool_leaves_the_next_one_takes_and_each_key_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyPool, "_keys", queue.Queue())
    first = KeyPool(size=2)
    first.start()
    taken = [first.take(RSA)]
    eventually(lambda: KeyPool._keys.qsize() >= 2)
    first.stop()

    def refuse(*_: Any) -> None:
        raise AssertionError("there are keys already")

    monkeypatch.setattr(rsa, "generate_private_key", refuse)
    second = KeyPool(size=2)
    taken += [second.take(RSA), second.take(RSA)]
    assert all(isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048 for key in taken)
    assert len({key.private_numbers().p for key in taken if isinstance(key, rsa.RSAPrivateKey)}) == 3


def test_none_is_made_before_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(KeyPool, "_keys", queue.Queue())
    monkeypatch.setattr(rsa, "generate_private_key", lambda *_: begun.set())
    pool = KeyPool(size=1)
    pool.start()
    pool.take({"kty": "EC", "crv": "P-256"})
    assert not begun.wait(0.1)
    pool.take(RSA)
    assert begun.is_set()
    eventually(lambda: KeyPool._keys.qsize() == 1)
    pool.stop()
