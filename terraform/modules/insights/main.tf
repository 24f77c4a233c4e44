resource "aws_athena_workgroup" "insights" {
  name        = var.workgroup_name
  description = "Business questions over the curated tables."

  # A workgroup that has ever run a query counts as not empty. The results are in the bucket, not in the workgroup.
  force_destroy = true

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.bytes_scanned_cutoff_per_query

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location = "s3://${var.result_bucket_name}/"

      encryption_configuration {
        encryption_option = "SSE_S3"
      }
    }
  }
}

locals {
  # Without comments: they may name a placeholder, and a `?` in a comment would count as a parameter.
  queries = {
    for name, question in var.questions :
    name => trimspace(replace(replace(question.sql, "/(?m)^\\s*--.*$\\n?/", ""), "/\\$\\{\\w+\\}/", "?"))
  }
}

# For people: the console asks for the value of each `?`.
resource "aws_athena_named_query" "questions" {
  for_each = var.questions

  name        = each.key
  description = each.value.title
  workgroup   = aws_athena_workgroup.insights.name
  database    = var.database
  query       = local.queries[each.key]
}

# For programs: execute <name> using <value>, …
resource "aws_athena_prepared_statement" "questions" {
  for_each = var.questions

  name            = each.key
  description     = each.value.title
  workgroup       = aws_athena_workgroup.insights.name
  query_statement = local.queries[each.key]
}
