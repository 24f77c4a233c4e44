# The root module: names, ARNs, and which module gets which. All offline: the keys are fake, and nothing is applied.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  detector_package       = "tests/fixtures/package.txt"
  alert_function_package = "tests/fixtures/package.txt"
  curate_script          = "tests/fixtures/package.txt"
}

run "tutorial_names_by_default" {
  command = plan

  assert {
    condition = [
      output.raw_stream_name, output.alert_stream_name, output.delivery_stream_name, output.database, output.raw_table,
      output.curate_job_name, output.detector_name, output.alert_function_name, output.alert_function_log_group,
      output.incident_table_name, output.metric_namespace, output.metric_name, output.workgroup_name, output.region,
      output.studio_name, local.studio_database,
      output.unjudged_metric_name, output.quarantine_metric_name, output.totals_table_name,
      ] == [
      "ecommerce-raw-user-activity-stream-1", "ecommerce-raw-user-activity-stream-2", "ecommerce-raw-delivery-stream-1",
      "my_db_ecomm", "raw_events", "ecomm-curate-events", "ecomm-streaming-app-v1-detector", "ecomm-detect-high-event-volume",
      "/aws/lambda/ecomm-detect-high-event-volume", "ddb-ecommerce-tab-1", "ecommerce-namespace-1",
      "ecomm-user-high-volume-events", "ecommerce-insights", "us-east-1",
      "ecomm-streaming-app-v1", "my_db_ecomm_studio",
      "ecomm-unjudged-events", "ecomm-quarantined-records", "ecomm-event-totals",
    ]
    error_message = "The default names must be those of the tutorial."
  }

  assert {
    condition = [output.raw_bucket, output.curated_bucket, output.artifact_bucket, output.result_bucket] == [
      "ecommerce-raw-123456789012-us-east-1", "ecommerce-curated-123456789012-us-east-1",
      "ecommerce-artifact-123456789012-us-east-1", "ecommerce-result-123456789012-us-east-1",
    ]
    error_message = "Bucket names must end with account and region."
  }

  assert {
    condition = jsonencode(local.stream_arns) == jsonencode({
      raw   = "arn:aws:kinesis:us-east-1:123456789012:stream/ecommerce-raw-user-activity-stream-1"
      alert = "arn:aws:kinesis:us-east-1:123456789012:stream/ecommerce-raw-user-activity-stream-2"
    })
    error_message = "Stream ARNs: ${jsonencode(local.stream_arns)}"
  }

  assert {
    condition     = local.bucket_arns.raw == "arn:aws:s3:::ecommerce-raw-123456789012-us-east-1"
    error_message = "Raw bucket ARN: ${local.bucket_arns.raw}"
  }

  assert {
    condition     = local.names.studio != local.names.detector && local.studio_database != local.database
    error_message = "Managed Flink accepts a name only once, and the notebook's tables must not replace the lake's."
  }
}

run "prefix_before_every_name" {
  command = plan

  variables {
    prefix = "test-"
    names  = { detector = "bot-finder" }
  }

  assert {
    condition     = alltrue([for key, name in local.names : startswith(name, "test-")])
    error_message = "Names without prefix: ${jsonencode(local.names)}"
  }

  assert {
    condition     = output.detector_name == "test-bot-finder" && output.raw_stream_name == "test-ecommerce-raw-user-activity-stream-1"
    error_message = "One changed name must leave the others as they are."
  }

  assert {
    condition     = output.raw_bucket == "test-ecommerce-raw-123456789012-us-east-1"
    error_message = "Raw bucket: ${output.raw_bucket}"
  }

  assert {
    condition     = output.database == "test_my_db_ecomm"
    error_message = "Iceberg's catalog for Glue accepts no hyphens: ${output.database}"
  }
}

run "each_component_gets_its_own" {
  command = plan

  variables {
    raw_stream_shard_count   = 3
    alert_stream_shard_count = 1
  }

  assert {
    condition     = module.detection.parallelism == 3
    error_message = "The detector needs one subtask per shard of stream 1, and has ${module.detection.parallelism}."
  }

  assert {
    condition = jsonencode([
      for policy in [module.ingest.policy, module.detection.policy, module.alerting.policy, module.lake.policy] : {
        for statement in jsondecode(policy).Statement : statement.Sid => sort(flatten([statement.Resource])) if statement.Sid != "WriteLogs"
      }
      ]) == jsonencode([
      {
        FindRawBucket   = ["arn:aws:s3:::ecommerce-raw-123456789012-us-east-1"]
        ReadRawStream   = [local.stream_arns.raw]
        WriteRawObjects = ["arn:aws:s3:::ecommerce-raw-123456789012-us-east-1/errors/*", "arn:aws:s3:::ecommerce-raw-123456789012-us-east-1/events/*"]
      },
      {
        ListLogGroups    = ["arn:aws:logs:us-east-1:123456789012:log-group:*"]
        ListLogStreams   = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/kinesis-analytics/ecomm-streaming-app-v1-detector:log-stream:*"]
        ReadCode         = ["arn:aws:s3:::ecommerce-artifact-123456789012-us-east-1/detector/*"]
        ReadRawStream    = [local.stream_arns.raw]
        WriteAlertStream = [local.stream_arns.alert]
      },
      {
        FindOpenIncidents = ["arn:aws:dynamodb:us-east-1:123456789012:table/ddb-ecommerce-tab-1/index/open"]
        KeepIncidents     = ["arn:aws:dynamodb:us-east-1:123456789012:table/ddb-ecommerce-tab-1"]
        ReadAlertStream   = [local.stream_arns.alert]
        SendFailures      = ["arn:aws:sqs:us-east-1:123456789012:ecomm-alert-failures"]
        SendNotices       = ["arn:aws:sns:us-east-1:123456789012:ecomm-user-high-severity-incidents"]
        WriteTotals       = ["arn:aws:dynamodb:us-east-1:123456789012:table/ecomm-event-totals"]
      },
      {
        ListBuckets         = ["arn:aws:s3:::ecommerce-curated-123456789012-us-east-1", "arn:aws:s3:::ecommerce-raw-123456789012-us-east-1"]
        PutMetrics          = ["*"]
        ReadRawObjects      = ["arn:aws:s3:::ecommerce-raw-123456789012-us-east-1/events/*"]
        ReadScript          = ["arn:aws:s3:::ecommerce-artifact-123456789012-us-east-1/curate/package.txt"]
        ReadTotals          = ["arn:aws:dynamodb:us-east-1:123456789012:table/ecomm-event-totals"]
        WriteCuratedObjects = ["arn:aws:s3:::ecommerce-curated-123456789012-us-east-1/*"]
        WriteCuratedTables = [
          "arn:aws:glue:us-east-1:123456789012:catalog",
          "arn:aws:glue:us-east-1:123456789012:database/my_db_ecomm",
          "arn:aws:glue:us-east-1:123456789012:table/my_db_ecomm/arrivals",
          "arn:aws:glue:us-east-1:123456789012:table/my_db_ecomm/curated_events",
          "arn:aws:glue:us-east-1:123456789012:table/my_db_ecomm/etl_runs",
          "arn:aws:glue:us-east-1:123456789012:table/my_db_ecomm/quarantined_records",
        ]
      },
    ])
    error_message = "A component may use the resources of another one: ${jsonencode([module.ingest.policy, module.detection.policy, module.alerting.policy, module.lake.policy])}"
  }
}

run "studio_gets_the_streams_and_a_database_of_its_own" {
  command = plan

  assert {
    condition = jsonencode({
      for statement in jsondecode(one(module.studio[*].policy)).Statement :
      statement.Sid => sort(flatten([statement.Resource])) if contains(["ReadStreams", "WriteAlertStream", "WriteTables"], statement.Sid)
      }) == jsonencode({
      ReadStreams      = [local.stream_arns.raw, local.stream_arns.alert]
      WriteAlertStream = [local.stream_arns.alert]
      WriteTables = [
        "arn:aws:glue:us-east-1:123456789012:catalog",
        "arn:aws:glue:us-east-1:123456789012:database/my_db_ecomm_studio",
        "arn:aws:glue:us-east-1:123456789012:table/my_db_ecomm_studio/*",
      ]
    })
    error_message = "The notebook may use the resources of another component: ${one(module.studio[*].policy)}"
  }

  assert {
    condition     = output.studio_note == "s3://ecommerce-artifact-123456789012-us-east-1/notebooks/sql-flink-ecomm-notebook-1.zpln"
    error_message = "Note: ${output.studio_note}"
  }
}

run "studio_can_be_left_out" {
  command = plan

  variables {
    enable_studio = false
  }

  assert {
    condition     = length(module.studio) == 0 && output.studio_name == null && output.studio_note == null
    error_message = "Without enable_studio nothing of the notebook may be created."
  }
}

run "prefix_must_fit_bucket_names" {
  command = plan

  variables {
    prefix = "Test"
  }

  expect_failures = [var.prefix]
}
