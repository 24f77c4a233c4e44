"""The curate job: raw lines to curated events and quarantine."""
