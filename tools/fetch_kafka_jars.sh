#!/usr/bin/env bash
# Fetches jars of Apache Kafka from Maven Central: fetch_kafka_jars.sh VERSION DIR [ARTIFACT...]; without artifacts its
# broker, clients and tools. GROUP:ARTIFACT:VERSION is one of somebody else's. The tests use them as peers that others
# wrote; the engine uses none of them but ZooKeeper's server, where a cluster wants one.
set -euo pipefail
version=${1:?version} directory=${2:?directory}
shift 2
[ $# -gt 0 ] || set -- kafka_2.13 kafka-tools
[ -e "$directory/.complete" ] && exit 0
mkdir -p "$directory"
{
  echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
  echo '<groupId>kconsole</groupId><artifactId>peer</artifactId><version>1</version><dependencies>'
  for artifact in "$@"; do
    case "$artifact" in
      *:*:*) IFS=: read -r group name release <<<"$artifact" ;;
      *) group=org.apache.kafka name=$artifact release=$version ;;
    esac
    echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$release</version></dependency>"
  done
  echo '</dependencies></project>'
} > "$directory/pom.xml"
echo "fetching Apache Kafka $version's jars: $*"
for attempt in 1 2 3; do
  if (cd "$directory" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs > mvn.log 2>&1); then
    touch "$directory/.complete"
    exit 0
  fi
done
tail -20 "$directory/mvn.log" >&2
exit 1
