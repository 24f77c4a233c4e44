"""Detection: attackers, scores, backtests, and Flink's own page."""
