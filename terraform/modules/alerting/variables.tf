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

variable "function_name" {
  description = "Name of the function and its role."
  type        = string
}

variable "package" {
  description = "Path of the function zip."
  type        = string
}

variable "alert_stream_arn" {
  description = "Stream that the function consumes."
  type        = string
}

variable "batch_size" {
  description = "Alerts per call, at most."
  type        = number
}

variable "batch_window_s" {
  description = "How long an alert waits for a fuller batch."
  type        = number
}

variable "maximum_retry_attempts" {
  description = "How often a failing batch is tried again."
  type        = number
}

variable "maximum_record_age_s" {
  description = "An older alert goes to the failure queue untried."
  type        = number
}

variable "parallelization_factor" {
  description = "Concurrent calls per shard."
  type        = number
}

variable "failure_queue_name" {
  description = "Name of the queue of alerts that could not be handled."
  type        = string
}

variable "incident_table_name" {
  description = "Name of the table of incidents."
  type        = string
}

variable "incident_topic_name" {
  description = "Name of the topic of notices."
  type        = string
}

variable "metric_namespace" {
  description = "Namespace of the metrics."
  type        = string
}

variable "metric_name" {
  description = "Name of the incident metric."
  type        = string
}

variable "unjudged_metric_name" {
  description = "Name of the metric of events that the rules did not judge."
  type        = string
}

variable "alert_emails" {
  description = "Addresses that get each notice."
  type        = set(string)
}

variable "point_in_time_recovery" {
  description = "Whether the table can be restored to any second."
  type        = bool
}

variable "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}
