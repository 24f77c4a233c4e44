# Questions as saved and prepared queries.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  workgroup_name                 = "insights"
  database                       = "database"
  result_bucket_name             = "result-bucket"
  bytes_scanned_cutoff_per_query = 10737418240
  questions                      = {}
}

run "workgroup_without_questions" {
  command = plan

  module {
    source = "./modules/insights"
  }

  assert {
    condition     = length(aws_athena_named_query.questions) == 0 && length(aws_athena_prepared_statement.questions) == 0
    error_message = "There must be no query without a question."
  }

  assert {
    condition = (
      aws_athena_workgroup.insights.configuration[0].enforce_workgroup_configuration
      && aws_athena_workgroup.insights.configuration[0].bytes_scanned_cutoff_per_query == 10737418240
      && aws_athena_workgroup.insights.configuration[0].engine_version[0].selected_engine_version == "Athena engine version 3"
      && aws_athena_workgroup.insights.configuration[0].result_configuration[0].output_location == "s3://result-bucket/"
      && aws_athena_workgroup.insights.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_S3"
    )
    error_message = "The workgroup must limit every scan and set where results go."
  }
}

run "placeholders_become_parameters" {
  command = plan

  module {
    source = "./modules/insights"
  }

  variables {
    questions = {
      visitors_per_day = {
        title = "Unique visitors per day"
        sql   = <<-SQL
          -- A shopper counts from $${from_date} on.
          select
            cast(event_at as date) as event_date, -- UTC
            count(distinct user_id) as visitors
          from curated_events
          where event_at >= date($${from_date}) and event_at < date($${until_date})
          group by 1
        SQL
      }
    }
  }

  assert {
    condition = aws_athena_prepared_statement.questions["visitors_per_day"].query_statement == trimspace(<<-SQL
      select
        cast(event_at as date) as event_date, -- UTC
        count(distinct user_id) as visitors
      from curated_events
      where event_at >= date(?) and event_at < date(?)
      group by 1
    SQL
    )
    error_message = "Prepared: ${aws_athena_prepared_statement.questions["visitors_per_day"].query_statement}"
  }

  assert {
    condition     = aws_athena_prepared_statement.questions["visitors_per_day"].description == "Unique visitors per day"
    error_message = "The description is the title."
  }

  assert {
    condition     = aws_athena_named_query.questions["visitors_per_day"].query == aws_athena_prepared_statement.questions["visitors_per_day"].query_statement
    error_message = "The saved and the prepared query must be the same."
  }
}

run "question_needs_a_title" {
  command = plan

  module {
    source = "./modules/insights"
  }

  variables {
    questions = { visitors_per_day = { title = " ", sql = "select 1" } }
  }

  expect_failures = [var.questions]
}

run "question_needs_a_name_for_athena" {
  command = plan

  module {
    source = "./modules/insights"
  }

  variables {
    questions = { visitors-per-day = { title = "Unique visitors per day", sql = "select 1" } }
  }

  expect_failures = [var.questions]
}
