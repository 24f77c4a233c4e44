# Where

variable "region" {
  description = "AWS region of all resources."
  type        = string
  default     = "us-east-1"
}

variable "environment" {
  description = "Name of the environment: a tag on all resources."
  type        = string
  default     = "dev"
}

# Names

variable "prefix" {
  description = "Text before every name, so that several Shopstreams can share one account, e.g. \"test-\". At most 15 characters."
  type        = string
  default     = ""

  validation {
    # Bucket names end with account and region, and have at most 63 characters.
    condition     = can(regex("^([a-z][a-z0-9-]{0,13}-)?$", var.prefix))
    error_message = "Got prefix \"${var.prefix}\". Allowed: empty, or at most 15 lower-case letters, digits and hyphens, from a letter to a hyphen."
  }
}

variable "names" {
  description = "Names of AWS resources, without prefix; buckets get account and region appended. Give only the names to change: the defaults are those of the tutorial."
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
    totals_table      = optional(string, "ecomm-event-totals")
    incident_topic    = optional(string, "ecomm-user-high-severity-incidents")
    metric_namespace  = optional(string, "ecommerce-namespace-1")
    metric            = optional(string, "ecomm-user-high-volume-events")
    unjudged_metric   = optional(string, "ecomm-unjudged-events")
    quarantine_metric = optional(string, "ecomm-quarantined-records")
    workgroup         = optional(string, "ecommerce-insights")
  })
  default = {}
}

# Events

variable "nobody_ids" {
  description = "User ids by which a shop means nobody, such as a guest, exactly as it sends them. Such an event belongs to its session."
  type        = list(string)
  default     = ["0", "-1", "guest", "anonymous", "null", "undefined"]
}

variable "allowed_crawlers" {
  description = "Crawlers whose events the rules leave out, by their names in crawlers.tsv, such as Googlebot. Anybody can declare one in a user agent, and is then never flagged."
  type        = list(string)
  default     = []
}

# Ingest

variable "raw_stream_shard_count" {
  description = "Shards of stream 1, 1 or more. Each takes 1,000 events/s or 1 MB/s, and costs about $0.015 per hour. The detector gets one subtask (one KPU) for each."
  type        = number
  default     = 1
}

variable "alert_stream_shard_count" {
  description = "Shards of stream 2, 1 or more. Each costs about $0.015 per hour."
  type        = number
  default     = 1
}

variable "stream_retention_hours" {
  description = "Hours for which both streams keep a record, 24 to 8760: how long a consumer can be down without losing records. More than 24 hours cost about $0.02 per shard-hour extra."
  type        = number
  default     = 24

  validation {
    condition     = var.stream_retention_hours >= 24 && var.stream_retention_hours <= 8760
    error_message = "Got stream_retention_hours = ${var.stream_retention_hours}. Kinesis allows 24 to 8760."
  }
}

variable "delivery_buffer_mb" {
  description = "MB that Firehose collects before it writes a raw object, 1 to 128. It writes earlier after delivery_buffer_s."
  type        = number
  default     = 64
}

variable "delivery_buffer_s" {
  description = "Seconds after which Firehose writes a raw object at the latest, 0 to 900."
  type        = number
  default     = 300
}

# Detection

variable "detector_package" {
  description = "Zip of the detector, made by `make build`. A relative path starts at the Terraform folder."
  type        = string
  default     = "../build/detector.zip"
}

variable "start_detector" {
  description = "Whether the detector runs. It costs about $0.11 per hour and KPU: one KPU per shard of stream 1, and one for orchestration."
  type        = bool
  default     = true
}

variable "detector_start_position" {
  description = "Where a detector without a snapshot starts to read stream 1: TRIM_HORIZON (the oldest record) or LATEST."
  type        = string
  default     = "TRIM_HORIZON"

  validation {
    condition     = contains(["TRIM_HORIZON", "LATEST"], var.detector_start_position)
    error_message = "Got detector_start_position = \"${var.detector_start_position}\". Allowed: TRIM_HORIZON, LATEST."
  }
}

variable "checkpoint_interval_ms" {
  description = "Milliseconds between two checkpoints of the detector, 1 or more. After a failure it repeats at most the work since the last one."
  type        = number
  default     = 60000
}

variable "kinesis_endpoint" {
  description = "URL of Kinesis for the detector: a VPC interface endpoint or an emulator. Null: the region's public endpoint."
  type        = string
  default     = null
}

variable "alert_sink_options" {
  description = "Options of the client that writes the detector's alerts. buffer_ms is the longest that an alert waits to be sent together with others."
  type        = map(string)
  default     = { buffer_ms = "20" }
}

variable "detection" {
  description = "Values of the rules that differ from the defaults, such as { burst = { threshold = 8 } }: by rule (or source, alerts, unjudged) and parameter. The YAML files of sql/detection describe all parameters."
  type        = map(map(number))
  default     = {}
}

# Studio

variable "enable_studio" {
  description = "Whether to create the Studio notebook. It costs nothing until somebody starts it, then about $0.44 per hour until it is stopped: $0.11 for each of four KPUs (two for its cells, one for orchestration, one for the notebook)."
  type        = bool
  default     = true
}

# Alerting

variable "alert_function_package" {
  description = "Zip of the alert function, made by `make build`. A relative path starts at the Terraform folder."
  type        = string
  default     = "../build/lambda_alert.zip"
}

variable "alert_emails" {
  description = "Addresses that get a mail for each incident. AWS first asks each address for confirmation."
  type        = set(string)
  default     = []
}

variable "enable_alarms" {
  description = "Whether CloudWatch watches the alert function: errors, throttles, lag, failure queue, notices that can't be sent. Six alarms and a key cost about $1.60 a month."
  type        = bool
  default     = true
}

variable "ops_emails" {
  description = "Addresses that get a mail for each alarm about the alert function. AWS first asks each address for confirmation."
  type        = set(string)
  default     = []
}

variable "alert_batch_size" {
  description = "Most alerts per call of the alert function, 1 to 10000. It stores 90 in one transaction (MAX_ALERTS in src/lambda_alert/store.py)."
  type        = number
  default     = 90
}

variable "alert_batch_window_s" {
  description = "Seconds for which Lambda collects alerts into a batch, 0 to 300."
  type        = number
  default     = 1
}

variable "alert_maximum_retry_attempts" {
  description = "Retries of a failing batch, 0 to 10000, or -1 for no limit but the alert's age. After them, the failure queue gets its position in the stream. With a limit, an outage of minutes uses them up."
  type        = number
  default     = -1
}

variable "alert_maximum_record_age_s" {
  description = "Seconds, 60 to 604800, or -1 for no limit. The position of an older alert goes to the failure queue without a try. Half of stream 2's retention leaves the other half to fetch the alert."
  type        = number
  default     = 43200
}

variable "alert_parallelization_factor" {
  description = "Concurrent calls of the alert function per shard, 1 to 10. The alerts of one subject stay in order."
  type        = number
  default     = 1
}

variable "incident_quiet_s" {
  description = "Seconds, 1 or more: alerts of a rule whose windows lie within them are one incident, and it is over when none came for so long."
  type        = number
  default     = 300
}

variable "incident_retention_days" {
  description = "Days, 1 or more, for which alerts and incidents are kept after the last alert."
  type        = number
  default     = 365
}

variable "point_in_time_recovery" {
  description = "Whether the incident table can be restored to any second of the last 35 days. It costs about $0.20 per GB-month."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the incident table."
  type        = bool
  default     = false
}

# Lake

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes buckets that still hold data."
  type        = bool
  default     = false
}

variable "lifecycle_rules" {
  description = "Whether S3 deletes abandoned uploads after 7 days, and query results after result_retention_days. The rules take a minute to apply, which is too long for a stack that lives for minutes."
  type        = bool
  default     = true
}

variable "raw_retention_days" {
  description = "Days after which S3 deletes raw objects, 1 or more. They hold addresses and whatever else a shop sends. Null: S3 keeps them. Until then, past days can be curated or judged again."
  type        = number
  default     = null

  validation {
    condition     = var.raw_retention_days == null ? true : var.raw_retention_days >= 1 && floor(var.raw_retention_days) == var.raw_retention_days
    error_message = "Got raw_retention_days = ${coalesce(var.raw_retention_days, 0)}. Allowed: a whole number of 1 or more, or null."
  }
}

variable "address_form" {
  description = "How the curated table stores client addresses: whole, or truncated to their network (/24 of IPv4, /48 of IPv6). Raw objects and quarantined records are as sent, and alerts of the rule identity_rotator hold whole addresses of IPv4."
  type        = string
  default     = "whole"

  validation {
    condition     = contains(["whole", "truncated"], var.address_form)
    error_message = "Got address_form = \"${var.address_form}\". Allowed: whole, truncated."
  }
}

variable "curate_script" {
  description = "Script of the curate job. A relative path starts at the Terraform folder."
  type        = string
  default     = "../src/glue_etl/curate_events.py"
}

variable "curate_worker_count" {
  description = "G.1X workers of a run of the curate job, 2 or more. Each costs about $0.44 per hour while the job runs."
  type        = number
  default     = 2
}

variable "curate_timeout_minutes" {
  description = "Minutes after which AWS stops a run of the curate job, 1 or more. This limits its cost."
  type        = number
  default     = 60
}

# Insights

variable "bytes_scanned_cutoff_per_query" {
  description = "Bytes that a query may read, 10485760 (10 MB) or more. Athena cancels a query that would read more. It costs about $5 per TB, so 10 GB are 5 cents."
  type        = number
  default     = 10737418240

  validation {
    condition     = var.bytes_scanned_cutoff_per_query >= 10485760
    error_message = "Got bytes_scanned_cutoff_per_query = ${var.bytes_scanned_cutoff_per_query}. Athena allows 10485760 (10 MB) or more."
  }
}

variable "result_retention_days" {
  description = "Days after which query results are deleted, 1 or more. The query can be run again."
  type        = number
  default     = 30
}

# All

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs of all components: 1, 3, 5, 7, 14, 30, 60, 90 or one of its longer terms. Storage costs about $0.03 per GB-month."
  type        = number
  default     = 14
}
