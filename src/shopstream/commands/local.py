"""One machine: the local stack and the demo."""
