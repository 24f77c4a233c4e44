output "log_group_name" {
  description = "Log group of the alert function."
  value       = aws_cloudwatch_log_group.alert.name
}

output "topic_arn" {
  description = "ARN of the topic of notices."
  value       = aws_sns_topic.incidents.arn
}

output "failure_queue_url" {
  description = "URL of the queue of records that could not be handled."
  value       = aws_sqs_queue.failures.url
}

output "policy" {
  description = "What the role of the alert function may do, as JSON: known at plan."
  value       = module.role.policy
}

output "sweep_policy" {
  description = "What the role of the sweep's schedule may do, as JSON: known at plan."
  value       = module.sweep_role.policy
}
