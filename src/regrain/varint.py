"""Unsigned LEB128 numbers: seven bits a byte, lowest first, the high bit set on all but the last; 1 to 5 bytes."""

from regrain.errors import Corrupt, Truncated

__all__ = ["get_varint", "put_varint"]


def put_varint(value: int) -> bytes:
    """The bytes of a number from 0 to 2^35 - 1."""
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + put_varint(value >> 7)


def get_varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and end of the LEB128 number at byte `at`; at most 5 bytes and no needless one, else `Corrupt`."""
    value = 0
    for place in range(5):
        if at + place >= len(data):
            raise Truncated(f"the number at byte {at} runs past the end")
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if place and not byte:
                break
            return value, at + place + 1
    raise Corrupt(f"the number at byte {at} is not in its shortest form of at most 5 bytes")
