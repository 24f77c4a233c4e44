# The detector as Managed Flink gets it.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id             = "123456789012"
  partition              = "aws"
  region                 = "us-east-1"
  name                   = "detector"
  package                = "tests/fixtures/package.txt"
  artifact_bucket_name   = "artifact-bucket"
  artifact_bucket_arn    = "arn:aws:s3:::artifact-bucket"
  raw_stream_name        = "raw-stream"
  raw_stream_arn         = "arn:aws:kinesis:us-east-1:123456789012:stream/raw-stream"
  shard_count            = 3
  alert_stream_name      = "alert-stream"
  alert_stream_arn       = "arn:aws:kinesis:us-east-1:123456789012:stream/alert-stream"
  kinesis_endpoint       = null
  start                  = true
  start_position         = "TRIM_HORIZON"
  checkpoint_interval_ms = 60000
  alert_sink_options     = { "buffer_ms" = "200" }
  nobody_ids             = ["0", "guest"]
  allowed_crawlers       = ["Googlebot"]
  known_crawlers         = ["Googlebot", "bingbot"]
  values                 = { burst = { threshold = 8 }, source = { max_ahead_s = 30 } }
  sql_folder             = "../sql/detection"
  log_retention_days     = 14
}

run "detection" {
  command = plan

  module {
    source = "./modules/detection"
  }

  assert {
    condition = jsonencode({
      for group in aws_kinesisanalyticsv2_application.detector.application_configuration[0].environment_properties[0].property_group :
      group.property_group_id => group.property_map
      }) == jsonencode({
      "alerts"                              = { "aws.region" = "us-east-1", "buffer_ms" = "200", stream = "alert-stream" }
      "allowed_crawlers"                    = { "0" = "Googlebot" }
      "kinesis.analytics.flink.run.options" = { jarfile = "lib/pyflink-dependencies.jar", python = "main.py" }
      "nobody"                              = { "0" = "0", "1" = "guest" }
      "source" = {
        "aws.region"                            = "us-east-1"
        "flink.shard.discovery.intervalmillis"  = "1000"
        "flink.shard.getrecords.intervalmillis" = "500"
        "flink.stream.initpos"                  = "TRIM_HORIZON"
        stream                                  = "raw-stream"
      }
      "unjudged"      = { "aws.region" = "us-east-1", "buffer_ms" = "200", stream = "alert-stream" }
      "values.burst"  = { threshold = "8" }
      "values.source" = { max_ahead_s = "30" }
    })
    error_message = "Property groups: ${jsonencode(local.property_groups)}"
  }

  assert {
    condition = (
      aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].parallelism_configuration[0].parallelism == var.shard_count
      && aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].parallelism_configuration[0].parallelism_per_kpu == 1
      && aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].parallelism_configuration[0].auto_scaling_enabled == false
    )
    error_message = "There must be as many subtasks as shards, and no autoscaling."
  }

  assert {
    condition = (
      aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].checkpoint_configuration[0].checkpointing_enabled
      && aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].checkpoint_configuration[0].checkpoint_interval == 60000
      && aws_kinesisanalyticsv2_application.detector.application_configuration[0].application_snapshot_configuration[0].snapshots_enabled
    )
    error_message = "Checkpoints and snapshots must be on."
  }

  assert {
    condition     = aws_kinesisanalyticsv2_application.detector.runtime_environment == "FLINK-1_20"
    error_message = "Runtime: ${aws_kinesisanalyticsv2_application.detector.runtime_environment}"
  }

  assert {
    condition = (
      aws_s3_object.code.key == "detector/${filesha256(var.package)}.zip"
      && aws_kinesisanalyticsv2_application.detector.application_configuration[0].application_code_configuration[0].code_content[0].s3_content_location[0].file_key == aws_s3_object.code.key
    )
    error_message = "New code must be a new key, or the application keeps the old code."
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement :
      statement.Sid => { actions = sort(flatten([statement.Action])), resources = sort(flatten([statement.Resource])) }
      }) == jsonencode({
      ListLogGroups = {
        actions   = ["logs:DescribeLogGroups"]
        resources = ["arn:aws:logs:us-east-1:123456789012:log-group:*"]
      }
      ListLogStreams = {
        actions   = ["logs:DescribeLogStreams"]
        resources = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/kinesis-analytics/detector:log-stream:*"]
      }
      ReadCode = {
        actions   = ["s3:GetObject", "s3:GetObjectVersion"]
        resources = ["arn:aws:s3:::artifact-bucket/detector/*"]
      }
      ReadRawStream = {
        actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        resources = ["arn:aws:kinesis:us-east-1:123456789012:stream/raw-stream"]
      }
      WriteAlertStream = {
        actions   = ["kinesis:PutRecords"]
        resources = ["arn:aws:kinesis:us-east-1:123456789012:stream/alert-stream"]
      }
      WriteLogs = {
        actions   = ["logs:PutLogEvents"]
        resources = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/kinesis-analytics/detector:log-stream:application"]
      }
    })
    error_message = "Policy of the detector: ${module.role.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(module.role.trust).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "kinesisanalytics.amazonaws.com" }
      Sid       = "AssumeAsDetector"
    }])
    error_message = "Trust of the detector: ${module.role.trust}"
  }
}

run "endpoint_and_window_are_values" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    kinesis_endpoint   = "https://vpce-1.kinesis.us-east-1.vpce.amazonaws.com"
    alert_sink_options = { "aws.http.protocol.version" = "HTTP1_1" }
    values             = {}
  }

  assert {
    condition = (
      local.property_groups["source"]["aws.endpoint"] == var.kinesis_endpoint
      && local.property_groups["alerts"]["aws.endpoint"] == var.kinesis_endpoint
      && local.property_groups["alerts"]["aws.http.protocol.version"] == "HTTP1_1"
      && local.property_groups["unjudged"] == local.property_groups["alerts"]
    )
    error_message = "Source and sinks need the endpoint, the sinks their options."
  }

  assert {
    condition     = !anytrue([for name in keys(local.property_groups) : startswith(name, "values.")])
    error_message = "The defaults are in the rulebook alone: ${jsonencode(local.property_groups)}"
  }
}

run "an_unknown_rule_is_invalid" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    values = { brust = { threshold = 8 } }
  }

  expect_failures = [aws_kinesisanalyticsv2_application.detector]

  assert {
    condition = (
      length(local.unknown_values) == 1 && startswith(local.unknown_values[0], "brust.threshold (known: alerts, burst, ")
    )
    error_message = "Unknown: ${jsonencode(local.unknown_values)}"
  }
}

run "an_unknown_parameter_is_invalid" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    values = { burst = { treshold = 8 } }
  }

  expect_failures = [aws_kinesisanalyticsv2_application.detector]

  assert {
    condition     = local.unknown_values == ["burst.treshold (known: burst.threshold, burst.window_s)"]
    error_message = "Unknown: ${jsonencode(local.unknown_values)}"
  }
}

run "allowed_values" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    values = {
      alerts     = { quiet_s = 0 }
      burst      = { threshold = 0, window_s = 1000 }
      site_surge = { factor = 2.5, baseline_s = 1000 }
      source     = { max_ahead_s = 2678400 }
      unjudged   = { step_s = 1 }
      scraper    = { window_s = 3600 }
    }
  }

  assert {
    condition     = concat(local.unknown_values, local.invalid_values, local.unfit_values) == []
    error_message = "Invalid: ${jsonencode(concat(local.unknown_values, local.invalid_values, local.unfit_values))}"
  }
}

run "values_beyond_their_limits_are_invalid" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    values = {
      alerts     = { quiet_s = -1 }
      burst      = { threshold = 5.5, window_s = 10.5 }
      scraper    = { window_s = 0 }
      site_surge = { factor = -1, least_baseline_s = 0, window_s = 3601 }
      source     = { max_ahead_s = 1000000000 }
    }
  }

  expect_failures = [aws_kinesisanalyticsv2_application.detector]

  assert {
    condition = local.invalid_values == [
      "alerts.quiet_s = -1 (allowed: a whole number from 0 to 86400, seconds)",
      "burst.threshold = 5.5 (allowed: a whole number from 0 to 999, actions)",
      "burst.window_s = 10.5 (allowed: a whole number from 1 to 3600, seconds)",
      "scraper.window_s = 0 (allowed: a whole number from 1 to 3600, seconds)",
      "site_surge.factor = -1 (allowed: a number of 0 or more, times the usual rate)",
      "site_surge.least_baseline_s = 0 (allowed: a whole number from 1 to 999999999, seconds)",
      "site_surge.window_s = 3601 (allowed: a whole number from 1 to 3600, seconds)",
      "source.max_ahead_s = 1000000000 (allowed: a whole number from 0 to 999999999, seconds)",
    ]
    error_message = "Invalid: ${jsonencode(local.invalid_values)}"
  }
}

run "values_that_do_not_fit_each_other_are_invalid" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    values = {
      site_surge = { baseline_s = 69 }
    }
  }

  expect_failures = [aws_kinesisanalyticsv2_application.detector]

  assert {
    condition = local.unfit_values == [
      "site_surge.baseline_s = 69 (allowed: at least window_s + least_baseline_s, which is 10 + 60)",
    ]
    error_message = "Invalid: ${jsonencode(local.unfit_values)}"
  }
}

run "unknown_crawlers" {
  command = plan

  module {
    source = "./modules/detection"
  }

  variables {
    allowed_crawlers = ["Googlebot", "googlebot"]
  }

  expect_failures = [aws_kinesisanalyticsv2_application.detector]
}
