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

variable "bucket_names" {
  description = "Names of the four buckets."
  type        = object({ raw = string, curated = string, artifact = string, result = string })
}

variable "bucket_arns" {
  description = "ARNs of the same."
  type        = object({ raw = string, curated = string, artifact = string, result = string })
}

variable "force_destroy" {
  description = "Whether a bucket with data may be deleted."
  type        = bool
}

variable "lifecycle_rules" {
  description = "Whether abandoned uploads and old query results are deleted."
  type        = bool
}

variable "result_retention_days" {
  description = "Query results are deleted after this."
  type        = number
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
  description = "Columns of the raw table, from the contract of the event."
  type        = list(object({ name = string, type = string, meaning = string }))
}

variable "curate_job_name" {
  description = "Name of the job and its role."
  type        = string
}

variable "script" {
  description = "Path of the job's script."
  type        = string
}

variable "worker_count" {
  description = "G.1X workers of a run."
  type        = number
}

variable "timeout_minutes" {
  description = "A run is ended after this."
  type        = number
}

variable "metric_namespace" {
  description = "Namespace of the metrics."
  type        = string
}

variable "quarantine_metric_name" {
  description = "Name of the metric of quarantined records."
  type        = string
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}
