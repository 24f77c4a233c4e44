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

variable "name" {
  description = "Name of the application and its role."
  type        = string
}

variable "package" {
  description = "Path of the application zip."
  type        = string
}

variable "artifact_bucket_name" {
  description = "Bucket that receives the application zip."
  type        = string
}

variable "artifact_bucket_arn" {
  description = "ARN of the same."
  type        = string
}

variable "raw_stream_name" {
  description = "Stream that is read."
  type        = string
}

variable "raw_stream_arn" {
  description = "ARN of the same."
  type        = string
}

variable "alert_stream_name" {
  description = "Stream that is written."
  type        = string
}

variable "alert_stream_arn" {
  description = "ARN of the same."
  type        = string
}

variable "kinesis_endpoint" {
  description = "URL of Kinesis, null for the public endpoint of the region."
  type        = string
}

variable "shard_count" {
  description = "Shards of the stream that is read; each gets a subtask to itself."
  type        = number
}

variable "start" {
  description = "Whether the application runs."
  type        = bool
}

variable "start_position" {
  description = "Where to read from when there is no snapshot."
  type        = string
}

variable "checkpoint_interval_ms" {
  description = "Time between two checkpoints."
  type        = number
}

variable "alert_sink_options" {
  description = "Options of the tables alerts and unjudged, beside stream, region and endpoint."
  type        = map(string)
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
  description = "How long logs are kept."
  type        = number
}
