"""Keys that are made in advance."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.vault.crypto import KeyPool
from tests.sandbox.vault.webhook import eventually

RSA = {"kty": "RSA", "key_size": 2048}


def test_what_one_pool_leaves_the_next_one_takes_and_each_key_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
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
