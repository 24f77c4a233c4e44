environment = "dev"

# Nothing here is worth keeping, so `terraform destroy` needs no help.
force_destroy = true
