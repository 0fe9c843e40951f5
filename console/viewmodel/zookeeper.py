"""The ZooKeeper ensemble as rows: servers, sessions, the tree of znodes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell, harmless
from console.viewmodel.znode_meaning import Meaning, meaning_lines
from engine.supervisor.snapshot import ClusterSnapshot
from engine.supervisor.zookeeper_snapshot import ZnodeSeen, ZooKeeperClient, ZooKeeperServer, ZooKeeperState

# Of a znode that has more children these are shown, and a row says how many are not.
MOST_CHILDREN = 1_000
KRAFT = "this cluster is coordinated by KRaft, without ZooKeeper: :quorum shows its metadata quorum"
NOT_OPENED = (
    "this cluster has no metadata quorum: ZooKeeper coordinates it, and this console was not told where. "
    "Open it with --zookeeper HOST:PORT/CHROOT, or say `zookeeper:` in its context"
)
UNASKED = "asking …"


def without_zookeeper(snapshot: ClusterSnapshot | None) -> str:
    """Why there is no ensemble to show."""
    if snapshot is None or not snapshot.metadata_observed_at_ms:
        return UNASKED
    if snapshot.quorum is not None or snapshot.coordination == "kraft":
        return KRAFT
    return NOT_OPENED if snapshot.coordination == "zookeeper" else UNASKED


def elsewhere_words(snapshot: ClusterSnapshot) -> str:
    """What the screen of the metadata quorum says of a cluster that has none; empty where it may have one."""
    if snapshot.quorum is not None or snapshot.coordination != "zookeeper":
        return ""
    state = snapshot.zookeeper
    if state is None:
        return NOT_OPENED
    found = state.controller
    who = controller_words(state, snapshot.at_ms) or "who is controller is not known yet"
    since = f", since {text.date_time(found.since_ms)[:19]}" if found is not None and found.since_ms else ""
    return f"ZooKeeper coordinates this cluster: {who}{since}. :zookeeper shows its servers, sessions and znodes"


# -- servers -----------------------------------------------------------------------------------------------------------

_STATES = {
    "starting": ("starting", "under_replicated", "◐"),
    "paused": ("paused", "under_replicated", "Ⅱ"),
    "stopping": ("stopping", "under_replicated", "◑"),
    "stopped": ("stopped", "offline", "○"),
    "killed": ("killed", "offline", "✗"),
    "crashed": ("crashed", "offline", "✗"),
}


class ServerRow(NamedTuple):
    """A server, and how old its figures are."""

    server: ZooKeeperServer
    state: str
    tone: str
    glyph: str
    age_ms: float

    @property
    def key(self) -> str:
        """Its address."""
        return self.server.address

    @property
    def is_healthy(self) -> bool:
        """It serves."""
        return self.tone == "in_sync"


def _server_row(server: ZooKeeperServer, now_ms: int) -> ServerRow:
    age_ms = text.age_ms(now_ms, server.observed_at_ms)
    if server.state in _STATES:
        return ServerRow(server, *_STATES[server.state], age_ms)
    if server.serving:
        return ServerRow(server, "serving", "in_sync", "●", 0.0 if age_ms < 1_500 else age_ms)
    if not server.error:
        return ServerRow(server, "connecting", "under_replicated", "◐", age_ms)
    if "no majority" in server.error:
        # It runs, and finds no majority.
        return ServerRow(server, "no quorum", "offline", "✗", age_ms)
    return ServerRow(server, "no answer", "offline", "✗", age_ms)


def server_rows(state: ZooKeeperState | None, now_ms: int) -> list[ServerRow]:
    """As zookeeper.connect has them."""
    return [_server_row(each, now_ms) for each in state.servers] if state is not None else []


def ensemble_words(state: ZooKeeperState, now_ms: int) -> str:
    """How many serve, and how many more may fail."""
    rows = server_rows(state, now_ms)
    up = sum(row.is_healthy for row in rows)
    if not rows:
        return ""
    if len(rows) == 1:
        return "standalone: none may fail" if up else "its only server is down"
    spare = up - (len(rows) // 2 + 1)
    outlook = "no majority" if spare < 0 else "none may fail" if spare == 0 else f"{spare} may fail"
    return f"{up} of {len(rows)} servers serve, {outlook}"


def loss_words(state: ZooKeeperState, server: ZooKeeperServer) -> str:
    """What the loss of a server would do."""
    serving = [each for each in state.servers if each.serving and each.address != server.address]
    if len(serving) <= len(state.servers) // 2:
        return (
            "No majority is left: sessions are suspended, no controller acts and no metadata change until it is back. "
            "Leaders go on serving what they lead."
        )
    if server.mode == "leader":
        return "It leads: the others elect another, and for that moment no session is served."
    return "Its clients go to the other servers, with their sessions."


def controller_words(state: ZooKeeperState, now_ms: int) -> str:
    """Who is controller by ``/controller``, since when and in which epoch."""
    found = state.controller
    if found is None:
        return ""
    epoch = "" if found.epoch is None else f" · epoch {found.epoch}"
    if found.broker_id < 0:
        return f"no controller{epoch}"
    since = "" if found.since_ms is None else f" for {_while(now_ms - found.since_ms)}"
    return f"controller {found.broker_id}{since}{epoch}"


def _while(ms: float) -> str:
    said = text.age(ms)
    return "0s" if said == "now" else said


def zxid_words(zxid: int | None) -> str:
    """As ZooKeeper's own tools write them: the leader's epoch, and a number within."""
    return text.UNKNOWN_TEXT if zxid is None else f"{zxid:#x}"


def session_words(session_id: int | None) -> str:
    """As ZooKeeper writes a session's id."""
    return text.UNKNOWN_TEXT if not session_id else f"{session_id & (1 << 64) - 1:#x}"


def _mode(row: ServerRow) -> Cell:
    mode = row.server.mode
    if not mode:
        return UNKNOWN
    if mode in ("leader", "standalone"):
        return cell(f"★ {mode}", "controller") if row.is_healthy else cell(f"was {mode}", "muted")
    return cell(mode, "follower" if row.is_healthy else "muted")


def _latency_of(mean_ms: float | None, highest_ms: float | None) -> Cell:
    return UNKNOWN if mean_ms is None else cell(f"{mean_ms:.1f}/{highest_ms or 0:.0f} ms")


def _latency(row: ServerRow) -> Cell:
    return _latency_of(row.server.latency_avg_ms, row.server.latency_max_ms)


def _number(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.count(value))


SERVER_COLUMNS: tuple[Column, ...] = (
    Column("server", "SERVER", lambda row: cell(row.server.address), 15, lambda row: row.server.address, max_width=40),
    Column("mode", "MODE", _mode, 12, lambda row: row.server.mode, flashes=True),
    Column(
        "state", "STATE", lambda row: cell(f"{row.glyph} {row.state}", row.tone), 11, lambda row: row.tone, flashes=True
    ),
    Column(
        "latency", "AVG/MAX", _latency, 11, lambda row: row.server.latency_avg_ms or 0.0, right=True, descending=True
    ),
    Column("connections", "CONN", lambda row: _number(row.server.connections), 4, right=True),
    Column("outstanding", "OUTST", lambda row: _number(row.server.outstanding), 5, right=True, priority=2),
    Column(
        "zxid",
        "ZXID",
        lambda row: cell(zxid_words(row.server.zxid)),
        11,
        lambda row: row.server.zxid or 0,
        right=True,
        priority=1,
    ),
    Column("znodes", "ZNODES", lambda row: _number(row.server.znodes), 7, right=True, priority=3),
    Column(
        "pid", "PID", lambda row: UNKNOWN if row.server.pid is None else cell(row.server.pid), 7, right=True, priority=3
    ),
    Column("version", "VERSION", lambda row: cell(row.server.version or "–", "muted"), 8, priority=2, max_width=12),
    Column(
        "error",
        "WHY",
        lambda row: cell("" if row.is_healthy else row.server.error, "muted"),
        14,
        priority=4,
        max_width=60,
    ),
)


# -- sessions ----------------------------------------------------------------------------------------------------------


class SessionRow(NamedTuple):
    """A session of a client; ``is_told``: servers tell who is connected to them."""

    session: ZooKeeperClient
    now_ms: int
    age_ms: float
    is_told: bool = True

    @property
    def key(self) -> str:
        """Its id, or where its connection comes from while it has none."""
        return session_words(self.session.session_id) if self.session.session_id else self.session.address

    @property
    def is_healthy(self) -> bool:
        """A server has its connection, as far as servers tell."""
        return self.session.is_connected or not self.is_told


def owner_words(session: ZooKeeperClient) -> str:
    """Whose it is, as far as its ephemeral znodes tell."""
    if session.broker_id is not None:
        return f"broker {session.broker_id}" + (", controller" if session.is_controller else "")
    if session.is_controller:
        return "controller"
    return "this console" if session.is_own else ""


def session_rows(state: ZooKeeperState | None, now_ms: int) -> list[SessionRow]:
    """Brokers' first."""
    if state is None:
        return []
    told = not state.sessions_error
    rows = [SessionRow(each, now_ms, text.age_ms(now_ms, each.observed_at_ms), told) for each in state.sessions]
    return sorted(
        rows,
        key=lambda row: (
            row.session.broker_id is None,
            row.session.broker_id or 0,
            row.session.is_own,
            row.session.session_id,
            row.session.address,
        ),
    )


def _owner(row: SessionRow) -> Cell:
    said = owner_words(row.session)
    if not said:
        return UNKNOWN
    if row.session.is_controller and row.session.broker_id is not None:
        return (Span("★ ", "controller"), Span(f"broker {row.session.broker_id}"))
    return cell(said, "muted" if row.session.is_own else "text")


def _connected(row: SessionRow) -> Cell:
    if not row.session.is_connected and not row.is_told:
        return UNKNOWN
    if not row.session.is_connected:
        return cell("✗ not connected", "under_replicated")
    return cell(row.session.server, "muted")


def _timeout(row: SessionRow) -> Cell:
    timeout_ms = row.session.timeout_ms
    return UNKNOWN if timeout_ms is None else cell(text.milliseconds(timeout_ms))


def _last(row: SessionRow) -> Cell:
    session = row.session
    return cell(session.last_operation) if session.last_operation and session.last_operation != "NA" else UNKNOWN


def _session_latency(row: SessionRow) -> Cell:
    return _latency_of(row.session.latency_avg_ms, row.session.latency_max_ms)


def _ago(at_ms: int | None, row: SessionRow) -> Cell:
    return UNKNOWN if at_ms is None else cell(text.age(row.now_ms - at_ms), "muted")


SESSION_COLUMNS: tuple[Column, ...] = (
    Column("session", "SESSION", lambda row: cell(row.key), 18, lambda row: row.session.session_id),
    Column("owner", "OWNER", _owner, 12, lambda row: owner_words(row.session), flashes=True),
    Column("timeout", "TIMEOUT", _timeout, 7, lambda row: row.session.timeout_ms or 0, right=True),
    Column("last", "LAST OP", _last, 7, lambda row: row.session.last_operation, max_width=14),
    Column("server", "AT SERVER", _connected, 15, lambda row: row.session.server, max_width=24),
    Column("address", "ADDRESS", lambda row: cell(row.session.address or "–"), 15, priority=1, max_width=24),
    Column("since", "SINCE", lambda row: _ago(row.session.established_at_ms, row), 5, right=True, priority=2),
    Column("latency", "AVG/MAX", _session_latency, 11, right=True, priority=3),
    Column("received", "RECEIVED", lambda row: _number(row.session.received), 8, right=True, priority=4),
    Column("queued", "QUEUED", lambda row: _number(row.session.queued), 6, right=True, priority=5),
)


# -- the tree ----------------------------------------------------------------------------------------------------------


class Looked(NamedTuple):
    """A znode as it was when it was asked for last; ``znode`` is ``None`` where it was not there."""

    znode: ZnodeSeen | None
    meaning: Meaning
    at_ms: int


class TreeRow(NamedTuple):
    """A line of the tree. ``is_open``: its children stand below it; ``hidden``: so many children are not shown."""

    path: str
    depth: int
    is_open: bool
    looked: Looked | None
    age_ms: float
    hidden: int = 0

    @property
    def key(self) -> str:
        """Its path."""
        return self.path if not self.hidden else f"{self.path}#more"

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2] or "/"

    @property
    def znode(self) -> ZnodeSeen | None:
        """As it was seen last."""
        return self.looked.znode if self.looked is not None else None


def child_path(path: str, name: str) -> str:
    """A child's path."""
    return f"/{name}" if path == "/" else f"{path}/{name}"


def parent_of(path: str) -> str:
    """``/`` is its own."""
    return path.rpartition("/")[0] or "/"


def _in_order(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdigit() else (1, 0, name)


def tree_rows(opened: Set[str], seen: Mapping[str, Looked], now_ms: int) -> list[TreeRow]:
    """The root, and what is below znodes that are open; numbers in their order, then names."""
    rows: list[TreeRow] = []
    waiting: list[TreeRow] = [_tree_row("/", 0, opened, seen, now_ms)]
    while waiting:
        row = waiting.pop()
        rows.append(row)
        if row.hidden or not row.is_open or row.znode is None or row.znode.children is None:
            continue
        names = sorted(row.znode.children, key=_in_order)
        below = [
            _tree_row(child_path(row.path, name), row.depth + 1, opened, seen, now_ms) for name in names[:MOST_CHILDREN]
        ]
        if len(names) > MOST_CHILDREN:
            more = len(names) - MOST_CHILDREN
            below.append(TreeRow(row.path, row.depth + 1, False, None, 0.0, more))
        waiting += reversed(below)
    return rows


def _tree_row(path: str, depth: int, opened: Set[str], seen: Mapping[str, Looked], now_ms: int) -> TreeRow:
    looked = seen.get(path)
    age_ms = text.age_ms(now_ms, looked.at_ms) if looked is not None else 0.0
    return TreeRow(path, depth, path in opened, looked, age_ms)


def _node(row: TreeRow) -> Cell:
    pad = Span("  " * row.depth, "muted")
    if row.hidden:
        return (pad, Span(f"  … {row.hidden:,} more", "muted"))
    znode = row.znode
    has_children = znode is None or znode.child_count > 0
    glyph = ("▾ " if row.is_open else "▸ ") if has_children else "  "
    is_ephemeral = znode is not None and znode.ephemeral_owner
    name = Span(harmless(row.name), "leader" if is_ephemeral else "text")
    return (pad, Span(glyph, "accent"), name)


def _value(row: TreeRow) -> Cell:
    looked = row.looked
    if row.hidden or looked is None:
        return cell("", "muted")
    if looked.znode is None:
        return cell("gone", "offline")
    if looked.meaning.summary:
        return cell(text.clip(looked.meaning.summary, 200))
    count = looked.znode.child_count
    return cell(f"{text.count(count)} below" if count else "", "muted")


def _of_znode(row: TreeRow, made: str) -> Cell:
    return UNKNOWN if row.znode is None or row.znode.is_private else cell(made)


TREE_COLUMNS: tuple[Column, ...] = (
    Column("znode", "ZNODE", _node, 26, max_width=56),
    Column("value", "VALUE", _value, 26, max_width=200, flashes=True),
    Column(
        "version",
        "VERSION",
        lambda row: _of_znode(row, "" if row.znode is None else str(row.znode.version)),
        7,
        right=True,
    ),
    Column(
        "mzxid",
        "MZXID",
        lambda row: _of_znode(row, zxid_words(row.znode.mzxid if row.znode else None)),
        12,
        right=True,
        priority=1,
    ),
    Column(
        "owner",
        "EPHEMERAL OF",
        lambda row: cell(session_words(row.znode.ephemeral_owner) if row.znode and row.znode.ephemeral_owner else ""),
        18,
        priority=2,
    ),
)


def stat_lines(row: TreeRow, owner: str, now_ms: int) -> list[Cell]:
    """What ZooKeeper says of a znode beside its value."""
    znode = row.znode
    if znode is None:
        return [cell(f"{row.path} is not there any more" if row.looked is not None else "asking …", "muted")]
    about = row.looked.meaning.what if row.looked is not None else ""
    if znode.is_private:
        return [
            (Span(harmless(row.path), "accent"), Span(f"   {about}" if about else "", "muted")),
            cell("kconsole.zookeeper.digest, or a certificate, says to ZooKeeper who this console is", "muted"),
        ]
    made = text.date_time(znode.created_at_ms)
    changed = text.date_time(znode.modified_at_ms)
    lines: list[Cell] = [
        (Span(harmless(row.path), "accent"), Span(f"   {about}" if about else "", "muted")),
        (
            Span("version ", "muted"),
            Span(str(znode.version)),
            Span("  children's ", "muted"),
            Span(str(znode.children_version)),
            Span("  ACL's ", "muted"),
            Span(str(znode.acl_version)),
            Span("  czxid ", "muted"),
            Span(zxid_words(znode.czxid)),
            Span("  mzxid ", "muted"),
            Span(zxid_words(znode.mzxid)),
            Span("  bytes ", "muted"),
            Span(text.count(znode.data_length)),
        ),
        (Span("made ", "muted"), Span(made), Span("  changed ", "muted"), Span(changed)),
    ]
    if znode.ephemeral_owner:
        whose = f" ({owner})" if owner else ""
        lines.append(
            (
                Span("ephemeral: goes with session ", "muted"),
                Span(session_words(znode.ephemeral_owner), "leader"),
                Span(whose, "leader"),
            )
        )
    if row.age_ms > 5_000:
        lines.append(cell(f"as it was {text.age(row.age_ms)} ago", "under_replicated"))
    return lines


def znode_lines(row: TreeRow, owner: str, now_ms: int) -> list[Cell]:
    """A znode whole: its stat, then its value, decoded."""
    lines = stat_lines(row, owner, now_ms)
    looked = row.looked
    if looked is not None and looked.znode is not None:
        lines += [cell(""), *meaning_lines(looked.meaning, looked.znode.data)]
    return lines
