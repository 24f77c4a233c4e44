output "parallelism" {
  description = "Subtasks of the detector, one per shard of stream 1."
  value       = aws_kinesisanalyticsv2_application.detector.application_configuration[0].flink_application_configuration[0].parallelism_configuration[0].parallelism
}

output "policy" {
  description = "What the role of the detector may do, as JSON: known at plan."
  value       = module.role.policy
}

output "max_ahead_s" {
  description = "Seconds that an event may be ahead of the clock."
  value       = local.resolved.source.max_ahead_s
}
