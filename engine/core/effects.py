"""What a state machine asks its shell to do, performed in field order.

The order is part of the meaning (compare etcd-io/raft's ``Ready``): what is appended must be on disk before anything
is sent that speaks of it, peers hear before clients do, and people are told last.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from engine.model.notes import Note

Append = TypeVar("Append")
Send = TypeVar("Send")


class Reply(NamedTuple):
    """An answer to a request that the shell handed in with ``token``; it may come long after the request."""

    token: object
    response: object


class Effects(Generic[Append, Send]):
    """One step's outputs: 1 ``append``, 2 ``send``, 3 ``reply``, 4 ``notes``.

    ``append`` holds what must be made durable (records, a vote, a truncation: the machine's own types), ``send`` the
    messages for peers, ``reply`` the answers that are due now, ``notes`` the facts for people. A machine whose replies
    depend on its appends being *committed* says so in its own documentation; the shell then holds them back.
    """

    __slots__ = ("append", "notes", "reply", "send")

    def __init__(
        self,
        append: list[Append] | None = None,
        send: list[Send] | None = None,
        reply: list[Reply] | None = None,
        notes: list[Note] | None = None,
    ) -> None:
        self.append: list[Append] = [] if append is None else append
        self.send: list[Send] = [] if send is None else send
        self.reply: list[Reply] = [] if reply is None else reply
        self.notes: list[Note] = [] if notes is None else notes

    def __bool__(self) -> bool:
        return bool(self.append or self.send or self.reply or self.notes)

    def merge(self, later: Effects[Append, Send]) -> Effects[Append, Send]:
        """Add the outputs of a later step behind these, field by field, and return self."""
        self.append += later.append
        self.send += later.send
        self.reply += later.reply
        self.notes += later.notes
        return self

    def __repr__(self) -> str:
        return f"Effects(append={self.append!r}, send={self.send!r}, reply={self.reply!r}, notes={self.notes!r})"
