"""The rules of `sql/detection` as a Zeppelin note for a Studio notebook of Managed Flink."""
