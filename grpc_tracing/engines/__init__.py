"""The audit of spans that lie in columns, by engines that others built: DuckDB, Spark, ClickHouse."""
