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
  description = "Name of the notebook, its stack and its role. Managed Flink keeps notebooks and applications in one namespace."
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
  description = "Bucket that receives the note."
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
  description = "Stream that is written, and read for the chart."
  type        = string
}

variable "alert_stream_arn" {
  description = "ARN of the same."
  type        = string
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}
