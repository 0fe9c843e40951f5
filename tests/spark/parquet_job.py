"""Run by PySpark's own Python: counts what an object store sink wrote. parquet_job.py DIRECTORY; prints JSON."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession  # type: ignore[import-not-found]
from pyspark.sql import functions as f

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.driver.memory", "700m")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
table = spark.read.parquet(sys.argv[1])
counted = table.agg(
    f.count("*").alias("rows"),
    f.countDistinct("id").alias("ids"),
    f.sum("price").cast("string").alias("price"),
    f.min("at").cast("string").alias("first"),
    f.sum(f.size("tags")).alias("tags"),
).collect()[0]
hours = {str(row["hour"]): row["count"] for row in table.groupBy("hour").count().collect()}
print(json.dumps({**counted.asDict(), "hours": hours, "columns": table.columns}))
spark.stop()
