"""The function `ecomm-detect-high-event-volume`: alerts of stream 2 → incidents, metrics and notices."""
