"""A batch that is larger than a tool's request, cut into several. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def portions(sizes: Sequence[int], most: int, most_bytes: int) -> Sequence[range]:
    """The places of things of these sizes, in their order: at most `most` of them and `most_bytes` together, a byte between two.
    Something that is larger by itself stands alone, so that the tool says what it thinks of it.

    >>> portions([4, 4, 4, 20, 1], 2, 9)
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    made: list[range] = []
    begin = taken = 0
    for place, size in enumerate(sizes):
        if place > begin and (place - begin == most or taken + 1 + size > most_bytes):
            made.append(range(begin, place))
            begin, taken = place, 0
        taken += size + (1 if place > begin else 0)
    if sizes:
        made.append(range(begin, len(sizes)))
    return made
