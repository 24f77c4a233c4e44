locals {
  # The application applies each group by its id: `table.<name>` to the table, `table.config` to the job, `values.<name>`
  # to the placeholders of that SQL file.
  property_groups = merge({
    "kinesis.analytics.flink.run.options" = {
      python  = "main.py"
      jarfile = "lib/pyflink-dependencies.jar"
    }
    "table.raw_events" = merge(local.kinesis, {
      "stream"              = var.raw_stream_name
      "scan.stream.initpos" = var.start_position
      # After a split or merge, the new shards' events must come before the others' make them late.
      "scan.shard.discovery.intervalmillis" = "1000"
      # A shard answers five reads a second, of all its consumers: this one, Firehose, the notebook. By default the
      # connector takes all five. https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
      "scan.shard.getrecords.intervalmillis" = "500"
    })
    "table.alerts"   = local.sink
    "table.unjudged" = local.sink
    "table.config" = {
      # How long rows wait for company at each exchange between two tasks, 100 ms by default. On its way to an alert an
      # event passes several (docs/detection.md).
      "execution.buffer-timeout.interval" = "20 ms"
    }
    },
    { for name, values in var.values : "values.${name}" => { for key, value in values : key => tostring(value) } },
  )

  # Where each value has its default: a line `-- <key>: <number>` of the file's header.
  sql = {
    for file in fileset(var.sql_folder, "**/*.sql") : trimsuffix(basename(file), ".sql") => file("${var.sql_folder}/${file}")
  }
  unknown_values = [
    for name, values in var.values : name
    if !alltrue([for key in keys(values) : can(regex("(?m)^-- ${key}: [0-9.]+$", lookup(local.sql, name, "")))])
  ]

  sink = merge(local.kinesis, var.alert_sink_options, { "stream" = var.alert_stream_name })

  # Times are whole seconds, of as many digits as the intervals have that they stand in; `_before` is one less. The
  # application itself checks the same (values() in src/detector/main.py), and what values must fit each other.
  most_seconds = {
    for name, values in var.values : name => {
      for key in keys(values) : key => min(999999999, [
        for use in regexall("interval '[$][{]${key}(_before)?[}]' second[(]([0-9])[)]", lookup(local.sql, name, "")) :
        pow(10, tonumber(use[1])) - (use[0] == null ? 1 : 0)
      ]...)
    }
  }
  unfit_values = flatten([
    for name, values in var.values : [
      for key, value in values : "${name}.${key} = ${value}"
      if(key == "threshold" || endswith(key, "_s")) && (
        floor(value) != value
        || value < (contains(["threshold", "quiet_s", "max_ahead_s"], key) ? 0 : 1)
        || value > (key == "threshold" ? 2147483646 : local.most_seconds[name][key])
      )
    ]
  ])

  kinesis = merge(
    { "aws.region" = var.region },
    var.kinesis_endpoint == null ? {} : { "aws.endpoint" = var.kinesis_endpoint },
  )

  code_sha256 = filesha256(var.package)

  log_group     = "/aws/kinesis-analytics/${var.name}"
  log_stream    = "application"
  logs_arn      = "arn:${var.partition}:logs:${var.region}:${var.account_id}"
  log_group_arn = "${local.logs_arn}:log-group:${local.log_group}"
}

resource "aws_kinesisanalyticsv2_application" "detector" {
  name                   = var.name
  description            = "Finds bots in stream 1 and reports them to stream 2." # a change would replace the application
  runtime_environment    = "FLINK-1_20"
  service_execution_role = module.role.arn # with its policy: it reads its code when created, its streams when it starts
  start_application      = var.start

  application_configuration {
    application_code_configuration {
      code_content_type = "ZIPFILE"

      code_content {
        s3_content_location {
          bucket_arn = var.artifact_bucket_arn
          file_key   = aws_s3_object.code.key
        }
      }
    }

    application_snapshot_configuration {
      snapshots_enabled = true
    }

    environment_properties {
      dynamic "property_group" {
        for_each = local.property_groups

        content {
          property_group_id = property_group.key
          property_map      = property_group.value
        }
      }
    }

    flink_application_configuration {
      checkpoint_configuration {
        configuration_type            = "CUSTOM"
        checkpointing_enabled         = true
        checkpoint_interval           = var.checkpoint_interval_ms
        min_pause_between_checkpoints = min(var.checkpoint_interval_ms, 5000)
      }

      # Has records in and out, lag and watermark already (docs/architecture.md); finer levels cost more.
      monitoring_configuration {
        configuration_type = "CUSTOM"
        log_level          = "INFO"
        metrics_level      = "APPLICATION"
      }

      # One subtask per shard: a subtask has one watermark, so with two shards on it a backlog in one makes the other's
      # events late, and their bursts are lost in silence. Autoscaling would break this.
      parallelism_configuration {
        configuration_type   = "CUSTOM"
        auto_scaling_enabled = false
        parallelism          = var.shard_count
        parallelism_per_kpu  = 1
      }
    }
  }

  cloudwatch_logging_options {
    log_stream_arn = aws_cloudwatch_log_stream.detector.arn
  }

  lifecycle {
    precondition {
      condition     = length(local.unknown_values) == 0
      error_message = "The variable detection sets what the SQL does not know, for ${join(", ", local.unknown_values)}: give names of files in sql/detection, and of the numbers in their headers."
    }

    precondition {
      condition     = length(local.unfit_values) == 0
      error_message = "The variable detection sets what the SQL cannot take: ${join(", ", local.unfit_values)}. Thresholds and times (_s) are whole numbers; times are 1 s or more, quiet_s and max_ahead_s 0 or more, and those in an interval 999 s at most (a rule's own window 1000)."
    }
  }
}

# The key holds the content's hash: new code is a new object, which makes the application deploy it, and the old one
# stays until then.
resource "aws_s3_object" "code" {
  bucket = var.artifact_bucket_name
  key    = "detector/${local.code_sha256}.zip"
  source = var.package

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "detector" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_stream" "detector" {
  name           = local.log_stream
  log_group_name = aws_cloudwatch_log_group.detector.name
}

module "role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = var.name
  service     = "kinesisanalytics.amazonaws.com"
  assume_sid  = "AssumeAsDetector"
  policy_name = "detector"
  policy      = data.aws_iam_policy_document.detector.json
}

# Deployed before the role became a module: Terraform keeps what is there.
moved {
  from = aws_iam_role.detector
  to   = module.role.aws_iam_role.service
}

moved {
  from = aws_iam_role_policy.detector
  to   = module.role.aws_iam_role_policy.service
}

# https://docs.aws.amazon.com/managed-flink/latest/java/examples-gs-scala-create-run-cli.html
data "aws_iam_policy_document" "detector" {
  statement {
    sid       = "ReadCode"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.artifact_bucket_arn}/detector/*"]
  }

  statement {
    sid       = "ReadRawStream"
    actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
    resources = [var.raw_stream_arn]
  }

  statement {
    sid       = "WriteAlertStream"
    actions   = ["kinesis:PutRecords"]
    resources = [var.alert_stream_arn]
  }

  # Managed Flink looks its log group up by listing.
  statement {
    sid       = "ListLogGroups"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["${local.logs_arn}:log-group:*"]
  }

  statement {
    sid       = "ListLogStreams"
    actions   = ["logs:DescribeLogStreams"]
    resources = ["${local.log_group_arn}:log-stream:*"]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:PutLogEvents"]
    resources = ["${local.log_group_arn}:log-stream:${local.log_stream}"]
  }
}
