"""Run by PySpark's own Python over Parquet files: parquet_job.py DIRECTORY EXPRESSION…

Prints a line of JSON: what SQL's aggregates give, by their names, as texts; and the names of all columns.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession  # type: ignore[import-not-found]

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.driver.memory", "700m")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
table = spark.read.parquet(sys.argv[1])
row = table.selectExpr(*sys.argv[2:]).collect()[0].asDict()
print(json.dumps({**{name: str(value) for name, value in row.items()}, "columns": table.columns}))
spark.stop()
