# Every cloud name, and the ARNs that one module must know of another. ARNs are built from names, not read from
# resources: so each policy is known at plan, where it can be read and asserted.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  names = { for key, name in var.names : key => "${var.prefix}${name}" }

  # Glue's Iceberg catalog refuses hyphens in the name of a database.
  database = replace(local.names.database, "-", "_")

  # Flink's SQL would want them quoted.
  studio_database = replace(local.names.studio_database, "-", "_")

  # Bucket names are shared by everybody on AWS: account and region make them ours.
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
