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

variable "name" {
  description = "Name of the application and of its role."
  type        = string
}

variable "package" {
  description = "Path of the application zip."
  type        = string
}

variable "artifact_bucket_name" {
  description = "Name of the bucket that receives the application zip."
  type        = string
}

variable "artifact_bucket_arn" {
  description = "ARN of the artifact bucket."
  type        = string
}

variable "raw_stream_name" {
  description = "Name of stream 1, which is read."
  type        = string
}

variable "raw_stream_arn" {
  description = "ARN of stream 1."
  type        = string
}

variable "alert_stream_name" {
  description = "Name of stream 2, which is written."
  type        = string
}

variable "alert_stream_arn" {
  description = "ARN of stream 2."
  type        = string
}

variable "kinesis_endpoint" {
  description = "URL of Kinesis. Null: the region's public endpoint."
  type        = string
}

variable "shard_count" {
  description = "Shards of stream 1. There are as many subtasks."
  type        = number
}

variable "start" {
  description = "Whether the application runs."
  type        = bool
}

variable "start_position" {
  description = "Where to start reading when there is no snapshot: TRIM_HORIZON or LATEST."
  type        = string
}

variable "checkpoint_interval_ms" {
  description = "Milliseconds between two checkpoints, 1 or more."
  type        = number
}

variable "alert_sink_options" {
  description = "Options of the client that writes stream 2, besides stream, region and endpoint; buffer_ms is the longest that an alert waits for others."
  type        = map(string)
}

variable "nobody_ids" {
  description = "User ids that mean nobody: whoever has one is a guest."
  type        = list(string)
}

variable "allowed_crawlers" {
  description = "Names of declared crawlers whose events the rules leave out."
  type        = list(string)
}

variable "known_crawlers" {
  description = "Names of all crawlers that the application recognises."
  type        = list(string)
}

variable "values" {
  description = "Values of the rules that differ from the defaults in their YAML, by rule (or other statement) and parameter."
  type        = map(map(number))
}

variable "sql_folder" {
  description = "Folder of the rules: SQL, and YAML with the parameters."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the terms that CloudWatch offers."
  type        = number
}
