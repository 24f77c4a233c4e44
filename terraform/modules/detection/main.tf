locals {
  # What src/detector/job.py reads: `source`, `alerts` and `unjudged` are options of the connector, `values.<name>` the
  # parameters of that rule or part, `nobody` the user ids that mean nobody, `allowed_crawlers` the crawlers that may.
  property_groups = merge({
    "kinesis.analytics.flink.run.options" = {
      python  = "main.py"
      jarfile = "lib/pyflink-dependencies.jar"
    }
    "source" = merge(local.kinesis, {
      "stream"               = var.raw_stream_name
      "flink.stream.initpos" = var.start_position
      # After a split or merge the new shards must be found soon.
      "flink.shard.discovery.intervalmillis" = "1000"
      # A shard answers five reads a second for all consumers: this one, Firehose and the notebook. By default the
      # connector uses all five. https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
      "flink.shard.getrecords.intervalmillis" = "500"
    })
    "alerts"   = local.sink
    "unjudged" = local.sink
    "nobody"   = { for number, id in var.nobody_ids : tostring(number) => id }
    },
    length(var.allowed_crawlers) > 0 ? {
      "allowed_crawlers" = { for number, name in var.allowed_crawlers : tostring(number) => name }
    } : {},
    { for name, values in var.values : "values.${name}" => { for key, value in values : key => tostring(value) } },
  )

  # The parameters of each rule and of each other statement, from the YAML beside its SQL: type, default, limits.
  rule_files  = fileset(var.sql_folder, "rules/*/rule.yaml")
  other_files = fileset(var.sql_folder, "*.yaml")
  parameters = merge(
    { for file in local.rule_files : basename(dirname(file)) => lookup(yamldecode(file("${var.sql_folder}/${file}")), "parameters", {}) },
    { for file in local.other_files : trimsuffix(basename(file), ".yaml") => lookup(yamldecode(file("${var.sql_folder}/${file}")), "parameters", {}) },
  )

  unknown_values = flatten([
    for name, values in var.values : [
      for key in keys(values) : "${name}.${key} (known: ${
        length(lookup(local.parameters, name, {})) > 0
        ? "${name}.${join(", ${name}.", keys(local.parameters[name]))}"
        : join(", ", [for name, parameters in local.parameters : name if length(parameters) > 0])
      })" if !can(local.parameters[name][key])
    ]
  ])

  # The application checks the same before its job starts (src/detector/values.py).
  invalid_values = flatten([
    for name, values in var.values : [
      for key, value in values : "${name}.${key} = ${value} (allowed: ${
        local.parameters[name][key].type == "integer" ? "a whole number" : "a number"
        } ${
        can(local.parameters[name][key].maximum)
        ? "from ${local.parameters[name][key].minimum} to ${local.parameters[name][key].maximum}"
        : "of ${local.parameters[name][key].minimum} or more"
      }, ${local.parameters[name][key].unit})"
      if can(local.parameters[name][key]) && try(
        local.parameters[name][key].type == "integer" && floor(value) != value
        || value < local.parameters[name][key].minimum
        || value > try(local.parameters[name][key].maximum, value),
        false
      )
    ]
  ])

  # Values that must fit each other. Those that are invalid by themselves are named above.
  resolved = {
    for name, parameters in local.parameters : name => {
      for key, parameter in parameters : key => try(var.values[name][key], parameter.default)
    }
  }
  unfit_values = flatten([
    for name, parameters in local.parameters : [
      for key, parameter in parameters :
      "${name}.${key} = ${local.resolved[name][key]} (allowed: at least ${join(" + ", parameter.at_least_sum_of)}, which is ${join(" + ", [for part in parameter.at_least_sum_of : local.resolved[name][part]])})"
      if try(local.resolved[name][key] < sum([for part in parameter.at_least_sum_of : local.resolved[name][part]]), false)
    ] if length(local.invalid_values) == 0
  ])

  sink = merge(local.kinesis, var.alert_sink_options, { "stream" = var.alert_stream_name })

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

    # From the latest snapshot, with all of its state: every operator has an id of its own, and none belongs to a rule. If
    # state could not be restored, that would be a mistake, which must not go by unseen.
    run_configuration {
      application_restore_configuration {
        application_restore_type = "RESTORE_FROM_LATEST_SNAPSHOT"
      }

      flink_run_configuration {
        allow_non_restored_state = false
      }
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

      # Includes records in and out, lag and watermark (docs/architecture.md). Finer levels cost more.
      monitoring_configuration {
        configuration_type = "CUSTOM"
        log_level          = "INFO"
        metrics_level      = "APPLICATION"
      }

      # One subtask per shard: more would find no shard to read. The connector keeps a watermark for each shard, so a
      # stream that was resharded loses nothing, whatever the parallelism.
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
      error_message = "The variable detection sets unknown values: ${join("; ", local.unknown_values)}. Correct the names, or see the parameters in the YAML files of sql/detection."
    }

    precondition {
      condition     = length(concat(local.invalid_values, local.unfit_values)) == 0
      error_message = "The variable detection sets invalid values: ${join("; ", concat(local.invalid_values, local.unfit_values))}. Set allowed ones."
    }

    precondition {
      condition     = length(setsubtract(var.allowed_crawlers, var.known_crawlers)) == 0
      error_message = "The variable allowed_crawlers has unknown names: ${join(", ", setsubtract(var.allowed_crawlers, var.known_crawlers))}. Allowed are the names in the first column of src/detector/src/main/resources/shopstream/crawlers.tsv, such as Googlebot."
    }
  }
}

# The key contains the hash of the zip: new code is a new object, so the application is updated, and the old object stays
# until then.
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

  # Managed Flink lists log groups to find its own.
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
