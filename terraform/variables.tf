# Where

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "us-east-1"
}

variable "environment" {
  description = "Name of the environment, a tag on everything."
  type        = string
  default     = "dev"
}

# Names

variable "prefix" {
  description = "Put before every name, so that several Shopstreams share one account, e.g. \"test-\"."
  type        = string
  default     = ""

  validation {
    # Bucket names end with account and region and hold 63 characters at most.
    condition     = can(regex("^([a-z][a-z0-9-]{0,13}-)?$", var.prefix))
    error_message = "Got prefix \"${var.prefix}\". Allowed: empty, or lower-case letters, digits and hyphens, ending with a hyphen, 15 characters at most."
  }
}

variable "names" {
  description = "Names in the cloud, without prefix; buckets get account and region after. Give only those that differ."
  type = object({
    raw_stream        = optional(string, "ecommerce-raw-user-activity-stream-1")
    alert_stream      = optional(string, "ecommerce-raw-user-activity-stream-2")
    delivery_stream   = optional(string, "ecommerce-raw-delivery-stream-1")
    raw_bucket        = optional(string, "ecommerce-raw")
    curated_bucket    = optional(string, "ecommerce-curated")
    artifact_bucket   = optional(string, "ecommerce-artifact")
    result_bucket     = optional(string, "ecommerce-result")
    database          = optional(string, "my_db_ecomm")
    raw_table         = optional(string, "raw_events")
    curate_job        = optional(string, "ecomm-curate-events")
    detector          = optional(string, "ecomm-streaming-app-v1-detector")
    studio            = optional(string, "ecomm-streaming-app-v1")
    studio_database   = optional(string, "my_db_ecomm_studio")
    alert_function    = optional(string, "ecomm-detect-high-event-volume")
    failure_queue     = optional(string, "ecomm-alert-failures")
    incident_table    = optional(string, "ddb-ecommerce-tab-1")
    incident_topic    = optional(string, "ecomm-user-high-severity-incidents")
    metric_namespace  = optional(string, "ecommerce-namespace-1")
    metric            = optional(string, "ecomm-user-high-volume-events")
    unjudged_metric   = optional(string, "ecomm-unjudged-events")
    quarantine_metric = optional(string, "ecomm-quarantined-records")
    workgroup         = optional(string, "ecommerce-insights")
  })
  default = {}
}

# Ingest

variable "raw_stream_shard_count" {
  description = "Shards of stream 1, each for 1,000 events/s or 1 MB/s. Costs about $0.015 per shard-hour, and the detector gets one subtask (one KPU) for each."
  type        = number
  default     = 1
}

variable "alert_stream_shard_count" {
  description = "Shards of stream 2. Costs about $0.015 per shard-hour."
  type        = number
  default     = 1
}

variable "stream_retention_hours" {
  description = "How long both streams keep a record, i.e. how long a consumer may be down. Beyond 24 hours it costs about $0.02 per shard-hour more."
  type        = number
  default     = 24

  validation {
    condition     = var.stream_retention_hours >= 24 && var.stream_retention_hours <= 8760
    error_message = "Got stream_retention_hours = ${var.stream_retention_hours}. Kinesis allows 24 to 8760."
  }
}

variable "delivery_buffer_mb" {
  description = "Firehose writes a raw object when it has buffered this much."
  type        = number
  default     = 64
}

variable "delivery_buffer_s" {
  description = "Firehose writes a raw object after this long at the latest."
  type        = number
  default     = 300
}

# Detection

variable "detector_package" {
  description = "Zip of the detector, made by `make build`; a relative path is seen from the Terraform folder."
  type        = string
  default     = "../build/detector.zip"
}

variable "start_detector" {
  description = "Run the detector. Costs about $0.11 per hour for each KPU: one per shard of stream 1 and one for orchestration."
  type        = bool
  default     = true
}

variable "detector_start_position" {
  description = "Where a detector without a snapshot starts to read stream 1: TRIM_HORIZON (oldest record) or LATEST."
  type        = string
  default     = "TRIM_HORIZON"

  validation {
    condition     = contains(["TRIM_HORIZON", "LATEST"], var.detector_start_position)
    error_message = "Got detector_start_position = \"${var.detector_start_position}\". Allowed: TRIM_HORIZON, LATEST."
  }
}

variable "checkpoint_interval_ms" {
  description = "How often the detector saves its state: after a failure it repeats at most this much."
  type        = number
  default     = 60000
}

variable "kinesis_endpoint" {
  description = "URL at which the detector finds Kinesis: a VPC interface endpoint or an emulator. Null: the region's public endpoint."
  type        = string
  default     = null
}

variable "alert_sink_options" {
  description = "Options of the detector's Kinesis sink. The flush timeout bounds how long an alert waits for company."
  type        = map(string)
  default     = { "sink.flush-buffer.timeout" = "20" }
}

variable "detection" {
  description = "Values of the rules that differ from the defaults, such as { burst = { threshold = 8 } }: by rule (or other statement) and parameter. The YAML files of sql/detection describe all parameters."
  type        = map(map(number))
  default     = {}
}

# Studio

variable "enable_studio" {
  description = "Make the Studio notebook. Costs nothing until somebody starts it, then about $0.44 per hour until it is stopped: $0.11 for each of two KPUs for its cells, one for orchestration and one for the notebook."
  type        = bool
  default     = true
}

# Alerting

variable "alert_function_package" {
  description = "Zip of the alert function, made by `make build`; a relative path is seen from the Terraform folder."
  type        = string
  default     = "../build/lambda_alert.zip"
}

variable "alert_emails" {
  description = "Who gets each incident by mail. AWS asks every address for confirmation first."
  type        = set(string)
  default     = []
}

variable "alert_batch_size" {
  description = "Alerts per call of the alert function, at most."
  type        = number
  default     = 100
}

variable "alert_batch_window_s" {
  description = "How long an alert waits for a fuller batch."
  type        = number
  default     = 1
}

variable "alert_maximum_retry_attempts" {
  description = "How often a failing batch is tried again before the failure queue hears of it."
  type        = number
  default     = 5
}

variable "alert_maximum_record_age_s" {
  description = "An alert older than this goes to the failure queue untried. Half of stream 2's retention leaves the other half to fetch it."
  type        = number
  default     = 43200
}

variable "alert_parallelization_factor" {
  description = "Concurrent calls of the alert function per shard; one subject's alerts stay in order."
  type        = number
  default     = 1
}

variable "point_in_time_recovery" {
  description = "Restore the incident table to any second of the last 35 days. Costs about $0.20 per GB-month."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to delete the incident table."
  type        = bool
  default     = false
}

# Lake

variable "force_destroy" {
  description = "Let `terraform destroy` delete buckets that still hold data."
  type        = bool
  default     = false
}

variable "lifecycle_rules" {
  description = "Delete abandoned uploads after 7 days and query results after result_retention_days. It takes a minute to apply: a stack that lives for minutes goes without."
  type        = bool
  default     = true
}

variable "curate_script" {
  description = "Script of the curate job; a relative path is seen from the Terraform folder."
  type        = string
  default     = "../src/glue_etl/curate_events.py"
}

variable "curate_worker_count" {
  description = "G.1X workers of a run of the curate job, at least 2. Costs about $0.44 per worker-hour, while it runs."
  type        = number
  default     = 2
}

variable "curate_timeout_minutes" {
  description = "A run of the curate job is ended after this: the most that it can cost."
  type        = number
  default     = 60
}

# Insights

variable "bytes_scanned_cutoff_per_query" {
  description = "A query that would read more is cancelled. Athena costs about $5 per TB read, so 10 GB are 5 cents."
  type        = number
  default     = 10737418240

  validation {
    condition     = var.bytes_scanned_cutoff_per_query >= 10485760
    error_message = "Got bytes_scanned_cutoff_per_query = ${var.bytes_scanned_cutoff_per_query}. Athena allows 10485760 (10 MB) or more."
  }
}

variable "result_retention_days" {
  description = "Query results are deleted after this; the query can be run again."
  type        = number
  default     = 30
}

# All

variable "log_retention_days" {
  description = "How long CloudWatch keeps the logs of every component. Storage costs about $0.03 per GB-month."
  type        = number
  default     = 14
}
