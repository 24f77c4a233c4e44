variable "account_id" {
  description = "AWS account of everything."
  type        = string
}

variable "partition" {
  description = "AWS partition: aws, aws-cn, aws-us-gov."
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
  description = "Shards of stream 1."
  type        = number
}

variable "alert_stream_name" {
  description = "Name of stream 2."
  type        = string
}

variable "alert_stream_shard_count" {
  description = "Shards of stream 2."
  type        = number
}

variable "stream_arns" {
  description = "ARNs of streams 1 and 2."
  type        = object({ raw = string, alert = string })
}

variable "retention_hours" {
  description = "How long both streams keep a record."
  type        = number
}

variable "delivery_stream_name" {
  description = "Name of the Firehose delivery stream and its role."
  type        = string
}

variable "raw_bucket_arn" {
  description = "Bucket that receives the records of stream 1."
  type        = string
}

variable "buffer_mb" {
  description = "An object is written when this much is buffered."
  type        = number
}

variable "buffer_s" {
  description = "An object is written after this long at the latest."
  type        = number
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}
