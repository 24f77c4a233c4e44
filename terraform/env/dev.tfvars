environment = "dev"

# Nothing here is worth keeping: `terraform destroy` also deletes buckets with data.
force_destroy = true

# A replay at full speed (`make simulate` without SPEED) runs ahead of the clock, by up to the time that its file spans.
detection = { source = { max_ahead_s = 2678400 } }
