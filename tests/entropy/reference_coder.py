"""The coder of docs/FORMAT.md in whole numbers, one symbol at a time: the oracle of `regrain.entropy.coder`."""

BYTE = [256] * 256


class MalformedError(Exception):
    """The stream breaks a rule of the format."""


def interval(counts, slot):
    """Return (c, p): where the slot begins and how long it is, of 2**24."""
    return 256 * int(sum(counts[:slot])), 256 * int(counts[slot])


def order_of(ids):
    """Return the places of the symbols in coding order: by table id, then by place."""
    return sorted(range(len(ids)), key=lambda place: (int(ids[place]), place))


def road(symbols, ids, tables):
    """Return one part as the (counts, slot) pairs that a decoder meets: all symbols, then the bytes of the escapes."""
    steps, numbers = [], []
    for place in order_of(ids):
        table, symbol = tables[int(ids[place])], int(symbols[place])
        end = table.first + len(table.counts) - 1
        if table.first <= symbol < end:
            steps.append((table.counts, symbol - table.first))
        else:
            steps.append((table.counts, len(table.counts) - 1))
            numbers.append(2 * (symbol - end) if symbol >= end else 2 * (table.first - symbol) - 1)
    while numbers:
        steps += [(BYTE, number % 128 + 128 * (number > 127)) for number in numbers]
        numbers = [number // 128 for number in numbers if number > 127]
    return steps


def encode(parts, check=0):
    """Return the bytes of the parts."""
    steps = [step for part in parts for step in road(*part)]
    state, words = 2**24 + check, []
    for counts, slot in reversed(steps):
        c, p = interval(counts, slot)
        if state >> 40 >= p:
            words.append(state % 2**32)
            state >>= 32
        state = (state // p << 24) + c + state % p
    while state:
        words.append(state % 2**32)
        state >>= 32
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


class Decoder:
    """The stream as a stack of words and a state."""

    def __init__(self, data):
        if not data or data[-1] == 0:
            raise MalformedError
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
        self.state = 0
        self.refill()

    def refill(self):
        while self.state < 2**32 and self.words:
            self.state = (self.state << 32) + self.words.pop()

    def slot(self, counts):
        q, slot, c = self.state % 2**24, 0, 0
        while c + 256 * int(counts[slot]) <= q:
            c += 256 * int(counts[slot])
            slot += 1
        self.state = (self.state >> 24) * 256 * int(counts[slot]) + q - c
        self.refill()
        return slot

    def numbers(self, how_many):
        """Read the numbers of the escapes: the first bytes of all, then the second ones where there is one, ..."""
        values, waiting = [0] * how_many, list(range(how_many))
        for place in range(5):
            read = [(index, self.slot(BYTE)) for index in waiting]
            if place and any(byte == 0 for _, byte in read):
                raise MalformedError
            for index, byte in read:
                values[index] += byte % 128 << 7 * place
            waiting = [index for index, byte in read if byte > 127]
        if waiting:
            raise MalformedError
        return values

    def take(self, ids, tables):
        """Return the symbols of one part as a list."""
        places = order_of(ids)
        slots = [self.slot(tables[int(ids[place])].counts) for place in places]
        ends = [len(tables[int(ids[place])].counts) - 1 for place in places]
        numbers = iter(self.numbers(sum(slot == end for slot, end in zip(slots, ends, strict=True))))
        symbols = [0] * len(places)
        for place, slot, end in zip(places, slots, ends, strict=True):
            offset = slot
            if slot == end:
                number = next(numbers)
                offset = -((number + 1) // 2) if number % 2 else end + number // 2
            symbols[place] = tables[int(ids[place])].first + offset
            if not -(2**31) <= symbols[place] < 2**31:
                raise MalformedError
        return symbols

    def finish(self, check=0):
        if self.words or self.state != 2**24 + check:
            raise MalformedError
