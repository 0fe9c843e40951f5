#!/usr/bin/env bash
# Fetches Apache Kafka's broker, client and tool jars from Maven Central: fetch_kafka_jars.sh VERSION DIR.
# The tests use its command-line tools and clients as peers that others wrote; the engine uses none of it.
set -euo pipefail
version=${1:?version} directory=${2:?directory}
[ -e "$directory/.complete" ] && exit 0
mkdir -p "$directory"
cat > "$directory/pom.xml" <<P
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>kconsole</groupId><artifactId>peer</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
</dependencies></project>
P
echo "fetching Apache Kafka $version's jars"
for attempt in 1 2 3; do
  if (cd "$directory" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs > mvn.log 2>&1); then
    touch "$directory/.complete"
    exit 0
  fi
done
tail -20 "$directory/mvn.log" >&2
exit 1
