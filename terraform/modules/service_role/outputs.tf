# What uses the role waits for its policy too: AWS services try a role out as soon as they are given it.
output "arn" {
  description = "ARN of the role, once its policy is attached."
  value       = aws_iam_role.service.arn
  depends_on  = [aws_iam_role_policy.service]
}

output "name" {
  description = "Name of the role: known at plan."
  value       = aws_iam_role.service.name
}

output "trust" {
  description = "Who may assume the role, as JSON: known at plan."
  value       = aws_iam_role.service.assume_role_policy
}

output "policy" {
  description = "What the role may do, as JSON: known at plan."
  value       = aws_iam_role_policy.service.policy
}
