"""The order in which Java's hash sets give strings: ``describe()`` prints them so, and people compare that.

``HashMap`` puts a string into bucket ``(h ^ h >>> 16) & (capacity - 1)`` and walks the buckets in order; within one,
the order is that of insertion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def string_hash(text: str) -> int:
    """``String.hashCode()`` as an unsigned 32-bit number."""
    value = 0
    data = text.encode("utf-16-be")
    for index in range(0, len(data), 2):
        value = (31 * value + (data[index] << 8 | data[index + 1])) & 0xFFFFFFFF
    return value


def hash_set_order(texts: Iterable[str], *, copied: bool = False) -> list[str]:
    """``texts``, without repetitions, in the order of a ``HashSet``.

    ``copied`` is for ``new HashSet<>(collection)``, whose capacity is reckoned from the collection's size.
    """
    distinct = list(dict.fromkeys(texts))
    capacity = 16
    if copied:
        wanted = max(int(len(distinct) / 0.75) + 1, 16)
        while capacity < wanted:
            capacity *= 2
    while len(distinct) > capacity * 0.75:
        capacity *= 2

    def bucket(text: str) -> int:
        value = string_hash(text)
        return (value ^ (value >> 16)) & (capacity - 1)

    return sorted(distinct, key=bucket)


class _Leaf(Generic[T]):
    __slots__ = ("black", "item", "left", "parent", "right")

    def __init__(self, item: T, parent: _Leaf[T] | None) -> None:
        self.item = item
        self.parent = parent
        self.left: _Leaf[T] | None = None
        self.right: _Leaf[T] | None = None
        self.black = True


class TreeSet(Generic[T]):
    """Java's ``TreeSet``, for adding only: a red-black tree.

    With an order that never changes it gives what sorting gives. Where the order of items changes after they were
    added, as that of ``describe()``'s nodes does, only the same tree gives the same result.
    """

    def __init__(self, compare: Callable[[T, T], int]) -> None:
        self._compare = compare
        self._root: _Leaf[T] | None = None

    def __iter__(self) -> Iterator[T]:
        return self._walk(self._root)

    def _walk(self, node: _Leaf[T] | None) -> Iterator[T]:
        if node is not None:
            yield from self._walk(node.left)
            yield node.item
            yield from self._walk(node.right)

    def add(self, item: T) -> None:
        """Add an item, unless one that compares equal is met on the way down."""
        if self._root is None:
            self._root = _Leaf(item, None)
            return
        node = self._root
        while True:
            order = self._compare(item, node.item)
            if order == 0:
                return
            below = node.left if order < 0 else node.right
            if below is None:
                break
            node = below
        added = _Leaf(item, node)
        if order < 0:
            node.left = added
        else:
            node.right = added
        self._balance(added)

    def _balance(self, node: _Leaf[T]) -> None:
        node.black = False
        while (parent := node.parent) is not None and not parent.black and (above := parent.parent) is not None:
            on_left = parent is above.left
            uncle = above.right if on_left else above.left
            if uncle is not None and not uncle.black:
                parent.black = uncle.black = True
                above.black = False
                node = above
                continue
            if node is (parent.right if on_left else parent.left):
                node = parent
                self._rotate(node, left=on_left)
                parent = node.parent
                assert parent is not None
            parent.black = True
            above.black = False
            self._rotate(above, left=not on_left)
        assert self._root is not None
        self._root.black = True

    def _rotate(self, node: _Leaf[T], *, left: bool) -> None:
        riser = node.right if left else node.left
        assert riser is not None
        inner = riser.left if left else riser.right
        if left:
            node.right, riser.left = inner, node
        else:
            node.left, riser.right = inner, node
        if inner is not None:
            inner.parent = node
        riser.parent = node.parent
        if node.parent is None:
            self._root = riser
        elif node.parent.left is node:
            node.parent.left = riser
        else:
            node.parent.right = riser
        node.parent = riser
