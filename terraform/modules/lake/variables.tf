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

variable "bucket_names" {
  description = "Names of the four buckets."
  type        = object({ raw = string, curated = string, artifact = string, result = string })
}

variable "bucket_arns" {
  description = "ARNs of the four buckets."
  type        = object({ raw = string, curated = string, artifact = string, result = string })
}

variable "force_destroy" {
  description = "Whether Terraform deletes buckets that still hold data."
  type        = bool
}

variable "lifecycle_rules" {
  description = "Whether S3 deletes abandoned uploads and old query results."
  type        = bool
}

variable "result_retention_days" {
  description = "Days after which query results are deleted, 1 or more."
  type        = number
}

variable "raw_retention_days" {
  description = "Days after which raw objects are deleted, 1 or more. Null: never."
  type        = number
  nullable    = true
}

variable "database" {
  description = "Name of the Glue database."
  type        = string
}

variable "raw_table" {
  description = "Name of the table over the raw bucket."
  type        = string
}

variable "raw_columns" {
  description = "Columns of the raw table: the fields of contracts/event.json."
  type        = list(object({ name = string, type = string, meaning = string, personal = bool }))
}

variable "curate_job_name" {
  description = "Name of the curate job and of its role."
  type        = string
}

variable "script" {
  description = "Path of the curate job's script."
  type        = string
}

variable "worker_count" {
  description = "G.1X workers of a run, 2 or more."
  type        = number
}

variable "timeout_minutes" {
  description = "Minutes after which AWS stops a run, 1 or more."
  type        = number
}

variable "nobody_ids" {
  description = "User ids that mean nobody."
  type        = list(string)
}

variable "max_ahead_s" {
  description = "Seconds that an event may be ahead of its arrival, 0 or more."
  type        = number
}

variable "address_form" {
  description = "How client addresses are stored: whole or truncated."
  type        = string
}

variable "metric_namespace" {
  description = "Namespace of the metrics."
  type        = string
}

variable "quarantine_metric_name" {
  description = "Name of the metric of quarantined records."
  type        = string
}

variable "totals_table_name" {
  description = "Name of the DynamoDB table of what the detector has counted."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the terms that CloudWatch offers."
  type        = number
}
