# Buckets, raw table and curate job.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id = "123456789012"
  partition  = "aws"
  region     = "us-east-1"
  bucket_names = {
    raw      = "raw-bucket"
    curated  = "curated-bucket"
    artifact = "artifact-bucket"
    result   = "result-bucket"
  }
  bucket_arns = {
    raw      = "arn:aws:s3:::raw-bucket"
    curated  = "arn:aws:s3:::curated-bucket"
    artifact = "arn:aws:s3:::artifact-bucket"
    result   = "arn:aws:s3:::result-bucket"
  }
  force_destroy          = false
  lifecycle_rules        = true
  result_retention_days  = 30
  raw_retention_days     = null
  database               = "database"
  raw_table              = "raw_events"
  raw_columns            = jsondecode(file("../contracts/event.json"))
  curate_job_name        = "curate"
  script                 = "tests/fixtures/package.txt"
  worker_count           = 2
  timeout_minutes        = 60
  nobody_ids             = ["0", "a, \"b\" é"]
  max_ahead_s            = 60
  address_form           = "truncated"
  metric_namespace       = "namespace"
  quarantine_metric_name = "quarantined"
  totals_table_name      = "totals"
  log_retention_days     = 14
}

run "lake" {
  command = plan

  module {
    source = "./modules/lake"
  }

  assert {
    condition     = sort([for bucket in aws_s3_bucket.lake : bucket.bucket if !bucket.force_destroy]) == sort(values(var.bucket_names))
    error_message = "All four buckets must refuse to be deleted while they hold data."
  }

  assert {
    condition = keys(aws_s3_bucket_public_access_block.lake) == keys(var.bucket_names) && alltrue([
      for block in aws_s3_bucket_public_access_block.lake :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "Every bucket must be private."
  }

  assert {
    condition     = [for controls in aws_s3_bucket_ownership_controls.lake : controls.rule[0].object_ownership] == [for key in keys(var.bucket_names) : "BucketOwnerEnforced"]
    error_message = "Every object must belong to the bucket's owner."
  }

  assert {
    condition = [
      for encryption in aws_s3_bucket_server_side_encryption_configuration.lake :
      [for rule in encryption.rule : rule.apply_server_side_encryption_by_default[0].sse_algorithm]
    ] == [for key in keys(var.bucket_names) : ["AES256"]]
    error_message = "Every bucket must be encrypted."
  }

  assert {
    condition = jsonencode({ for key, policy in aws_s3_bucket_policy.lake : key => jsondecode(policy.policy).Statement }) == jsonencode({
      for key, arn in var.bucket_arns : key => [{
        Action    = "s3:*"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
        Effect    = "Deny"
        Principal = "*"
        Resource  = ["${arn}/*", arn]
        Sid       = "DenyPlainHttp"
      }]
    })
    error_message = "Every bucket must refuse plain HTTP: ${aws_s3_bucket_policy.lake["raw"].policy}"
  }

  assert {
    condition = jsonencode({
      for key, lifecycle in aws_s3_bucket_lifecycle_configuration.lake : key => [for rule in lifecycle.rule : rule.id]
      }) == jsonencode({
      artifact = ["abort-abandoned-uploads"]
      curated  = ["abort-abandoned-uploads"]
      raw      = ["abort-abandoned-uploads"]
      result   = ["abort-abandoned-uploads", "expire-results"]
    })
    error_message = "Only query results may expire."
  }

  assert {
    condition     = [for column in aws_glue_catalog_table.raw.storage_descriptor[0].columns : [column.name, column.type]] == [for field in jsondecode(file("../contracts/event.json")) : [field.name, field.type]]
    error_message = "The raw table's columns must be the contract's, in its order."
  }

  assert {
    condition = {
      for column in aws_glue_catalog_table.raw.storage_descriptor[0].columns : column.name => column.comment
      if column.parameters == tomap({ personal = "true" })
      } == {
      client_ip  = "Where the request came from. Personal data"
      user_agent = "How the browser or program names itself. Personal data"
    }
    error_message = "Personal data must be marked, and nothing else: ${jsonencode(aws_glue_catalog_table.raw.storage_descriptor[0].columns)}"
  }

  assert {
    condition = jsonencode(aws_glue_catalog_table.raw.parameters) == jsonencode({
      "EXTERNAL"                       = "TRUE"
      "classification"                 = "json"
      "projection.arrival_date.format" = "yyyy-MM-dd"
      "projection.arrival_date.range"  = "2025-01-01,NOW"
      "projection.arrival_date.type"   = "date"
      "projection.enabled"             = "true"
      "storage.location.template"      = "s3://raw-bucket/events/arrival_date=$${arrival_date}/"
    })
    error_message = "Raw table: ${jsonencode(aws_glue_catalog_table.raw.parameters)}"
  }

  assert {
    condition     = aws_glue_catalog_table.raw.storage_descriptor[0].ser_de_info[0].serialization_library == "org.openx.data.jsonserde.JsonSerDe"
    error_message = "SerDe of the raw table."
  }

  assert {
    condition = (
      aws_glue_job.curate.glue_version == "5.1" && aws_glue_job.curate.worker_type == "G.1X"
      && aws_glue_job.curate.max_retries == 0 && aws_glue_job.curate.execution_property[0].max_concurrent_runs == 1
      && aws_glue_job.curate.command[0].name == "glueetl"
    )
    error_message = "Two runs at once, or an automatic retry, would write records twice."
  }

  assert {
    condition = jsonencode(aws_glue_job.curate.default_arguments) == jsonencode({
      "--address_form" = "truncated"
      "--aws_region"   = "us-east-1"
      "--conf" = join(" --conf ", [
        "spark.sql.extensions=org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.glue_catalog=org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.glue_catalog.catalog-impl=org.apache.iceberg.aws.glue.GlueCatalog",
        "spark.sql.catalog.glue_catalog.io-impl=org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.glue_catalog.warehouse=s3://curated-bucket/",
        "spark.sql.session.timeZone=UTC",
      ])
      "--custom-logGroup-prefix" = "/aws-glue/jobs/curate"
      "--database"               = "database"
      "--datalake-formats"       = "iceberg"
      "--job-bookmark-option"    = "job-bookmark-disable"
      "--max_ahead_s"            = "60"
      "--metric_namespace"       = "namespace"
      "--nobody_ids"             = "[\"0\",\"a, \\\"b\\\" é\"]"
      "--quarantine_metric"      = "quarantined"
      "--raw_path"               = "s3://raw-bucket/events/"
      "--totals_table"           = "totals"
    })
    error_message = "Arguments of the job: ${jsonencode(aws_glue_job.curate.default_arguments)}"
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement :
      statement.Sid => { actions = sort(flatten([statement.Action])), resources = sort(flatten([statement.Resource])) }
      }) == jsonencode({
      ListBuckets = {
        actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
        resources = ["arn:aws:s3:::curated-bucket", "arn:aws:s3:::raw-bucket"]
      }
      PutMetrics = {
        actions   = ["cloudwatch:PutMetricData"]
        resources = ["*"]
      }
      ReadRawObjects = {
        actions   = ["s3:GetObject"]
        resources = ["arn:aws:s3:::raw-bucket/events/*"]
      }
      ReadTotals = {
        actions   = ["dynamodb:Scan"]
        resources = ["arn:aws:dynamodb:us-east-1:123456789012:table/totals"]
      }
      ReadScript = {
        actions   = ["s3:GetObject"]
        resources = ["arn:aws:s3:::artifact-bucket/curate/package.txt"]
      }
      WriteCuratedObjects = {
        actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        resources = ["arn:aws:s3:::curated-bucket/*"]
      }
      WriteCuratedTables = {
        actions = ["glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"]
        resources = [
          "arn:aws:glue:us-east-1:123456789012:catalog",
          "arn:aws:glue:us-east-1:123456789012:database/database",
          "arn:aws:glue:us-east-1:123456789012:table/database/arrivals",
          "arn:aws:glue:us-east-1:123456789012:table/database/curated_events",
          "arn:aws:glue:us-east-1:123456789012:table/database/etl_runs",
          "arn:aws:glue:us-east-1:123456789012:table/database/quarantined_records",
        ]
      }
      WriteLogs = {
        actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = [
          "arn:aws:logs:us-east-1:123456789012:log-group:/aws-glue/jobs/curate/error:*",
          "arn:aws:logs:us-east-1:123456789012:log-group:/aws-glue/jobs/curate/output:*",
        ]
      }
    })
    error_message = "Policy of the job: ${module.role.policy}"
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement : statement.Sid => statement.Condition
      if can(statement.Condition)
    }) == jsonencode({ PutMetrics = { StringEquals = { "cloudwatch:namespace" = "namespace" } } })
    error_message = "Metrics may go into the project's namespace only: ${module.role.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(module.role.trust).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "glue.amazonaws.com" }
      Sid       = "AssumeAsCurateJob"
    }])
    error_message = "Trust of the job: ${module.role.trust}"
  }
}

run "raw_objects_expire_when_told" {
  command = plan

  module {
    source = "./modules/lake"
  }

  variables {
    raw_retention_days = 90
  }

  assert {
    condition = [
      for rule in aws_s3_bucket_lifecycle_configuration.lake["raw"].rule : [rule.expiration[0].days, rule.filter[0].prefix]
      if rule.id == "expire-raw-objects"
    ] == [[90, "events/"]]
    error_message = "Rules of the raw bucket: ${jsonencode(aws_s3_bucket_lifecycle_configuration.lake["raw"].rule)}"
  }

  assert {
    condition     = alltrue([for key in ["curated", "artifact"] : length(aws_s3_bucket_lifecycle_configuration.lake[key].rule) == 1])
    error_message = "Nothing but raw objects and query results may expire."
  }
}
