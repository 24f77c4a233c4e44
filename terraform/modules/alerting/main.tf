locals {
  account_arn = {
    for service in ["dynamodb", "lambda", "logs", "sns", "sqs"] :
    service => "arn:${var.partition}:${service}:${var.region}:${var.account_id}"
  }

  log_group         = "/aws/lambda/${var.function_name}"
  failure_queue_arn = "${local.account_arn.sqs}:${var.failure_queue_name}"
}

resource "aws_lambda_event_source_mapping" "alerts" {
  function_name     = aws_lambda_function.alert.arn
  event_source_arn  = var.alert_stream_arn
  starting_position = "TRIM_HORIZON"

  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_window_s
  parallelization_factor             = var.parallelization_factor

  # One failing alert must not delay or repeat the others: the function names it, and when it is too old or after the last
  # retry, its position goes to the failure queue.
  function_response_types        = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error = true
  maximum_retry_attempts         = var.maximum_retry_attempts
  maximum_record_age_in_seconds  = var.maximum_record_age_s

  destination_config {
    on_failure {
      destination_arn = local.failure_queue_arn
    }
  }

  # Lambda checks at creation that the queue exists, and that the role may read the stream (module.role.arn waits for that).
  depends_on = [aws_sqs_queue.failures]
}

resource "aws_lambda_function" "alert" {
  function_name    = var.function_name
  description      = "Turns alerts of stream 2 into incidents, metrics and notices."
  role             = module.role.arn
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  handler          = "lambda_alert.handler.handle"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = 256
  # Below the time for which a claim holds (LEASE_S in src/lambda_alert/store.py).
  timeout = 60

  environment {
    variables = {
      cloudwatch_metric          = var.metric_name
      cloudwatch_unjudged_metric = var.unjudged_metric_name
      cloudwatch_namespace       = var.metric_namespace
      dynamodb_control_table     = aws_dynamodb_table.incidents.name
      dynamodb_totals_table      = aws_dynamodb_table.totals.name
      topic_arn                  = aws_sns_topic.incidents.arn
      failure_queue_url          = aws_sqs_queue.failures.url
      incident_quiet_s           = var.incident_quiet_s
      incident_retention_days    = var.incident_retention_days
    }
  }

  # Otherwise Lambda creates the log group itself, and keeps the logs forever.
  depends_on = [aws_cloudwatch_log_group.alert]
}

resource "aws_cloudwatch_log_group" "alert" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
}

# From Lambda: the position of records that failed too often. From the function: invalid records, with the reason.
resource "aws_sqs_queue" "failures" {
  name                      = var.failure_queue_name
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

# Each minute: end what is quiet, and tell what is due.
resource "aws_scheduler_schedule" "sweep" {
  name                = "${var.function_name}-sweep"
  description         = "Lets the alert function end quiet incidents and send what is due."
  schedule_expression = "rate(1 minute)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.alert.arn
    role_arn = module.sweep_role.arn
    input    = jsonencode({ sweep = true })

    # The next minute brings another.
    retry_policy {
      maximum_retry_attempts       = 0
      maximum_event_age_in_seconds = 60
    }
  }
}

# Keys and items: docs/incidents.md.
resource "aws_dynamodb_table" "incidents" {
  name                        = var.incident_table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "ddb_partition_key"
  range_key                   = "ddb_sort_key"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "ddb_partition_key"
    type = "S"
  }

  attribute {
    name = "ddb_sort_key"
    type = "S"
  }

  attribute {
    name = "incident_id"
    type = "S"
  }

  attribute {
    name = "open"
    type = "S"
  }

  attribute {
    name = "opened_at"
    type = "S"
  }

  # The alerts of an incident.
  global_secondary_index {
    name               = "incident"
    hash_key           = "incident_id"
    range_key          = "ddb_sort_key"
    projection_type    = "INCLUDE"
    non_key_attributes = ["subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "level", "detected_at"]
  }

  # Incidents that are not over, or whose end has not been told. Only they have the attribute `open`.
  global_secondary_index {
    name            = "open"
    hash_key        = "open"
    range_key       = "opened_at"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}

resource "aws_sns_topic" "incidents" {
  name              = var.incident_topic_name
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "emails" {
  for_each = var.alert_emails

  topic_arn = aws_sns_topic.incidents.arn
  protocol  = "email"
  endpoint  = each.value
}

module "role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = var.function_name
  service     = "lambda.amazonaws.com"
  assume_sid  = "AssumeAsAlertFunction"
  policy_name = "alert"
  policy      = data.aws_iam_policy_document.alert.json
}

module "sweep_role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = "${var.function_name}-sweep"
  service     = "scheduler.amazonaws.com"
  assume_sid  = "AssumeAsSweepSchedule"
  policy_name = "sweep"
  policy      = data.aws_iam_policy_document.sweep.json
}

data "aws_iam_policy_document" "sweep" {
  statement {
    sid       = "CallAlertFunction"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${local.account_arn.lambda}:function:${var.function_name}"]
  }
}

# Deployed before the role became a module: Terraform keeps what is there.
moved {
  from = aws_iam_role.alert
  to   = module.role.aws_iam_role.service
}

moved {
  from = aws_iam_role_policy.alert
  to   = module.role.aws_iam_role_policy.service
}

data "aws_iam_policy_document" "alert" {
  statement {
    sid = "ReadAlertStream"
    actions = [
      "kinesis:DescribeStream",
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [var.alert_stream_arn]
  }

  statement {
    sid       = "KeepIncidents"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
    resources = ["${local.account_arn.dynamodb}:table/${var.incident_table_name}"]
  }

  statement {
    sid       = "FindOpenIncidents"
    actions   = ["dynamodb:Query"]
    resources = ["${local.account_arn.dynamodb}:table/${var.incident_table_name}/index/open"]
  }

  statement {
    sid       = "WriteTotals"
    actions   = ["dynamodb:PutItem"]
    resources = ["${local.account_arn.dynamodb}:table/${var.totals_table_name}"]
  }

  statement {
    sid       = "SendNotices"
    actions   = ["sns:Publish"]
    resources = ["${local.account_arn.sns}:${var.incident_topic_name}"]
  }

  statement {
    sid       = "SendFailures"
    actions   = ["sqs:SendMessage"]
    resources = [local.failure_queue_arn]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.account_arn.logs}:log-group:${local.log_group}:*"]
  }
}
