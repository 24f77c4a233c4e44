variable "account_id" {
  description = "AWS account, 12 digits."
  type        = string
}

variable "partition" {
  description = "AWS partition: aws, aws-cn or aws-us-gov."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "raw_stream_name" {
  description = "Name of stream 1."
  type        = string
}

variable "raw_stream_shard_count" {
  description = "Shards of stream 1, 1 or more."
  type        = number
}

variable "alert_stream_name" {
  description = "Name of stream 2."
  type        = string
}

variable "alert_stream_shard_count" {
  description = "Shards of stream 2, 1 or more."
  type        = number
}

variable "stream_arns" {
  description = "ARNs of streams 1 and 2."
  type        = object({ raw = string, alert = string })
}

variable "retention_hours" {
  description = "Hours for which both streams keep a record, 24 to 8760."
  type        = number
}

variable "delivery_stream_name" {
  description = "Name of the Firehose delivery stream and of its role."
  type        = string
}

variable "raw_bucket_arn" {
  description = "ARN of the bucket that receives the records of stream 1."
  type        = string
}

variable "buffer_mb" {
  description = "MB that are collected before an object is written, 1 to 128."
  type        = number
}

variable "buffer_s" {
  description = "Seconds after which an object is written at the latest, 0 to 900."
  type        = number
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the terms that CloudWatch offers."
  type        = number
}
