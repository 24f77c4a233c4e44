output "note" {
  description = "S3 address of the note, for import into Zeppelin."
  value       = "s3://${aws_s3_object.note.bucket}/${aws_s3_object.note.key}"
}

output "policy" {
  description = "What the role of the notebook may do, as JSON: known at plan."
  value       = module.role.policy
}
