locals {
  log_group     = "/aws/kinesisfirehose/${var.delivery_stream_name}"
  log_stream    = "errors"
  log_group_arn = "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:${local.log_group}"
}

resource "aws_kinesis_stream" "raw" {
  name             = var.raw_stream_name
  shard_count      = var.raw_stream_shard_count
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = "alias/aws/kinesis"

  stream_mode_details {
    stream_mode = "PROVISIONED"
  }
}

resource "aws_kinesis_stream" "alert" {
  name             = var.alert_stream_name
  shard_count      = var.alert_stream_shard_count
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = "alias/aws/kinesis"

  stream_mode_details {
    stream_mode = "PROVISIONED"
  }
}

resource "aws_kinesis_firehose_delivery_stream" "raw" {
  name        = var.delivery_stream_name
  destination = "extended_s3"

  kinesis_source_configuration {
    kinesis_stream_arn = var.stream_arns.raw
    role_arn           = module.role.arn
  }

  extended_s3_configuration {
    role_arn            = module.role.arn
    bucket_arn          = var.raw_bucket_arn
    prefix              = "events/arrival_date=!{timestamp:yyyy-MM-dd}/"
    error_output_prefix = "errors/!{firehose:error-output-type}/arrival_date=!{timestamp:yyyy-MM-dd}/"
    custom_time_zone    = "UTC"
    buffering_size      = var.buffer_mb
    buffering_interval  = var.buffer_s
    compression_format  = "GZIP"

    # Firehose itself puts nothing between records.
    processing_configuration {
      enabled = true

      processors {
        type = "AppendDelimiterToRecord"

        parameters {
          parameter_name  = "Delimiter"
          parameter_value = "\\n"
        }
      }
    }

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.delivery.name
      log_stream_name = aws_cloudwatch_log_stream.delivery.name
    }
  }

  # Firehose starts to read as soon as it exists, and to write (module.role.arn waits for its policy).
  depends_on = [aws_kinesis_stream.raw]
}

resource "aws_cloudwatch_log_group" "delivery" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_stream" "delivery" {
  name           = local.log_stream
  log_group_name = aws_cloudwatch_log_group.delivery.name
}

module "role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = var.delivery_stream_name
  service     = "firehose.amazonaws.com"
  assume_sid  = "AssumeAsDelivery"
  policy_name = "delivery"
  policy      = data.aws_iam_policy_document.delivery.json
}

# Deployed before the role became a module: Terraform keeps what is there.
moved {
  from = aws_iam_role.delivery
  to   = module.role.aws_iam_role.service
}

moved {
  from = aws_iam_role_policy.delivery
  to   = module.role.aws_iam_role_policy.service
}

# https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-s3
data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "ReadRawStream"
    actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
    resources = [var.stream_arns.raw]
  }

  statement {
    sid       = "FindRawBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [var.raw_bucket_arn]
  }

  statement {
    sid       = "WriteRawObjects"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.raw_bucket_arn}/events/*", "${var.raw_bucket_arn}/errors/*"]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:PutLogEvents"]
    resources = ["${local.log_group_arn}:log-stream:${local.log_stream}"]
  }
}
