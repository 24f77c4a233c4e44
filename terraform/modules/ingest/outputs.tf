output "stream_arns" {
  description = "ARNs of streams 1 (raw) and 2 (alert): known at plan. What uses them is created after the streams."
  value       = var.stream_arns
  depends_on  = [aws_kinesis_stream.raw, aws_kinesis_stream.alert]
}

output "policy" {
  description = "What the role of the delivery stream may do, as JSON: known at plan."
  value       = module.role.policy
}
