"""Lake: the curate job."""
