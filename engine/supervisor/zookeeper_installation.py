"""Where ZooKeeper's server comes from: its jars and a Java that runs them. kconsole brings neither along."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import NamedTuple

# A directory of jars, or a class path as Java takes it.
JARS_VARIABLE = "KCONSOLE_ZOOKEEPER_JARS"
MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# What `make zookeeper` fetched.
CHECKOUT_JARS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ".cache", "kafka-3.9.1", "libs"
)
# Debian's package zookeeper. Its manifest names the jars that it needs, but for one that writes its log.
SYSTEM_JAR = "/usr/share/java/zookeeper.jar"
_SYSTEM_LOGGER = "/usr/share/java/slf4j-simple.jar"
_REMEDIES = (
    "`apt install zookeeper` on Debian, `make zookeeper` in a checkout, "
    f"{JARS_VARIABLE}=DIR with its jars, or name servers that run already: `zookeeper.connect: HOST:PORT/kafka`"
)


class ZooKeeperMissing(Exception):
    """No ZooKeeper server can be run here; the message says why and what to do."""


class ZooKeeperInstallation(NamedTuple):
    """What a server is run with."""

    java: str
    class_path: str


def find_zookeeper(
    environment: Mapping[str, str], *, checkout_jars: str = CHECKOUT_JARS, system_jar: str = SYSTEM_JAR
) -> ZooKeeperInstallation:
    """The jars that the environment names, else the checkout's, else the system's.

    Raises:
        ZooKeeperMissing: there are none, or there is no Java.
    """
    class_path = _class_path(environment, checkout_jars, system_jar)
    home = environment.get("JAVA_HOME", "")
    java = os.path.join(home, "bin", "java") if home else "java"
    found = shutil.which(java, path=environment.get("PATH"))
    if found is None:
        where = f"JAVA_HOME={home} has no bin/java" if home else "there is no java on the PATH"
        raise ZooKeeperMissing(
            f"ZooKeeper needs Java, and {where}: `apt install default-jre-headless` on Debian, set JAVA_HOME, "
            "or name servers that run already: `zookeeper.connect: HOST:PORT/kafka`"
        )
    return ZooKeeperInstallation(found, class_path)


def _class_path(environment: Mapping[str, str], checkout_jars: str, system_jar: str) -> str:
    wanted = environment.get(JARS_VARIABLE, "")
    if wanted:
        if not os.path.isdir(wanted):
            missing = [each for each in wanted.split(os.pathsep) if not os.path.exists(each.removesuffix("*") or ".")]
            if missing:
                raise ZooKeeperMissing(f"{JARS_VARIABLE} names {missing[0]}, which is not there: correct it")
            return wanted
        if not _has_zookeeper(wanted):
            raise ZooKeeperMissing(f"{JARS_VARIABLE}={wanted} has no zookeeper-*.jar: {_REMEDIES}")
        return os.path.join(wanted, "*")
    if _has_zookeeper(checkout_jars):
        return os.path.join(checkout_jars, "*")
    if os.path.exists(system_jar):
        logger = os.path.join(os.path.dirname(system_jar), os.path.basename(_SYSTEM_LOGGER))
        return os.pathsep.join([system_jar, *([logger] if os.path.exists(logger) else [])])
    raise ZooKeeperMissing(f"there is no ZooKeeper to run: {_REMEDIES}")


def _has_zookeeper(directory: str) -> bool:
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    return any(name.startswith("zookeeper") and name.endswith(".jar") for name in names)
