resource "aws_glue_job" "curate" {
  name              = var.curate_job_name
  description       = "Curates the arrival days --from_date to --to_date: typed and deduplicated, invalid records in quarantine."
  role_arn          = module.role.arn
  glue_version      = "5.1"
  worker_type       = "G.1X"
  number_of_workers = var.worker_count
  execution_class   = "STANDARD"
  timeout           = var.timeout_minutes
  max_retries       = 0

  command {
    name            = "glueetl"
    python_version  = "3"
    script_location = "s3://${aws_s3_object.script.bucket}/${aws_s3_object.script.key}"
  }

  # Two runs over one day at once would both count a record as new.
  execution_property {
    max_concurrent_runs = 1
  }

  default_arguments = {
    "--raw_path"               = local.raw_path
    "--database"               = aws_glue_catalog_database.lake.name
    "--datalake-formats"       = "iceberg"
    "--conf"                   = local.spark_conf
    "--custom-logGroup-prefix" = local.log_prefix
    "--job-bookmark-option"    = "job-bookmark-disable"
    "--nobody_ids"             = jsonencode(var.nobody_ids)
    "--max_ahead_s"            = tostring(var.max_ahead_s)
    "--address_form"           = var.address_form
    "--metric_namespace"       = var.metric_namespace
    "--quarantine_metric"      = var.quarantine_metric_name
    "--totals_table"           = var.totals_table_name
    "--aws_region"             = var.region
  }
}

locals {
  # Glue accepts one --conf; further settings are chained inside it.
  # https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-format-iceberg.html
  spark_conf = join(" --conf ", [
    "spark.sql.extensions=org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.glue_catalog=org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.glue_catalog.catalog-impl=org.apache.iceberg.aws.glue.GlueCatalog",
    "spark.sql.catalog.glue_catalog.io-impl=org.apache.iceberg.aws.s3.S3FileIO",
    "spark.sql.catalog.glue_catalog.warehouse=s3://${aws_s3_bucket.lake["curated"].bucket}/",
    "spark.sql.session.timeZone=UTC",
  ])

  # Glue logs to <prefix>/output (the script's own prints) and <prefix>/error (Spark).
  log_prefix = "/aws-glue/jobs/${var.curate_job_name}"
  log_groups = toset(["${local.log_prefix}/output", "${local.log_prefix}/error"])

  script_key = "curate/${basename(var.script)}"

  glue_arn       = "arn:${var.partition}:glue:${var.region}:${var.account_id}"
  logs_arn       = "arn:${var.partition}:logs:${var.region}:${var.account_id}"
  curated_tables = ["curated_events", "quarantined_records", "arrivals", "etl_runs"]
}

resource "aws_s3_object" "script" {
  bucket      = aws_s3_bucket.lake["artifact"].bucket
  key         = local.script_key
  source      = var.script
  source_hash = filemd5(var.script)
}

resource "aws_cloudwatch_log_group" "curate" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
}

module "role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = var.curate_job_name
  service     = "glue.amazonaws.com"
  assume_sid  = "AssumeAsCurateJob"
  policy_name = "curate"
  policy      = data.aws_iam_policy_document.curate.json
}

# Deployed before the role became a module: Terraform keeps what is there.
moved {
  from = aws_iam_role.curate
  to   = module.role.aws_iam_role.service
}

moved {
  from = aws_iam_role_policy.curate
  to   = module.role.aws_iam_role_policy.service
}

data "aws_iam_policy_document" "curate" {
  statement {
    sid       = "ReadScript"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arns.artifact}/${local.script_key}"]
  }

  statement {
    sid       = "ListBuckets"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.bucket_arns.raw, var.bucket_arns.curated]
  }

  statement {
    sid       = "ReadRawObjects"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arns.raw}/events/*"]
  }

  statement {
    sid       = "WriteCuratedObjects"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.bucket_arns.curated}/*"]
  }

  statement {
    sid     = "WriteCuratedTables"
    actions = ["glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"]
    resources = concat(
      ["${local.glue_arn}:catalog", "${local.glue_arn}:database/${var.database}"],
      [for table in local.curated_tables : "${local.glue_arn}:table/${var.database}/${table}"],
    )
  }

  statement {
    sid       = "ReadTotals"
    actions   = ["dynamodb:Scan"]
    resources = ["arn:${var.partition}:dynamodb:${var.region}:${var.account_id}:table/${var.totals_table_name}"]
  }

  # CloudWatch has no ARNs of metrics. A policy can only name the namespace.
  statement {
    sid       = "PutMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.metric_namespace]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in local.log_groups : "${local.logs_arn}:log-group:${group}:*"]
  }
}
