# All names of AWS resources, and the ARNs that one module needs of another. ARNs are built from names, not read from
# resources, so each policy is known at plan: people can read it there, and tests can check it.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  names = { for key, name in var.names : key => "${var.prefix}${name}" }

  # Iceberg's catalog for Glue accepts no hyphens in the name of a database.
  database = replace(local.names.database, "-", "_")

  # Flink's SQL would need quotes around a name with hyphens.
  studio_database = replace(local.names.studio_database, "-", "_")

  # Bucket names are unique across all of AWS. Account and region make them so.
  bucket_names = {
    for key in ["raw", "curated", "artifact", "result"] :
    key => "${local.names["${key}_bucket"]}-${local.account_id}-${var.region}"
  }
  bucket_arns = { for key, name in local.bucket_names : key => "arn:${local.partition}:s3:::${name}" }

  stream_arns = {
    for key in ["raw", "alert"] :
    key => "arn:${local.partition}:kinesis:${var.region}:${local.account_id}:stream/${local.names["${key}_stream"]}"
  }
}
