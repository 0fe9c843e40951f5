#!/usr/bin/env bash
# Fetches PySpark into an environment of its own, and its Kafka connector's jars: fetch_spark.sh VERSION DIR.
# 800 MB: only `make spark` wants it.
set -euo pipefail
version=${1:?version} directory=${2:?directory} python=${PYTHON:-python3}
[ -e "$directory/.complete" ] && exit 0
mkdir -p "$directory"
echo "fetching PySpark $version and its Kafka connector"
"$python" -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pyspark==$version"
cat > "$directory/pom.xml" <<P
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>kconsole</groupId><artifactId>spark-peer</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.spark</groupId><artifactId>spark-sql-kafka-0-10_2.13</artifactId><version>$version</version></dependency>
</dependencies></project>
P
for attempt in 1 2 3; do
  if (cd "$directory" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=jars > mvn.log 2>&1); then
    touch "$directory/.complete"
    exit 0
  fi
done
tail -20 "$directory/mvn.log" >&2
exit 1
