"""The function `ecomm-detect-high-event-volume`: stream 2 → incidents, metrics and notices."""
