"""Run by PySpark's own Python: a topic to another one as a stream, and counted as a table.

streaming_job.py BOOTSTRAP JARS CHECKPOINT IN OUT; the last line of its output is JSON.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession  # type: ignore[import-not-found]
from pyspark.sql import functions as f

bootstrap, jars, checkpoint, source, sink = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.memory", "700m")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
options = {"kafka.bootstrap.servers": bootstrap, "subscribe": source, "startingOffsets": "earliest"}

counted = (
    spark.read.format("kafka")
    .options(**options)
    .load()
    .agg(f.count("*").alias("rows"), f.countDistinct("key").alias("keys"), f.countDistinct("partition").alias("parts"))
    .collect()[0]
    .asDict()
)
stream = (
    spark.readStream.format("kafka")
    .options(**options, maxOffsetsPerTrigger="60000")
    .load()
    .select("key", f.upper(f.col("value").cast("string")).alias("value"), f.expr("partition"))
    .writeStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("topic", sink)
    .option("checkpointLocation", checkpoint)
    .trigger(availableNow=True)
    .start()
)
stream.awaitTermination()
batches = [progress["numInputRows"] for progress in stream.recentProgress]
print(json.dumps({**counted, "streamed": sum(batches), "batches": len(batches)}))
spark.stop()
