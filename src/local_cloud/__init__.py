"""AWS on one machine: what `make up`, `make demo` and the end-to-end tests run on, without an account."""
