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

variable "function_name" {
  description = "Name of the function and of its role."
  type        = string
}

variable "package" {
  description = "Path of the function zip."
  type        = string
}

variable "alert_stream_arn" {
  description = "ARN of the stream that the function consumes."
  type        = string
}

variable "batch_size" {
  description = "Most alerts per call, 1 to 10000."
  type        = number
}

variable "batch_window_s" {
  description = "Seconds for which Lambda collects alerts into a batch, 0 to 300."
  type        = number
}

variable "maximum_retry_attempts" {
  description = "Retries of a failing batch, 0 to 10000, or -1 for no limit."
  type        = number
}

variable "maximum_record_age_s" {
  description = "Seconds, 60 to 604800, or -1 for no limit. The position of an older alert goes to the failure queue without a try."
  type        = number
}

variable "parallelization_factor" {
  description = "Concurrent calls per shard, 1 to 10."
  type        = number
}

variable "failure_queue_name" {
  description = "Name of the queue of records that could not be handled."
  type        = string
}

variable "incident_table_name" {
  description = "Name of the table of incidents."
  type        = string
}

variable "totals_table_name" {
  description = "Name of the table of what the detector has counted."
  type        = string
}

variable "incident_topic_name" {
  description = "Name of the topic of notices."
  type        = string
}

variable "incident_quiet_s" {
  description = "Seconds: alerts of a rule whose windows lie within them are one incident, and it is over when none came for so long."
  type        = number
}

variable "incident_retention_days" {
  description = "Days for which alerts and incidents are kept after the last alert."
  type        = number
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
  description = "Name of the metric of unjudged events."
  type        = string
}

variable "alert_emails" {
  description = "Addresses that get each notice."
  type        = set(string)
}

variable "enable_alarms" {
  description = "Whether there are alarms about the function, with a topic of their own."
  type        = bool
}

variable "ops_emails" {
  description = "Addresses that get each alarm."
  type        = set(string)
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days."
  type        = bool
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables."
  type        = bool
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the terms that CloudWatch offers."
  type        = number
}
