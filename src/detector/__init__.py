"""The detector: the Managed Flink application and its rulebook."""
