# kconsole: every task a newcomer needs. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KAFKA_VERSION := 4.3.1
# The last line of Kafka that ZooKeeper can coordinate; it brings ZooKeeper's server along.
ZOOKEEPER_KAFKA_VERSION := 3.9.1
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: connect-mixed connect-rest record-connect-rest help setup dev tools jars zookeeper syslog-daemons run test test-unit test-integration test-console check format lock sim sim-mutants crash-points chaos power-cuts drills exactly-once streams-exactly-once streams-connect streams-java record-streams-java avro-java record-avro-java connect-java record-connect-java walk spark protocol-page record-tools record-zookeeper zookeeper-handover zookeeper-migration zookeeper-kills screenshots bench bench-growth bench-compaction bench-zookeeper bench-streams bench-connect connect-syslog connect-exactly-once clean connect-pipeline

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("kconsole needs Python 3.11 or later; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing: install it (Debian: apt-get install python3-venv)"; exit 1; }

$(BIN)/uv: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime ## make .venv with .venv/bin/kconsole

dev: $(VENV)/.dev ## the same, with what tests and checks need

run: setup ## open the console over the embedded cluster
	$(BIN)/kconsole

tools: ## install what the tests run against: kcat, tmux, Java, strace, libfaketime, Chromium, PostgreSQL (Debian packages)
	tools/install_test_tools.sh

jars: tools ## fetch Kafka's Java client and tools from Maven Central into .cache/
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)

zookeeper: tools ## fetch ZooKeeper, and the Kafka that it coordinates, from Maven Central: for coordination: zookeeper
	tools/fetch_kafka_jars.sh $(ZOOKEEPER_KAFKA_VERSION) .cache/kafka-$(ZOOKEEPER_KAFKA_VERSION) kafka_2.13 org.slf4j:slf4j-simple:1.7.36

syslog-daemons: ## unpack rsyslog and syslog-ng from Debian's packages into .cache/, without installing them
	tools/fetch_syslog_daemons.sh .cache/syslog-daemons

# Many tests wait for processes: three at once keep two cores busy.
WORKERS ?= 3
test: dev tools jars zookeeper syslog-daemons ## all tests: unit, console, simulator, real processes with foreign clients
# The same examples of properties on every machine: what random ones find (test-unit) is not the newcomer's change.
# Seeds take longest: they come first, and who has done with the short ones takes over.
	$(BIN)/python -m pytest tests/sim tests/unit tests/console -n $(WORKERS) --dist worksteal -q --hypothesis-profile=ci
	$(BIN)/python -m pytest tests/integration -q -n $(WORKERS) --dist loadfile

test-unit: dev ## the tests that need no process, with new examples of properties each time
	$(BIN)/python -m pytest tests/unit -n $(WORKERS) -q

test-integration: dev tools jars zookeeper syslog-daemons ## real brokers, clients that others wrote
	$(BIN)/python -m pytest tests/integration -q -n $(WORKERS) --dist loadfile

test-console: dev tools ## the console: scripted, and in a real terminal over real brokers
	$(BIN)/python -m pytest tests/console tests/integration/test_console.py -q

check: dev ## ruff, mypy strict on engine, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: dev ## reformat
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/uv ## write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --all-extras --group dev -o requirements-dev.lock

SEEDS ?= 100
FIRST ?= 0
sim: setup ## run seeds of the simulator: make sim SEEDS=500 FIRST=0, or SEED=7 for one
	$(BIN)/python -m engine.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST) --jobs 2 --keep-going)

sim-mutants: setup ## known-bad changes of the engine: seeds must fail under each of them (takes a while)
	$(BIN)/python -m engine.sim.mutants

crash-points: setup ## cut the power at every operation of the storage's disk: make crash-points SEEDS=100 FIRST=0
	$(BIN)/python -m engine.sim.crash_points --seeds $(SEEDS) --first $(FIRST) --jobs 2

SECONDS ?= 60
chaos: setup ## break real brokers under real clients, and judge: make chaos SECONDS=1800 CHAOS="--seed 7" (docs/chaos.md)
	$(BIN)/python -m engine.chaos --seconds $(SECONDS) $(CHAOS)

CUTS ?= 50
KILLS ?= 200
power-cuts: setup ## cut the power of all brokers at once CUTS times, then KILLS SIGKILLs; needs root (docs/chaos.md)
	$(BIN)/python -m engine.chaos --power-cuts $(CUTS) --kills $(KILLS) $(CHAOS)

drills: setup zookeeper ## carry out the drills that come along: brokers die, restart, hang; what their clients saw is judged
	@failed=; for drill in $$($(BIN)/kconsole drill --list | cut -d ' ' -f 1); do \
		$(BIN)/kconsole drill $$drill || failed="$$failed $$drill"; echo; done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi; echo "all drills passed"

EXACTLY_ONCE_RECORDS ?= 100000
exactly-once: dev tools jars ## copy 100,000 records in transactions while brokers and clients die; Java and librdkafka
	KCONSOLE_EXACTLY_ONCE_RECORDS=$(EXACTLY_ONCE_RECORDS) $(BIN)/python -m pytest tests/integration/test_exactly_once.py tests/integration/test_late_frames.py -q -s

STREAMS_RECORDS ?= 100000
streams-exactly-once: dev tools jars ## 100,000 records through windowed sums while brokers and 3 workers die; embedded brokers, then Apache Kafka
	KCONSOLE_STREAMS_RECORDS=$(STREAMS_RECORDS) $(BIN)/python -m pytest tests/integration/test_streams_workers.py tests/integration/test_streams_lost_transactions.py -q -s
	KCONSOLE_STREAMS_RECORDS=$(STREAMS_RECORDS) KCONSOLE_STREAMS_ON_KAFKA=1 $(BIN)/python -m pytest tests/integration/test_streams_workers.py -q -s

CONNECT_RECORDS ?= 100000
connect-exactly-once: dev ## 100,000 records from a file through an exactly-once source while brokers, 3 workers and their tasks die
	KCONSOLE_CONNECT_RECORDS=$(CONNECT_RECORDS) $(BIN)/python -m pytest tests/integration/test_connect_exactly_once.py -q -s

streams-connect: dev tools jars ## Kafka Streams (exactly_once_v2) and Kafka Connect (exactly-once source) while brokers and they die
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams kafka-streams connect-file
	KCONSOLE_STREAMS_AND_CONNECT=1 $(BIN)/python -m pytest tests/integration/test_streams_and_connect.py -q -s

SYSLOG_LINES ?= 100000
connect-syslog: dev tools syslog-daemons ## 100,000 lines from rsyslog through a Connect worker into a topic whose leader is killed; none may be lost
	KCONSOLE_SYSLOG_LINES=$(SYSLOG_LINES) $(BIN)/python -m pytest tests/integration/test_connect_syslog.py -q -s

# New random records each time: what differs is a finding, whatever the corpus of `make test` says.
STREAMS_SEEDS ?= $(shell date +%s | awk '{print $$1 ":" $$1 + 5}')
streams-java: dev tools ## the same topologies and records through Kafka Streams' TopologyTestDriver and ours: the same output
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams-test kafka-streams-test-utils
	$(BIN)/python tests/integration/compare_streams_with_java.py --seeds $(STREAMS_SEEDS) --length 120

record-streams-java: dev tools ## keep anew what Kafka Streams makes of the topologies (tests/golden/streams-4.3.1.json.gz)
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams-test kafka-streams-test-utils
	$(BIN)/python tests/integration/compare_streams_with_java.py --seeds 0:3 --record

PIPELINE_ORDERS ?= 30000
connect-pipeline: dev tools ## PostgreSQL to topics, Streams, and back to PostgreSQL and Parquet, while workers, brokers and the database die: each row once
	KCONSOLE_PIPELINE_ORDERS=$(PIPELINE_ORDERS) $(BIN)/python -m pytest tests/integration/test_connect_pipeline.py -q -s

CONNECT_SEEDS ?= $(shell date +%s | awk '{print $$1 ":" $$1 + 5}')
connect-java: dev jars ## the same records through Kafka Connect's converters and transforms and ours: the same output
	$(BIN)/python tests/integration/compare_connect_with_java.py --seeds $(CONNECT_SEEDS)

record-connect-java: dev jars ## keep anew what Kafka Connect's converters and transforms make of the cases (tests/golden/connect-4.3.1.json.gz)
	$(BIN)/python tests/integration/compare_connect_with_java.py --seeds 0:3 --record

# New random schemas each time, as above.
AVRO_SEEDS ?= $(shell date +%s | awk '{print $$1 ":" $$1 + 2000}')
avro-java: dev tools ## random pairs of Avro schemas, compared by Avro's own library and by the schema registry
	tools/fetch_kafka_jars.sh 1.12.2 .cache/avro-1.12.2 org.apache.avro:avro:1.12.2
	$(BIN)/python tests/integration/compare_avro_with_java.py --seeds $(AVRO_SEEDS)

record-avro-java: dev tools ## keep anew what Avro's library says of 400 pairs (tests/golden/avro-1.12.2.json.gz)
	tools/fetch_kafka_jars.sh 1.12.2 .cache/avro-1.12.2 org.apache.avro:avro:1.12.2
	$(BIN)/python tests/integration/compare_avro_with_java.py --seeds 0:400 --record

connect-rest: dev tools jars ## a table of calls of Connect's REST API: a Java worker and ours, alone and in a group, give the same answers
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams kafka-streams connect-file
	KCONSOLE_CONNECT_REST=1 $(BIN)/python -m pytest tests/integration/test_connect_rest.py tests/integration/test_connect_commands.py -q

connect-mixed: dev tools jars ## a Java worker and ours in one group share its work, and take over from each other
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams kafka-streams connect-file
	KCONSOLE_CONNECT_MIXED=1 $(BIN)/python -m pytest tests/integration/test_connect_mixed_group.py -q

record-connect-rest: dev tools jars ## keep anew what a Java worker answers to that table (tests/golden/connect-rest-4.3.1.json)
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-streams kafka-streams connect-file
	$(BIN)/python -m tests.integration.record_connect_rest

zookeeper-migration: dev tools jars zookeeper ## move clusters from ZooKeeper to KRaft: a real Kafka 3.9.1, and embedded ones; compare all that clients see
	KCONSOLE_ZOOKEEPER_MIGRATION=1 $(BIN)/python -m pytest tests/integration/test_zookeeper_migration.py -q -s

WALK ?= 600
walk: dev jars zookeeper ## go through every screen for ten minutes while brokers die and come back: embedded, then attached to Apache Kafka, of today and over ZooKeeper
	$(BIN)/python -m tests.integration.walk_screens --seconds $(WALK)
	$(BIN)/python -m tests.integration.walk_screens --seconds $(WALK) --kafka
	$(BIN)/python -m tests.integration.walk_screens --seconds $(WALK) --kafka-3

protocol-page: dev ## write docs/protocol.md anew from the code, after a change of an API
	$(BIN)/python tools/protocol_page.py

record-tools: dev jars ## ask Kafka's tools of a real Kafka 4.3.1 and of kconsole, keep and compare the answers
	$(BIN)/python -m tests.integration.record_tools

SPARK_VERSION := 4.2.0
spark: dev tools ## PySpark reads 200,000 records and writes them back (fetches 600 MB)
	tools/fetch_spark.sh $(SPARK_VERSION) .cache/spark-$(SPARK_VERSION)
	$(BIN)/python -m pytest tests/spark -q

LEADERS ?= 20
CONTROLLERS ?= 20
ZOOKEEPERS ?= 10
zookeeper-kills: setup zookeeper ## over three ZooKeeper servers: 20 kills of leaders, 20 of controllers, 10 of ZooKeeper's leader; nothing is lost
	$(BIN)/python -m engine.chaos --zookeeper 3 --leader-kills $(LEADERS) --controller-kills $(CONTROLLERS) --zookeeper-kills $(ZOOKEEPERS) $(CHAOS)

zookeeper-handover: dev jars zookeeper ## a cluster goes from a ZooKeeper-mode Apache Kafka 3.9.1 to kconsole and back, twice, and the other way round
	KCONSOLE_ZOOKEEPER_HANDOVER=1 $(BIN)/python -m pytest tests/integration/test_zookeeper_handover.py -q

record-zookeeper: dev jars zookeeper ## record anew what a real Kafka 3.9.1 keeps in ZooKeeper (tests/golden/zookeeper)
	$(BIN)/python -m tests.integration.record_zookeeper_trees

screenshots: dev ## take the README's pictures anew: the console over a real cluster, brokers killed meanwhile
	$(BIN)/python tools/take_screenshots.py

bench: dev jars ## failover, what looking costs, produce and consume beside Apache Kafka; prints ratios
	$(BIN)/python -m bench

GROWTH ?=
bench-growth: dev ## what a log of 0, 1, 10, 30 GiB costs, and 2,000 partitions: make bench-growth GROWTH="--sizes 0,1"
	$(BIN)/python -m bench growth --pairs 7 $(GROWTH)

bench-compaction: dev jars ## five million updates of ten thousand keys, compacted meanwhile, beside Apache Kafka
	$(BIN)/python -m bench compaction

bench-zookeeper: dev jars zookeeper ## failover where ZooKeeper coordinates, beside a ZooKeeper-mode Apache Kafka 3.9.1
	$(BIN)/python -m bench zookeeper --pairs 5

# Quix Streams wants confluent-kafka < 2.13, so it has an environment of its own.
QUIX := .cache/quixstreams-3.28.1
$(QUIX)/.installed: tools/quixstreams.lock
	$(PYTHON) -m venv --clear $(QUIX)/venv
	$(QUIX)/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tools/quixstreams.lock
	@touch $@

bench-streams: dev $(QUIX)/.installed ## streams beside Quix Streams 3.28.1 on one broker, and a restore: make bench-streams STREAMS="--kafka"
	$(BIN)/python -m bench streams --pairs 5 $(STREAMS)

bench-connect: dev jars ## file to topic to file, a million lines, beside Kafka Connect 4.3.1 on one broker: make bench-connect CONNECT="--kafka"
	tools/fetch_kafka_jars.sh $(KAFKA_VERSION) .cache/kafka-$(KAFKA_VERSION)-connect connect-file
	$(BIN)/python -m bench connect --pairs 5 $(CONNECT)

clean: ## remove what the targets made, not the data of any cluster
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
