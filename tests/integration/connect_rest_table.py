"""Calls of Kafka Connect's REST API, in an order that makes sense: one table, asked of a Java worker and of ours.

``python -m tests.integration.record_connect_rest`` keeps what a real Java worker answers
(``tests/golden/connect-rest-4.3.1.json``); ``test_connect_rest.py`` asks the same of our workers and compares.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"
DIRECTORY = "@DIRECTORY@"
"""Stands for the directory of the files that connectors read and write."""
LINES = "".join(f"line {number}\n" for number in range(8))
FILES = {"in.txt": LINES, "other.txt": LINES, "empty.txt": ""}
"""What the directory begins with."""
WAIT_S = 60.0
JSON = "application/json"

Predicate = Callable[[int, Any], bool]


@dataclass(frozen=True, slots=True)
class Call:
    """One call; ``name`` is unique."""

    name: str
    method: str
    path: str
    body: Any = None
    """Becomes JSON; bytes are sent as they are."""
    content_type: str | None = JSON
    headers: Mapping[str, str] | None = None
    until: Predicate | None = None
    """Ask again until the answer is like this: what takes a moment."""
    keep: Callable[[Any], Any] | None = None
    """What of the answer is compared; all, if it is left out."""
    modes: tuple[str, ...] = ("distributed", "standalone")
    """Where the question makes sense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is compared: the rest of an answer is nobody's business."""

    status: int
    body: Any
    content_type: str | None = None
    location: str | None = None
    allow: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what is not there."""
        found = {"status": self.status, "body": self.body}
        for name in ("content_type", "location", "allow"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return found


def has_tasks(status: int, body: Any) -> bool:
    return status == 200 and bool(body["tasks"])


def of_kafka(body: Any) -> Any:
    """Of a list of plug-ins those that Java's worker had."""
    return [each for each in body if re.match(r"org\.apache\.kafka\.connect\.(?!mirror)", each["class"])]


def names(body: Any) -> Any:
    """Of an object that has values which are a worker's own."""
    return sorted(body)


def wrong(body: Any) -> Any:
    """Of a validation what is wrong, with the groups and the number of it."""
    if "configs" not in body:
        return body
    found = {each["value"]["name"]: each["value"]["errors"] for each in body["configs"] if each["value"]["errors"]}
    return {"name": body["name"], "error_count": body["error_count"], "groups": body["groups"], "errors": found}


def in_state(connector: str, *tasks: str) -> Predicate:
    def check(status: int, body: Any) -> bool:
        return (
            status == 200
            and body["connector"]["state"] == connector
            and [t["state"] for t in body["tasks"]] == [*tasks]
        )

    return check


def connector_in(state: str) -> Predicate:
    return lambda status, body: status == 200 and body["connector"]["state"] == state


def offsets_at(position: int) -> Predicate:
    def check(status: int, body: Any) -> bool:
        if status != 200 or not body["offsets"]:
            return False
        offset = body["offsets"][0]["offset"]
        return position in offset.values()

    return check


def listed(*names: str) -> Predicate:
    return lambda status, body: status == 200 and sorted(body) == sorted(names)


def source(file: str = "in.txt", topic: str = "lines", **more: str) -> dict[str, str]:
    return {
        "connector.class": "FileStreamSource",
        "tasks.max": "1",
        "file": f"{DIRECTORY}/{file}",
        "topic": topic,
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def sink(file: str = "out.txt", topics: str = "lines", **more: str) -> dict[str, str]:
    return {
        "connector.class": "FileStreamSink",
        "tasks.max": "1",
        "file": f"{DIRECTORY}/{file}",
        "topics": topics,
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def new(name: Any, config: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "config": config, **more}


def at(file: str, position: Any) -> dict[str, Any]:
    return {"partition": {"filename": f"{DIRECTORY}/{file}"}, "offset": {"position": position}}


def of_topic(topic: Any, partition: Any, offset: Any) -> dict[str, Any]:
    return {
        "partition": {"kafka_topic": topic, "kafka_partition": partition},
        "offset": None if offset is None else {"kafka_offset": offset},
    }


def _nobody() -> Iterator[Call]:
    """Every path of a connector that is not there."""
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/config", None),
        ("GET", "/status", None),
        ("GET", "/tasks", None),
        ("GET", "/tasks-config", None),
        ("GET", "/tasks/0/status", None),
        ("GET", "/topics", None),
        ("GET", "/offsets", None),
        ("PUT", "/topics/reset", None),
        ("PUT", "/pause", None),
        ("PUT", "/resume", None),
        ("PUT", "/stop", None),
        ("POST", "/restart", None),
        ("POST", "/restart?includeTasks=true", None),
        ("POST", "/tasks/0/restart", None),
        ("PATCH", "/config", {"tasks.max": "2"}),
        ("PATCH", "/offsets", {"offsets": [at("in.txt", 3)]}),
        ("DELETE", "/offsets", None),
        ("DELETE", "", None),
    ):
        yield Call(f"nobody: {method} {path or '/'}", method, f"/connectors/nobody{path}", body)


_ROOT = (
    Call("the worker", "GET", "/"),
    Call("its health", "GET", "/health"),
    Call("no connectors yet", "GET", "/connectors"),
    Call("none expanded", "GET", "/connectors?expand=status&expand=info"),
    Call("an unknown path", "GET", "/nothing"),
    Call("an unknown path under a connector", "GET", "/connectors/src/nothing"),
    Call("a method that a path has not", "DELETE", "/connectors"),
    Call("another one", "POST", "/connectors/src/status", {}),
    Call("a head", "HEAD", "/connectors"),
    Call("a slash at the end", "GET", "/connectors/"),
    Call("XML is wanted", "GET", "/connectors", headers={"Accept": "application/xml"}),
)

_BAD_CREATES = (
    Call("create of nothing", "POST", "/connectors", b""),
    Call("create of no JSON", "POST", "/connectors", b"connector"),
    Call("create of JSON cut off", "POST", "/connectors", b'{"name": "x", "config": {'),
    Call("create of text", "POST", "/connectors", b"{}", content_type="text/plain"),
    Call("create without a content type", "POST", "/connectors", b"{}", content_type=None),
    Call("create of a list", "POST", "/connectors", []),
    Call("create of null", "POST", "/connectors", b"null"),
    Call("create with a field that is not known", "POST", "/connectors", new("x", source(), more="y")),
    Call("create with a config that is an object", "POST", "/connectors", new("x", {"file": {"a": "b"}})),
    Call("create with a config that is a list", "POST", "/connectors", new("x", ["file"])),
    Call("create with a name that is a list", "POST", "/connectors", new(["x"], source())),
    Call("create without config", "POST", "/connectors", {"name": "x"}),
    Call("create without anything", "POST", "/connectors", {}),
    Call("create without name", "POST", "/connectors", {"config": source()}),
    Call("create without class", "POST", "/connectors", new("x", {"file": "y", "topic": "z"})),
    Call("create of an unknown class", "POST", "/connectors", new("x", {"connector.class": "org.example.Nothing"})),
    Call("create without a topic", "POST", "/connectors", new("x", {"connector.class": "FileStreamSource"})),
    Call("create with an empty topic", "POST", "/connectors", new("x", source(topic=""))),
    Call("create with two errors", "POST", "/connectors", new("x", source(topic="", tasks__max="none"))),
    Call("create with no tasks", "POST", "/connectors", new("x", source(tasks__max="0"))),
    Call("create of a sink without topics", "POST", "/connectors", new("x", sink(topics=""))),
    Call("create of a sink with both", "POST", "/connectors", new("x", sink(topics__regex="l.*"))),
    Call("create with another name in the config", "POST", "/connectors", new("x", source(name="y"))),
    Call("create in a state that is none", "POST", "/connectors", new("x", source(), initial_state="FAILED")),
    Call("create with a name of control characters", "POST", "/connectors", new("a\u0001b", source())),
    Call("create with a converter that is none", "POST", "/connectors", new("x", source(value__converter="Nothing"))),
    Call("create with a transform that is not told", "POST", "/connectors", new("x", source(transforms="a"))),
    Call("still no connectors", "GET", "/connectors"),
)

_SOURCE = (
    Call("create", "POST", "/connectors", new("src", source())),
    Call("it runs", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("create it again", "POST", "/connectors", new("src", source())),
    Call("the connectors", "GET", "/connectors", until=listed("src")),
    Call("with their states", "GET", "/connectors?expand=status"),
    Call("with what they are", "GET", "/connectors?expand=info"),
    Call("with both", "GET", "/connectors?expand=info&expand=status"),
    Call("with something else", "GET", "/connectors?expand=nothing"),
    Call("one", "GET", "/connectors/src"),
    Call("its config", "GET", "/connectors/src/config"),
    Call("its tasks", "GET", "/connectors/src/tasks"),
    Call("its tasks, the old way", "GET", "/connectors/src/tasks-config"),
    Call("a task's state", "GET", "/connectors/src/tasks/0/status"),
    Call("the state of a task that is not there", "GET", "/connectors/src/tasks/9/status"),
    Call("the state of a task that is no number", "GET", "/connectors/src/tasks/x/status"),
    Call("its topics", "GET", "/connectors/src/topics", until=lambda _, body: bool(body["src"]["topics"])),
    Call("forget them", "PUT", "/connectors/src/topics/reset"),
    Call("none now", "GET", "/connectors/src/topics", until=lambda _, body: not body["src"]["topics"]),
    Call("its offsets", "GET", "/connectors/src/offsets", until=offsets_at(len(LINES))),
    Call("alter offsets while it runs", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", 7)]}),
    Call("reset offsets while it runs", "DELETE", "/connectors/src/offsets"),
    Call("replace its config", "PUT", "/connectors/src/config", source(batch__size="100")),
    Call("it runs again", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("replace it with a name", "PUT", "/connectors/src/config", source(name="src", batch__size="100")),
    Call("replace it with another name", "PUT", "/connectors/src/config", source(name="other")),
    Call("replace it with errors", "PUT", "/connectors/src/config", source(batch__size="many")),
    Call("replace it with nothing", "PUT", "/connectors/src/config", b""),
    Call("replace it with a list", "PUT", "/connectors/src/config", []),
    Call("replace it with numbers", "PUT", "/connectors/src/config", {**source(batch__size="100"), "tasks.max": 1}),
    Call("change a config", "PATCH", "/connectors/src/config", {"batch.size": "50"}),
    Call("remove a config", "PATCH", "/connectors/src/config", {"batch.size": None}),
    Call("change one to an error", "PATCH", "/connectors/src/config", {"batch.size": "many"}),
    Call("remove a config that must be", "PATCH", "/connectors/src/config", {"topic": None}),
    Call("its config now", "GET", "/connectors/src/config"),
    Call("it still runs", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("pause", "PUT", "/connectors/src/pause"),
    Call("paused", "GET", "/connectors/src/status", until=in_state("PAUSED", "PAUSED")),
    Call("pause once more", "PUT", "/connectors/src/pause"),
    Call("alter offsets while it is paused", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", 7)]}),
    Call("resume", "PUT", "/connectors/src/resume"),
    Call("resumed", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("restart", "POST", "/connectors/src/restart"),
    Call("restart without forwarding", "POST", "/connectors/src/restart?forward=false"),
    Call("running after it", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("restart what failed: nothing", "POST", "/connectors/src/restart?onlyFailed=true"),
    Call("restart with tasks what failed", "POST", "/connectors/src/restart?includeTasks=true&onlyFailed=true"),
    Call("restart with tasks", "POST", "/connectors/src/restart?includeTasks=true"),
    Call("running after that", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    Call("restart with a word", "POST", "/connectors/src/restart?includeTasks=perhaps"),
    Call("restart a task", "POST", "/connectors/src/tasks/0/restart"),
    Call("its task runs", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
    # A standalone worker of Java's keeps a failed task 9 from then on.
    Call("restart a task that is not there", "POST", "/connectors/src/tasks/9/restart", modes=("distributed",)),
    Call("restart a task that is no number", "POST", "/connectors/src/tasks/x/restart"),
    Call("stop", "PUT", "/connectors/src/stop"),
    Call("stopped", "GET", "/connectors/src/status", until=in_state("STOPPED")),
    Call("no tasks", "GET", "/connectors/src/tasks", until=lambda _, body: body == []),
    Call("what a stopped one is", "GET", "/connectors/src"),
    Call("restart while it is stopped", "POST", "/connectors/src/restart"),
    Call("a task's state while it is stopped", "GET", "/connectors/src/tasks/0/status"),
    Call("offsets of a stopped one", "GET", "/connectors/src/offsets"),
    Call("alter without a body", "PATCH", "/connectors/src/offsets", b""),
    Call("alter without offsets", "PATCH", "/connectors/src/offsets", {}),
    Call("alter no offsets", "PATCH", "/connectors/src/offsets", {"offsets": []}),
    Call("alter offsets that are null", "PATCH", "/connectors/src/offsets", {"offsets": None}),
    Call("alter offsets that are an object", "PATCH", "/connectors/src/offsets", {"offsets": {}}),
    Call("alter with a field that is not known", "PATCH", "/connectors/src/offsets", {"offsets": [], "more": 1}),
    Call(
        "alter an offset without a partition", "PATCH", "/connectors/src/offsets", {"offsets": [{"offset": {"a": 1}}]}
    ),
    Call(
        "alter an offset of a partition that is none",
        "PATCH",
        "/connectors/src/offsets",
        {"offsets": [{"partition": {"file": "x"}, "offset": {"position": 1}}]},
    ),
    Call("alter to a text", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", "three")]}),
    Call("alter to a negative one", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", -1)]}),
    Call("alter", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", 7)]}),
    Call("altered", "GET", "/connectors/src/offsets", until=offsets_at(7)),
    Call(
        "reset one partition",
        "PATCH",
        "/connectors/src/offsets",
        {"offsets": [{"partition": {"filename": f"{DIRECTORY}/in.txt"}, "offset": None}]},
    ),
    Call("no offset", "GET", "/connectors/src/offsets", until=lambda _, body: body == {"offsets": []}),
    Call("alter once more", "PATCH", "/connectors/src/offsets", {"offsets": [at("in.txt", 14)]}),
    Call("reset", "DELETE", "/connectors/src/offsets"),
    Call("none after the reset", "GET", "/connectors/src/offsets", until=lambda _, body: body == {"offsets": []}),
    Call("reset once more", "DELETE", "/connectors/src/offsets"),
    Call("resume a stopped one", "PUT", "/connectors/src/resume"),
    Call("it runs at last", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
)

_SINK = (
    Call("create a sink by its config", "PUT", "/connectors/snk/config", sink()),
    Call("the sink runs", "GET", "/connectors/snk/status", until=in_state("RUNNING", "RUNNING")),
    Call("what a sink is", "GET", "/connectors/snk"),
    Call("a sink's tasks", "GET", "/connectors/snk/tasks"),
    Call("a sink's topics", "GET", "/connectors/snk/topics", until=lambda _, body: bool(body["snk"]["topics"])),
    Call("a sink's offsets", "GET", "/connectors/snk/offsets", until=offsets_at(16)),
    Call("reset a sink's offsets while it runs", "DELETE", "/connectors/snk/offsets"),
    Call("stop the sink", "PUT", "/connectors/snk/stop"),
    Call("the sink is stopped", "GET", "/connectors/snk/status", until=in_state("STOPPED")),
    Call("alter an offset without a topic", "PATCH", "/connectors/snk/offsets", {"offsets": [at("in.txt", 1)]}),
    Call("alter with no partition", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", None, 1)]}),
    Call(
        "alter with a word as partition", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", "x", 1)]}
    ),
    Call("alter with a word as offset", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", 0, "x")]}),
    Call("alter below zero", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", 0, -3)]}),
    Call(
        "alter a null partition", "PATCH", "/connectors/snk/offsets", {"offsets": [{"partition": None, "offset": {}}]}
    ),
    Call(
        "alter with a field too many",
        "PATCH",
        "/connectors/snk/offsets",
        {"offsets": [{"partition": {"kafka_topic": "lines", "kafka_partition": 0, "x": 1}, "offset": None}]},
    ),
    Call(
        "alter with an offset of another shape",
        "PATCH",
        "/connectors/snk/offsets",
        {"offsets": [{"partition": {"kafka_topic": "lines", "kafka_partition": 0}, "offset": {"position": 1}}]},
    ),
    Call("alter a sink", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", 0, 2)]}),
    Call("a sink altered", "GET", "/connectors/snk/offsets", until=offsets_at(2)),
    Call("texts are numbers too", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", "0", "3")]}),
    Call("altered by texts", "GET", "/connectors/snk/offsets", until=offsets_at(3)),
    Call("reset a partition of a sink", "PATCH", "/connectors/snk/offsets", {"offsets": [of_topic("lines", 0, None)]}),
    Call("no offset of the sink", "GET", "/connectors/snk/offsets", until=lambda _, body: body == {"offsets": []}),
    Call("reset a sink", "DELETE", "/connectors/snk/offsets"),
)

_STATES = (
    Call("create a paused one", "POST", "/connectors", new("p", source("other.txt", "p"), initial_state="PAUSED")),
    Call("created paused", "GET", "/connectors/p/status", until=connector_in("PAUSED")),
    Call("create a stopped one", "POST", "/connectors", new("s", source("other.txt", "s"), initial_state="stopped")),
    Call("created stopped", "GET", "/connectors/s/status", until=in_state("STOPPED")),
    Call("tasks of one created stopped", "GET", "/connectors/s/tasks"),
    Call("create a running one", "POST", "/connectors", new("r", source("other.txt", "r"), initial_state="RUNNING")),
    Call("created running", "GET", "/connectors/r/status", until=in_state("RUNNING", "RUNNING")),
    Call("create one that fails", "POST", "/connectors", new("bad", sink("no/directory/out.txt"))),
    Call("its task failed", "GET", "/connectors/bad/status", until=in_state("RUNNING", "FAILED")),
    Call("the failed task", "GET", "/connectors/bad/tasks/0/status"),
    Call("restart the failed task", "POST", "/connectors/bad/restart?includeTasks=true&onlyFailed=true"),
    Call("it failed again", "GET", "/connectors/bad/status", until=in_state("RUNNING", "FAILED")),
    Call("a name with spaces around", "POST", "/connectors", new("  spaced out ", source("other.txt", "spaced"))),
    Call("by its name", "GET", "/connectors/spaced%20out", until=has_tasks),
    Call("a name of other letters", "PUT", "/connectors/%C3%BC%20x/config", source("other.txt", "umlaut")),
    Call("by other letters", "GET", "/connectors/%C3%BC%20x", until=has_tasks),
)

_TRANSFORMS = {
    "transforms": "route,field",
    "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
    "transforms.route.regex": "(.*)",
    "transforms.route.replacement": "x-$1",
    "transforms.field.type": "org.apache.kafka.connect.transforms.HoistField$Value",
    "transforms.field.field": "line",
    "transforms.field.predicate": "tombstone",
    "predicates": "tombstone",
    "predicates.tombstone.type": "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
}
_VALIDATE = "/connector-plugins/FileStreamSource/config/validate"
_PLUGINS = (
    Call("connector plug-ins", "GET", "/connector-plugins", keep=of_kafka),
    Call("the same, said", "GET", "/connector-plugins?connectorsOnly=true", keep=of_kafka),
    Call("all plug-ins", "GET", "/connector-plugins?connectorsOnly=false", keep=of_kafka),
    Call("configs of a plug-in", "GET", f"/connector-plugins/{SOURCE}/config"),
    Call("by its alias", "GET", "/connector-plugins/FileStreamSink/config"),
    Call("of a transform", "GET", "/connector-plugins/org.apache.kafka.connect.transforms.RegexRouter/config"),
    Call(
        "of a transform of two", "GET", "/connector-plugins/org.apache.kafka.connect.transforms.HoistField$Value/config"
    ),
    Call("of a predicate", "GET", "/connector-plugins/TopicNameMatches/config"),
    Call("of a converter", "GET", "/connector-plugins/org.apache.kafka.connect.json.JsonConverter/config"),
    Call("of another converter", "GET", "/connector-plugins/org.apache.kafka.connect.storage.StringConverter/config"),
    Call(
        "of a number's converter", "GET", "/connector-plugins/org.apache.kafka.connect.converters.LongConverter/config"
    ),
    Call(
        "of a header converter",
        "GET",
        "/connector-plugins/org.apache.kafka.connect.storage.SimpleHeaderConverter/config",
    ),
    Call("of nothing", "GET", "/connector-plugins/org.example.Nothing/config"),
    Call("validate", "PUT", _VALIDATE, {"name": "v", **source()}),
    Call("validate by the class", "PUT", f"/connector-plugins/{SOURCE}/config/validate", {"name": "v", **source()}),
    Call(
        "validate a sink", "PUT", "/connector-plugins/FileStreamSinkConnector/config/validate", {"name": "v", **sink()}
    ),
    Call("validate nothing in it", "PUT", _VALIDATE, {}),
    Call("validate the class alone", "PUT", _VALIDATE, {"connector.class": "FileStreamSource"}, keep=wrong),
    Call("validate another class", "PUT", _VALIDATE, sink()),
    Call("validate no plug-in", "PUT", "/connector-plugins/Nothing/config/validate", {"connector.class": "Nothing"}),
    Call("validate without a body", "PUT", _VALIDATE, b""),
    Call("validate transforms", "PUT", _VALIDATE, {"name": "v", **source(), **_TRANSFORMS}),
    Call(
        "validate transforms with errors",
        "PUT",
        _VALIDATE,
        {"name": "v", **source(), "transforms": "a,b,a", "transforms.a.type": "Nothing", "transforms.b.type": "Filter"},
        keep=wrong,
    ),
    Call(
        "validate a predicate that is none",
        "PUT",
        _VALIDATE,
        {"name": "v", **source(), "transforms": "f", "transforms.f.type": "Filter", "transforms.f.predicate": "x"},
        keep=wrong,
    ),
    Call(
        "validate what cannot be",
        "PUT",
        _VALIDATE,
        {
            "name": "",
            **source(batch__size="-1", errors__tolerance="some", errors__retry__timeout="x"),
            "tasks.max": "0",
            "config.action.reload": "never",
            "topic.creation.groups": "g",
            "offsets.storage.topic": "",
            "exactly.once.support": "perhaps",
            "transaction.boundary": "never",
        },
        keep=wrong,
    ),
    Call(
        "validate a dead-letter queue",
        "PUT",
        "/connector-plugins/FileStreamSink/config/validate",
        {"name": "v", **sink(topics="lines", errors__deadletterqueue__topic__name="lines")},
        keep=wrong,
    ),
    Call(
        "validate topics that are no list",
        "PUT",
        "/connector-plugins/FileStreamSink/config/validate",
        {"name": "v", **sink(topics="", topics__regex="(")},
        keep=wrong,
    ),
    Call(
        "validate overrides", "PUT", _VALIDATE, {"name": "v", **source(producer__override__acks="perhaps")}, keep=wrong
    ),
    Call(
        "validate a converter",
        "PUT",
        _VALIDATE,
        {"name": "v", **source(value__converter="StringConverter")},
        keep=wrong,
    ),
)

_LOGGER = "org.apache.kafka.connect.runtime.rest.resources"
_LOGGERS_SET = (_LOGGER, "org.example.some")
_LOGGERS = (
    Call("the root's level", "GET", "/admin/loggers/root", keep=names),
    Call("a logger that is not there", "GET", "/admin/loggers/org.example.nothing"),
    Call("set a level", "PUT", f"/admin/loggers/{_LOGGER}", {"level": "TRACE"}),
    Call("a logger's level", "GET", f"/admin/loggers/{_LOGGER}"),
    Call("set a level of small letters", "PUT", f"/admin/loggers/{_LOGGER}", {"level": "warn"}),
    Call("a level for nobody yet", "PUT", "/admin/loggers/org.example.some", {"level": "DEBUG"}),
    Call("its level", "GET", "/admin/loggers/org.example.some"),
    Call("set no level", "PUT", f"/admin/loggers/{_LOGGER}", {}),
    Call("set a level that is none", "PUT", f"/admin/loggers/{_LOGGER}", {"level": "LOUD"}),
    Call("set a level that is null", "PUT", f"/admin/loggers/{_LOGGER}", {"level": None}),
    Call("set a level of a worker", "PUT", f"/admin/loggers/{_LOGGER}?scope=worker", {"level": "INFO"}),
    Call("set a level of the cluster", "PUT", f"/admin/loggers/{_LOGGER}?scope=cluster", {"level": "INFO"}),
    Call("set a level of something", "PUT", f"/admin/loggers/{_LOGGER}?scope=town", {"level": "INFO"}),
    Call("all loggers", "GET", "/admin/loggers", keep=lambda body: {name: body.get(name) for name in _LOGGERS_SET}),
)

_INTERNAL = (
    Call("tasks of nobody known", "POST", "/connectors/src/tasks", [{"a": "b"}]),
    Call(
        "tasks under a signature that is none",
        "POST",
        "/connectors/src/tasks",
        [{"a": "b"}],
        headers={"X-Connect-Authorization": "bm8=", "X-Connect-Request-Signature-Algorithm": "HmacSHA256"},
    ),
    Call(
        "tasks under an unknown algorithm",
        "POST",
        "/connectors/src/tasks",
        [{"a": "b"}],
        headers={"X-Connect-Authorization": "bm8=", "X-Connect-Request-Signature-Algorithm": "HmacRot13"},
    ),
    Call(
        "tasks under an algorithm that is not used",
        "POST",
        "/connectors/src/tasks",
        [{"a": "b"}],
        headers={"X-Connect-Authorization": "bm8=", "X-Connect-Request-Signature-Algorithm": "HmacSHA1"},
    ),
    Call("fence for nobody known", "PUT", "/connectors/src/fence"),
)

_ENDS = (
    Call("delete", "DELETE", "/connectors/src"),
    Call("delete once more", "DELETE", "/connectors/src", until=lambda status, _: status == 404),
    Call("state of what was deleted", "GET", "/connectors/src/status", until=lambda status, _: status == 404),
    Call("offsets of what was deleted", "GET", "/connectors/src/offsets"),
    Call("delete one of other letters", "DELETE", "/connectors/%C3%BC%20x"),
    Call("delete the sink", "DELETE", "/connectors/snk"),
    Call("delete the failed one", "DELETE", "/connectors/bad"),
    Call("delete the one with spaces", "DELETE", "/connectors/spaced%20out"),
    Call("delete the paused one", "DELETE", "/connectors/p"),
    Call("delete the stopped one", "DELETE", "/connectors/s"),
    Call("delete the running one", "DELETE", "/connectors/r"),
)

TABLE: tuple[Call, ...] = (
    *_ROOT,
    *_BAD_CREATES,
    *_nobody(),
    *_SOURCE,
    *_SINK,
    *_STATES,
    *_PLUGINS,
    *_LOGGERS,
    *_INTERNAL,
    *_ENDS,
)
assert len({call.name for call in TABLE}) == len(TABLE)


class Asker:
    """Asks one worker, over a connection of its own for each call."""

    def __init__(self, port: int, directory: str, token: str | None = None) -> None:
        self._port, self._directory, self._token = port, directory, token

    def ask(self, call: Call) -> Answer:
        """The answer, once it is what the call waits for, or the last one when time is up."""
        until_s = time.monotonic() + WAIT_S
        while True:
            answer, raw = self._once(call)
            try:
                if call.until is None or call.until(answer.status, raw) or time.monotonic() > until_s:
                    return answer
            except (KeyError, TypeError, IndexError):
                if time.monotonic() > until_s:
                    return answer
            time.sleep(0.05)

    def _once(self, call: Call) -> tuple[Answer, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=100)
        headers = dict(call.headers or {})
        body: bytes | None = None
        if call.body is not None:
            body = call.body if isinstance(call.body, bytes) else json.dumps(call.body).encode()
            body = body.replace(DIRECTORY.encode(), self._directory.encode())
            if call.content_type is not None:
                headers["Content-Type"] = call.content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(call.method, call.path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        kind = response.getheader("Content-Type")
        # Jersey names no type where it answers before a resource is found.
        parsed: Any = json.loads(text) if text[:1] in ("[", "{") else text or None
        kept = parsed if call.keep is None else call.keep(parsed)
        allow = response.getheader("Allow")
        return (
            Answer(
                response.status,
                normalised(kept, self._directory),
                kind,
                _path_of(response.getheader("Location")),
                None if allow is None else ",".join(sorted(allow.replace(" ", "").split(","))),
            ),
            parsed,
        )


def _path_of(location: str | None) -> str | None:
    return None if location is None else re.sub(r"^http://[^/]*", "", location)


# What differs from worker to worker, and from day to day.
_VOLATILE = (
    "worker_id",
    "trace",
    "version",
    "commit",
    "kafka_cluster_id",
    "last_modified",
    "documentation",
    "task.class",
)
_MESSAGE = "<message>"
# What Java says of its own classes, and of its parser: another worker says it in other words.
_JAVA = ("Cannot invoke", "JsonToken", "Unrecognized", "Unexpected end", "Cannot deserialize", "Cannot construct")
_LIST_OF_PLUGINS = re.compile(r"(available connectors are: ).*", re.S)
# In whatever order a hash table has them.
_MAP = re.compile(r"\{\w+=.*\}")
_REGEX = re.compile(r"(Invalid regex: ).*", re.S)


def normalised(body: Any, directory: str) -> Any:
    """Without what nobody can know beforehand."""
    if isinstance(body, dict):
        if set(body) == {"definition", "value"}:
            return _config(body, directory)
        if "default_value" in body and body["name"].endswith("plugin.version"):
            body = {**body, "default_value": "<version>"}
        return {
            name: f"<{name}>" if name in _VOLATILE and value is not None else normalised(value, directory)
            for name, value in body.items()
        }
    if isinstance(body, list):
        return [normalised(each, directory) for each in body]
    if isinstance(body, str):
        if any(each in body for each in _JAVA):
            return _MESSAGE
        body = _REGEX.sub(r"\1…", _LIST_OF_PLUGINS.sub(r"\1…", body))
        return _MAP.sub("{…}", body).replace(directory, DIRECTORY)
    return body


def _config(body: dict[str, Any], directory: str) -> Any:
    """One config of a validation; plug-ins to choose from, and their versions, are a worker's own."""
    definition, value = body["definition"], dict(body["value"])
    if definition is not None:
        definition = {name: each for name, each in definition.items() if name != "documentation"}
        if definition["name"].endswith("plugin.version"):
            definition["default_value"] = value["value"] = "<version>"
        if any("." in each or each[:1].isdigit() for each in value["recommended_values"]):
            value["recommended_values"] = "<plug-ins or versions>"
    return normalised({"config": definition, "value_of_it": value}, directory)


def same(got: Any, want: Any) -> bool:
    """Whether an answer is as it was recorded; a message that was Java's own may be any."""
    if isinstance(got, dict) and isinstance(want, dict) and want.get("message") == _MESSAGE:
        return isinstance(got.get("message"), str) and {**got, "message": _MESSAGE} == want
    return bool(_by_name(got) == _by_name(want))


def _by_name(body: Any) -> Any:
    """Lists that have an order by chance only, without it."""
    if isinstance(body, dict):
        return {name: _by_name(value) for name, value in body.items()}
    if isinstance(body, list):
        return sorted((_by_name(each) for each in body), key=lambda each: json.dumps(each, sort_keys=True))
    return body
