output "bucket_names" {
  description = "Names of the buckets raw, curated, artifact and result."
  value       = { for key, bucket in aws_s3_bucket.lake : key => bucket.bucket }
}

output "bucket_arns" {
  description = "ARNs of the buckets: known at plan. What uses them is created after the buckets."
  value       = var.bucket_arns
  depends_on  = [aws_s3_bucket.lake]
}

output "database" {
  description = "Glue database of all tables."
  value       = aws_glue_catalog_database.lake.name
}

output "policy" {
  description = "What the role of the curate job may do, as JSON: known at plan."
  value       = module.role.policy
}
