# A role that one AWS service may assume, and the one policy that says what it may do.

resource "aws_iam_role" "service" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = var.assume_sid
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [var.service]
    }

    # The service must act for this account: without it, another customer's resource could borrow the role.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role_policy" "service" {
  name   = var.policy_name
  role   = aws_iam_role.service.name
  policy = var.policy
}
