# A role for one service of one account.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "service_role" {
  command = plan

  module {
    source = "./modules/service_role"
  }

  variables {
    account_id  = "123456789012"
    name        = "reader"
    service     = "lambda.amazonaws.com"
    assume_sid  = "AssumeAsReader"
    policy_name = "read"
    policy      = "{\"Statement\":[],\"Version\":\"2012-10-17\"}"
  }

  assert {
    condition     = aws_iam_role.service.name == "reader" && output.name == "reader"
    error_message = "Name of the role: ${aws_iam_role.service.name}"
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.service.assume_role_policy).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Sid       = "AssumeAsReader"
    }]) && output.trust == aws_iam_role.service.assume_role_policy
    error_message = "Only the service, and only for this account, may assume the role: ${aws_iam_role.service.assume_role_policy}"
  }

  assert {
    condition = (
      aws_iam_role_policy.service.name == "read" && aws_iam_role_policy.service.role == "reader"
      && jsonencode(jsondecode(output.policy)) == jsonencode(jsondecode(var.policy))
    )
    error_message = "The policy must be attached to this role, unchanged."
  }
}
