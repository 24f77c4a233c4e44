environment = "dev"

# Nothing here is worth keeping, so `terraform destroy` needs no help.
force_destroy = true

# A replay at full speed (`make simulate` without SPEED) runs ahead of the clock, by as much as its file is long.
detection = { source = { max_ahead_s = 2678400 } }
