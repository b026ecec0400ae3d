"""Decrypt RC2 (RFC 2268): PFX files of older Windows and of OpenSSL before 3.0 encrypt certificates with RC2-40.

cryptography supports RC2 with keys of 128 bits only.
"""

from itertools import batched
from struct import pack, unpack

_PI = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf0"
    "9521225c6b4e8254d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb6266fbf0eda4669075727f21d9bbc944303f811"
    "c7f690ef3ee706c3d52fc8661ed708e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ecc2e0416e0f51cbcc2491af"
    "50a1f47039997c3a8523b8b47afc02365b255597312d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a90d38341b"
    "ab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_SHIFTS = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """The plaintext with its padding. `iv` has 8 bytes; all bits of the key are effective.

    64 KiB take about 0.3 seconds. Raises ValueError if the ciphertext does not consist of whole blocks."""
    if len(iv) != 8 or len(ciphertext) % 8:
        raise ValueError("not whole blocks")
    expanded = _expanded(key)
    found = b""
    for block in map(bytes, batched(ciphertext, 8, strict=True)):
        plain = int.from_bytes(_decrypted(expanded, block)) ^ int.from_bytes(iv)
        found += plain.to_bytes(8)
        iv = block
    return found


def _expanded(key: bytes) -> tuple[int, ...]:
    """Section 2: 64 words."""
    size = len(key)
    buffer = bytearray(key) + bytearray(128 - size)
    for place in range(size, 128):
        buffer[place] = _PI[(buffer[place - 1] + buffer[place - size]) & 0xFF]
    buffer[128 - size] = _PI[buffer[128 - size]]
    for place in reversed(range(128 - size)):
        buffer[place] = _PI[buffer[place + 1] ^ buffer[place + size]]
    return unpack("<64H", buffer)


def _decrypted(key: tuple[int, ...], block: bytes) -> bytes:
    """Section 4: mixing backwards, with a mashing round after the fifth and the eleventh."""
    words = list(unpack("<4H", block))
    for rounds in range(16):
        for place in (3, 2, 1, 0):
            shift = _SHIFTS[place]
            word = (words[place] << (16 - shift) | words[place] >> shift) & 0xFFFF
            one, two, three = words[place - 1], words[place - 2], words[place - 3]
            words[place] = (word - key[63 - 4 * rounds - (3 - place)] - (one & two) - (~one & three)) & 0xFFFF
        if rounds in (4, 10):
            for place in (3, 2, 1, 0):
                words[place] = (words[place] - key[words[place - 1] & 63]) & 0xFFFF
    return pack("<4H", *words)
