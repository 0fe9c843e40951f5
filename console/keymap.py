"""The one table of keys. Dispatch, the hints at the bottom and ``?`` are all made from it.

A scope is a part of the screen that has keys: a screen's own (``topics``), the table's, and ``global``. Keys of the
scopes that are active together are distinct; a unit test sees to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding, BindingType

from console.acts import Need
from console.key_layers import Key, in_force

_G, _N, _A = "general", "navigation", "acts"

KEYS: tuple[Key, ...] = (
    # -- global ---------------------------------------------------------------------------------------------------
    Key("colon", "command", "command", "global", ":", _G, hint=True, help="go somewhere or do something by its name"),
    Key(
        "slash",
        "filter",
        "filter",
        "global",
        "/",
        _G,
        hint=True,
        help="regex · !inverse · -f fuzzy · -l column=value · -j jq",
    ),
    Key("question_mark", "help", "help", "global", "?", _G, hint=True),
    Key("escape", "back", "back", "global", "esc", _N, help="close the prompt, else clear the filter, else go back"),
    Key("q", "up", "back", "global", "q", _N, help="go back; leave the console with :q or ctrl-q"),
    Key("minus", "last_view", "last screen", "global", "-", _N),
    Key("left_square_bracket", "history(-1)", "history back", "global", "[", _N),
    Key("right_square_bracket", "history(1)", "history forward", "global", "]", _N),
    Key("0", "view('simulation')", "simulation", "global", "0", "screens", Need.SIMULATION),
    Key("1", "view('cluster')", "cluster", "global", "1", "screens"),
    Key("2", "view('topics')", "topics", "global", "2", "screens"),
    Key("3", "view('groups')", "groups", "global", "3", "screens"),
    Key("4", "view('events')", "events", "global", "4", "screens"),
    Key("5", "view('failover')", "failover", "global", "5", "screens"),
    Key("6", "view('workload')", "workload", "global", "6", "screens"),
    Key("7", "view('quorum')", "quorum", "global", "7", "screens"),
    Key("8", "view('commands')", "acts", "global", "8", "screens", help="what was done here, as kafka-*.sh commands"),
    Key("ctrl+a", "aliases", "all commands", "global", "ctrl-a", _G),
    Key("ctrl+e", "toggle_header", "header on/off", "global", "ctrl-e", _G),
    Key("ctrl+s", "save", "save the screen's rows", "global", "ctrl-s", _G, help="as text, into your downloads"),
    Key("P", "pause", "freeze the picture", "global", "P", _G, help="stop refreshing; again to go on"),
    # -- time -----------------------------------------------------------------------------------------------------
    Key("left_curly_bracket", "time('event', -1)", "event before", "time", "{", "time", help="back in time"),
    Key("right_curly_bracket", "time('event', 1)", "next event", "time", "}", "time"),
    Key("left_parenthesis", "time('step', -1000)", "a second back", "time", "(", "time"),
    Key("right_parenthesis", "time('step', 1000)", "a second on", "time", ")", "time"),
    Key("less_than_sign", "time('step', -60000)", "a minute back", "time", "<", "time"),
    Key("greater_than_sign", "time('step', 60000)", "a minute on", "time", ">", "time"),
    Key("at", "time('ask', 0)", "to a time", "time", "@", "time"),
    Key("equals_sign", "time('mark', 0)", "mark", "time", "=", "time", help="again elsewhere: what is different"),
    Key("tilde", "time('now', 0)", "past/now", "time", "~", "time"),
    # -- every table ----------------------------------------------------------------------------------------------
    Key("j,down", "cursor(1)", "down", "table", "j ↓", _N),
    Key("k,up", "cursor(-1)", "up", "table", "k ↑", _N),
    Key("g,home", "cursor_top", "first", "table", "g", _N),
    Key("G,end", "cursor_bottom", "last", "table", "G", _N),
    Key("ctrl+f,pagedown", "page(1)", "page down", "table", "ctrl-f", _N),
    Key("ctrl+b,pageup", "page(-1)", "page up", "table", "ctrl-b", _N),
    Key("shift+left", "sort_column(-1)", "sort by the column to the left", "table", "shift-←", "table"),
    Key("shift+right", "sort_column(1)", "sort by the column to the right", "table", "shift-→", "table"),
    Key("O", "reverse", "reverse the order", "table", "O", "table"),
    Key("ctrl+w", "wide", "all columns", "table", "ctrl-w", "table"),
    Key("ctrl+z", "faults", "only what is unhealthy", "table", "ctrl-z", "table"),
    Key("c", "copy_key", "copy the name", "table", "c", "table"),
    Key("C", "copy_row", "copy the row", "table", "C", "table"),
    Key("d", "describe", "describe", "table", "d", "table", help="everything known of the row, as JSON"),
    # -- tables with marks ----------------------------------------------------------------------------------------
    Key("space", "mark", "mark", "marks", "space", "table"),
    Key("U,ctrl+backslash", "clear_marks", "clear marks", "marks", "U", "table"),
    # -- simulation -----------------------------------------------------------------------------------------------
    Key("space", "toggle", "play", "simulation", "space", _N, hint=True),
    Key(
        "n,right",
        "next",
        "next",
        "simulation",
        "n",
        _N,
        hint=True,
        help="→ too: the next decision or message, as m has it",
    ),
    Key(
        "N",
        "next_election",
        "election",
        "simulation",
        "N",
        _N,
        hint=True,
        help="the next one, of the quorum or a partition",
    ),
    Key(
        "b,left,backspace",
        "step_back",
        "back",
        "simulation",
        "b",
        _N,
        hint=True,
        help="← too: one step back, by replay from the seed",
    ),
    Key("B", "back_election", "back one election", "simulation", "B", _N),
    Key("less_than_sign,comma", "speed(-1)", "slower", "simulation", "<", _N),
    Key("greater_than_sign,full_stop,plus", "speed(1)", "faster", "simulation", ">", _N, hint=True),
    Key("t", "go_to", "go to", "simulation", "t", _N, hint=True, help="an event by its number, or a time in seconds"),
    Key("f", "follow", "follow/pause", "simulation", "f", _N, help="whether the last event stays selected"),
    Key("enter", "open", "whole", "simulation", "enter", _N, hint=True, help="decoded, or all of a decision"),
    Key("m", "level", "messages", "simulation", "m", "table", hint=True, help="none · brokers' · all; n stops at them"),
    Key("v", "pane", "wire/partitions", "simulation", "v", "table", hint=True, help="what stands below"),
    Key(
        "x",
        "fault",
        "fault",
        "simulation",
        "x",
        _A,
        Need.SIMULATION,
        hint=True,
        help="kill, pause, power, cut, …: replays repeat it",
    ),
    Key("h", "heal", "heal", "simulation", "h", _A, Need.SIMULATION, help="all links, disks and clocks"),
    Key(
        "ctrl+k",
        "kill_controller",
        "kill controller",
        "simulation",
        "ctrl-k",
        _A,
        Need.SIMULATION,
        help="SIGKILL of the active one",
    ),
    # -- cluster --------------------------------------------------------------------------------------------------
    Key("enter", "open", "partitions", "cluster", "enter", _N, hint=True),
    Key("l", "log(False)", "log", "cluster", "l", _N, Need.LOGS, hint=True),
    Key("p", "log(True)", "previous log", "cluster", "p", _N, Need.LOGS, help="of the incarnation before"),
    Key("e", "configs", "configs", "cluster", "e", _N),
    Key(
        "ctrl+k",
        "process('kill')",
        "kill",
        "cluster",
        "ctrl-k",
        _A,
        Need.PROCESS,
        hint=True,
        help="SIGKILL at once, with stopwatch and ledger",
    ),
    Key("x", "process('stop')", "stop", "cluster", "x", _A, Need.PROCESS, hint=True, help="controlled shutdown"),
    Key("s", "process('start')", "start", "cluster", "s", _A, Need.PROCESS, hint=True),
    Key("r", "process('restart')", "restart", "cluster", "r", _A, Need.PROCESS),
    Key(
        "z",
        "process('pause')",
        "pause",
        "cluster",
        "z",
        _A,
        Need.PROCESS,
        hint=True,
        help="SIGSTOP: it answers nothing",
    ),
    Key("Z", "process('resume')", "resume", "cluster", "Z", _A, Need.PROCESS, help="SIGCONT"),
    Key("E", "elect_preferred", "preferred election", "cluster", "E", _A, Need.WRITE),
    Key("a", "add_broker", "add broker", "cluster", "a", _A, Need.PROCESS, help="it is kept; B gives it its share"),
    Key("D", "drain", "drain", "cluster", "D", _A, Need.WRITE, help="move its replicas elsewhere, shown first"),
    Key("B", "rebalance", "rebalance", "cluster", "B", _A, Need.WRITE, help="by size and rack, shown first"),
    Key("L", "log_dirs", "log directories", "cluster", "L", _N, help="sizes, room, what fails"),
    Key("m", "moves", "moves", "cluster", "m", _N, help="replicas that move now"),
    Key("F", "fault", "fault", "cluster", "F", _A, Need.FAULTS, help="slow disk, cut link, crash loop, …: shown first"),
    Key("w", "wire", "wire", "cluster", "w", _N, help="requests as this broker answers them"),
    Key("i", "impact", "what if", "cluster", "i", _N, hint=True, help="all that the loss of these brokers would do"),
    # -- topics ---------------------------------------------------------------------------------------------------
    Key("enter", "open", "partitions", "topics", "enter", _N, hint=True),
    Key("l", "tail", "tail", "topics", "l", _N, hint=True, help="of the marked topics, or of this one"),
    Key("i", "internal", "internal topics", "topics", "i", "table"),
    Key("p", "produce", "produce", "topics", "p", _A, Need.WRITE, hint=True),
    Key("n", "create_topic", "new", "topics", "n", _A, Need.WRITE, hint=True),
    Key("L", "load", "at a rate", "topics", "L", _A, Need.WRITE, help="so many records a second; L again stops"),
    Key(
        "y",
        "copy_records",
        "copy to",
        "topics",
        "y",
        _A,
        Need.WRITE,
        help="its records to another topic, counted first",
    ),
    Key("N", "clone", "clone", "topics", "N", _A, Need.WRITE, help="another one like it, without its records"),
    Key("e", "configs", "configs", "topics", "e", _A, hint=True, help="of two that are marked: what differs"),
    Key("a", "add_partitions", "add partitions", "topics", "a", _A, Need.WRITE),
    Key("w", "writers", "producers", "topics", "w", _N, help="who writes: ids, epochs, open transactions"),
    Key("T", "delete_records", "delete records", "topics", "T", _A, Need.WRITE, help="up to an offset, shown first"),
    Key("E", "elect_preferred", "preferred election", "topics", "E", _A, Need.WRITE),
    Key("m", "reassign", "move", "topics", "m", _A, Need.WRITE, help="to other brokers, more or fewer, shown first"),
    Key("ctrl+d", "delete", "delete", "topics", "ctrl-d", _A, Need.WRITE, hint=True),
    # -- partitions -----------------------------------------------------------------------------------------------
    Key("enter", "open", "records", "partitions", "enter", _N, hint=True),
    Key("l", "tail", "tail", "partitions", "l", _N, hint=True, help="of the whole topic"),
    Key(
        "ctrl+k",
        "kill_leader",
        "kill leader",
        "partitions",
        "ctrl-k",
        _A,
        Need.PROCESS,
        hint=True,
        help="SIGKILL of the broker that leads this partition",
    ),
    Key("p", "produce", "produce", "partitions", "p", _A, Need.WRITE, hint=True),
    Key("s", "segments", "segments", "partitions", "s", _N, Need.FILES, hint=True, help="its files on each broker"),
    Key("E", "elect_preferred", "preferred election", "partitions", "E", _A, Need.WRITE, hint=True),
    Key(
        "m", "reassign", "move", "partitions", "m", _A, Need.WRITE, help="to other brokers, more or fewer, shown first"
    ),
    Key(
        "X",
        "elect_unclean",
        "unclean election",
        "partitions",
        "X",
        _A,
        Need.WRITE,
        help="of those without leader; asks twice",
    ),
    Key("w", "writers", "producers", "partitions", "w", _N, help="who writes: ids, epochs, open transactions"),
    Key(
        "T", "delete_records", "delete records", "partitions", "T", _A, Need.WRITE, help="up to an offset, shown first"
    ),
    # -- segments and batches -------------------------------------------------------------------------------------
    Key("enter", "open", "batches", "segments", "enter", _N, hint=True),
    Key("enter", "open", "byte by byte", "batches", "enter", _N, hint=True),
    Key("s", "seek", "seek", "batches", "s", _N, hint=True, help="to an offset, by the segment's index"),
    Key("b", "start", "from the start", "batches", "b", _N, hint=True),
    # -- records --------------------------------------------------------------------------------------------------
    Key("enter", "open", "whole record", "records", "enter", _N, hint=True),
    Key("f,space", "follow", "follow/pause", "records", "f", _N, hint=True),
    Key("s", "seek", "seek", "records", "s", _N, hint=True, help="to an offset, a time, the start or the end"),
    Key("b", "seek_to('start')", "from the start", "records", "b", _N),
    Key("t", "seek_to('end')", "from the end", "records", "t", _N),
    Key("v", "format", "json/raw/hex", "records", "v", "table", hint=True),
    Key("V", "serdes", "serdes", "records", "V", "table", help="what keys and values are read as: avro, int64, …"),
    Key("w", "fields", "fields as columns", "records", "w", "table", help="programs in jq, like .value.amount"),
    Key("X", "clear", "clear", "records", "X", "table"),
    Key(
        "D",
        "redrive",
        "redrive",
        "records",
        "D",
        _A,
        Need.WRITE,
        help="dead letters to where they came from, once",
    ),
    Key("h", "volume", "over time", "records", "h", "table", help="bars of records over time; a click goes there"),
    Key("left", "bar(-1)", "to the bar before", "records", "←", _N),
    Key("right", "bar(1)", "to the next bar", "records", "→", _N),
    Key("z", "zoom(True)", "closer", "records", "z", "table", help="this bar and its neighbours"),
    Key("Z", "zoom(False)", "all the time", "records", "Z", "table"),
    Key("K", "find_key", "find a key", "records", "K", _N, help="reads only the partition that it is in"),
    Key("m", "mark", "mark", "records", "m", "table", help="for y and D"),
    Key("U", "clear_marks", "clear marks", "records", "U", "table"),
    Key("p", "produce", "produce", "records", "p", _A, Need.WRITE, hint=True),
    Key(
        "y", "copy_records", "copy to", "records", "y", _A, Need.WRITE, help="another topic, counted first; or gives up"
    ),
    Key("E", "export", "into a file", "records", "E", _N, help="all that pass the filter, as JSON lines, CSV, Parquet"),
    Key(
        "R",
        "resend",
        "send again",
        "records",
        "R",
        _A,
        Need.WRITE,
        help="in a form; what stays is sent byte for byte",
    ),
    Key("e", "edit", "edit and send", "records", "e", _A, Need.WRITE, help="the value in $EDITOR, then the form"),
    Key(
        "ctrl+k",
        "kill_leader",
        "kill leader",
        "records",
        "ctrl-k",
        _A,
        Need.PROCESS,
        hint=True,
        help="SIGKILL of the broker that leads this record's partition",
    ),
    # -- groups ---------------------------------------------------------------------------------------------------
    Key("enter", "open", "offsets", "groups", "enter", _N, hint=True),
    Key(
        "a",
        "member('add')",
        "add member",
        "groups",
        "a",
        _A,
        Need.WORKLOAD,
        hint=True,
        help="a consumer of the workload more: forces a rebalance",
    ),
    Key("r", "member('remove')", "remove member", "groups", "r", _A, Need.WORKLOAD, hint=True),
    Key("e", "configs", "configs", "groups", "e", _N),
    Key("o", "reset", "reset offsets", "groups", "o", _A, Need.WRITE, hint=True, help="by each rule, shown first"),
    Key("enter", "open", "records", "group", "enter", _N, hint=True),
    Key("m", "members", "offsets/members", "group", "m", _N, hint=True, help="of a streams group its tasks too"),
    Key("a", "member('add')", "add member", "group", "a", _A, Need.WORKLOAD, hint=True),
    Key("r", "member('remove')", "remove member", "group", "r", _A, Need.WORKLOAD, hint=True),
    Key("o", "reset", "reset offsets", "group", "o", _A, Need.WRITE, hint=True, help="by each rule, shown first"),
    Key("enter", "open", "tasks", "streams", "enter", _N, hint=True, help="of the application, and its workers"),
    Key("t", "topology", "topology", "streams", "t", _N, hint=True, help="drawn, with live rates"),
    Key("s", "stores", "stores", "streams", "s", _N, hint=True, help="what is in them: keys, ranges, windows"),
    Key("v", "plots", "plots", "streams", "v", _N, hint=True, help="its lag over the last hour"),
    Key("tab,shift+tab", "pane(1)", "tasks/workers", "application", "tab", _N, hint=True),
    Key("t", "topology", "topology", "application", "t", _N, hint=True, help="drawn, with live rates"),
    Key("s", "stores", "stores", "application", "s", _N, hint=True, help="what is in them: keys, ranges, windows"),
    Key("ctrl+k", "kill_worker", "kill worker", "application", "ctrl-k", _A, Need.WRITE, hint=True, help="asked first"),
    Key("enter", "open", "whole", "application", "enter", _N),
    Key("o", "offsets", "offsets", "application", "o", _N, help="of the group, its members, and how it gets on"),
    Key("v", "plots", "plots", "application", "v", _N, help="its lag over the last hour"),
    # -- connect ----------------------------------------------------------------------------------------------------
    Key("enter", "open", "tasks", "connect", "enter", _N, hint=True),
    Key("n", "new", "new", "connect", "n", _A, Need.WRITE, hint=True, help="from a template, validated first"),
    *(
        key
        for scope in ("connect", "connector")
        for key in (
            Key("e", "edit", "configs", scope, "e", _A, Need.WRITE, hint=True, help="change them; validated first"),
            Key("o", "offsets", "offsets", scope, "o", _N, hint=True, help="edited while it is stopped"),
            Key("p", "target('pause')", "pause", scope, "p", _A, Need.WRITE, hint=True),
            Key("u", "target('resume')", "resume", scope, "u", _A, Need.WRITE, hint=True, help="also if stopped"),
            Key("S", "target('stop')", "stop", scope, "S", _A, Need.WRITE, help="its tasks end"),
            Key("r", "restart", "restart", scope, "r", _A, Need.WRITE, hint=True, help="what has failed, or all of it"),
            Key("x", "error", "error", scope, "x", _N, hint=True, help="what it failed by, whole"),
            Key("D", "redrive", "dead letters back", scope, "D", _A, Need.WRITE, help="of a sink: shown first"),
        )
    ),
    Key("ctrl+d", "delete", "delete", "connect", "ctrl-d", _A, Need.WRITE, hint=True, help="asked first"),
    Key("enter", "open", "error", "connector", "enter", _N),
    Key("t", "restart_task", "restart task", "connector", "t", _A, Need.WRITE, hint=True),
    Key("m", "configs", "whole", "connector", "m", _N, help="states, configs, topics; secrets hidden"),
    Key("l", "lag", "group", "connector", "l", _N, help="of a sink: its offsets and lag"),
    Key("enter,e", "edit", "edit", "connector-offsets", "enter", _A, Need.WRITE, hint=True),
    Key("ctrl+d", "reset", "forget all", "connector-offsets", "ctrl-d", _A, Need.WRITE, hint=True, help="asked first"),
    Key(
        "enter", "open", "store/topic", "topology", "enter", _N, hint=True, help="what the node keeps, reads or writes"
    ),
    Key("s", "stores", "stores", "topology", "s", _N, hint=True),
    Key("y", "as_text", "as text", "topology", "y", _N, hint=True, help="as Kafka Streams describes it"),
    Key("enter", "open", "entries", "stores", "enter", _N, hint=True),
    Key("t", "topology", "topology", "stores", "t", _N, hint=True),
    Key("s", "ask", "ask", "store", "s", _N, hint=True, help="a key, a range, a prefix, windows: typed in a line"),
    Key("enter", "open", "whole", "store", "enter", _N, hint=True),
    # -- moves ----------------------------------------------------------------------------------------------------
    Key("x", "cancel_moves", "cancel", "moves", "x", _A, Need.WRITE, hint=True, help="back to where it was"),
    Key("X", "cancel_all", "cancel all", "moves", "X", _A, Need.WRITE, hint=True),
    # -- why ------------------------------------------------------------------------------------------------------
    Key("W", "why", "why", "why", "W", _N, help="the events that made it so, and what they came of"),
    # -- faults ---------------------------------------------------------------------------------------------------
    Key("n", "new_fault", "new", "faults", "n", _A, Need.FAULTS, hint=True, help="shown before it is done"),
    Key("x", "heal", "heal", "faults", "x", _A, Need.FAULTS, hint=True, help="a rolling restart: give it up"),
    Key("X", "heal_all", "heal all", "faults", "X", _A, Need.FAULTS, hint=True),
    # -- what if --------------------------------------------------------------------------------------------------
    Key("ctrl+k", "process('kill')", "kill", "impact", "ctrl-k", _A, Need.PROCESS, hint=True, help="do it: SIGKILL"),
    Key("x", "process('stop')", "stop", "impact", "x", _A, Need.PROCESS, hint=True, help="do it: controlled shutdown"),
    Key("enter", "open", "whole", "transactions", "enter", _N, hint=True),
    # -- connections and the wire ---------------------------------------------------------------------------------
    Key("enter", "open", "its requests", "connections", "enter", _N, hint=True),
    Key("enter", "open", "decoded", "wire", "enter", _N, hint=True, help="request and answer whole, without contents"),
    Key("f", "follow", "follow/pause", "wire", "f", _N, hint=True),
    Key("space", "hold", "hold", "wire", "space", _N, hint=True, help="take no more; again to go on"),
    Key("m", "clients", "clients/all", "wire", "m", "table", hint=True, help="without what brokers ask each other"),
    Key("X", "clear", "clear", "wire", "X", "table"),
    # -- the rest -------------------------------------------------------------------------------------------------
    Key("enter", "open", "details", "events", "enter", _N, hint=True),
    Key("f", "follow", "follow/pause", "events", "f", _N, hint=True),
    Key("f", "follow", "follow/pause", "log", "f", _N, hint=True),
    Key("w", "wrap", "wrap", "log", "w", "table", hint=True),
    Key("p", "previous", "previous/current", "log", "p", _N, hint=True),
    Key("j,down", "scroll(1)", "down", "log", "j ↓", _N),
    Key("k,up", "scroll(-1)", "up", "log", "k ↑", _N),
    Key("h,left", "scroll_sideways(-8)", "left", "log", "h ←", _N),
    Key("l,right", "scroll_sideways(8)", "right", "log", "l →", _N),
    Key("g,home", "scroll_to(0)", "first", "log", "g", _N),
    Key("G,end", "scroll_to(1)", "last", "log", "G", _N),
    Key("ctrl+f,pagedown", "scroll_page(1)", "page down", "log", "ctrl-f", _N),
    Key("ctrl+b,pageup", "scroll_page(-1)", "page up", "log", "ctrl-b", _N),
    Key(
        "V",
        "compare",
        "compare",
        "failover",
        "V",
        _N,
        hint=True,
        help="the marked runs side by side; of one, with the run before",
    ),
    Key("s", "start_again", "start the broker", "failover", "s", _A, Need.PROCESS, hint=True),
    Key(
        "ctrl+k",
        "kill_controller",
        "kill controller",
        "failover",
        "ctrl-k",
        _A,
        Need.PROCESS,
        hint=True,
        help="SIGKILL of the active controller",
    ),
    Key("s", "workload('start')", "start", "workload", "s", _A, Need.WORKLOAD, hint=True),
    Key("x", "workload('stop')", "stop", "workload", "x", _A, Need.WORKLOAD, hint=True),
    Key("a", "member('add')", "add member", "workload", "a", _A, Need.WORKLOAD, hint=True),
    Key("r", "member('remove')", "remove member", "workload", "r", _A, Need.WORKLOAD, hint=True),
    # -- zookeeper ------------------------------------------------------------------------------------------------
    Key("tab", "pane(1)", "znodes/sessions/servers", "zookeeper", "tab", _N, hint=True),
    Key("shift+tab", "pane(-1)", "the other way round", "zookeeper", "shift-tab", _N),
    Key("enter", "open", "open/close", "zookeeper", "enter", _N, hint=True, help="a znode; d shows it whole"),
    Key("right", "unfold", "open", "zookeeper", "→", _N),
    Key("left", "fold", "close", "zookeeper", "←", _N, help="it, or what it is in"),
    Key("o", "find_owner", "its session", "zookeeper", "o", _N, hint=True, help="of an ephemeral znode, and back"),
    Key("ctrl+k", "server('kill')", "kill server", "zookeeper", "ctrl-k", _A, Need.ENSEMBLE, hint=True, help="SIGKILL"),
    Key("s", "server('start')", "start server", "zookeeper", "s", _A, Need.ENSEMBLE),
    Key("z", "server('pause')", "pause server", "zookeeper", "z", _A, Need.ENSEMBLE, help="SIGSTOP"),
    Key("Z", "server('resume')", "resume server", "zookeeper", "Z", _A, Need.ENSEMBLE, help="SIGCONT"),
    Key(
        "X", "expire", "expire session", "zookeeper", "X", _A, Need.PROCESS, hint=True, help="of a broker, asked first"
    ),
    # -- administration -------------------------------------------------------------------------------------------
    Key(
        "x",
        "terminate",
        "terminate",
        "transactions",
        "x",
        _A,
        Need.WRITE,
        hint=True,
        help="aborts what is open and fences the producer, asked first",
    ),
    Key("h", "hanging", "hanging", "transactions", "h", _N, hint=True, help="those that no coordinator will end"),
    Key("enter", "open", "edit", "configs", "enter", _A, Need.WRITE, hint=True, help="kept until a does all"),
    Key("a", "apply", "apply", "configs", "a", _A, Need.WRITE, hint=True, help="the edits: checked, shown, then y"),
    Key("x", "unset", "unset", "configs", "x", _A, Need.WRITE, hint=True, help="take away what is set here"),
    Key("u", "undo", "undo edit", "configs", "u", "table", hint=True),
    Key("n", "another", "another", "configs", "n", _A, Need.WRITE, help="set a config that is not listed, by its name"),
    Key("v", "compare", "compare", "configs", "v", _N, hint=True, help="with those of another one"),
    Key("D", "defaults", "defaults on/off", "configs", "D", "table", hint=True),
    Key("D", "defaults", "alike on/off", "compare", "D", "table", hint=True),
    Key("enter", "open", "whole", "acls", "enter", _N, hint=True),
    Key("n", "new", "new", "acls", "n", _A, Need.WRITE, hint=True, help="filled as the selected one is"),
    Key("ctrl+d", "delete", "delete", "acls", "ctrl-d", _A, Need.WRITE, hint=True),
    Key(
        "f", "filter_by_brokers", "which", "acls", "f", "table", hint=True, help="brokers filter: what holds for a name"
    ),
    Key("n", "new", "new/password", "users", "n", _A, Need.WRITE, hint=True, help="a credential; or another password"),
    Key("ctrl+d", "delete", "delete", "users", "ctrl-d", _A, Need.WRITE, hint=True),
    Key("enter", "open", "edit", "quotas", "enter", _A, Need.WRITE, hint=True, help="old and new are shown first"),
    Key("n", "new", "new", "quotas", "n", _A, Need.WRITE, hint=True),
    Key("ctrl+d", "delete", "delete", "quotas", "ctrl-d", _A, Need.WRITE, hint=True, help="all of the entity"),
    Key("enter", "open", "replicas", "log-dirs", "enter", _N, hint=True, help="by size"),
    Key("enter", "open", "partitions", "log-dir", "enter", _N, hint=True),
    Key("enter", "open", "whole", "producers", "enter", _N, hint=True),
    Key("x", "abort", "abort", "producers", "x", _A, Need.WRITE, hint=True, help="its open transaction, asked first"),
    Key("enter", "open", "versions", "schemas", "enter", _N, hint=True),
    Key("n", "new", "new", "schemas", "n", _A, Need.WRITE, hint=True, help="a subject's first schema, in $EDITOR"),
    Key(
        "e", "edit", "edit", "schemas", "e", _A, Need.WRITE, hint=True, help="another version, in $EDITOR; shown first"
    ),
    Key("L", "level", "compatibility", "schemas", "L", _A, Need.WRITE, hint=True, help="of the subject, and of all"),
    Key("enter", "open", "whole", "schema", "enter", _N, hint=True),
    Key("v", "difference", "what changed", "schema", "v", _N, hint=True, help="from the version before"),
    Key("e", "edit", "edit", "schema", "e", _A, Need.WRITE, hint=True, help="another version, in $EDITOR; shown first"),
    Key("L", "level", "compatibility", "schema", "L", _A, Need.WRITE, hint=True, help="of the subject, and of all"),
    Key("ctrl+d", "delete", "delete", "schema", "ctrl-d", _A, Need.WRITE, hint=True, help="softly, then for good"),
    Key("enter", "open", "whole", "hanging", "enter", _N, hint=True),
    Key("x", "abort", "abort", "hanging", "x", _A, Need.WRITE, hint=True, help="its open transaction, asked first"),
    # -- prompts and dialogs --------------------------------------------------------------------------------------
    Key("enter", "open", "open this cluster", "contexts", "enter", _N, hint=True),
    Key("enter", "open", "copy the command", "commands", "enter", _N, hint=True),
    # -- plots ----------------------------------------------------------------------------------------------------
    Key("v", "plots", "plots", "cluster", "v", _N, help="throughput over the last hour"),
    Key("v", "plots", "plots", "groups", "v", _N, hint=True, help="its lag over the last hour"),
    Key("v", "plots", "plots", "group", "v", _N, hint=True, help="its lag over the last hour"),
    Key("v", "plots", "plots", "workload", "v", _N, hint=True, help="latency and rates over the last hour"),
    Key("v", "plots", "plots", "failover", "v", _N, hint=True, help="latency around the kills, and kill by kill"),
    Key("r", "span(1)", "5/15/60 min", "plots", "r", "table", hint=True, help="how far back"),
    Key("R", "span(-1)", "60/15/5 min", "plots", "R", "table"),
    Key("tab", "complete", "complete", "prompt", "tab", _N),
    Key("up", "past(-1)", "typed before", "prompt", "↑", _N),
    Key("down", "past(1)", "typed after", "prompt", "↓", _N),
    Key("ctrl+c", "cancel", "close", "prompt", "ctrl-c", _N),
    Key("left,h", "choose(-1)", "the one before", "choice", "←", _N),
    Key("right,l,space", "choose(1)", "the next one", "choice", "→", _N),
    # -- dialogs --------------------------------------------------------------------------------------------------
    Key("escape,q", "close", "close", "detail", "esc", _N, hint=True),
    Key("j,down", "scroll(1)", "down", "detail", "j ↓", _N),
    Key("k,up", "scroll(-1)", "up", "detail", "k ↑", _N),
    Key("g,home", "scroll_to(0)", "first", "detail", "g", _N),
    Key("G,end", "scroll_to(1)", "last", "detail", "G", _N),
    Key("ctrl+f,pagedown,space", "scroll_page(1)", "page down", "detail", "ctrl-f", _N),
    Key("ctrl+b,pageup", "scroll_page(-1)", "page up", "detail", "ctrl-b", _N),
    Key("c", "copy", "copy", "detail", "c", "table", hint=True),
    Key("v", "format", "json/raw/hex", "record", "v", "table", hint=True),
    Key("n,right_square_bracket", "step(1)", "next record", "record", "n", _N, hint=True),
    Key("N,left_square_bracket", "step(-1)", "record before", "record", "N", _N),
    Key("y", "confirm", "yes", "confirm", "y", _A, hint=True),
    Key("n,escape,q", "cancel", "no", "confirm", "n", _N, hint=True),
    Key("y", "confirm", "do it", "preview", "y", _A, hint=True),
    Key("n,escape,q", "cancel", "leave it", "preview", "n", _N, hint=True),
    Key("j,down", "scroll(1)", "down", "preview", "j ↓", _N),
    Key("k,up", "scroll(-1)", "up", "preview", "k ↑", _N),
    Key("ctrl+f,pagedown,space", "scroll_page(1)", "page down", "preview", "ctrl-f", _N),
    Key("ctrl+b,pageup", "scroll_page(-1)", "page up", "preview", "ctrl-b", _N),
    Key("c", "copy", "copy", "preview", "c", "table", hint=True),
    Key("w", "write", "write the JSON", "plan", "w", "table", hint=True, help="of the plan, and of the way back"),
    Key("ctrl+s,f10", "submit", "do it", "form", "ctrl-s", _A, hint=True),
    Key("escape", "cancel", "cancel", "form", "esc", _N, hint=True),
)

# Which scopes are active together with a screen's own.
TABLE_WITH_MARKS = ("table", "marks", "time", "global")
TABLE = ("table", "time", "global")
# Those of the frame, on all screens.
FRAME = ("time", "global")
SCREENS: dict[str, tuple[str, ...]] = {
    # A simulation has its own way back.
    "simulation": ("simulation", "table", "global"),
    "cluster": ("cluster", "why", *TABLE_WITH_MARKS),
    "topics": ("topics", "why", *TABLE_WITH_MARKS),
    "partitions": ("partitions", "why", *TABLE_WITH_MARKS),
    "records": ("records", *TABLE),
    "segments": ("segments", *TABLE),
    "batches": ("batches", *TABLE),
    "groups": ("groups", "why", *TABLE),
    "group": ("group", "why", *TABLE),
    "streams": ("streams", "why", *TABLE),
    "application": ("application", "why", *TABLE),
    "topology": ("topology", "why", *TABLE),
    "stores": ("stores", *TABLE),
    "store": ("store", *TABLE),
    "connect": ("connect", *TABLE),
    "connector": ("connector", *TABLE),
    "connector-offsets": ("connector-offsets", *TABLE),
    "events": ("events", *TABLE),
    "log": ("log", *FRAME),
    "failover": ("failover", *TABLE_WITH_MARKS),
    "workload": ("workload", *TABLE),
    "quorum": ("quorum", *TABLE),
    "zookeeper": ("zookeeper", *TABLE),
    "moves": ("moves", *TABLE_WITH_MARKS),
    "impact": ("impact", *TABLE),
    "faults": ("faults", *TABLE),
    "transactions": ("transactions", *TABLE),
    "connections": ("connections", *TABLE),
    "wire": ("wire", *TABLE),
    "configs": ("configs", *TABLE),
    "plots": ("plots", *TABLE),
    "contexts": ("contexts", *TABLE),
    "commands": ("commands", *TABLE),
    "difference": TABLE,
    "compare": ("compare", *TABLE),
    "acls": ("acls", *TABLE_WITH_MARKS),
    "users": ("users", *TABLE_WITH_MARKS),
    "quotas": ("quotas", *TABLE),
    "log-dirs": ("log-dirs", *TABLE),
    "log-dir": ("log-dir", *TABLE),
    "producers": ("producers", *TABLE),
    "hanging": ("hanging", *TABLE),
    "schemas": ("schemas", *TABLE),
    "schema": ("schema", *TABLE),
}

# Dialogs have the keys to themselves.
DIALOGS: dict[str, tuple[str, ...]] = {
    "detail": ("detail",),
    "record": ("record", "detail"),
    "confirm": ("confirm",),
    "preview": ("preview",),
    "plan": ("plan", "preview"),
    "form": ("form",),
}


def keys_of(*scopes: str) -> list[Key]:
    """The keys of some scopes, in the order of the table."""
    return [key for scope in scopes for key in in_force(KEYS) if key.scope == scope]


def bindings(*scopes: str) -> list[BindingType]:
    """The same for Textual: kconsole's own, over which the app's keymap lays the user's."""
    return [
        Binding(key.keys, key.action, key.label, show=key.hint, key_display=key.display, id=key.id)
        for scope in scopes
        for key in KEYS
        if key.scope == scope
    ]


def find_key(pressed: str, scopes: tuple[str, ...]) -> Key | None:
    """The entry of a pressed key."""
    for key in keys_of(*scopes):
        if pressed in key.keys.split(","):
            return key
    return None


def duplicates_of(keys: Sequence[Key]) -> list[tuple[str, str, Key, Key]]:
    """What is given twice in scopes that are active together: the screen, the key, and what it would do."""
    found: list[tuple[str, str, Key, Key]] = []
    for screen, scopes in {**SCREENS, **DIALOGS}.items():
        seen: dict[str, Key] = {}
        for key in keys:
            for each in key.keys.split(",") if key.scope in scopes else ():
                if each in seen:
                    found.append((screen, each, seen[each], key))
                seen[each] = key
    return found


def duplicates() -> list[str]:
    """The same of kconsole's own, in words."""
    return [f"{screen}: {each} is {one.id} and {other.id}" for screen, each, one, other in duplicates_of(KEYS)]
