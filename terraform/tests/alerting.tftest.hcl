# From stream 2 to incident, metric and notice.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id              = "123456789012"
  partition               = "aws"
  region                  = "us-east-1"
  function_name           = "alert"
  package                 = "tests/fixtures/package.txt"
  alert_stream_arn        = "arn:aws:kinesis:us-east-1:123456789012:stream/alert-stream"
  batch_size              = 100
  batch_window_s          = 1
  maximum_retry_attempts  = -1
  maximum_record_age_s    = 43200
  parallelization_factor  = 1
  failure_queue_name      = "failures"
  incident_table_name     = "incidents"
  totals_table_name       = "totals"
  incident_topic_name     = "notices"
  incident_quiet_s        = 300
  incident_retention_days = 30
  metric_namespace        = "namespace"
  metric_name             = "metric"
  unjudged_metric_name    = "unjudged"
  alert_emails            = ["ann@example.org", "bob@example.org"]
  enable_alarms           = true
  ops_emails              = ["eve@example.org"]
  point_in_time_recovery  = true
  deletion_protection     = false
  log_retention_days      = 14
}

run "alerting" {
  command = plan

  module {
    source = "./modules/alerting"
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.alerts.event_source_arn == var.alert_stream_arn
      && aws_lambda_event_source_mapping.alerts.starting_position == "TRIM_HORIZON"
      && aws_lambda_event_source_mapping.alerts.batch_size == 100
      && aws_lambda_event_source_mapping.alerts.maximum_batching_window_in_seconds == 1
      && aws_lambda_event_source_mapping.alerts.parallelization_factor == 1
    )
    error_message = "The mapping must read stream 2 from the oldest alert on, in small batches."
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.alerts.function_response_types == toset(["ReportBatchItemFailures"])
      && aws_lambda_event_source_mapping.alerts.bisect_batch_on_function_error
      && aws_lambda_event_source_mapping.alerts.maximum_retry_attempts == -1
      && aws_lambda_event_source_mapping.alerts.maximum_record_age_in_seconds == 43200
      && aws_lambda_event_source_mapping.alerts.destination_config[0].on_failure[0].destination_arn == "arn:aws:sqs:us-east-1:123456789012:failures"
    )
    error_message = "A failing alert must neither block stream 2 nor be lost."
  }

  assert {
    condition = (
      aws_lambda_function.alert.handler == "lambda_alert.handler.handle"
      && aws_lambda_function.alert.runtime == "python3.13"
      && aws_lambda_function.alert.timeout == 60 # below LEASE_S in src/lambda_alert/store.py
      && aws_lambda_function.alert.architectures == tolist(["x86_64"])
      && aws_lambda_function.alert.source_code_hash == filebase64sha256(var.package)
    )
    error_message = "Function settings."
  }

  assert {
    condition = (
      aws_dynamodb_table.incidents.billing_mode == "PAY_PER_REQUEST"
      && aws_dynamodb_table.incidents.hash_key == "ddb_partition_key"
      && aws_dynamodb_table.incidents.range_key == "ddb_sort_key"
      && [for ttl in aws_dynamodb_table.incidents.ttl : [ttl.attribute_name, ttl.enabled]] == [["expires_at", true]]
      && [for recovery in aws_dynamodb_table.incidents.point_in_time_recovery : recovery.enabled] == [true]
    )
    error_message = "Table settings."
  }

  assert {
    condition = (
      aws_dynamodb_table.totals.billing_mode == "PAY_PER_REQUEST"
      && aws_dynamodb_table.totals.hash_key == "day"
      && aws_dynamodb_table.totals.range_key == "outcome"
      && [for ttl in aws_dynamodb_table.totals.ttl : [ttl.attribute_name, ttl.enabled]] == [["expires_at", true]]
      && [for recovery in aws_dynamodb_table.totals.point_in_time_recovery : recovery.enabled] == [true]
    )
    error_message = "Settings of the table of totals."
  }

  assert {
    condition = {
      for index in aws_dynamodb_table.incidents.global_secondary_index : index.name => [index.hash_key, index.range_key]
    } == { incident = ["incident_id", "ddb_sort_key"], open = ["open", "opened_at"] }
    error_message = "Indexes of the table."
  }

  assert {
    condition = (
      aws_scheduler_schedule.sweep.schedule_expression == "rate(1 minute)"
      && jsondecode(aws_scheduler_schedule.sweep.target[0].input) == { sweep = true }
    )
    error_message = "The sweep must come each minute."
  }

  assert {
    condition = [for statement in jsondecode(module.sweep_role.policy).Statement : [statement.Action, statement.Resource]] == [
      ["lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:alert"]
    ]
    error_message = "Policy of the sweep: ${module.sweep_role.policy}"
  }

  assert {
    condition = (
      toset(keys(aws_cloudwatch_metric_alarm.alert)) == toset(["errors", "throttles", "iterator-age", "failure-queue", "oldest-due", "no-sweep"])
      && [for mail in aws_sns_topic_subscription.ops : mail.endpoint] == ["eve@example.org"]
      && aws_cloudwatch_metric_alarm.alert["no-sweep"].treat_missing_data == "breaching"
    )
    error_message = "Alarms."
  }

  assert {
    condition = [
      for statement in jsondecode(data.aws_iam_policy_document.ops_key.json).Statement : statement.Principal
      if statement.Sid == "EncryptAlarms"
    ] == [{ Service = "cloudwatch.amazonaws.com" }]
    error_message = "CloudWatch must be able to publish to the topic of alarms."
  }

  assert {
    condition     = aws_sqs_queue.failures.sqs_managed_sse_enabled && aws_sns_topic.incidents.kms_master_key_id == "alias/aws/sns"
    error_message = "Queue and topic must be encrypted."
  }

  assert {
    condition     = [for mail in aws_sns_topic_subscription.emails : [mail.protocol, mail.endpoint]] == [["email", "ann@example.org"], ["email", "bob@example.org"]]
    error_message = "One subscription for each address."
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement :
      statement.Sid => { actions = sort(flatten([statement.Action])), resources = sort(flatten([statement.Resource])) }
      }) == jsonencode({
      FindOpenIncidents = {
        actions   = ["dynamodb:Query"]
        resources = ["arn:aws:dynamodb:us-east-1:123456789012:table/incidents/index/open"]
      }
      KeepIncidents = {
        actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        resources = ["arn:aws:dynamodb:us-east-1:123456789012:table/incidents"]
      }
      ReadAlertStream = {
        actions   = ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        resources = ["arn:aws:kinesis:us-east-1:123456789012:stream/alert-stream"]
      }
      SendFailures = {
        actions   = ["sqs:SendMessage"]
        resources = ["arn:aws:sqs:us-east-1:123456789012:failures"]
      }
      SendNotices = {
        actions   = ["sns:Publish"]
        resources = ["arn:aws:sns:us-east-1:123456789012:notices"]
      }
      WriteLogs = {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/alert:*"]
      }
      WriteTotals = {
        actions   = ["dynamodb:PutItem"]
        resources = ["arn:aws:dynamodb:us-east-1:123456789012:table/totals"]
      }
    })
    error_message = "Policy of the alert function: ${module.role.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(module.role.trust).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Sid       = "AssumeAsAlertFunction"
    }])
    error_message = "Trust of the alert function: ${module.role.trust}"
  }
}

run "alarms_can_be_left_out" {
  command = plan

  module {
    source = "./modules/alerting"
  }

  variables {
    enable_alarms = false
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alert == {} && length(aws_sns_topic.ops) == 0 && length(aws_kms_key.ops) == 0
    error_message = "Without alarms there is neither a topic nor a key for them."
  }
}
