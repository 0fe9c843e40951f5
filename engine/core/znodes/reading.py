"""From a tree of znodes to the metadata: the tree is a snapshot.

A tree that Apache Kafka 3.9 wrote has no feature levels as Kafka 4.3 knows them. It is given those that a new kconsole
cluster begins with: all of them only say what may be written from now on, nothing in the tree has another meaning
under a higher level, and the nodes that read it are kconsole's, which know all levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.core.controller.feature_control import BOOTSTRAP_FEATURES
from engine.core.controller.image import MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.acl_znodes import decode_acls
from engine.core.znodes.broker_znodes import (
    decode_ephemeral,
    decode_own_broker,
    decode_own_controller,
    is_kconsoles,
)
from engine.core.znodes.cluster_znodes import decode_features, decode_producer_ids
from engine.core.znodes.config_znodes import CONFIG_ROOTS, config_key, decode_configs
from engine.core.znodes.json_fields import ZnodeCorrupt
from engine.core.znodes.operations import Znode
from engine.core.znodes.token_znodes import decode_token
from engine.core.znodes.topic_znodes import decode_topic
from engine.core.znodes.user_znodes import decode_user, decoded_entity
from engine.wire.message import Message

# The roots that must be read, each with all that is beneath it.
SUBTREES: tuple[str, ...] = (
    paths.BROKER_IDS,
    paths.TOPICS,
    paths.TOPIC_CONFIGS,
    paths.BROKER_CONFIGS,
    paths.USER_CONFIGS,
    paths.CLIENT_CONFIGS,
    paths.IP_CONFIGS,
    paths.PRODUCER_ID_BLOCK,
    paths.LITERAL_ACLS,
    paths.PREFIXED_ACLS,
    paths.TOKENS,
    paths.OWN_BROKERS,
    paths.OWN_CONTROLLERS,
    paths.OWN_FEATURES,
    paths.OWN_CONFIGS,
    paths.OWN_ACLS,
)


def records_of(tree: Mapping[str, Znode]) -> list[Message]:
    """The records of a snapshot: replayed in an empty image they give the cluster. None if nobody ever wrote here.

    ``tree`` has what is beneath :data:`SUBTREES`, which may be missing, by path. It is not atomic if a controller
    writes while it is read: see that /kconsole/metadata is the same before and after.

    Raises:
        ZnodeCorrupt: a znode does not hold what Kafka or kconsole would write there.
    """
    return image_of(tree).to_records()


def image_of(tree: Mapping[str, Znode]) -> MetadataImage:
    """The metadata that a tree holds. Raises: ZnodeCorrupt: see :func:`records_of`."""
    image = MetadataImage()
    children = _Children(tree)
    _read_brokers(image, tree, children)
    _read_topics(image, tree, children)
    _read_configs(image, tree, children)
    _read_users(image, tree, children)
    for path in children.beneath(paths.LITERAL_ACLS, paths.PREFIXED_ACLS, paths.OWN_ACLS):
        image.acls |= {entry.id: entry for entry in decode_acls(path, tree[path].data)}
    for path in children.beneath(paths.TOKENS):
        token = decode_token(path, tree[path].data)
        image.delegation_tokens[token.token_id] = token
    if (found := tree.get(paths.PRODUCER_ID_BLOCK)) is not None:
        image.next_producer_id = decode_producer_ids(found.data)
    if (found := tree.get(paths.OWN_FEATURES)) is not None:
        image.features |= decode_features(found.data)
    elif image != MetadataImage():
        image.features |= BOOTSTRAP_FEATURES
    return image


class _Children:
    """The paths of a tree in order, by the subtree that they are in."""

    def __init__(self, tree: Mapping[str, Znode]) -> None:
        self._paths: dict[str, list[str]] = {root: [] for root in SUBTREES}
        for path in sorted(tree):
            for root in _roots_above(path):
                self._paths[root].append(path)

    def beneath(self, *roots: str) -> Iterable[str]:
        """All that is beneath the roots, parents first."""
        return (path for root in roots for path in self._paths[root])

    def of(self, root: str) -> Iterable[str]:
        """The children of one root."""
        return (path for path in self._paths[root] if path.count("/") == root.count("/") + 1)


def _roots_above(path: str) -> list[str]:
    parts = path.split("/", 3)
    roots = ("/".join(parts[:depth]) for depth in range(2, len(parts)))
    return [root for root in roots if root in _ROOTS]


_ROOTS = frozenset(SUBTREES)


def _read_brokers(image: MetadataImage, tree: Mapping[str, Znode], children: _Children) -> None:
    for path in children.of(paths.OWN_BROKERS):
        broker = decode_own_broker(path, tree[path].data)
        image.brokers[broker.broker_id] = broker
    for path in children.of(paths.BROKER_IDS):
        if paths.own_broker_of(path) not in tree and not is_kconsoles(path, tree[path].data):
            broker = decode_ephemeral(path, tree[path])
            image.brokers[broker.broker_id] = broker
    for path in children.of(paths.OWN_CONTROLLERS):
        controller = decode_own_controller(path, tree[path].data)
        image.controllers[controller.controller_id] = controller


def _read_topics(image: MetadataImage, tree: Mapping[str, Znode], children: _Children) -> None:
    """Topics that Kafka was asked to delete are there until the controller does it: so is what it writes of them."""
    for path in children.of(paths.TOPICS):
        name = paths.name_of(path)
        topic = decode_topic(tree, name)
        if topic.topic_id in image.topics_by_id:
            raise ZnodeCorrupt(path, f"it has the id of topic {image.topics_by_id[topic.topic_id].name}")
        image.topics_by_id[topic.topic_id] = image.topics_by_name[name] = topic


def _read_configs(image: MetadataImage, tree: Mapping[str, Znode], children: _Children) -> None:
    for resource_type, root in CONFIG_ROOTS.items():
        for path in children.of(root) if root in _ROOTS else _beneath_own_configs(children, root):
            try:
                key = config_key(resource_type, path)
            except ValueError as error:
                raise ZnodeCorrupt(path, f"its name is not UTF-8 ({error})") from None
            if root == paths.TOPIC_CONFIGS and key[1] not in image.topics_by_name:
                continue
            if configs := decode_configs(path, tree[path].data):
                image.configs[key] = configs


def _beneath_own_configs(children: _Children, root: str) -> Iterable[str]:
    return (path for path in children.beneath(paths.OWN_CONFIGS) if paths.parent_of(path) == root)


def _read_users(image: MetadataImage, tree: Mapping[str, Znode], children: _Children) -> None:
    for path in children.beneath(paths.USER_CONFIGS, paths.CLIENT_CONFIGS, paths.IP_CONFIGS):
        if path.count("/") % 2 == 0:
            # The parent of the client ids of a user.
            continue
        entity = decoded_entity(path)
        user = dict(entity).get("user") if len(entity) == 1 else None
        quotas, credentials = decode_user(path, decode_configs(path, tree[path].data), user)
        if quotas:
            image.client_quotas[entity] = quotas
        image.scram_credentials |= {(each.name, each.mechanism): each for each in credentials}
