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
  description = "Name of the notebook, its stack and its role. No application of Managed Flink may have the same name."
  type        = string
}

variable "database" {
  description = "Name of the Glue database for the notebook's tables."
  type        = string
}

variable "note" {
  description = "Path of the Zeppelin note, written by `make generate`."
  type        = string

  validation {
    condition = alltrue([
      for name in ["ecommerce-raw-user-activity-stream-1", "ecommerce-raw-user-activity-stream-2", "us-east-1"] :
      strcontains(file(var.note), "'${name}'")
    ])
    error_message = "Got ${var.note}, which lacks the tutorial's stream names or region, so they cannot be replaced by the deployed ones. Write it with `make generate`."
  }
}

variable "artifact_bucket_name" {
  description = "Name of the bucket that receives the note."
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
  description = "Name of stream 2, which is written, and read for the chart."
  type        = string
}

variable "alert_stream_arn" {
  description = "ARN of stream 2."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the terms that CloudWatch offers."
  type        = number
}
