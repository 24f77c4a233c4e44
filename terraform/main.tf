# Shopstream in flow order. Shop traffic enters at stream 1 and leaves as an incident within seconds (hot path) and as an
# answer to a business question within the day (cold path):
#
#   stream 1 ─┬─ detector ─── stream 2 ─── alert function ─── incident, metric, notice
#             └─ delivery ─── raw bucket ─── curate job ─── curated tables ─── insights

locals {
  # `make build` makes the packages. A relative path starts at this folder.
  packages = {
    for key, location in {
      detector = var.detector_package
      alert    = var.alert_function_package
      curate   = var.curate_script
    } : key => startswith(location, "/") ? location : "${path.root}/${location}"
  }
}

# Streams 1 and 2, and the delivery of stream 1 to the raw bucket.
module "ingest" {
  source = "./modules/ingest"

  account_id = local.account_id
  partition  = local.partition
  region     = var.region

  raw_stream_name          = local.names.raw_stream
  raw_stream_shard_count   = var.raw_stream_shard_count
  alert_stream_name        = local.names.alert_stream
  alert_stream_shard_count = var.alert_stream_shard_count
  stream_arns              = local.stream_arns
  retention_hours          = var.stream_retention_hours

  delivery_stream_name = local.names.delivery_stream
  raw_bucket_arn       = module.lake.bucket_arns.raw
  buffer_mb            = var.delivery_buffer_mb
  buffer_s             = var.delivery_buffer_s
  log_retention_days   = var.log_retention_days
}

# Hot path: the rules of sql/detection over stream 1, alerts into stream 2.
module "detection" {
  source = "./modules/detection"

  account_id = local.account_id
  partition  = local.partition
  region     = var.region

  name                 = local.names.detector
  package              = local.packages.detector
  artifact_bucket_name = module.lake.bucket_names.artifact
  artifact_bucket_arn  = module.lake.bucket_arns.artifact

  raw_stream_name   = local.names.raw_stream
  raw_stream_arn    = module.ingest.stream_arns.raw
  shard_count       = var.raw_stream_shard_count
  alert_stream_name = local.names.alert_stream
  alert_stream_arn  = module.ingest.stream_arns.alert
  kinesis_endpoint  = var.kinesis_endpoint

  start                  = var.start_detector
  start_position         = var.detector_start_position
  checkpoint_interval_ms = var.checkpoint_interval_ms
  alert_sink_options     = var.alert_sink_options
  nobody_ids             = var.nobody_ids
  allowed_crawlers       = var.allowed_crawlers
  known_crawlers         = [for line in split("\n", trimspace(file("${path.root}/../src/detector/src/main/resources/shopstream/crawlers.tsv"))) : split("\t", line)[0]]
  values                 = var.detection
  sql_folder             = "${path.root}/../sql/detection"
  log_retention_days     = var.log_retention_days
}

# Beside the hot path: the same rules in a notebook, to try them out.
module "studio" {
  source = "./modules/studio"
  count  = var.enable_studio ? 1 : 0

  account_id = local.account_id
  partition  = local.partition
  region     = var.region

  name                 = local.names.studio
  database             = local.studio_database
  note                 = "${path.root}/../notebooks/sql-flink-ecomm-notebook-1.zpln"
  artifact_bucket_name = module.lake.bucket_names.artifact

  raw_stream_name    = local.names.raw_stream
  raw_stream_arn     = module.ingest.stream_arns.raw
  alert_stream_name  = local.names.alert_stream
  alert_stream_arn   = module.ingest.stream_arns.alert
  log_retention_days = var.log_retention_days
}

# Hot path: alerts of stream 2 become incidents, metrics and notices.
module "alerting" {
  source = "./modules/alerting"

  account_id = local.account_id
  partition  = local.partition
  region     = var.region

  function_name           = local.names.alert_function
  package                 = local.packages.alert
  alert_stream_arn        = module.ingest.stream_arns.alert
  batch_size              = var.alert_batch_size
  batch_window_s          = var.alert_batch_window_s
  maximum_retry_attempts  = var.alert_maximum_retry_attempts
  maximum_record_age_s    = var.alert_maximum_record_age_s
  parallelization_factor  = var.alert_parallelization_factor
  failure_queue_name      = local.names.failure_queue
  incident_table_name     = local.names.incident_table
  totals_table_name       = local.names.totals_table
  incident_topic_name     = local.names.incident_topic
  incident_quiet_s        = var.incident_quiet_s
  incident_retention_days = var.incident_retention_days
  metric_namespace        = local.names.metric_namespace
  metric_name             = var.names.metric
  unjudged_metric_name    = var.names.unjudged_metric
  alert_emails            = var.alert_emails
  enable_alarms           = var.enable_alarms
  ops_emails              = var.ops_emails
  point_in_time_recovery  = var.point_in_time_recovery
  deletion_protection     = var.deletion_protection
  log_retention_days      = var.log_retention_days
}

# Cold path: raw objects become curated Iceberg tables; bad records go to quarantine.
module "lake" {
  source = "./modules/lake"

  account_id = local.account_id
  partition  = local.partition
  region     = var.region

  bucket_names          = local.bucket_names
  bucket_arns           = local.bucket_arns
  force_destroy         = var.force_destroy
  lifecycle_rules       = var.lifecycle_rules
  result_retention_days = var.result_retention_days
  raw_retention_days    = var.raw_retention_days

  database               = local.database
  raw_table              = var.names.raw_table
  raw_columns            = jsondecode(file("${path.root}/../contracts/event.json"))
  curate_job_name        = local.names.curate_job
  script                 = local.packages.curate
  worker_count           = var.curate_worker_count
  timeout_minutes        = var.curate_timeout_minutes
  nobody_ids             = var.nobody_ids
  max_ahead_s            = module.detection.max_ahead_s
  address_form           = var.address_form
  metric_namespace       = local.names.metric_namespace
  quarantine_metric_name = var.names.quarantine_metric
  totals_table_name      = local.names.totals_table
  log_retention_days     = var.log_retention_days
}

# Answers: one saved and one prepared query for each question of sql/insights.
module "insights" {
  source = "./modules/insights"

  workgroup_name                 = local.names.workgroup
  database                       = module.lake.database
  result_bucket_name             = module.lake.bucket_names.result
  bytes_scanned_cutoff_per_query = var.bytes_scanned_cutoff_per_query
  questions = {
    for name in [for file in fileset("${path.root}/../sql/insights", "*.sql") : trimsuffix(file, ".sql")] :
    name => {
      title = yamldecode(file("${path.root}/../sql/insights/${name}.yaml")).title
      sql   = file("${path.root}/../sql/insights/${name}.sql")
    }
  }
}

# A module "operations" will follow here: dashboards, keys, alarms, schedules, remote state.
