# What programs need to find the deployed resources: `terraform output -json`.

output "region" {
  description = "AWS region of all resources."
  value       = var.region
}

output "raw_stream_name" {
  description = "Name of stream 1: shop traffic."
  value       = local.names.raw_stream
}

output "alert_stream_name" {
  description = "Name of stream 2: alerts, and tallies of what was judged and what not."
  value       = local.names.alert_stream
}

output "delivery_stream_name" {
  description = "Firehose delivery stream from stream 1 to the raw bucket."
  value       = local.names.delivery_stream
}

output "raw_bucket" {
  description = "Bucket of shop traffic as it arrived."
  value       = local.bucket_names.raw
}

output "curated_bucket" {
  description = "Bucket of the Iceberg tables."
  value       = local.bucket_names.curated
}

output "artifact_bucket" {
  description = "Bucket of the deployed packages."
  value       = local.bucket_names.artifact
}

output "result_bucket" {
  description = "Bucket of query results."
  value       = local.bucket_names.result
}

output "database" {
  description = "Glue database of all tables."
  value       = local.database
}

output "raw_table" {
  description = "Glue table over the raw bucket."
  value       = var.names.raw_table
}

output "curate_job_name" {
  description = "Glue job: raw objects to curated tables."
  value       = local.names.curate_job
}

output "detector_name" {
  description = "Managed Flink application."
  value       = local.names.detector
}

output "start_detector" {
  description = "Whether the detector should run."
  value       = var.start_detector
}

output "studio_name" {
  description = "Studio notebook with the detector's rules. Null without enable_studio."
  value       = var.enable_studio ? local.names.studio : null
}

output "studio_note" {
  description = "S3 address of the note to import into the notebook. Null without enable_studio."
  value       = one(module.studio[*].note)
}

output "alert_function_name" {
  description = "Lambda function that handles the alerts of stream 2."
  value       = local.names.alert_function
}

output "alert_function_log_group" {
  description = "Log group of the alert function. It also holds the metrics, in embedded metric format."
  value       = module.alerting.log_group_name
}

output "incident_table_name" {
  description = "DynamoDB table of incidents."
  value       = local.names.incident_table
}

output "totals_table_name" {
  description = "DynamoDB table of what the detector has judged and left out, by date."
  value       = local.names.totals_table
}

output "incident_topic_arn" {
  description = "SNS topic of notices."
  value       = module.alerting.topic_arn
}

output "failure_queue_url" {
  description = "SQS queue of records of stream 2 that could not be handled."
  value       = module.alerting.failure_queue_url
}

output "metric_namespace" {
  description = "CloudWatch namespace of the metrics."
  value       = local.names.metric_namespace
}

output "metric_name" {
  description = "CloudWatch metric of incidents."
  value       = var.names.metric
}

output "unjudged_metric_name" {
  description = "CloudWatch metric of unjudged events, by reason."
  value       = var.names.unjudged_metric
}

output "quarantine_metric_name" {
  description = "CloudWatch metric of newly quarantined records, by reason."
  value       = var.names.quarantine_metric
}

output "workgroup_name" {
  description = "Athena workgroup of the insights."
  value       = local.names.workgroup
}
