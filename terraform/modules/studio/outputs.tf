output "note" {
  description = "Address of the note, to be imported in Zeppelin."
  value       = "s3://${aws_s3_object.note.bucket}/${aws_s3_object.note.key}"
}

output "policy" {
  description = "What the role of the notebook may do, as JSON: known at plan."
  value       = module.role.policy
}
