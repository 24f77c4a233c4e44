"""How good the rules are: score, backtest and history, beside the tutorial's own rule."""
