# Streams and delivery.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id               = "123456789012"
  partition                = "aws"
  region                   = "us-east-1"
  raw_stream_name          = "raw-stream"
  raw_stream_shard_count   = 3
  alert_stream_name        = "alert-stream"
  alert_stream_shard_count = 1
  stream_arns = {
    raw   = "arn:aws:kinesis:us-east-1:123456789012:stream/raw-stream"
    alert = "arn:aws:kinesis:us-east-1:123456789012:stream/alert-stream"
  }
  retention_hours      = 24
  delivery_stream_name = "delivery"
  raw_bucket_arn       = "arn:aws:s3:::raw-bucket"
  buffer_mb            = 64
  buffer_s             = 300
  log_retention_days   = 14
}

run "ingest" {
  command = plan

  module {
    source = "./modules/ingest"
  }

  assert {
    condition = (
      aws_kinesis_stream.raw.shard_count == 3 && aws_kinesis_stream.alert.shard_count == 1
      && aws_kinesis_stream.raw.stream_mode_details[0].stream_mode == "PROVISIONED"
    )
    error_message = "Shard counts or stream mode."
  }

  assert {
    condition     = aws_kinesis_stream.raw.encryption_type == "KMS" && aws_kinesis_stream.alert.encryption_type == "KMS"
    error_message = "Both streams must be encrypted."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.raw.extended_s3_configuration[0].prefix == "events/arrival_date=!{timestamp:yyyy-MM-dd}/"
    error_message = "The raw table's partitions rely on this prefix."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.raw.extended_s3_configuration[0].error_output_prefix == "errors/!{firehose:error-output-type}/arrival_date=!{timestamp:yyyy-MM-dd}/"
    error_message = "Errors must be outside events/."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.raw.extended_s3_configuration[0].compression_format == "GZIP"
    error_message = "Raw objects must be gzip."
  }

  assert {
    condition = [
      for processor in aws_kinesis_firehose_delivery_stream.raw.extended_s3_configuration[0].processing_configuration[0].processors :
      [processor.type, [for parameter in processor.parameters : [parameter.parameter_name, parameter.parameter_value]]]
    ] == [["AppendDelimiterToRecord", [["Delimiter", "\\n"]]]]
    error_message = "Without a newline between records the raw objects cannot be read."
  }

  assert {
    condition     = [for source in aws_kinesis_firehose_delivery_stream.raw.kinesis_source_configuration : source.kinesis_stream_arn] == [var.stream_arns.raw]
    error_message = "Delivery must read stream 1."
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement :
      statement.Sid => { actions = sort(flatten([statement.Action])), resources = sort(flatten([statement.Resource])) }
      }) == jsonencode({
      FindRawBucket = {
        actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
        resources = ["arn:aws:s3:::raw-bucket"]
      }
      ReadRawStream = {
        actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        resources = ["arn:aws:kinesis:us-east-1:123456789012:stream/raw-stream"]
      }
      WriteLogs = {
        actions   = ["logs:PutLogEvents"]
        resources = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/kinesisfirehose/delivery:log-stream:errors"]
      }
      WriteRawObjects = {
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        resources = ["arn:aws:s3:::raw-bucket/errors/*", "arn:aws:s3:::raw-bucket/events/*"]
      }
    })
    error_message = "Policy of the delivery stream: ${module.role.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(module.role.trust).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "firehose.amazonaws.com" }
      Sid       = "AssumeAsDelivery"
    }])
    error_message = "Trust of the delivery stream: ${module.role.trust}"
  }
}
