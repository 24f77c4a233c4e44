# Alarms about the alert function itself: who watches the shop must hear when nobody watches.

locals {
  alarms = var.enable_alarms ? {
    errors = {
      description = "Calls of the alert function fail. Alerts wait in stream 2, and are retried."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      statistic   = "Sum"
      dimensions  = { FunctionName = var.function_name }
      above       = 0
    }
    throttles = {
      description = "Lambda refuses calls of the alert function: the account's concurrency is used up."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      statistic   = "Sum"
      dimensions  = { FunctionName = var.function_name }
      above       = 0
    }
    iterator-age = {
      description = "Alerts wait in stream 2 for more than ten minutes."
      namespace   = "AWS/Lambda"
      metric      = "IteratorAge"
      statistic   = "Maximum"
      dimensions  = { FunctionName = var.function_name }
      above       = 600000
    }
    failure-queue = {
      description = "The failure queue holds records that could not be handled."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      dimensions  = { QueueName = var.failure_queue_name }
      above       = 0
    }
    oldest-due = {
      description = "A notice could not be sent for more than five minutes."
      namespace   = var.metric_namespace
      metric      = "incidents-oldest-due-s"
      statistic   = "Maximum"
      dimensions  = {}
      above       = 300
    }
    no-sweep = {
      description = "No sweep for five minutes: what is due is not sent."
      namespace   = var.metric_namespace
      metric      = "incidents-open"
      statistic   = "SampleCount"
      dimensions  = {}
      above       = null
    }
  } : {}
}

resource "aws_cloudwatch_metric_alarm" "alert" {
  for_each = local.alarms

  alarm_name          = "${var.function_name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  dimensions          = each.value.dimensions
  comparison_operator = each.value.above == null ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.above == null ? 1 : each.value.above
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = each.value.above == null ? "breaching" : "notBreaching"
  alarm_actions       = [aws_sns_topic.ops[0].arn]
  ok_actions          = [aws_sns_topic.ops[0].arn]
}

# The people who run the platform, who need not be those who get the notices.
resource "aws_sns_topic" "ops" {
  count = var.enable_alarms ? 1 : 0

  name              = "${var.incident_topic_name}-ops"
  kms_master_key_id = aws_kms_key.ops[0].arn
}

resource "aws_sns_topic_subscription" "ops" {
  for_each = var.enable_alarms ? var.ops_emails : toset([])

  topic_arn = aws_sns_topic.ops[0].arn
  protocol  = "email"
  endpoint  = each.value
}

# AWS's own key for SNS does not let CloudWatch publish.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
resource "aws_kms_key" "ops" {
  count = var.enable_alarms ? 1 : 0

  description         = "Encrypts alarms in the topic ${var.incident_topic_name}-ops."
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.ops_key.json
}

data "aws_iam_policy_document" "ops_key" {
  statement {
    sid       = "Administer"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.partition}:iam::${var.account_id}:root"]
    }
  }

  statement {
    sid       = "EncryptAlarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}
